"""Tests `dataco backfill`: one recorded run for the whole range, checked by `dataco verify`."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import connect
from dataco_assets_tests.platforms import Platform, click

pytestmark = pytest.mark.stack
MORNING = 1_770_624_000_000  # 2026-02-09 08:00 UTC


def run(platform: Platform, home: Path, *command: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("dataco"))
    environment = {
        **os.environ,
        **platform.environment(),
        "DAGSTER_HOME": str(home),
        "DATACO_PARTITIONS_START": "2026-01-01-00:00",
        "DATACO_SPARK_MASTER": "local[2]",
        "DATACO_HBASE_RETRY_SECONDS": "5",
    }
    return subprocess.run(
        [program, *command], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_a_range_is_one_recorded_run_and_heals_what_was_changed_by_hand(platform: Platform, tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    home.joinpath("dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    platform.produce(
        [
            click(f"{n}-{part}", at=MORNING + n * HOUR_MS + 50 * 60_000 + part * 15 * 60_000, user=f"u{n}")
            for n in range(0, 30, 3)
            for part in (0, 1)
        ]
    )
    platform.drain()

    backfilled = run(platform, home, "backfill", "2026-02-09-08:00", "2026-02-10")
    assert backfilled.returncode == 0, backfilled.stderr[-3000:]
    assert "40 hours: 2026-02-09-08:00 to 2026-02-10-23:00, both included." in backfilled.stdout
    assert "40 hours published in" in backfilled.stdout
    assert "row_key" not in backfilled.stdout, "the connector printed its columns"
    assert "scan and aggregate" in backfilled.stderr, "its progress is on the terminal"

    with dg.DagsterInstance.from_config(str(home)) as instance:
        (recorded,) = instance.get_runs()
        assert recorded.status == dg.DagsterRunStatus.SUCCESS
        assert recorded.tags["dagster/asset_partition_range_end"] == "2026-02-10-23:00"
        assert len(instance.get_materialized_partitions(dg.AssetKey("es_click_index"))) == 40

    verified = run(platform, home, "verify", "--strict")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "20 clicks" in verified.stdout

    change_documents(platform)
    assert run(platform, home, "verify").returncode == 1
    healed = run(platform, home, "backfill", "2026-02-09-08:00", "2026-02-09-09:00")
    assert healed.returncode == 0, healed.stderr[-3000:]
    assert "changed by something other than this platform" in healed.stderr
    verified = run(platform, home, "verify", "--strict")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def change_documents(platform: Platform) -> None:
    """Changes the document of 08:00 twice and deletes that of 09:00, as somebody with access to the index could."""
    alias = platform.settings.index_alias
    with closing(connect(platform.settings)) as search:
        search.indices.refresh(index=alias)
        hours = {"range": {"hour": {"lt": "2026-02-09T10:00:00Z"}}}
        changed, deleted = search.search(index=alias, query=hours, sort="hour")["hits"]["hits"]
        for clicks in (7, 8):
            search.update(index=changed["_index"], id=changed["_id"], doc={"click_count": clicks})
        search.delete(index=deleted["_index"], id=deleted["_id"])


def test_a_range_that_begins_before_the_first_partition_is_refused(platform: Platform, tmp_path: Path) -> None:
    refused = run(platform, tmp_path, "backfill", "2025-12-31", "2026-01-02")
    assert refused.returncode == 2
    assert "DATACO_PARTITIONS_START" in refused.stderr
    assert "Traceback" not in refused.stderr
