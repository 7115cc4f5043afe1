"""What live must keep of a user and compute from it, in plain Python: the oracle of the Java code.

`spark_resources/java` does the same for real. This one is held against a computation from scratch (`oracle.py`), and
the Java code against this one, step by step.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataco_assets.aggregates.live_sums import MEASURES, Group, Sums
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.hour import VISIT_GAP_MS, hour_of, touched_hours
from dataco_assets.clicks.time_spent import LOWER_LIMITS_MS
from spark_resources.live.exactness import exact_from

_NEVER = -1
_CLICKS, _USERS, _ENTERING, _SPENT_MS, _SAMPLES, _ENTRIES, _EXITS, _BOUNCES, _BOTS, _FIRST_BUCKET = range(10)


class UserClick(NamedTuple):
    """A click as far as sums go. A user's clicks are in the order of these fields: time, then row key.

    Attributes:
        timestamp: When it happened, epoch ms.
        key: What of the row key tells a user's clicks of the same millisecond apart, in the order of row keys.
        arrived: When it came to Kafka, epoch ms.
        group: The values of the dimensions.
        by_bot: Whether its browser or its device is a bot's.
    """

    timestamp: int
    key: bytes
    arrived: int
    group: tuple[str, ...]
    by_bot: bool = False


class Arrival(NamedTuple):
    """A click of a micro-batch, with its place in Kafka, which is the order in which clicks overwrite each other."""

    partition: int
    offset: int
    click: UserClick


@dataclass(frozen=True)
class UserState:
    """What is kept of a user.

    Attributes:
        clicks: Recent clicks, in order.
        erased_at: When the user was erased, epoch ms; -1: never.
    """

    clicks: Sequence[UserClick] = field(default_factory=list)
    erased_at: int = _NEVER

    @property
    def needed_until(self) -> int:
        """The watermark (epoch ms) at which nothing of it is needed any more."""
        newest = self.clicks[-1].timestamp if self.clicks else _NEVER
        return max(newest, self.erased_at + MAX_AHEAD_MS if self.erased_at != _NEVER else _NEVER)


def advanced(
    state: UserState,
    arrivals: Iterable[Arrival],
    erased: int,
    *,
    watermark_ms: int,
    first_hour: int,
    clicks_per_minute: int = 0,
) -> tuple[UserState, Mapping[Group, Sums]]:
    """The state after a micro-batch, and the differences of the user's contributions.

    Args:
        state: The state before.
        arrivals: Clicks of the user, in any order.
        erased: When the user was erased, epoch ms, if this became known; otherwise -1.
        watermark_ms: The micro-batch's watermark, epoch ms.
        first_hour: The first hour of the whole run, epoch ms; earlier ones are not computed.
        clicks_per_minute: Clicks of the user in a minute of the clock from which they are a bot's; 0: no number.
    """
    erased_at = max(state.erased_at, erased)
    rows = {(click.timestamp, click.key): click for click in state.clicks}
    for arrival in sorted(arrivals, key=lambda each: (each.partition, each.offset)):
        rows[arrival.click.timestamp, arrival.click.key] = arrival.click
    clicks = [rows[row] for row in sorted(rows)]
    if erased_at != _NEVER:
        clicks = [click for click in clicks if min(click.timestamp, click.arrived) > erased_at]
    from_hour = max(first_hour, exact_from(watermark_ms))
    changed = set(state.clicks).symmetric_difference(clicks)
    hours = {hour for click in changed for hour in touched_hours(click.timestamp) if hour >= from_hour}
    before, after = (contributions(each, hours, clicks_per_minute) for each in (state.clicks, clicks))
    change = _difference(before, after)
    return UserState([click for click in clicks if click.timestamp > watermark_ms], erased_at), change


def contributions(clicks: Sequence[UserClick], hours: Container[int], clicks_per_minute: int = 0) -> dict[Group, Sums]:
    """What a user's clicks contribute to the groups of some hours.

    Args:
        clicks: The user's clicks, in order; all of the hours and of the 30 minutes around each.
        hours: Starts of the hours, epoch ms.
        clicks_per_minute: Clicks in a minute of the clock from which they are a bot's; 0: no number.
    """
    in_minute = Counter(click.timestamp // 60_000 for click in clicks)
    found: dict[Group, Sums] = {}
    last = len(clicks) - 1
    for position, click in enumerate(clicks):
        time = click.timestamp
        hour = hour_of(time)
        if hour not in hours:
            continue
        previous = clicks[position - 1].timestamp if position else None
        gap = clicks[position + 1].timestamp - time if position < last else None
        sums = found.setdefault((hour, *click.group), [0] * len(MEASURES))
        sums[_USERS] = 1
        sums[_CLICKS] += 1
        sums[_BOTS] += click.by_bot or 0 < clicks_per_minute <= in_minute[time // 60_000]
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


def _difference(before: Mapping[Group, Sums], after: Mapping[Group, Sums]) -> dict[Group, Sums]:
    nothing = [0] * len(MEASURES)
    return {
        group: [new - old for new, old in zip(after.get(group, nothing), before.get(group, nothing), strict=True)]
        for group in {**before, **after}
        if before.get(group) != after.get(group)
    }


def answer(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What comes of the steps of a case: of `vectors/live.json`, or a generated one. Times are epoch ms."""
    state = UserState()
    found: list[dict[str, Any]] = []
    for step in case["steps"]:
        state, change = advanced(
            state,
            [_arrival(each) for each in step["arrivals"]],
            step.get("erased", _NEVER),
            watermark_ms=step["watermark"],
            first_hour=case["first_hour"],
            clicks_per_minute=case.get("clicks_per_minute", 0),
        )
        found.append(
            {
                "differences": sorted(
                    [*group, {name: number for name, number in zip(MEASURES, sums, strict=True) if number}]
                    for group, sums in change.items()
                ),
                "kept": [[click.timestamp, click.key.hex()] for click in state.clicks],
                "needed_until": state.needed_until,
            }
        )
    return found


def _arrival(written: Sequence[Any]) -> Arrival:
    partition, offset, timestamp, key, arrived, page, country, *by_bot = written
    click = UserClick(timestamp, bytes.fromhex(key), arrived, (page, country), bool(by_bot and by_bot[0]))
    return Arrival(partition, offset, click)
