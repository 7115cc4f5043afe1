"""Recomputes hours from their clicks in plain Python, sharing no aggregation code with the pipeline.

The rules are written here a second time on purpose, so that a fault in the pipeline's copy cannot hide.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

from dataco_assets.aggregates.columns import AGGREGATES, Aggregate
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.verification.sketches import sketched
from dataco_assets.verification.stored_clicks import StoredClick

LONGEST_KNOWN_MS = 30 * 60 * 1000
"""Maximum gap between two clicks of a visit, and so the most that counts as time spent, in ms."""

Group = tuple[str | None, ...]
"""The value of each dimension; None for one that an hour was computed without."""


@dataclass
class Figures:
    """Measures of one group in one hour; times in ms.

    Attributes:
        clicks: Clicks.
        users: Who clicked.
        entering: Users whose first click of the hour is here.
        spent_ms: Time spent, where it is known.
        known: Clicks of known duration.
        begun: Clicks that begin a visit.
        gone_on: Those of them that the same visit's next click follows.
        spent_in: Clicks of known duration, by bucket of time.
        of_bots: Clicks of bots.
    """

    clicks: int = 0
    users: set[str] = field(default_factory=set)
    entering: int = 0
    spent_ms: int = 0
    known: int = 0
    begun: int = 0
    gone_on: int = 0
    spent_in: Counter[str] = field(default_factory=Counter)
    of_bots: int = 0

    def __add__(self, other: Self) -> "Figures":
        """The measures of both groups together."""
        return Figures(
            self.clicks + other.clicks,
            self.users | other.users,
            self.entering + other.entering,
            self.spent_ms + other.spent_ms,
            self.known + other.known,
            self.begun + other.begun,
            self.gone_on + other.gone_on,
            self.spent_in + other.spent_in,
            self.of_bots + other.of_bots,
        )

    @property
    def fields(self) -> dict[str, Any]:
        """The measures by the names of the aggregates' columns; the users for the sketch of them."""
        seconds = self.spent_ms / 1000
        return {
            "click_count": self.clicks,
            "unique_users": len(self.users),
            "entering_users": self.entering,
            "time_spent_seconds_sum": seconds,
            "time_spent_samples": self.known,
            "average_time_spent_seconds": seconds / self.known if self.known else None,
            "entries": self.begun,
            "exits": self.clicks - self.known,
            "bounces": self.begun - self.gone_on,
            "time_spent_buckets": dict(self.spent_in),
            "users_sketch": sketched(self.users),
            "bot_clicks": self.of_bots,
        }


def _bucket(spent_ms: int) -> str:
    """The bucket of a time: the largest limit that it reaches of 0, 1 s, 1.5 s and doubles of the two."""
    if spent_ms < 1000:
        return "from_0_ms"
    doubled = 1000 << ((spent_ms // 1000).bit_length() - 1)
    return f"from_{doubled if spent_ms < doubled + doubled // 2 else doubled + doubled // 2}_ms"


class _Latest(NamedTuple):
    """A user's latest click: its time, whether it began a visit, and the figures it counts in, one per aggregate."""

    time: int
    begins: bool
    figures: Sequence[Figures]


Recomputed = Sequence[dict[Group, Figures]]
"""The groups of an hour, one mapping per aggregate."""


def recompute(
    clicks: Iterable[StoredClick], hours: Sequence[int], aggregates: Sequence[Aggregate] = AGGREGATES, *, bots: BotRule
) -> Iterator[tuple[int, Recomputed]]:
    """Computes the measures of each hour from its clicks.

    Args:
        clicks: All clicks from 30 minutes before the first hour to 30 minutes behind the last one, by time and row key.
        hours: Adjacent hours, in order.
        aggregates: By what to group the clicks.
        bots: Which clicks are of bots.
    """
    minute = _Minute(bots)
    unfinished: dict[int, Recomputed] = {}
    running, present = 0, set[str]()  # the hour that the clicks have come to, and its users so far
    latest: dict[str, _Latest] = {}  # by user
    awaited = list(reversed(hours))
    for click in clicks:
        while awaited and click.timestamp >= awaited[-1] + HOUR_MS + LONGEST_KNOWN_MS:
            done = awaited.pop()
            yield done, unfinished.pop(done, _nothing(aggregates))
            # A user whose latest click is longer ago than the gap of a visit cannot affect a later click.
            latest = {user: seen for user, seen in latest.items() if click.timestamp - seen.time <= LONGEST_KNOWN_MS}
        hour = click.timestamp // HOUR_MS * HOUR_MS
        if hour != running:
            running, present = hour, set[str]()
        counted: list[Figures] = []
        if hours[0] <= hour <= hours[-1]:
            counted = _figures(unfinished.setdefault(hour, _nothing(aggregates)), aggregates, click)
        for figures in counted:
            figures.clicks += 1
            figures.users.add(click.user_id)
            figures.entering += click.user_id not in present
        minute.mark(click, counted)
        present.add(click.user_id)
        before = latest.get(click.user_id)
        begins = before is None or click.timestamp - before.time > LONGEST_KNOWN_MS
        if before is not None and not begins:
            for figures in before.figures:
                figures.spent_ms += click.timestamp - before.time
                figures.known += 1
                figures.spent_in[_bucket(click.timestamp - before.time)] += 1
                figures.gone_on += before.begins
        for figures in counted:
            figures.begun += begins
        latest[click.user_id] = _Latest(click.timestamp, begins, counted)
    for hour in reversed(awaited):
        yield hour, unfinished.pop(hour, _nothing(aggregates))


class _Minute:
    """The minute that the clicks have come to, in which those of bots are counted.

    Args:
        rule: The agents and the number of clicks of a bot.
    """

    def __init__(self, rule: BotRule) -> None:
        self._rule = rule
        self._minute = 0
        self._clicks = Counter[str]()  # by user
        self._unmarked: dict[str, list[Figures]] = {}  # by user: where clicks count that would be a bot's by their rate

    def mark(self, click: StoredClick, counted: Sequence[Figures]) -> None:
        """Counts a click as of a bot where it is one, and with it, perhaps, the user's earlier ones of the minute.

        Args:
            click: The click; none before it is of a later minute.
            counted: The figures it counts in.
        """
        minute = click.timestamp // 60_000
        if minute != self._minute:
            self._minute, self._clicks, self._unmarked = minute, Counter[str](), {}
        self._clicks[click.user_id] += 1
        least = self._rule.clicks_per_minute
        if least and self._clicks[click.user_id] >= least:
            marked = [*self._unmarked.pop(click.user_id, ()), *counted]
        elif {click.dimensions["browser"], click.dimensions["device"]} & self._rule.agents:
            marked = counted
        else:
            marked = ()
            if least:
                self._unmarked.setdefault(click.user_id, []).extend(counted)
        for figures in marked:
            figures.of_bots += 1


def _nothing(aggregates: Sequence[Aggregate]) -> Recomputed:
    return [{} for _ in aggregates]


def _figures(hour: Recomputed, aggregates: Sequence[Aggregate], click: StoredClick) -> list[Figures]:
    """The figures of the groups that a click is in, one per aggregate."""
    return [
        groups.setdefault(tuple(click.dimensions[name] for name in aggregate.group), Figures())
        for groups, aggregate in zip(hour, aggregates, strict=True)
    ]
