"""Decides which hours may be verified, verifies them and reports a verdict on each.

An hour is verified only while nothing changes it:
    * The ledger is read before and after everything else. An hour that is dirty, or whose state changed in between, is
      not verified.
    * A drain stores clicks a moment before it marks their hours. An hour that differs is therefore compared a second
      time, once its newest click is `settle_seconds` old; only what differs then counts.
    * An hour whose month's index an operator closed cannot be verified; the others are.
    * An hour of which HBase may have dropped clicks (time to live) cannot be verified any more, and neither can an hour
      before the first partition that is dirty: no run computes it.

An outage is never reported as a difference: the servers' errors are raised. Memory holds one hour's groups, those of
the half hour behind it, and a page of rows per salt. Each stretch of hours is read with the half hours around it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, groupby
from typing import TYPE_CHECKING, Any

from dataco_assets.aggregates.columns import AGGREGATES, Aggregate, scanned
from dataco_assets.aggregates.reading import AggregatesUnreadable, HourAggregates, read_hour, stored_hours
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clicks.event import MAX_TIMESTAMP_MS
from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_of
from dataco_assets.clients.elasticsearch import SearchClient, refresh, scan_documents
from dataco_assets.clients.hbase import HBase
from dataco_assets.index.contents import hours_held
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import month_of, time_of
from dataco_assets.ledgers.hours import MARKED_WITHIN_SECONDS, HourLedger, HourState
from dataco_assets.verification.compare import (
    HourVerdict,
    Outcome,
    Place,
    compare_index,
    compare_ledger,
    compare_table,
    of_hour,
)
from dataco_assets.verification.recompute import LONGEST_KNOWN_MS, Figures, Group, recompute
from dataco_assets.verification.stored_clicks import read_clicks_in_order, stored_times

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

HOURS_AT_ONCE = 24


class Verifier:
    """Compares hours with the clicks in HBase.

    Every method raises what the clients raise, and AggregatesUnavailable when the aggregates' table cannot be reached.

    Args:
        settings: Names of tables and alias, place of the aggregates, days that HBase keeps a click.
        hbase: Client for clicks and ledger.
        search: Client for the indices.
        settle_seconds: A click is stored at most so long before its hour is marked dirty.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        settings: "Settings",
        hbase: HBase,
        search: SearchClient,
        *,
        settle_seconds: float = MARKED_WITHIN_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._hbase = hbase
        self._search = search
        self._parts = [_Part(search, settings, aggregate) for aggregate in AGGREGATES]
        self._ledger = HourLedger(hbase, settings.hours_table)
        self._settle_seconds = settle_seconds
        self._sleep = sleep

    def hours(self, first: int | None = None, last: int | None = None) -> list[int]:
        """Returns the hours that are in the ledger, have aggregates or documents, or have clicks in HBase.

        Args:
            first: Start of the first hour, epoch ms; None for no limit.
            last: Start of the last hour, epoch ms; None for no limit.
        """
        start, end = first or 0, MAX_TIMESTAMP_MS + 1 if last is None else last + HOUR_MS
        known = {state.hour for state in self._ledger.all(start, None if last is None else end)}
        for part in self._parts:
            known |= part.hours()
        chosen = {hour for hour in known if start <= hour < end}
        for gap_start, gap_end in _gaps(chosen, start, end):
            clicks = read_clicks_in_order(self._hbase, self._settings.clicks_table, gap_start, gap_end)
            chosen |= {hour_of(click.timestamp) for click in clicks}
        return sorted(chosen)

    def closed_indices(self) -> list[str]:
        """Indices that an operator closed; their hours cannot be verified."""
        return [str(state.name) for part in self._parts for state in part.index.closed()]

    def verify(self, hours: Sequence[int]) -> Iterator[HourVerdict]:
        """Yields a verdict on each hour; hours that have to be compared twice come last."""
        differing: list[int] = []
        changing: list[int] = []
        for verdict in self._look(hours):
            if verdict.outcome == Outcome.DIFFERENT:
                differing.append(verdict.hour)
            elif verdict.outcome == Outcome.CHANGING:
                changing.append(verdict.hour)
            else:
                yield verdict
        self._settle(differing)
        yield from self._look([*differing, *changing])

    def _settle(self, hours: Sequence[int]) -> None:
        """Waits until the newest click of the hours, and of the half hours around them, has been stored long enough."""
        newest = 0
        for run in contiguous_runs(hours):
            times = stored_times(self._hbase, self._settings.clicks_table, *_span(run))
            newest = max(newest, max(times, default=0))
        if not newest:
            return
        wait = (newest - self._ledger.server_time_ms()) / 1000 + self._settle_seconds
        if wait > 0:
            self._sleep(wait)

    def _look(self, hours: Sequence[int]) -> Iterator[HourVerdict]:
        closed = {state.name.month for part in self._parts for state in part.index.look_again().closed()}
        unreadable = {hour for hour in hours if closed and month_of(hour) in closed}
        yield from (HourVerdict(hour, Outcome.CLOSED) for hour in sorted(unreadable))
        for run in contiguous_runs(set(hours) - unreadable):
            for start in range(0, len(run), HOURS_AT_ONCE):
                yield from self._look_at_run(run[start : start + HOURS_AT_ONCE])

    def _look_at_run(self, run: Sequence[int]) -> Iterator[HourVerdict]:
        before = self._ledger.read([*run, run[-1] + HOUR_MS])
        if all(before[hour].is_dirty for hour in run):
            verdicts, after = [HourVerdict(hour) for hour in run], before
        else:
            verdicts, after = list(self._compare(run, before)), self._ledger.read(run)
        expired = self._ledger.expired(run, ttl_days=self._settings.clicks_ttl_days)
        for verdict in verdicts:
            hour = verdict.hour
            is_computed = hour >= self._settings.partitions_start_ms
            verdict.outcome = _outcome(verdict, before[hour], after[hour], expired, is_computed=is_computed)
            if verdict.outcome not in (Outcome.EQUAL, Outcome.DIFFERENT):
                verdict.differences, verdict.differing = [], 0
        yield from verdicts

    def _compare(self, run: Sequence[int], before: Mapping[int, HourState]) -> Iterator[HourVerdict]:
        documents = [_ByHour(part.documents(run)) for part in self._parts]
        clicks = read_clicks_in_order(self._hbase, self._settings.clicks_table, *_span(run), scanned(AGGREGATES))
        for hour, recomputed in recompute(clicks, run, bots=self._settings.bot_rule):
            verdict = HourVerdict(
                hour,
                clicks=sum(figures.clicks for figures in recomputed[0].values()),
                groups=len(recomputed[0]),
            )
            for part, expected, found in zip(self._parts, recomputed, documents, strict=True):
                hits = found.of(hour)
                if not before[hour].is_dirty:  # else not verified, so not read either
                    part.compare(verdict, before[hour], expected, hits)
            yield verdict


