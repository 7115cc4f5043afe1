"""The names of the jobs, and those of them that sensors start and that can be started by hand."""

import dagster as dg

from dataco_assets.following import following_executor
from dataco_assets.run_leases import leased_executor

INGEST_JOB = "ingest_clicks"
REFRESH_JOB = "refresh_hours"
INGEST_AND_REFRESH_JOB = "ingest_and_refresh"
MAINTENANCE_JOB = "maintain_aggregates"
PURGE_JOB = "purge_old_runs"
JOBS = (INGEST_JOB, REFRESH_JOB, INGEST_AND_REFRESH_JOB, MAINTENANCE_JOB, PURGE_JOB)
"""The names of all jobs; the nightly ones are in `maintenance` and `retention`."""

ingest_clicks = dg.define_asset_job(
    INGEST_JOB,
    selection=dg.AssetSelection.assets("raw_clicks"),
    description="Stores the clicks waiting in the topic, then ends. Started by kafka_lag_sensor.",
    executor_def=leased_executor,
    tags={"domain": "clickstream"},
)

refresh_hours = dg.define_asset_job(
    REFRESH_JOB,
    # The assets report the checks themselves. As planned steps, the checks would be evaluated twice, and a run that
    # fails earlier would show them as failed.
    selection=dg.AssetSelection.assets("url_country_aggregates", "es_click_index").without_checks(),
    description="Computes hours from HBase and publishes them, in one process with one Spark session. Started by "
    "dirty_hours_sensor; a range of hours is one Spark job.",
    executor_def=leased_executor,
    tags={"domain": "clickstream"},
)

ingest_and_refresh = dg.define_asset_job(
    INGEST_AND_REFRESH_JOB,
    selection=dg.AssetSelection.assets("raw_clicks")
    | dg.AssetSelection.assets("url_country_aggregates", "es_click_index").without_checks(),
    description="Stores the clicks waiting in the topic, then computes and publishes the hours that clicks of this "
    "moment belong to, in one process: they are found sooner than after two runs. Does both again while clicks come. "
    "Started by kafka_lag_sensor while readers do not get the running hour from live.",
    executor_def=following_executor,
    tags={"domain": "clickstream"},
)
