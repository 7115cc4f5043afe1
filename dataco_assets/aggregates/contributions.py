"""What one user's clicks contribute to each group of an hour. Pure, and independent of every other user.

Every measure of an aggregate that adds up is a sum over users of a function of that user's clicks alone. So when clicks
of a user come, early, late or twice, or leave, the difference between the user's contributions before and after brings
the sums up to date, whatever else they hold. All numbers are whole (durations are milliseconds), so that differences
never drift.

The definitions are those of `spark_resources.aggregation`, which computes the same sums from all clicks of an hour.
"""

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from dataco_assets.aggregates.columns import (
    BOUNCES,
    CLICK_COUNT,
    ENTERING_USERS,
    ENTRIES,
    EXITS,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    UNIQUE_USERS,
)
from dataco_assets.clicks.hour import VISIT_GAP_MS, hour_of
from dataco_assets.clicks.time_spent import LOWER_LIMITS_MS

TIME_SPENT_MS: Final = "time_spent_ms"
"""Milliseconds spent, summed over the clicks whose duration is known."""

MEASURES: Final[tuple[str, ...]] = (
    *(CLICK_COUNT.name, UNIQUE_USERS.name, ENTERING_USERS.name, TIME_SPENT_MS, TIME_SPENT_SAMPLES.name),
    *(ENTRIES.name, EXITS.name, BOUNCES.name),
    *(number.name for number in TIME_SPENT.numbers),
)
"""Names of the sums of a group, in the order in which they are kept."""

_CLICKS, _USERS, _ENTERING, _SPENT_MS, _SAMPLES, _ENTRIES, _EXITS, _BOUNCES, _FIRST_BUCKET = range(9)

Group = tuple[int, *tuple[str, ...]]
"""Start of an hour, epoch ms, and the values of the dimensions."""
Sums = list[int]
"""A number for each of `MEASURES`."""


class UserClick(NamedTuple):
    """A click as far as contributions go. A user's clicks are in the order of these fields: time, then row key.

    Attributes:
        timestamp: When it happened, epoch ms.
        key: What of the row key tells a user's clicks of the same millisecond apart, in the order of row keys.
        arrived: When it came to Kafka, epoch ms.
        group: The values of the dimensions.
    """

    timestamp: int
    key: bytes
    arrived: int
    group: tuple[str, ...]


def with_arrivals(clicks: Iterable[UserClick], arrivals: Iterable[UserClick]) -> list[UserClick]:
    """A user's clicks after others came, in order. One with the row key of an earlier one replaces it.

    Args:
        clicks: The user's clicks.
        arrivals: Those that came, in the order in which they came.
    """
    rows = {(click.timestamp, click.key): click for click in clicks}
    rows.update(((click.timestamp, click.key), click) for click in arrivals)
    return [rows[row] for row in sorted(rows)]


def contributions(clicks: Sequence[UserClick], hours: Container[int]) -> dict[Group, Sums]:
    """What a user's clicks contribute to the groups of some hours.

    Args:
        clicks: The user's clicks, in order; all of the hours and of the 30 minutes around each.
        hours: Starts of the hours, epoch ms.
    """
    found: dict[Group, Sums] = {}
    last = len(clicks) - 1
    for position, click in enumerate(clicks):
        time = click.timestamp
        hour = hour_of(time)
        if hour not in hours:
            continue
        previous = clicks[position - 1].timestamp if position else None
        gap = clicks[position + 1].timestamp - time if position < last else None
        group = (hour, *click.group)
        sums = found.get(group)
        if sums is None:
            sums = found[group] = [0] * len(MEASURES)
            sums[_USERS] = 1
        sums[_CLICKS] += 1
        sums[_ENTERING] += previous is None or previous < hour
        begins = previous is None or time - previous > VISIT_GAP_MS
        sums[_ENTRIES] += begins
        if gap is not None and gap <= VISIT_GAP_MS:
            sums[_SPENT_MS] += gap
            sums[_SAMPLES] += 1
            sums[_FIRST_BUCKET - 1 + bisect_right(LOWER_LIMITS_MS, gap)] += 1
        else:
            sums[_EXITS] += 1
            sums[_BOUNCES] += begins
    return found


def difference(before: Mapping[Group, Sums], after: Mapping[Group, Sums]) -> dict[Group, Sums]:
    """What has to be added to the sums of each group; groups that stay as they are are left out."""
    nothing = [0] * len(MEASURES)
    return {
        group: [new - old for new, old in zip(after.get(group, nothing), before.get(group, nothing), strict=True)]
        for group in {**before, **after}
        if before.get(group) != after.get(group)
    }


def added(sums: Iterable[Mapping[Group, Sums]]) -> dict[Group, Sums]:
    """The sums of several users or differences, by group; groups in which nothing is left are left out."""
    found: dict[Group, Sums] = {}
    for each in sums:
        for group, numbers in each.items():
            present = found.get(group)
            found[group] = (
                list(numbers) if present is None else [one + other for one, other in zip(present, numbers, strict=True)]
            )
    return {group: numbers for group, numbers in found.items() if any(numbers)}
