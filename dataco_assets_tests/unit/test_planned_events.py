"""Tests how many events Dagster writes before a run over many hours starts."""

from pathlib import Path

import dagster as dg

from dataco_assets.definitions import build_defs
from dataco_assets.jobs import REFRESH_JOB
from dataco_assets.partitions import range_tags

PLANNED = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED


def test_a_range_of_hours_is_one_planned_event_per_asset(tmp_path: Path) -> None:
    """With one per hour and asset, a run of 10,000 hours took an hour to start."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    job = build_defs().resolve_job_def(REFRESH_JOB)
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        run = instance.create_run_for_job(job, tags=range_tags("2026-01-01-00:00", "2026-01-20-23:00"))
        planned = instance.all_logs(run.run_id, of_type=PLANNED)
    assert len(planned) == 2, "480 hours of two assets"
