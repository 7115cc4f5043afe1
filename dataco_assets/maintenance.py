"""The job that keeps what is published small and fast: old snapshots, small files, orphans and old restatements go.

What the actions on the tables are and why they harm no run: `spark_resources/aggregates_maintenance.py`. Which
restatements are old: `index/restatements.py`.
"""

from collections import Counter
from dataclasses import asdict
from datetime import timedelta

import dagster as dg

from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.failures import explained
from dataco_assets.clock import now_ms
from dataco_assets.jobs import MAINTENANCE_JOB
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.run_leases import leased_executor
from dataco_assets.settings import Settings


@dg.op(
    # One Spark session at a time, whoever needs it.
    pool="spark",
    description="Merges small files, and removes snapshots older than DATACO_SNAPSHOT_RETENTION_HOURS and orphaned "
    "files older than DATACO_ORPHAN_RETENTION_DAYS.",
)
def maintain_table(context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings], spark: SparkResource) -> None:
    """Maintains each table once."""
    from spark_resources.aggregates_maintenance import maintain

    with explained():
        done = {
            aggregate.name: maintain(
                spark.session,
                TablePlace.of(settings, aggregate),
                now_ms=now_ms(),
                snapshot_retention=timedelta(hours=settings.snapshot_retention_hours),
                orphan_retention=timedelta(days=settings.orphan_retention_days),
            )
            for aggregate in AGGREGATES
        }
    counts: Counter[str] = Counter()
    for name, maintained in done.items():
        of_table = asdict(maintained)
        shown = ", ".join(f"{what.replace('_', ' ')}: {count:,}" for what, count in of_table.items())
        context.log.info(f"{name}: {shown}")
        counts.update(of_table)
    context.add_output_metadata(dict(counts))


@dg.op(description="Removes restatements older than DATACO_RESTATEMENT_RETENTION_DAYS, of expired hours.")
def remove_old_restatements(
    context: dg.OpExecutionContext, settings: dg.ResourceParam[Settings], elasticsearch: ElasticsearchResource
) -> None:
    """Removes old restatements once."""
    from dataco_assets.index.restatements import remove_old

    with explained(), elasticsearch.client() as client:
        removed = remove_old(client, settings, now_ms=now_ms())
    context.log.info(f"{removed:,} restatements removed.")
    context.add_output_metadata({"restatements_removed": removed})


@dg.job(
    name=MAINTENANCE_JOB,
    executor_def=leased_executor,
    description="Maintains the aggregates' tables: small files are merged; old snapshots, and files that belong to "
    "none, are removed. Removes old restatements of expired hours. Runs that compute hours go on meanwhile.",
    tags={"domain": "clickstream"},
)
def maintain_aggregates() -> None:
    """The job of `maintenance_schedule`."""
    maintain_table()
    remove_old_restatements()


maintenance_schedule = dg.ScheduleDefinition(
    name="maintenance_schedule",
    job=maintain_aggregates,
    cron_schedule="37 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night (UTC).",
)
