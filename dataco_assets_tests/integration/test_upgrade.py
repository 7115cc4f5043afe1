"""Tests the documented upgrade of a platform with row keys of version 1: everything is kept and correct.

`row_key_1.json` was written by that version, on real servers: 61 clicks of 8 users in three hours, several of a user in
the same millisecond, with and without optional cells and event ids; one sent twice, the second time without its city;
the last one not computed yet. It holds tables (cells as Latin-1 text, with their age in ms), Parquet files and the
index. The test writes them as they were, with times that are as old now as they were then.
"""

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import happybase
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession
from typer.testing import CliRunner, Result

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.reading import read_hour, stored_hours
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.cli import app
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import IndexMismatch
from dataco_assets.provisioning import SetupMismatch
from dataco_assets.verification.compare import Outcome
from dataco_assets_tests import oracle
from dataco_assets_tests.integration.keys_of_version_1 import new_key
from dataco_assets_tests.oracle import OracleClick
from dataco_assets_tests.platforms import Platform, click, make_platform
from dataco_assets_tests.refreshes import Refreshes
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
LEFT_BEHIND: dict[str, Any] = json.loads((Path(__file__).parent / "row_key_1.json").read_text())
FAMILIES = {
    name: {"max_versions": 1, "time_to_live": 90 * 86_400} for name in ("click_data", "geo_data", "user_agent_data")
}
COLUMNS = 14
HOUR = 3_600_000
LATE = 1_795_096_800_005
"""Time of the click that was not computed yet: 2026-11-19, 14:00 and 5 ms."""


@pytest.fixture
def platform(stack: Stack, tmp_path: Path) -> Iterator[Platform]:
    """A platform with the data of the earlier version."""
    made = make_platform(
        stack.env(),
        partitions_start="2026-11-01-00:00",
        aggregates_uri=(tmp_path / "aggregates").as_uri(),
        hbase_retry_seconds=20.0,
    ).create(partitions=2, clicks_table=False)
    made.hbase.create_table(made.settings.clicks_table, FAMILIES)
    restore_topic(made)
    restore_tables(made)
    restore_files(made)
    restore_index(made)
    yield made
    with closing(connect(made.settings)) as search:
        for index in search.indices.get(index=f"{made.settings.index_alias}-*").body:
            search.indices.delete(index=index)
        for template in search.indices.get_index_template(name=f"{made.settings.index_alias}*").body["index_templates"]:
            search.indices.delete_index_template(name=template["name"])
    made.drop()


def restore_topic(platform: Platform) -> None:
    """Fills the topic with messages that were read long ago; their content does not matter."""
    for partition, position in positions().items():
        platform.produce([b"read"] * position, partition=partition)


def positions() -> dict[int, int]:
    """The offset ledger: next offset by partition."""
    rows = LEFT_BEHIND["tables"]["ingest_offsets"]
    return {int(row["key"].rpartition("/")[2]): int(row["cells"]["o:next"][0].split()[1]) for row in rows}


def restore_tables(platform: Platform) -> None:
    settings = platform.settings
    names = {
        "clicks": settings.clicks_table,
        "click_hours": settings.hours_table,
        "ingest_offsets": settings.offsets_table,
        "suppressed_users": settings.suppressed_table,
    }
    now_ms = platform.hours.server_time_ms()
    topic_id = platform.admin.topic(settings.clicks_topic).topic_id
    with closing(happybase.Connection(settings.hbase_thrift_host, settings.hbase_thrift_port)) as connection:
        for name, rows in LEFT_BEHIND["tables"].items():
            table = connection.table(names[name])
            for row in rows:
                for column, (value, age_ms) in row["cells"].items():
                    if column == "o:next":
                        value = f"{topic_id} {value.split()[1]}"  # noqa: PLW2901
                    if column == "h:first_stored_at":
                        value = str(now_ms - (LEFT_BEHIND["dumped_at"] - int(value)))  # noqa: PLW2901
                    key = row["key"].replace("TOPIC", settings.clicks_topic).encode("latin-1")
                    table.put(key, {column.encode(): value.encode("latin-1")}, timestamp=now_ms - age_ms)


