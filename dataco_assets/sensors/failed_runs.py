"""`failed_runs_sensor`: tells a webhook, and people by mail, of jobs that fail without parking any work."""

import time
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from typing import Final

import dagster as dg

from dataco_assets.assets.failures import RunFailure
from dataco_assets.errors import ErrorKind
from dataco_assets.jobs import JOBS
from dataco_assets.ledgers.parked import Receiver
from dataco_assets.sensors.back_off import PastRun, failures_in_a_row
from dataco_assets.sensors.failing import Told, Work, from_cursor, to_cursor
from dataco_assets.sensors.notifications import iso
from dataco_assets.sensors.receivers import NOBODY, Message, deliver, receivers, summary
from dataco_assets.sensors.runs import past_runs
from dataco_assets.settings import Settings
from dataco_assets.untrusted import on_one_line

_INTERVAL_SECONDS = 15
_SHOWN = 300
_CRASH: Final = "RunCrashed"
"""Error of a run that ended without one, because its process died."""


@dg.sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports jobs that crash, or fail again and again, to DATACO_WEBHOOK_URL and through DATACO_SMTP_HOST, "
    "whichever is set: once for each error until the job succeeds, and then that it does. Starts no runs.",
)
def failed_runs_sensor(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
    """Sends each receiver one message for each job and error, and one when the job succeeds again.

    It needs nothing but Dagster's storage, so that people hear of a server that is away. The cursor records what each
    receiver was told.
    """
    before = from_cursor(context.cursor)
    told = {receiver: before.get(receiver, Told()) for receiver in receivers(settings)}
    if not told:
        return dg.SkipReason(NOBODY)
    works, now = list(_works(context.instance)), time.time()

    def mark(receiver: Receiver, work: Work) -> None:
        told[receiver] = told[receiver].knowing(work)

    said = [
        deliver(
            settings,
            receiver,
            [*told[receiver].news(works, now)],
            lambda work: message(work, settings.clicks_topic),
            partial(mark, receiver),
        )
        for receiver in told
    ]
    context.update_cursor(to_cursor(told))
    return dg.SkipReason(summary(said))


def message(work: Work, topic: str) -> Message:
    """The message about work that fails, or succeeds again. `text` is the part that chats display."""
    newest, failures = work.newest, failures_in_a_row(work.past)
    told = {"topic": topic, "what": [work.name], "run_id": newest.run_id}
    if work.failure is None:
        return {"event": "recovered", "text": f"{work.name} succeeds again.", **told, "at": iso(newest.ended_at)}
    times = f" {failures} failures in a row." if failures > 1 else ""
    again = " It is tried again by itself." if work.failure.kind is ErrorKind.PASSING else ""
    return {
        "event": "failed",
        "text": f"{work.name} fails: {work.failure.error}: {work.failure.message} (run {newest.run_id[:8]}){times}"
        f"{again} `dataco doctor` examines every part of the platform.",
        **told,
        "error": work.failure.error,
        "message": work.failure.message,
        "failures": failures,
        "at": iso(newest.ended_at),
    }


def _works(instance: dg.DagsterInstance) -> Iterator[Work]:
    """All that runs do, each with its runs; jobs that never ended are none."""
    for job in JOBS:
        by_lane = sorted(past_runs(instance, job), key=lambda run: run.lane)  # keeps the order within a lane
        for lane, runs in groupby(by_lane, key=lambda run: run.lane):
            past = list(runs)
            yield Work(job, lane, past, _failure(instance, past[0]) if past[0].failed else None)


def _failure(instance: dg.DagsterInstance, run: PastRun) -> RunFailure:
    """Why a run failed: as it is tagged, else as Dagster recorded it."""
    if run.failure is not None:
        return run.failure
    failures = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.PIPELINE_FAILURE}
    events = [record.dagster_event for record in instance.all_logs(run.run_id, of_type=failures)]
    for event in events:
        error = getattr(event.event_specific_data, "error", None) if event else None
        while error is not None and error.cause:
            error = error.cause
        if error is not None and error.cls_name:
            text = error.message.removeprefix(f"{error.cls_name}: ")
            return RunFailure(ErrorKind.PERMANENT, error.cls_name, on_one_line(text, _SHOWN))
    why = next((event.message for event in events if event and event.message), "it left no error behind")
    return RunFailure(ErrorKind.PERMANENT, _CRASH, on_one_line(why, _SHOWN))
