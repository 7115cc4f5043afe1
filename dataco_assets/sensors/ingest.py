"""Whether to start an ingest, and whether the same run refreshes the running hour. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.following import MOST_CLICKS_TOGETHER
from dataco_assets.ledgers.parked import Parked, why_parked
from dataco_assets.sensors.back_off import PastRun, back_off_seconds, failures_in_a_row
from dataco_assets.sensors.refresh import HoursView

APART_SECONDS = 600.0
"""Seconds without runs of both after one that failed or took too long."""


@dataclass(frozen=True)
class IngestView:
    """What the Kafka lag sensor measured.

    Attributes:
        waiting: Number of offsets to drain, up to the last stable one.
        waited_long: Whether one has waited longer than `DATACO_LAG_MAX_AGE_SECONDS`.
        past: Finished ingest runs, newest first.
        now: Epoch seconds.
        parked: The ingest's entry among parked work, if it has one.
    """

    waiting: int
    waited_long: bool
    past: Sequence[PastRun]
    now: float
    parked: Parked | None = None


def reason_to_wait(view: IngestView, least_waiting: int) -> str | None:
    """Returns why no ingest is started now; None to start one.

    Args:
        view: What was measured.
        least_waiting: Number of waiting clicks that starts a run whatever their age.
    """
    if not view.waiting:
        return "No click is waiting."
    if view.waiting < least_waiting and not view.waited_long:
        return f"{view.waiting:,} clicks are waiting, fewer than {least_waiting:,}, and none has waited too long."
    entry = view.parked
    if entry is not None and entry.is_active:
        return f"{why_parked([entry])} {view.waiting:,} clicks wait."
    failures = failures_in_a_row([run for run in view.past if entry is None or not entry.settles(run.ended_at)])
    if failures:
        again_in = view.past[0].ended_at + back_off_seconds(failures) - view.now
        if again_in > 0:
            return f"The last {failures} runs failed; trying again in {again_in:.0f} s. {view.waiting:,} clicks wait."
    return None


def hours_refreshed_too(
    waiting: int, view: HoursView, together: Sequence[PastRun], running_hour_seconds: float
) -> Sequence[int]:
    """Returns the hours, oldest first, that the run that stores the waiting clicks refreshes, too; it may be none.

    These are the hours that clicks of this moment belong to, if such clicks have been coming. A run of both needs one
    process where two runs need two, and no evaluation of a sensor between them. It takes the places of an ingest and of
    a refresh of the newest hours, so it is only started when neither has to wait for it: no refresh is in progress, not
    many clicks wait, and no round of the last such run was slow. After one that failed, ingest and refresh are runs of
    their own, whose failures the sensors know how to treat.

    Args:
        waiting: Number of offsets to drain.
        view: The refreshes; its dirty hours are not used.
        together: Finished runs that did both, newest first.
        running_hour_seconds: Minimum interval between refreshes of the running hour.
    """
    hours = sorted(view.running_hours)
    were_coming = any(hour in view.refreshed_at for hour in (hours[0] - HOUR_MS, *hours))
    is_free = not view.in_flight and not view.lanes and waiting <= MOST_CLICKS_TOGETHER
    are_well = not any(hour in view.parked or view.failures_of(hour) for hour in hours)
    are_due = all(view.is_due(hour, running_hour_seconds) for hour in hours)
    if were_coming and is_free and are_well and are_due and not _are_kept_apart(together, view.now):
        return hours
    return ()


def _are_kept_apart(together: Sequence[PastRun], now: float) -> bool:
    if not together:
        return False
    last = together[0]
    return (last.failed or last.had_slow_round) and now - last.ended_at < APART_SECONDS