class _Part:
    """What the platform holds of one aggregate: its table and its index.

    Attributes:
        index: The alias.
    """

    def __init__(self, search: SearchClient, settings: "Settings", aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self._place = TablePlace.of(settings, aggregate)
        self.index = Index.of(search, settings, aggregate)

    @property
    def _is_missing(self) -> bool:
        """Whether there is no index, because an earlier version set the platform up."""
        return self._aggregate.came_later and not self.index.behind_alias()

    def hours(self) -> set[int]:
        """Hours that have rows or documents."""
        known = set(stored_hours(self._place))
        if self._is_missing:
            return known
        indices = self.index.searchable()
        refresh(self.index.client, indices)
        return known | set(hours_held(self.index.client, indices))

    def documents(self, run: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        """The documents of adjacent hours, in order."""
        self.index.look_again()
        if self._is_missing:
            return iter(())
        within = {"range": {"hour": {"gte": run[0], "lt": run[-1] + HOUR_MS, "format": "epoch_millis"}}}
        indices = self.index.covering(run[0], run[-1] + HOUR_MS)
        return scan_documents(self.index.client, indices, within, source=True, sort=[{"hour": "asc"}])

    def compare(
        self,
        verdict: HourVerdict,
        state: HourState,
        expected: Mapping[Group, Figures],
        hits: Iterator[Mapping[str, Any]],
    ) -> None:
        """Adds to an hour's verdict what differs, in the table, the ledger and the index."""
        aggregate, lacking = self._aggregate, frozenset[str]()
        differing = verdict.differing
        stored = self._stored(verdict)
        first = next(hits, None)
        if aggregate.came_later and stored is None and first is None and verdict.differing == differing:
            if expected:
                verdict.lacking.add(aggregate.name)
            return
        if verdict.differing == differing:
            lacking = compare_table(verdict, aggregate, expected, stored)
        compare_ledger(verdict, aggregate, state, expected, stored)
        found = hits if first is None else chain([first], hits)
        compare_index(verdict, aggregate, expected, found, stored, lacking)

    def _stored(self, verdict: HourVerdict) -> HourAggregates | None:
        try:
            return read_hour(self._place, verdict.hour)
        except AggregatesUnreadable as error:
            name = self._aggregate.name
            verdict.add(of_hour(verdict.hour, Place.TABLE, "files", "readable", str(error), name))
            return None


class _ByHour:
    """Documents that come in the order of their hours, handed out hour by hour; earlier ones are skipped."""

    def __init__(self, hits: Iterator[Mapping[str, Any]]) -> None:
        self._groups = groupby(hits, key=lambda hit: time_of(hit["_source"]["hour"]))
        self._next: tuple[int, Iterator[Mapping[str, Any]]] | None = None

    def of(self, hour: int) -> Iterator[Mapping[str, Any]]:
        while self._next is None or self._next[0] < hour:
            self._next = next(self._groups, (MAX_TIMESTAMP_MS, iter(())))
        return self._next[1] if self._next[0] == hour else iter(())


def _span(run: Sequence[int]) -> tuple[int, int]:
    """What adjacent hours depend on, [start, end) in epoch ms."""
    return run[0] - LONGEST_KNOWN_MS, run[-1] + HOUR_MS + LONGEST_KNOWN_MS


def _outcome(
    verdict: HourVerdict, before: HourState, after: HourState, expired: set[int], *, is_computed: bool
) -> Outcome:
    if after.is_dirty and not is_computed:
        return Outcome.OUTSIDE
    if verdict.hour in expired:
        return Outcome.EXPIRED
    if before.is_dirty and after.is_dirty:
        return Outcome.DIRTY
    if before != after:
        return Outcome.CHANGING
    return Outcome.DIFFERENT if verdict.differing else Outcome.EQUAL


def _gaps(hours: Iterable[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that are in none of the hours."""
    for run in contiguous_runs(hours):
        if start < run[0]:
            yield start, run[0]
        start = run[-1] + HOUR_MS
    if start < end:
        yield start, end
