"""`url_country_aggregates`: each hour's clicks by page and country, computed on Spark, one Parquet file per hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import COLUMNS
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS, raw_clicks
from dataco_assets.assets.report import hour_metadata, pages_markdown, report_hours, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, contiguous_runs
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from dataco_assets.aggregates.files import HourAggregates
    from spark_resources.aggregates_files import HourFile

AGGREGATES_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn(
            column.name,
            column.type,
            column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in COLUMNS
    ]
)

HOURS_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=1), fail_window=timedelta(hours=2))
"""Some hour was refreshed lately; whether every hour is up to date is the hour ledger's to say (`dataco status`)."""

_COLUMNS_READ = {
    "hour": ["click_data:timestamp"],
    "page": ["click_data:page"],
    "country": ["geo_data:country"],
    "click_count": ["click_data:event_id"],
    "unique_users": ["click_data:user_id"],
    **dict.fromkeys(
        ["entering_users", "time_spent_seconds_sum", "time_spent_samples", "average_time_spent_seconds"],
        ("click_data:timestamp", "click_data:user_id"),
    ),
}
_LINEAGE = dg.TableColumnLineage(
    {name: [dg.TableColumnDep(raw_clicks.key, column) for column in read] for name, read in _COLUMNS_READ.items()}
)


@dg.asset(
    deps=[raw_clicks],
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    description="Clicks, unique users and time spent of each hour by page and country, computed from HBase on Spark; "
    "one Parquet file per hour under DATACO_AGGREGATES_URI. A range of hours is one Spark job. The time spent on a "
    "click is the gap to the same user's next click, if that is at most 30 minutes away; the last click of a visit has "
    "no known duration and is not counted.",
    group_name="aggregation",
    kinds={"spark", "parquet"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    pool="spark",
    freshness_policy=HOURS_FRESH,
    metadata={"dagster/column_schema": AGGREGATES_SCHEMA, "dagster/column_lineage": _LINEAGE},
)
def url_country_aggregates(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], spark: SparkResource, hbase: HBaseResource
) -> dg.MaterializeResult:
    """Computes the hours of this run."""
    from dataco_assets.aggregates.totals import busiest_pages, totals

    stages = Stages(context.log)
    with explained():
        hours = hours_to_do(context.run.tags)
        computed = compute_hours(hours, context.run.run_id, stages, settings=settings, spark=spark, hbase=hbase)
    found = {hour: totals(aggregates) for hour, aggregates in computed.stored.items()}
    return report_hours(
        context,
        {hour: hour_metadata(found[hour], computed.files[hour].generation) for hour in hours},
        {
            **run_metadata(found),
            "run: rows scanned": computed.rows_scanned,
            "run: hours left as a newer run computed them": sum(file.kept for file in computed.files.values()),
            **stages.metadata(),
            "run: busiest pages": dg.MetadataValue.md(pages_markdown(busiest_pages(computed.stored.values()))),
        },
    )


@dataclass(frozen=True)
class ComputedHours:
    """What a run computed, by hour (epoch ms).

    Attributes:
        files: The Parquet file of each hour.
        stored: Its content.
        rows_scanned: Rows read from HBase.
    """

    files: "dict[int, HourFile]"
    stored: "dict[int, HourAggregates]"
    rows_scanned: int


def compute_hours(
    hours: Sequence[int],
    run_id: str,
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
) -> ComputedHours:
    """Computes hours from HBase's clicks and replaces their Parquet files.

    Args:
        hours: Starts of the hours, epoch ms.
        run_id: Name of this attempt, unique.
        stages: Times what is done.
        settings: Names of tables, and where the Parquet lies.
        spark: Gives the session.
        hbase: Gives clients.

    Raises:
        HourExpired: clicks of an hour may have left HBase.
        ClicksTableError, HBaseError, AggregatesNotWritten: see there.
    """
    from dataco_assets.aggregates.files import read_hours
    from dataco_assets.ledgers.hours import HourLedger
    from spark_resources.aggregates_files import write_hours
    from spark_resources.aggregation import aggregate
    from spark_resources.clicks_table import counted, read_clicks

    with stages.stage("read the hour ledger"), hbase.client() as client:
        ledger = HourLedger(client, settings.hours_table)
        now_ms = ledger.server_time_ms()
        ledger.refuse_expired(hours, ttl_days=settings.clicks_ttl_days, now_ms=now_ms)
        # Before the scan: a click that lands from here on leaves its hour dirty.
        generations = {hour: state.dirty for hour, state in ledger.read(hours).items()}
    with stages.stage("start Spark"):
        session = spark.session
    with stages.stage("scan and aggregate"):
        ranges = [(run[0], run[-1] + HOUR_MS + VISIT_GAP_MS) for run in contiguous_runs(hours)]
        clicks, rows_scanned = counted(read_clicks(session, settings.clicks_table, ranges))
        frame = aggregate(clicks, hours, generations, now_ms)
        files = write_hours(frame, hours, generations, settings.aggregates_uri, run_id, now_ms)
    stored = {hour: found for hour, found in read_hours(settings.aggregates_uri, hours) if found is not None}
    return ComputedHours(files, stored, rows_scanned())
