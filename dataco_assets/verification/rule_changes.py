"""Finds the published hours that a rule about bots would change, and how, before anything is changed.

An hour's clicks are counted again by the rule, in plain Python (`recompute.py`), and compared, group by group, with
what the aggregates' tables hold of it. So it does not matter by which rule an hour was computed.

Not compared are hours that wait for a refresh or are refreshed meanwhile: they are computed by the rule in force
anyway. Neither are hours that cannot be computed again: their clicks may have expired, or they lie before the first
partition.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dataco_assets.aggregates.columns import AGGREGATES, BOT_CLICKS, Aggregate, scanned
from dataco_assets.aggregates.reading import HourAggregates, read_hour
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs
from dataco_assets.clients.hbase import HBase
from dataco_assets.ledgers.hours import HourLedger, HourState
from dataco_assets.verification.recompute import Figures, Group, Recomputed, recompute
from dataco_assets.verification.stored_clicks import read_clicks_in_order

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_HOURS_AT_ONCE = 24


class Outcome(StrEnum):
    """What a rule means for an hour."""

    SAME = "same"
    CHANGED = "changed"
    WAITING = "waiting"
    EXPIRED = "expired"
    OUTSIDE = "outside"


@dataclass(frozen=True)
class HourChange:
    """What a rule would change in a published hour.

    Attributes:
        hour: Its start, epoch ms.
        outcome: Whether it would change it, or why that is not known.
        clicks: Its clicks.
        before: Its clicks of bots as published; None: it was computed by a version that did not count them.
        after: Its clicks of bots by the rule.
        groups: Groups, of all aggregates, whose clicks of bots would change.
    """

    hour: int
    outcome: Outcome
    clicks: int = 0
    before: int | None = None
    after: int = 0
    groups: int = 0

    @property
    def difference(self) -> int:
        """How many more clicks of bots there would be."""
        return self.after - (self.before or 0)


class RuleChanges:
    """Compares published hours with a rule.

    Every method raises what the clients raise, and AggregatesUnavailable or AggregatesUnreadable of the tables.

    Args:
        settings: Names of tables, place of the aggregates, days that HBase keeps a click.
        hbase: Client for clicks and ledger.
    """

    def __init__(self, settings: "Settings", hbase: HBase) -> None:
        self._settings = settings
        self._hbase = hbase
        self._ledger = HourLedger(hbase, settings.hours_table)
        self._places = [TablePlace.of(settings, aggregate) for aggregate in AGGREGATES]

    def hours(self, first: int | None = None, last: int | None = None) -> list[int]:
        """The published hours, oldest first.

        Args:
            first: Start of the first hour, epoch ms; None for no limit.
            last: Start of the last hour, epoch ms; None for no limit.
        """
        states = self._ledger.all(first or 0, None if last is None else last + HOUR_MS)
        return [state.hour for state in states if state.done]

    def compare(self, rule: BotRule, hours: Sequence[int]) -> Iterator[HourChange]:
        """Yields what the rule would change in each of the hours (epoch ms), oldest first."""
        for run in contiguous_runs(hours):
            for start in range(0, len(run), _HOURS_AT_ONCE):
                yield from self._compare_run(rule, run[start : start + _HOURS_AT_ONCE])

    def refresh(self, changes: Sequence[HourChange]) -> None:
        """Has the changed ones among some hours computed and published again, by the next runs of the sensors."""
        hours = [change.hour for change in changes if change.outcome is Outcome.CHANGED]
        self._ledger.mark_dirty(
            hours, holding_clicks=(), stored_since_ms=self._ledger.server_time_ms(), cause=Cause.RECOMPUTED
        )

    def _compare_run(self, rule: BotRule, run: Sequence[int]) -> Iterator[HourChange]:
        before = self._ledger.read(run)
        expired = self._ledger.expired(run, ttl_days=self._settings.clicks_ttl_days)
        skipped = {hour: why for hour in run if (why := self._reason_to_skip(before[hour], expired))}
        found: dict[int, HourChange] = {hour: HourChange(hour, why) for hour, why in skipped.items()}
        for part in contiguous_runs(set(run) - skipped.keys()):
            # An hour's clicks alone: what lies around them does not matter to this rule.
            clicks = read_clicks_in_order(
                self._hbase, self._settings.clicks_table, part[0], part[-1] + HOUR_MS, scanned(AGGREGATES)
            )
            for hour, recomputed in recompute(clicks, part, bots=rule):
                found[hour] = self._change(before[hour], recomputed)
        after = self._ledger.read(run)
        for hour in run:
            yield found[hour] if before[hour] == after[hour] else HourChange(hour, Outcome.WAITING)

    def _reason_to_skip(self, state: HourState, expired: set[int]) -> Outcome | None:
        if state.hour < self._settings.partitions_start_ms:
            return Outcome.OUTSIDE
        if state.hour in expired:
            return Outcome.EXPIRED
        return Outcome.WAITING if state.is_dirty else None

    def _change(self, state: HourState, recomputed: Recomputed) -> HourChange:
        stored = [read_hour(place, state.hour) for place in self._places]
        if any(each is not None and each.generation != state.done for each in stored):
            return HourChange(state.hour, Outcome.WAITING)
        of_each = zip(AGGREGATES, stored, recomputed, strict=True)
        groups = sum(_differing_groups(aggregate, each, expected) for aggregate, each, expected in of_each)
        return HourChange(
            state.hour,
            Outcome.CHANGED if groups else Outcome.SAME,
            clicks=sum(figures.clicks for figures in recomputed[0].values()),
            before=_published(stored[0]),
            after=sum(figures.of_bots for figures in recomputed[0].values()),
            groups=groups,
        )


def _published(stored: HourAggregates | None) -> int | None:
    if stored is None:
        return None
    numbers = stored.table[BOT_CLICKS.name].to_pylist()
    return None if None in numbers else sum(numbers)


def _differing_groups(aggregate: Aggregate, stored: HourAggregates | None, expected: Mapping[Group, Figures]) -> int:
    if stored is None:  # an hour of an earlier version, which did not have this aggregate
        return len(expected)
    rows = stored.table.select([*aggregate.group, BOT_CLICKS.name]).to_pylist()
    found = {tuple(row[name] for name in aggregate.group): row[BOT_CLICKS.name] for row in rows}
    wanted = {group: figures.of_bots for group, figures in expected.items()}
    return sum(found.get(group) != wanted.get(group) for group in found.keys() | wanted.keys())