def restore_files(platform: Platform) -> None:
    root = Path(urlsplit(platform.settings.aggregates_uri).path)
    for name, content in LEFT_BEHIND["files"].items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(base64.b64decode(content))


def restore_index(platform: Platform) -> None:
    alias = platform.settings.index_alias
    with closing(connect(platform.settings)) as search:
        template = json.loads(json.dumps(LEFT_BEHIND["template"]).replace("ALIAS", alias))
        search.indices.put_index_template(name=alias, body=template)
        for name, index in LEFT_BEHIND["indices"].items():
            search.indices.create(index=name.replace("ALIAS", alias), body={**index, "aliases": {alias: {}}})
        for found in LEFT_BEHIND["documents"]:
            search.index(
                index=found["index"].replace("ALIAS", alias),
                id=found["id"],
                document=found["source"],
                version=found["version"],
                version_type="external",
            )
        search.indices.refresh(index=alias)


@pytest.fixture
def command(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, environment: None) -> Callable[..., Result]:
    """The `dataco` command in this process, on the Spark session that the tests share."""
    del environment
    monkeypatch.setattr("spark_resources.session.create_session", lambda *_: spark)
    monkeypatch.setattr(SparkSession, "stop", lambda _: None)
    monkeypatch.setattr("dataco_assets.index.rebuild.GRACE_SECONDS", 0)
    monkeypatch.setattr("dataco_assets.cli.setup._archive_classes", lambda *_: None)
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=True)


def old_clicks() -> list[dict[str, str]]:
    """The stored clicks, by column."""
    return [{c: v for c, (v, _) in row["cells"].items()} for row in LEFT_BEHIND["tables"]["clicks"]]


def as_oracle(cells: dict[str, str]) -> OracleClick:
    key = new_key({column.encode(): value.encode("latin-1") for column, value in cells.items()})
    of_click = {name: cells[f"click_data:{name}"].encode("latin-1").decode() for name in ("user_id", "page")}
    timestamp = int(cells["click_data:timestamp"])
    return OracleClick(key.decode(), of_click["user_id"], timestamp, of_click["page"], cells["geo_data:country"])


def published(platform: Platform) -> dict[tuple[int, str, str], tuple[Any, ...]]:
    fields = (
        *("click_count", "unique_users", "entering_users"),
        *("time_spent_seconds_sum", "time_spent_samples", "average_time_spent_seconds"),
        *("entries", "exits", "bounces", "time_spent_buckets", "bot_clicks"),
    )
    with closing(connect(platform.settings)) as search:
        search.indices.refresh(index=platform.settings.index_alias)
        hits = search.search(index=platform.settings.index_alias, size=1_000)["hits"]["hits"]
    sources = [hit["_source"] for hit in hits]
    nothing = {"time_spent_buckets": {}}  # no bucket holds a click
    return {
        (epoch_ms(found["hour"]), found["page"], found["country"]): tuple(
            (nothing | found).get(name) for name in fields
        )
        for found in sources
    }


def epoch_ms(iso: str) -> int:
    return int(datetime.fromisoformat(iso).timestamp() * 1000)


