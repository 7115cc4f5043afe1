"""Which hours to refresh now, and in which runs. Pure, but for the request it ends in."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dagster as dg

from dataco_assets.clicks.hour import contiguous_runs, hour_key, touched_hours
from dataco_assets.partitions import range_tags
from dataco_assets.sensors.back_off import back_off_seconds

RUNS_IN_FLIGHT = 2
"""Refresh runs the dirty-hours sensor keeps going at once: one at work, one waiting."""


@dataclass(frozen=True)
class HoursView:
    """What the dirty-hours sensor looked at; hours are starts in epoch ms.

    Attributes:
        dirty: Hours whose clicks readers do not all see.
        in_flight: Hours of queued or working runs.
        runs_in_flight: How many such runs there are.
        failures: Failures in a row of an hour, and when the last one ended (epoch seconds).
        refreshed_at: When the last refresh of an hour was started (epoch seconds).
        now: Epoch seconds.
    """

    dirty: Sequence[int]
    in_flight: Collection[int]
    runs_in_flight: int
    failures: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    refreshed_at: Mapping[int, float] = field(default_factory=dict)
    now: float = 0.0

    def failures_of(self, hour: int) -> int:
        """Failures in a row of an hour."""
        return self.failures.get(hour, (0, 0.0))[0]


def hours_to_refresh(
    view: HoursView, *, exists: Callable[[int], bool], hours_per_run: int, running_hour_seconds: float
) -> list[list[int]]:
    """The runs to start now, each a list of contiguous hours, oldest first.

    An hour that failed waits for its back-off, shares a run only with hours that failed as often, and its run is
    cut to an eighth with every failure: one bad hour soon stands alone. Hours that failed less come first, so that bad
    ones never take all turns.

    Args:
        view: What was measured.
        exists: Whether an hour is a partition; one that is not (ahead of the clock) waits without holding up others.
        hours_per_run: Most hours in a run.
        running_hour_seconds: Least time between two refreshes of an hour that clicks of this very moment touch: the
            running one and, in its first 30 minutes, the one before.
    """
    ready = [hour for hour in view.dirty if exists(hour) and _is_ready(view, hour, running_hour_seconds)]
    chunks: list[list[int]] = []
    for contiguous in contiguous_runs(ready):
        chunks += _chunks(contiguous, view, hours_per_run)
    chunks.sort(key=lambda chunk: view.failures_of(chunk[0]))
    return chunks[: max(0, RUNS_IN_FLIGHT - view.runs_in_flight)]


def _is_ready(view: HoursView, hour: int, running_hour_seconds: float) -> bool:
    if hour in view.in_flight:
        return False
    failures, failed_at = view.failures.get(hour, (0, 0.0))
    if failures and view.now < failed_at + back_off_seconds(failures):
        return False
    if hour in touched_hours(int(view.now * 1000)):
        return view.now >= view.refreshed_at.get(hour, 0.0) + running_hour_seconds
    return True


def _chunks(hours: Sequence[int], view: HoursView, hours_per_run: int) -> Iterator[list[int]]:
    chunk: list[int] = []
    for hour in hours:
        failures = view.failures_of(hour)
        if chunk and (failures != view.failures_of(chunk[0]) or len(chunk) >= max(1, hours_per_run >> 3 * failures)):
            yield chunk
            chunk = []
        chunk.append(hour)
    if chunk:
        yield chunk


def run_request(hours: Sequence[int]) -> dg.RunRequest:
    """One refresh run for contiguous hours."""
    first, last = hour_key(hours[0]), hour_key(hours[-1])
    if first == last:
        return dg.RunRequest(partition_key=first)
    return dg.RunRequest(tags=range_tags(first, last))
