"""Tests the removal of old runs, on a real Dagster instance (SQLite)."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dataco_assets import retention
from dataco_assets.jobs import INGEST_JOB, REFRESH_JOB
from dataco_assets.retention import purge

FUTURE = datetime.now(UTC) + timedelta(days=1)
HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")


@dg.asset(partitions_def=HOURS)
def url_country_aggregates() -> None: ...


@dg.asset(partitions_def=HOURS, deps=[url_country_aggregates])
def es_click_index() -> None: ...


@dg.asset
def raw_clicks() -> None: ...


_DEFS = dg.Definitions(
    assets=[raw_clicks, url_country_aggregates, es_click_index],
    jobs=[
        dg.define_asset_job(INGEST_JOB, selection=[raw_clicks]),
        dg.define_asset_job(REFRESH_JOB, selection=[url_country_aggregates, es_click_index]),
    ],
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made


def _run(instance: dg.DagsterInstance, job: str, hour: str | None = None) -> str:
    result = _DEFS.resolve_job_def(job).execute_in_process(instance=instance, partition_key=hour)
    assert result.success
    return result.run_id


def _run_ids(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_the_last_materialisation_of_each_partition_stays(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "NEWEST_KEPT", 0)
    ingests = [_run(instance, INGEST_JOB) for _ in range(2)]
    one = _run(instance, REFRESH_JOB, "2026-01-01-00:00")
    first = _run(instance, REFRESH_JOB, "2026-01-01-01:00")
    second = _run(instance, REFRESH_JOB, "2026-01-01-01:00")

    assert purge(instance, before=FUTURE) == 2
    assert _run_ids(instance) == {ingests[1], one, second}
    assert instance.all_logs(first) == []
    for asset in ("url_country_aggregates", "es_click_index"):
        assert instance.get_materialized_partitions(dg.AssetKey(asset)) == {"2026-01-01-00:00", "2026-01-01-01:00"}
    assert instance.get_latest_materialization_event(dg.AssetKey("raw_clicks")) is not None
    assert purge(instance, before=FUTURE) == 0


def test_the_newest_runs_of_each_job_stay(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEWEST_KEPT", 2)
    runs = [_run(instance, INGEST_JOB) for _ in range(3)]
    assert purge(instance, before=FUTURE) == 1
    assert _run_ids(instance) == set(runs[1:])


def test_runs_that_are_young_or_of_others_stay(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "NEWEST_KEPT", 0)
    for _ in range(2):
        _run(instance, INGEST_JOB)
    others = _DEFS.get_implicit_global_asset_job_def()
    for _ in range(2):
        others.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("raw_clicks")])
    assert purge(instance, before=datetime.now(UTC) - timedelta(days=1)) == 0
    assert purge(instance, before=FUTURE) == 2
    assert len(_run_ids(instance)) == 2
