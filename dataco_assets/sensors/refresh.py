"""Decides which hours to refresh now, and in which runs. Pure, apart from building the run requests."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import ceil

import dagster as dg

from dataco_assets.clicks.hour import HOUR_MS, begun_hours, contiguous_runs, hour_key, hour_of
from dataco_assets.jobs import REFRESH_JOB
from dataco_assets.partitions import MOST_SPANS, range_tags, scattered_tags
from dataco_assets.sensors.back_off import PastRun, back_off_seconds

LANE_TAG = "dataco/lane"
SHORT_BACKLOG_SECONDS = 60.0
"""Target duration of a backlog run, in seconds, while the current hour receives clicks and waits for it."""
_FIRST_SHORT_HOURS = 24
"""Number of hours in such a run before the speed of an earlier one is known."""


class Lane(StrEnum):
    """The lanes of refreshes; at most one run of each is queued or in progress."""

    FOLLOWING = "following"
    """The hours that clicks of the moment belong to, in a run that stores those clicks, too."""
    NEWEST = "newest hours"
    """The running hour and a few before it."""
    BACKLOG = "backlog"
    """All others."""


@dataclass(frozen=True)
class HoursView:
    """What the dirty-hours sensor measured; hours are starts in epoch ms.

    Attributes:
        dirty: Hours whose clicks are not all in the index, without those whose late clicks are still collected.
        in_flight: Hours of queued or started runs.
        lanes: Lanes that have a queued or started run.
        parked: Parked hours.
        failures: Failures in a row of an hour, and when the last one ended (epoch seconds).
        refreshed_at: When the last refresh of an hour was started (epoch seconds).
        backlog_speed: Hours and seconds of the last backlog run that succeeded; None before the first.
        now: Epoch seconds.
    """

    dirty: Sequence[int]
    in_flight: Collection[int] = ()
    lanes: Collection[Lane] = ()
    parked: Collection[int] = ()
    failures: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    refreshed_at: Mapping[int, float] = field(default_factory=dict)
    backlog_speed: tuple[int, float] | None = None
    now: float = 0.0

    def failures_of(self, hour: int) -> int:
        """Failures in a row of an hour."""
        return self.failures.get(hour, (0, 0.0))[0]

    @property
    def running_hours(self) -> tuple[int, ...]:
        """Hours that clicks of this very moment touch; the hour after the running one has not begun."""
        return begun_hours(int(self.now * 1000))

    def is_due(self, hour: int, seconds: float) -> bool:
        """Whether an hour's last refresh was started at least so long ago."""
        return self.now >= self.refreshed_at.get(hour, 0.0) + seconds


@dataclass(frozen=True)
class RefreshRun:
    """A run to start: its lane and its hours, oldest first."""

    lane: Lane
    hours: Sequence[int]


def hours_to_refresh(
    view: HoursView,
    *,
    exists: Callable[[int], bool],
    hours_per_run: int,
    running_hour_seconds: float,
    newest_hours: int,
) -> list[RefreshRun]:
    """Returns the runs to start now, at most one per lane.

    The newest hours have a lane of their own, so that a backlog does not delay them. While there is a running hour to
    refresh, backlog runs are kept short, because both lanes share one Spark session.

    An hour that failed waits for its back-off and shares a run only with hours that failed as often. Each failure cuts
    the size of its run to an eighth, so a bad hour is soon alone. Hours with fewer failures come first, so that failing
    hours do not starve the others.

    Args:
        view: What was measured.
        exists: Whether an hour is a partition; one that is not (ahead of the clock) waits without delaying others.
        hours_per_run: Maximum number of hours in a run.
        running_hour_seconds: Minimum interval between refreshes of the running hour.
        newest_hours: Number of hours, up to the running one, in the lane of the newest.
    """
    running = set(view.running_hours)
    newest = running | {hour_of(int(view.now * 1000)) - before * HOUR_MS for before in range(newest_hours)}
    hours = {Lane.NEWEST: _newest(view, newest, exists, running_hour_seconds), Lane.BACKLOG: list[int]()}
    if Lane.BACKLOG not in view.lanes:
        has_running = any(hour in view.refreshed_at for hour in running) or not running.isdisjoint(view.dirty)
        most = min(hours_per_run, short_backlog_hours(view.backlog_speed)) if has_running else hours_per_run
        ready = (hour for hour in sorted(view.dirty) if hour not in newest and _is_ready(view, hour, exists))
        hours[Lane.BACKLOG] = _backlog(view, ready, most)
    return [RefreshRun(lane, sorted(ready)) for lane, ready in hours.items() if ready]


