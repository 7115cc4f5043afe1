"""Refreshes of hours by the platform's own job: in a warm Spark session beside bare scans, and in a new process."""

import statistics
import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from benchmarks.workers.spark import session
from dataco_assets.aggregates.reading import table_state
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.es_click_index import es_click_index
from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.clicks.hour import hour_from_key, hour_key, scan_span
from dataco_assets.definitions import build_defs
from dataco_assets.jobs import REFRESH_JOB, refresh_hours
from dataco_assets.partitions import range_tags, run_hours
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_INDEX = es_click_index.key.to_user_string()
SEARCHABLE_AT = "searchable at"


_session = cache(session)


class WarmSpark(SparkResource):
    """The platform's Spark, but left running when a run ends."""

    @property
    def session(self) -> "SparkSession":
        """The process's session."""
        return _session()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leaves the session to the next run."""


def refresh(warm_up: str, warm_ups: int, spans: Sequence[tuple[str, str]], repetitions: int) -> dict[str, Any]:
    """Refreshes each span of hours and reads the same rows bare, in turn.

    Args:
        warm_up: An hour to refresh and read first, so that the session and the servers are warm.
        warm_ups: How often.
        spans: First and last hour of each span, as partition keys.
        repetitions: How often each span is refreshed and read; the median counts.

    Returns:
        By span: medians of seconds, and those of each stage. Of the last span also its documents, and the seconds that
        Dagster takes for it when the steps do nothing.
    """
    began = time.monotonic()
    spark = _session()
    spark_start = time.monotonic() - began
    job = build_defs(resource_overrides={"spark": WarmSpark(settings=settings())}).get_job_def(REFRESH_JOB)
    with dg.DagsterInstance.get() as instance:
        for _ in range(warm_ups):
            _refresh(job, instance, warm_up, warm_up)
            _bare(spark, warm_up, warm_up)
        measured = [
            [_refresh(job, instance, first, last) | _bare(spark, first, last) for _ in range(repetitions)]
            for first, last in spans
        ]
        hollow = _hollow_job()
        alone = [_refresh(hollow, instance, *spans[-1])["searchable"] for _ in range(repetitions)]
    return {
        "spark_start": spark_start,
        "spans": [_medians(rounds) for rounds in measured],
        "documents": _documents(*spans[-1]),
        "dagster": statistics.median(alone),
    }


def first_refresh(first: str, last: str) -> dict[str, float]:
    """Refreshes a span of hours as a run that Dagster launches: nothing is warm, and the run starts Spark.

    Args:
        first: First hour, as a partition key.
        last: Last hour.

    Returns:
        Seconds from the start of the run to the moment the hours were done, and of each stage.
    """
    with dg.DagsterInstance.get() as instance:
        return _refresh(build_defs().get_job_def(REFRESH_JOB), instance, first, last)


def _hollow_job() -> dg.JobDefinition:
    """The platform's job with the same assets and partitions, but steps that do nothing and report no checks."""
    assets = [_hollow_asset(asset) for asset in (url_country_aggregates, es_click_index)]
    return dg.Definitions(assets=assets, jobs=[refresh_hours]).resolve_job_def(REFRESH_JOB)


def _hollow_asset(asset: dg.AssetsDefinition) -> dg.AssetsDefinition:
    @dg.multi_asset(name=asset.op.name, specs=list(asset.specs), backfill_policy=asset.backfill_policy)
    def hollow():  # a generator of results
        for key in asset.keys:
            yield dg.MaterializeResult(asset_key=key)

    return hollow


def _documents(first: str, last: str) -> int:
    hours = run_hours(range_tags(first, last))
    return sum(hour.rows for hour in table_state(TablePlace.of(settings()), hours).hours.values())


def _refresh(job: dg.JobDefinition, instance: dg.DagsterInstance, first: str, last: str) -> dict[str, float]:
    """Seconds from the start of the run to the moment the hours were done, and of each stage."""
    started = time.time()
    done = job.execute_in_process(instance=instance, tags=range_tags(first, last))
    ended = time.time()
    stages = _stages(instance.all_logs(done.run_id))
    return stages | {"searchable": stages[SEARCHABLE_AT] - started, "whole run": ended - started}


def _stages(logs: Sequence[dg.EventLogEntry]) -> dict[str, float]:
    """Seconds by stage of a run, and when its hours were searchable (epoch seconds)."""
    found: dict[str, float] = {}
    for entry in logs:
        event = entry.dagster_event
        if event is None:
            continue
        if event.is_step_success:
            found[f"step {event.step_key}"] = cast("Any", event.event_specific_data).duration_ms / 1000
        if event.is_step_materialization:
            materialization = event.step_materialization_data.materialization
            asset = materialization.asset_key.to_user_string() if materialization.asset_key else ""
            found |= _seconds(asset, materialization.metadata)
            if asset == _INDEX:
                # One event per partition. The hours are done, all of them, before the first is recorded.
                found.setdefault(SEARCHABLE_AT, entry.timestamp)
    return found


def _seconds(asset: str, metadata: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, value in metadata.items():
        _, is_stage, stage = name.partition("seconds to ")
        if is_stage:
            # "scan and aggregate 24 hours", "write 1,234 documents": the same stage whatever the number
            stage = " ".join(word for word in stage.split() if not word[0].isdigit())
            found[f"{asset}: {stage}"] = float(value.value)
    return found


def _bare(spark: "SparkSession", first: str, last: str) -> dict[str, float]:
    """Seconds to count the rows, and to read the aggregation's four columns, without doing anything with them."""
    from spark_resources.clicks_table import read_clicks

    span = scan_span(hour_from_key(first), hour_from_key(last))
    started = time.monotonic()
    rows = read_clicks(spark, settings().clicks_table, [span]).count()
    counted = time.monotonic()
    read_clicks(spark, settings().clicks_table, [span]).write.format("noop").mode("append").save()
    return {"bare count": counted - started, "rows": float(rows), "bare scan": time.monotonic() - counted}


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = {name: None for each in rounds for name in each}
    return {name: statistics.median(each[name] for each in rounds if name in each) for name in names}


def dev_runs(since: float, hours: Sequence[int]) -> dict[str, Any]:
    """When `dagster dev` requested, started and finished each run of some hours, and the stages of each."""
    wanted = {hour_key(hour) for hour in hours}
    runs: list[dict[str, Any]] = []
    with dg.DagsterInstance.get() as instance:
        for record in instance.get_run_records(dg.RunsFilter(job_name=REFRESH_JOB)):
            key = record.dagster_run.tags.get("dagster/partition")
            created = record.create_timestamp.timestamp()
            if key not in wanted or created < since or record.end_time is None or record.start_time is None:
                continue
            logs = instance.all_logs(record.dagster_run.run_id)
            runs.append(
                {
                    "hour": hour_from_key(key),
                    "created": created,
                    "started": record.start_time,
                    "ended": record.end_time,
                    "stages": _stages(logs),
                }
            )
    return {"runs": runs}
