"""Reads Dagster's runs for the sensors: which are in progress, and how finished ones ended."""

from collections.abc import Mapping, Sequence

import dagster as dg

from dataco_assets.assets.failures import failure_of
from dataco_assets.following import SLOW_TAG
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, INGEST_JOB, REFRESH_JOB
from dataco_assets.ledgers.parked import Parked
from dataco_assets.partitions import run_hours
from dataco_assets.sensors.back_off import PastRun
from dataco_assets.sensors.refresh import LANE_TAG, HoursView, Lane, failures_by_hour, last_refreshes

CIRCUMSTANCES_TAG = "dataco/circumstances"
_RUNS_LOOKED_AT = 50
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def drains_in_flight(instance: dg.DagsterInstance) -> bool:
    """Whether any run drains the topic, including one started by hand."""
    topic_drain = dg.AssetKey("raw_clicks")
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=IN_FLIGHT))
    jobs = (INGEST_JOB, INGEST_AND_REFRESH_JOB)
    return any(run.job_name in jobs or topic_drain in (run.asset_selection or ()) for run in runs)


def refreshes_in_flight(instance: dg.DagsterInstance) -> tuple[set[int], set[Lane]]:
    """Hours being refreshed by any run, and the lanes that have a run."""
    index = dg.AssetKey("es_click_index")
    going = [
        run
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_FLIGHT))
        if run.job_name in (REFRESH_JOB, INGEST_AND_REFRESH_JOB) or index in (run.asset_selection or ())
    ]
    hours = {hour for run in going for hour in run_hours(run.tags)}
    named = {run.tags.get(LANE_TAG) for run in going}
    return hours, {lane for lane in Lane if lane.value in named}  # another version's lane may have another name


def register_pool(instance: dg.DagsterInstance, pool: str) -> None:
    """Records a pool with the instance's default limit, if it is not recorded yet.

    Dagster itself records a pool while it dequeues the pool's first run, too late to limit other runs that it dequeues
    in the same pass.
    """
    storage = instance.event_log_storage
    has_limit = storage.supports_global_concurrency_limits and instance.global_op_concurrency_default_limit is not None
    if has_limit and pool not in storage.get_concurrency_keys():
        storage.initialize_concurrency_limit_to_default(pool)


def past_runs(instance: dg.DagsterInstance, job: str) -> list[PastRun]:
    """Finished runs of a job, newest first, within the sensors' look-back."""
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=finished), limit=_RUNS_LOOKED_AT)
    return [_past_run(record) for record in records]


def with_those_together(past: Sequence[PastRun], together: Sequence[PastRun]) -> list[PastRun]:
    """Runs that ingested, or that refreshed, and the good ones of those that did both; newest first.

    A failed one that did both is left out: the next run does one of the two, and shows whether that works.

    Args:
        past: Finished runs of `ingest_clicks`, or of `refresh_hours`.
        together: Finished runs of `ingest_and_refresh`.
    """
    good = [run for run in together if not run.failed]
    return sorted([*past, *good], key=lambda run: run.ended_at, reverse=True)


def hours_view(
    instance: dg.DagsterInstance,
    dirty: Sequence[int],
    entries: Mapping[int, Parked],
    past: Sequence[PastRun],
    now: float,
) -> HoursView:
    """What is known of the refreshes.

    Args:
        instance: Where the runs are recorded.
        dirty: Hours whose clicks are not all in the index, epoch ms.
        entries: Hours among the parked work.
        past: Finished runs that refreshed hours, newest first.
        now: Epoch seconds.
    """
    in_flight, lanes = refreshes_in_flight(instance)
    settled_at = {hour: entry.ended_at for hour, entry in entries.items() if entry.ended_at is not None}
    return HoursView(
        dirty=dirty,
        in_flight=in_flight,
        lanes=lanes,
        parked={hour for hour, entry in entries.items() if entry.is_active},
        failures=failures_by_hour(past, settled_at),
        refreshed_at=last_refreshes(past),
        backlog_speed=backlog_speed(past),
        now=now,
    )


def backlog_speed(past: Sequence[PastRun]) -> tuple[int, float] | None:
    """Hours and seconds of the last backlog run that succeeded."""
    for run in past:
        if run.lane == Lane.BACKLOG and not run.failed:
            return len(run.hours), run.ended_at - run.started_at
    return None


def _past_run(record: dg.RunRecord) -> PastRun:
    run = record.dagster_run
    failed = run.status == dg.DagsterRunStatus.FAILURE
    return PastRun(
        failed=failed,
        ended_at=record.end_time or 0.0,
        started_at=record.start_time or 0.0,
        run_id=run.run_id,
        hours=run_hours(run.tags),
        lane=run.tags.get(LANE_TAG, ""),
        failure=failure_of(run) if failed else None,
        circumstances=run.tags.get(CIRCUMSTANCES_TAG, ""),
        had_slow_round=SLOW_TAG in run.tags,
    )