def short_backlog_hours(speed: tuple[int, float] | None) -> int:
    """Number of backlog hours in one run while the running hour waits for it.

    Args:
        speed: Hours and seconds of the last such run.
    """
    if speed is None:
        return _FIRST_SHORT_HOURS
    hours, seconds = speed
    return ceil(hours * SHORT_BACKLOG_SECONDS / max(seconds, 1.0))


def _newest(view: HoursView, newest: Collection[int], exists: Callable[[int], bool], least_seconds: float) -> list[int]:
    if Lane.NEWEST in view.lanes:
        return []
    is_followed = Lane.FOLLOWING in view.lanes  # such a run leaves hours that have just begun to the next of its kind
    too_soon = {hour for hour in view.running_hours if is_followed or not view.is_due(hour, least_seconds)}
    ready = [hour for hour in view.dirty if hour in newest and hour not in too_soon and _is_ready(view, hour, exists)]
    return _that_failed_least(view, ready)


def _backlog(view: HoursView, ready: Iterable[int], most: int) -> list[int]:
    """The oldest hours that have not failed; if there are none, those with the fewest failures."""
    fresh: list[int] = []
    failed: list[int] = []
    for hour in ready:
        if view.failures_of(hour):
            failed.append(hour)
        else:
            fresh.append(hour)
        if len(fresh) == most:
            break
    hours = fresh or _that_failed_least(view, failed)
    times = view.failures_of(hours[0]) if hours else 0
    return _within(hours, max(1, most >> 3 * times))


def _that_failed_least(view: HoursView, hours: Sequence[int]) -> list[int]:
    least = min(map(view.failures_of, hours), default=0)
    return [hour for hour in hours if view.failures_of(hour) == least]


def _within(hours: Sequence[int], most: int) -> list[int]:
    """The first `most` hours, in no more spans than the tags of a run can hold."""
    spans = contiguous_runs(hours)[:MOST_SPANS]
    return [hour for span in spans for hour in span][:most]


def _is_ready(view: HoursView, hour: int, exists: Callable[[int], bool]) -> bool:
    if hour in view.in_flight or hour in view.parked or not exists(hour):
        return False
    failures, failed_at = view.failures.get(hour, (0, 0.0))
    return not failures or view.now >= failed_at + back_off_seconds(failures)


def failures_by_hour(past: Sequence[PastRun], settled_at: Mapping[int, float]) -> dict[int, tuple[int, float]]:
    """Failures since the last success of each hour, and when the last one ended (epoch seconds).

    A failure that names hours counts for these hours only.

    Args:
        past: Finished runs, newest first.
        settled_at: When a parked hour was resumed; earlier failures do not count.
    """
    failures: dict[int, tuple[int, float]] = {}
    succeeded: set[int] = set()
    for run in past:
        if not run.failed:
            succeeded.update(run.hours)
            continue
        for hour in (run.failure.hours if run.failure else ()) or run.hours:
            if hour not in succeeded and run.ended_at > settled_at.get(hour, 0.0):
                count, ended_at = failures.get(hour, (0, run.ended_at))
                failures[hour] = (count + 1, ended_at)
    return failures


def last_refreshes(past: Sequence[PastRun]) -> dict[int, float]:
    """When the last refresh of each hour was started (epoch seconds).

    Args:
        past: Finished runs, newest first.
    """
    return {hour: run.started_at for run in reversed(past) for hour in run.hours}


def run_request(run: RefreshRun, tags: Mapping[str, str], job: str = REFRESH_JOB) -> dg.RunRequest:
    """The request for a run.

    Args:
        run: Lane and hours.
        tags: Tags besides those that name lane and hours.
        job: Name of the job.
    """
    first, last = run.hours[0], run.hours[-1]
    tags = {**tags, LANE_TAG: run.lane.value}
    if len(run.hours) == 1:
        return dg.RunRequest(job_name=job, partition_key=hour_key(first), tags=tags)
    is_range = last - first == (len(run.hours) - 1) * HOUR_MS
    return dg.RunRequest(
        job_name=job,
        tags=tags | (range_tags(hour_key(first), hour_key(last)) if is_range else scattered_tags(run.hours)),
    )
