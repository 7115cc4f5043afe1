"""What Dagster's runs tell the sensors: which are going on, and how the finished ones ended."""

import time
from collections.abc import Sequence

import dagster as dg

from dataco_assets.clicks.hour import hour_from_key
from dataco_assets.jobs import INGEST_JOB, REFRESH_JOB
from dataco_assets.partitions import run_hours
from dataco_assets.sensors.back_off import PastRun
from dataco_assets.sensors.refresh import HoursView

_RUNS_LOOKED_AT = 50
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def drains_in_flight(instance: dg.DagsterInstance) -> bool:
    """Whether any run drains the topic, also one that was started by hand."""
    topic_drain = dg.AssetKey("raw_clicks")
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=IN_FLIGHT))
    return any(run.job_name == INGEST_JOB or topic_drain in (run.asset_selection or ()) for run in runs)


def past_runs(instance: dg.DagsterInstance, job: str) -> list[PastRun]:
    """The job's finished runs, newest first, as far as back-off looks back."""
    return [
        PastRun(record.dagster_run.status == dg.DagsterRunStatus.FAILURE, record.end_time or 0.0)
        for record in _finished(instance, job)
    ]


def _finished(instance: dg.DagsterInstance, job: str) -> Sequence[dg.RunRecord]:
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    return instance.get_run_records(dg.RunsFilter(job_name=job, statuses=finished), limit=_RUNS_LOOKED_AT)


def hours_view(instance: dg.DagsterInstance, dirty: Sequence[int]) -> HoursView:
    """What the runs say of the dirty hours: in flight, failed, last refreshed."""
    index = dg.AssetKey("es_click_index")
    going = [
        run
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=IN_FLIGHT))
        if run.job_name == REFRESH_JOB or index in (run.asset_selection or ())
    ]
    in_flight = {hour_from_key(key) for run in going for key in run_hours(run.tags)}
    failures: dict[int, tuple[int, float]] = {}
    refreshed_at: dict[int, float] = {}
    settled: set[int] = set()
    for record in _finished(instance, REFRESH_JOB):  # newest first
        failed = record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        for hour in map(hour_from_key, run_hours(record.dagster_run.tags)):
            refreshed_at.setdefault(hour, record.start_time or 0.0)
            if failed and hour not in settled:
                count, ended_at = failures.get(hour, (0, record.end_time or 0.0))
                failures[hour] = (count + 1, ended_at)
            elif not failed:
                settled.add(hour)
    return HoursView(dirty, in_flight, len(going), failures, refreshed_at, time.time())
