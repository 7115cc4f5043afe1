"""The job that removes old runs from Dagster's instance, which Dagster itself keeps for ever.

Sensors start thousands of runs a day. Runs that are still needed are kept: those that hold the last materialisation of
a partition, and the newest of each job, which the sensors read.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from dataco_assets.jobs import JOBS, PURGE_JOB
from dataco_assets.run_leases import leased_executor
from dataco_assets.settings import Settings

NEWEST_KEPT = 200
"""Finished runs of each job that stay whatever their age: several times as many as a sensor reads."""
_PAGE = 500
_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_MATERIALIZATION = dg.DagsterEventType.ASSET_MATERIALIZATION
_PARTITIONED = [dg.AssetKey("url_country_aggregates"), dg.AssetKey("es_click_index")]
_UNPARTITIONED = dg.AssetKey("raw_clicks")


def purge(instance: dg.DagsterInstance, *, before: datetime) -> int:
    """Removes finished runs with their events and their output.

    Args:
        instance: Where they are recorded.
        before: Runs that were last changed before this time are old.

    Returns:
        How many runs were removed.
    """
    last = _last_runs(instance)
    removable = [run_id for job in JOBS for run_id in _old_runs(instance, job, before) if run_id not in last]
    for run_id in removable:
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    return len(removable)


def _old_runs(instance: dg.DagsterInstance, job: str, before: datetime) -> list[str]:
    newest_first = list(_finished_runs(instance, job))
    return [record.dagster_run.run_id for record in newest_first[NEWEST_KEPT:] if record.update_timestamp < before]


def _finished_runs(instance: dg.DagsterInstance, job: str) -> Iterator[dg.RunRecord]:
    filters, cursor = dg.RunsFilter(job_name=job, statuses=_FINISHED), None
    while page := instance.get_run_records(filters, limit=_PAGE, cursor=cursor):
        yield from page
        cursor = page[-1].dagster_run.run_id


def _last_runs(instance: dg.DagsterInstance) -> set[str]:
    """Runs that hold the last materialisation of an asset or a partition."""
    last = {record.run_id for record in instance.fetch_materializations(_UNPARTITIONED, limit=1).records}
    for asset in _PARTITIONED:
        ids = list(instance.get_latest_storage_id_by_partition(asset, _MATERIALIZATION).values())
        for start in range(0, len(ids), _PAGE):
            chosen = dg.AssetRecordsFilter(asset_key=asset, storage_ids=ids[start : start + _PAGE])
            last |= {record.run_id for record in instance.fetch_materializations(chosen, limit=_PAGE).records}
    return last


@dg.op(description="Removes runs older than DATACO_RUN_RETENTION_DAYS that are no longer needed.")
def remove_old_runs(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings]) -> None:
    """Removes old runs once."""
    before = datetime.now(UTC) - timedelta(days=settings.run_retention_days)
    context.log.info(f"{purge(context.instance, before=before):,} runs from before {before:%Y-%m-%d %H:%M} removed.")


@dg.job(
    name=PURGE_JOB,
    executor_def=leased_executor,
    description="Removes finished runs of ingest and refresh older than DATACO_RUN_RETENTION_DAYS, with their events "
    "and output; never the last materialisation of a partition.",
    tags={"domain": "clickstream"},
)
def purge_old_runs() -> None:
    """The job of `purge_schedule`."""
    remove_old_runs()


purge_schedule = dg.ScheduleDefinition(
    name="purge_schedule",
    job=purge_old_runs,
    cron_schedule="17 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Removes old runs every night (UTC).",
)
