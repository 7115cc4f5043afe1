"""The sums that live keeps of each group of an hour, and adding up their differences. Pure.

Every measure of an aggregate that adds up is a sum over users of a function of that user's clicks alone. So when clicks
of a user come, early, late or twice, or leave, the difference between what the user contributed before and after brings
the sums up to date, whatever else they hold. All numbers are whole (durations are milliseconds), so that differences
never drift.

The differences are computed in Java (`spark_resources/java`), by the definitions of `spark_resources.aggregation`,
which computes the same sums from all clicks of an hour.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from dataco_assets.aggregates.columns import (
    BOT_CLICKS,
    BOUNCES,
    CLICK_COUNT,
    ENTERING_USERS,
    ENTRIES,
    EXITS,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    UNIQUE_USERS,
)

TIME_SPENT_MS: Final = "time_spent_ms"
"""Milliseconds spent, summed over the clicks whose duration is known."""

MEASURES: Final[tuple[str, ...]] = (
    *(CLICK_COUNT.name, UNIQUE_USERS.name, ENTERING_USERS.name, TIME_SPENT_MS, TIME_SPENT_SAMPLES.name),
    *(ENTRIES.name, EXITS.name, BOUNCES.name, BOT_CLICKS.name),
    *(number.name for number in TIME_SPENT.numbers),
)
"""Names of the sums of a group, in the order in which they are kept; `dataco.live.Sums` has the same."""

Group = tuple[int, *tuple[str, ...]]
"""Start of an hour, epoch ms, and the values of the dimensions."""
Sums = list[int]
"""A number for each of `MEASURES`."""


def added(sums: Iterable[Mapping[Group, Sums]]) -> dict[Group, Sums]:
    """Several sums or differences in one, by group; groups in which nothing is left are left out."""
    found: dict[Group, Sums] = {}
    for each in sums:
        for group, numbers in each.items():
            present = found.get(group)
            found[group] = (
                list(numbers) if present is None else [one + other for one, other in zip(present, numbers, strict=True)]
            )
    return {group: numbers for group, numbers in found.items() if any(numbers)}
