"""`url_country_aggregates`: each hour's clicks by page and country, computed on Spark, one Parquet file per hour."""

from datetime import timedelta

import dagster as dg

from dataco_assets.aggregates.columns import COLUMNS
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS, raw_clicks
from dataco_assets.assets.report import hour_metadata, pages_markdown, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, contiguous_runs, hour_from_key, hour_key
from dataco_assets.partitions import HOURS
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import settings

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
    context: dg.AssetExecutionContext, spark: SparkResource, hbase: HBaseResource
) -> dg.MaterializeResult:
    """Computes the hours of this run."""
    from dataco_assets.aggregates.files import read_hour
    from dataco_assets.aggregates.totals import busiest_pages, totals
    from dataco_assets.ledgers.hours import HourLedger
    from spark_resources.aggregates_files import write_hours
    from spark_resources.aggregation import aggregate
    from spark_resources.clicks_table import counted, read_clicks

    hours = [hour_from_key(key) for key in context.partition_keys]
    chosen, stages = settings(), Stages(context.log)
    with explained():
        with stages.stage("read the hour ledger"), hbase.client() as client:
            ledger = HourLedger(client, chosen.hours_table)
            now_ms = ledger.server_time_ms()
            ledger.refuse_expired(hours, ttl_days=chosen.clicks_ttl_days, now_ms=now_ms)
            # Before the scan: a click that lands from here on leaves its hour dirty.
            generations = {hour: state.dirty for hour, state in ledger.read(hours).items()}
        with stages.stage("start Spark"):
            session = spark.session
        with stages.stage("scan and aggregate"):
            ranges = [(run[0], run[-1] + HOUR_MS + VISIT_GAP_MS) for run in contiguous_runs(hours)]
            clicks, rows_scanned = counted(read_clicks(session, chosen.clicks_table, ranges))
            frame = aggregate(clicks, hours, generations, now_ms)
            files = write_hours(frame, hours, generations, chosen.aggregates_uri, context.run.run_id, now_ms)
        stored = {hour: read_hour(chosen.aggregates_uri, hour) for hour in hours}
    found = {hour: totals(aggregates) for hour, aggregates in stored.items() if aggregates is not None}
    for hour in hours:
        context.add_asset_metadata(hour_metadata(found[hour], files[hour].generation), partition_key=hour_key(hour))
    return dg.MaterializeResult(
        metadata={
            **run_metadata(found),
            "run: rows scanned": rows_scanned(),
            "run: hours left as a newer run computed them": sum(file.kept for file in files.values()),
            **stages.metadata(),
            "run: busiest pages": dg.MetadataValue.md(pages_markdown(busiest_pages(filter(None, stored.values())))),
        }
    )
