"""Tests the whole pipeline with the commands of the README: a real access log, compared with the oracle.

Every command runs as a separate process, configured by environment variables only.
"""

import hashlib
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest

from dataco_assets_tests import oracle
from dataco_assets_tests.documents import compare_documents, read_documents
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
HOUR = 3_600_000
PARTITION = "%Y-%m-%d-%H:%M"


class Log(NamedTuple):
    """A real log, with facts that were determined independently."""

    file: Path
    base_url: str
    clicks: int
    first_hour: datetime
    hours: int


SMALL = Log(
    Path(__file__).parents[2] / "dataco_assets" / "sources" / "sample" / "access.log",
    "http://host2.example",
    700,
    datetime(2011, 4, 24, 8, tzinfo=UTC),
    8,
)
LARGE = Log(
    Path(__file__).parents[2] / ".." / "shared" / "data" / "apache_access.log",
    "http://www.semicomplete.com",
    10_000,
    datetime(2015, 5, 17, 10, tzinfo=UTC),
    84,
)
LOG = LARGE if LARGE.file.exists() else SMALL  # the large one is not part of the repository
LAST_HOUR = LOG.first_hour + timedelta(hours=LOG.hours - 1)


@pytest.fixture(scope="module")
def environment(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Unique names on the shared servers, and a separate Dagster instance."""
    name = uuid.uuid4().hex[:10]
    home = tmp_path_factory.mktemp("dagster")
    home.joinpath("dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return {
        **os.environ,
        **stack.env(),
        "DATACO_CLICKS_TOPIC": f"clicks-{name}",
        "DATACO_REJECTED_TOPIC": f"clicks-{name}.rejected",
        "DATACO_KAFKA_GROUP": f"group-{name}",
        "DATACO_HBASE_TABLE_PREFIX": f"t{name}_",
        "DATACO_INDEX_ALIAS": f"t{name}",
        "DATACO_PARTITIONS_START": "2011-01-01-00:00",
        "DATACO_AGGREGATES_URI": tmp_path_factory.mktemp("aggregates").as_uri(),
        "DATACO_SPARK_MASTER": "local[2]",
        "DAGSTER_HOME": str(home),
    }


def run(environment: Mapping[str, str], *command: str) -> str:
    """Runs one of the environment's commands; a failure shows its output."""
    program = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run(
        [program, *command[1:]], env=dict(environment), capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout


def materialize(environment: Mapping[str, str], select: str, *options: str) -> None:
    run(environment, "dagster", "asset", "materialize", "-m", "dataco_assets.definitions", "--select", select, *options)


def documents(environment: Mapping[str, str]) -> dict[oracle.Key, dict[str, Any]]:
    """Everything the alias holds; fails when a document is there twice."""
    return read_documents(environment["DATACO_ELASTICSEARCH_URL"], environment["DATACO_INDEX_ALIAS"])


def clicks_of(file: Path) -> Iterator[oracle.OracleClick]:
    """The log's clicks as `dataco clicks` sends them, decoded without the pipeline's code."""
    from dataco_assets.sources.access_logs.clicks import LogReport, Site, clicks
    from dataco_assets.sources.access_logs.formats import Format
    from dataco_assets.sources.enrichment import Enrichment

    with file.open("rb") as lines:
        for found in clicks(lines, Format.COMBINED, Enrichment(), site=Site(LOG.base_url), report=LogReport()):
            at = int(found["timestamp"])
            # The row key decides between clicks of the same millisecond.
            identity = f"{found['user_id']}\x1f{found['event_id']}"
            identity = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
            country = str(found.get("country") or "ZZ")
            agent = {name: str(found[name]) for name in ("browser", "device") if name in found}
            yield oracle.OracleClick(
                f"{at}-{identity}", str(found["user_id"]), at, page_by_hand(str(found["url"])), country, **agent
            )


def page_by_hand(url: str) -> str:
    """The page of a URL of this log: no ports, no upper-case hosts, but fragments and tracking parameters."""
    url = url.partition("#")[0]
    base, mark, query = url.partition("?")
    kept = [
        part
        for part in query.split("&")
        if not part.partition("=")[0].startswith("utm_")
        and part.partition("=")[0] not in {"gclid", "fbclid", "msclkid"}
    ]
    return base + mark + "&".join(kept) if mark and any(kept) else base


@pytest.mark.timeout(900)
def test_a_real_log_ends_in_the_index_exactly_as_plain_python_computes_it(environment: dict[str, str]) -> None:
    run(environment, "dataco", "setup")
    send_and_refresh(environment)
    first_hour = int(LOG.first_hour.timestamp()) * 1_000
    expected = oracle.aggregate(clicks_of(LOG.file), range(first_hour, first_hour + LOG.hours * HOUR, HOUR))

    first = documents(environment)
    compare_documents(first, expected, clicks=LOG.clicks)

    # Sent a second time and refreshed again: the same.
    send_and_refresh(environment)
    compare_documents(documents(environment), expected, clicks=LOG.clicks)
    assert "dirty hours" in run(environment, "dataco", "status")
    since, until = (moment.strftime(PARTITION) for moment in (LOG.first_hour, LAST_HOUR))
    top = run(environment, "dataco", "top", "--limit", "5", "--since", since, "--until", until)
    assert urlsplit(LOG.base_url).netloc in top


def send_and_refresh(environment: dict[str, str]) -> None:
    run(environment, "dataco", "clicks", "from-access-log", str(LOG.file), "--base-url", LOG.base_url)
    materialize(environment, "raw_clicks")
    materialize(
        environment,
        "url_country_aggregates,es_click_index",
        "--partition-range",
        f"{LOG.first_hour:{PARTITION}}...{LAST_HOUR:{PARTITION}}",
    )