def test_everything_of_a_version_with_row_keys_1_is_taken_over(
    platform: Platform, refreshes: Refreshes, command: Callable[..., Result], tmp_path: Path
) -> None:
    clicks_before = dict(platform.hbase.scan_with_times(platform.settings.clicks_table))
    ledger_before = platform.hour_states()

    refused = command("setup")
    assert isinstance(refused.exception, SetupMismatch)
    assert "dataco setup --rekey-clicks" in str(refused.exception)
    upgraded = command("setup", "--rekey-clicks")
    assert "61 rows" in " ".join(upgraded.output.split())
    assert isinstance(upgraded.exception, IndexMismatch)
    assert "dataco index rebuild" in str(upgraded.exception)
    rebuilt = command("index", "rebuild")
    assert rebuilt.exit_code == 0, rebuilt.output
    again = command("setup", "--import-aggregates", str(tmp_path / "aggregates"))
    assert again.exit_code == 0, again.output
    assert f"aggregates of {len(LEFT_BEHIND['files'])} hours" in again.output
    check_aggregates(platform)
    incomplete = (
        "3 hours computed by an earlier version without bot_clicks, bounces, entries, exits, time_spent_buckets"
    )
    fill = "dataco backfill 2026-11-19-12:00 2026-11-19-14:00"
    for said in (again, command("status")):
        assert incomplete in " ".join(said.output.split())
        assert fill in " ".join(said.output.split())

    check_clicks(platform, clicks_before)
    assert platform.positions() == positions()
    ledger = platform.hour_states()
    assert {hour: (state.done, state.first_stored_at) for hour, state in ledger.items()} == {
        hour: (state.done, state.first_stored_at) for hour, state in ledger_before.items()
    }
    # Some users have several clicks of a millisecond in each hour; their order, by row key, is another one now.
    hours = {int(cells["click_data:timestamp"]) // HOUR * HOUR for cells in old_clicks()}
    assert hours <= {state.hour for state in platform.hours.all() if state.is_dirty}
    assert platform.suppression.read().keys() == {
        row["key"].encode() for row in LEFT_BEHIND["tables"]["suppressed_users"]
    }

    platform.produce([click("after", at=LATE + 60_000, user="user-2", url="https://shop.example/2")])
    assert platform.drain().stored == 1
    refreshes.settle()

    after = OracleClick("99", "user-2", LATE + 60_000, "https://shop.example/2", "DE")
    expected = oracle.aggregate([*map(as_oracle, old_clicks()), after], hours)
    assert published(platform) == {group: tuple(row.__dict__.values()) for group, row in expected.items()}
    assert refreshes.differences() == []
    assert {verdict.outcome for verdict in refreshes.verdicts()} == {Outcome.EQUAL}
    assert "earlier version" not in command("status").output


def check_aggregates(platform: Platform) -> None:
    """The table holds of each hour what the earlier version's file holds, and nulls for what did not exist then."""
    place = TablePlace.of(platform.settings)
    hours = {file_hour(name): base64.b64decode(content) for name, content in LEFT_BEHIND["files"].items()}
    assert stored_hours(place) == sorted(hours)
    for hour, content in hours.items():
        file = pq.ParquetFile(BytesIO(content))
        stored = read_hour(place, hour)
        assert stored is not None
        old = file.read()
        rows = sorted(stored.table.to_pylist(), key=str)
        assert [{name: row[name] for name in old.column_names} for row in rows] == sorted(old.to_pylist(), key=str)
        assert all(row[name] is None for row in rows for name in PAGES.later)
        if not rows:
            assert stored.generation == int(file.metadata.metadata[b"dataco.generation"])


def file_hour(name: str) -> int:
    return int(datetime.strptime(name.partition("/")[0], "%Y-%m-%dT%H").replace(tzinfo=UTC).timestamp() * 1000)


def check_clicks(platform: Platform, before: dict[bytes, dict[bytes, tuple[bytes, int]]]) -> None:
    """Every row is there once under its new key, complete, with its time; nothing of another message is left in it."""
    after = dict(platform.hbase.scan_with_times(platform.settings.clicks_table))
    assert len(after) == len(before) == len(LEFT_BEHIND["tables"]["clicks"])
    for cells in before.values():
        stored_at = cells[b"click_data:event_id"][1]
        row = after[new_key({column: value for column, (value, _) in cells.items()})]
        assert len(row) == COLUMNS
        assert {time for _, time in row.values()} == {stored_at}
        known = {column: value for column, (value, time) in cells.items() if time == stored_at}
        assert {column: value for column, (value, _) in row.items() if value} == {c: v for c, v in known.items() if v}
    (twice,) = [row for row in after.values() if row[b"click_data:event_id"][0] == b"twice"]
    assert (twice[b"geo_data:city"][0], twice[b"user_agent_data:device"][0]) == (b"", b"Tablet")
