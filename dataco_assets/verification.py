"""Verifying hours: what HBase's clicks amount to, in plain Python, against the Parquet files and the index.

Belongs here: the recomputation, the comparison of every field of every group, and when an hour may be judged. Does not
belong here: showing it (`cli/verify.py`). It shares no aggregation code with the pipeline, on purpose: the rules are
written down here once more, so that a fault in the pipeline's cannot hide.

An hour is judged only while nothing changes it:
    * The ledger is read before and after everything else. An hour that is dirty, or whose state changed in between, is
      not judged.
    * A drain stores clicks a moment before it marks their hours. An hour that differs is therefore looked at a second
      time, once its newest click is `settle_seconds` old; only what differs then counts.
    * An hour of which HBase may have dropped clicks (time to live) cannot be judged any more.

An outage is never a difference: the servers' errors pass through.

Memory holds one hour's groups, those of the half hour behind it, and a page of rows per salt.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Any

from dataco_assets.aggregates.files import AggregatesUnreadable, HourAggregates, read_hour, stored_hours
from dataco_assets.clicks.event import MAX_TIMESTAMP_MS
from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_of
from dataco_assets.clients.elasticsearch import SearchClient, every_hit, refresh
from dataco_assets.clients.hbase import HBase
from dataco_assets.hours import HourLedger, HourState, expired_hours
from dataco_assets.index.contents import hours_held
from dataco_assets.index.template import document_id
from dataco_assets.stored_clicks import StoredClick, read_clicks_in_order, stored_times

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

LONGEST_KNOWN_MS = 30 * 60 * 1000
"""A longer gap to the same user's next click says nothing about the time spent."""
SETTLE_SECONDS = 120.0
HOURS_AT_ONCE = 24
DIFFERENCES_KEPT = 20
"""Differences of one hour that are kept word for word; all are counted."""
_TOLERANCE = 1e-9  # relative, of doubles

Group = tuple[str, str]
"""Page and country."""


class Place(StrEnum):
    """Where something differs from the clicks."""

    PARQUET = "Parquet"
    INDEX = "index"
    LEDGER = "ledger"


class Outcome(StrEnum):
    """What became of an hour."""

    EQUAL = "equal"
    DIFFERENT = "different"
    DIRTY = "dirty"
    CHANGING = "changing"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Difference:
    """One value that is not what the clicks amount to. Page and country are event text: escape before showing.

    Attributes:
        hour: Start, epoch ms.
        place: Where it differs.
        page: Page of the group; empty when it is about the whole hour.
        country: Country of the group.
        field: Name of the field, or what is amiss.
        expected: What the clicks amount to.
        found: What is there.
    """

    hour: int
    place: Place
    page: str
    country: str
    field: str
    expected: object
    found: object


@dataclass
class HourVerdict:
    """What was found of one hour.

    Attributes:
        hour: Start, epoch ms.
        outcome: Whether it was judged, and how.
        clicks: Its clicks in HBase.
        groups: Its groups of page and country.
        differences: The first of them.
        differing: How many there are.
    """

    hour: int
    outcome: Outcome = Outcome.EQUAL
    clicks: int = 0
    groups: int = 0
    differences: list[Difference] = field(default_factory=list)
    differing: int = 0

    def add(self, difference: Difference) -> None:
        """Notes a difference."""
        self.differing += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(difference)


@dataclass
class Figures:
    """What the clicks of one page and country amount to in one hour; times in ms."""

    clicks: int = 0
    users: set[str] = field(default_factory=set)
    entering: int = 0
    spent_ms: int = 0
    known: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """By the names the aggregates have."""
        seconds = self.spent_ms / 1000
        return {
            "click_count": self.clicks,
            "unique_users": len(self.users),
            "entering_users": self.entering,
            "time_spent_seconds_sum": seconds,
            "time_spent_samples": self.known,
            "average_time_spent_seconds": seconds / self.known if self.known else None,
        }


def recompute(clicks: Iterable[StoredClick], hours: Sequence[int]) -> Iterator[tuple[int, dict[Group, Figures]]]:
    """What the clicks amount to, hour by hour.

    Args:
        clicks: All clicks from the first hour's start to 30 minutes behind the last hour's end, by time and row key.
        hours: Adjacent hours, in order.
    """
    unfinished: dict[int, dict[Group, Figures]] = {}
    running, present = 0, set[str]()  # the hour that the clicks have come to, and its users so far
    latest: dict[str, tuple[int, Figures | None]] = {}  # by user: time of the latest click, and whose time is spent
    awaited = list(reversed(hours))
    for click in clicks:
        while awaited and click.timestamp >= awaited[-1] + HOUR_MS + LONGEST_KNOWN_MS:
            done = awaited.pop()
            yield done, unfinished.pop(done, {})
            # Whose latest click is longer ago than a visit's gap has no say any more.
            latest = {user: seen for user, seen in latest.items() if click.timestamp - seen[0] <= LONGEST_KNOWN_MS}
        hour = click.timestamp // HOUR_MS * HOUR_MS
        if hour != running:
            running, present = hour, set[str]()
        figures = None
        if hour <= hours[-1]:
            figures = unfinished.setdefault(hour, {}).setdefault((click.page, click.country), Figures())
            figures.clicks += 1
            figures.users.add(click.user_id)
            figures.entering += click.user_id not in present
        present.add(click.user_id)
        before, credited = latest.get(click.user_id, (0, None))
        if credited is not None and click.timestamp - before <= LONGEST_KNOWN_MS:
            credited.spent_ms += click.timestamp - before
            credited.known += 1
        latest[click.user_id] = click.timestamp, figures
    for hour in reversed(awaited):
        yield hour, unfinished.pop(hour, {})


def compare_parquet(verdict: HourVerdict, expected: Mapping[Group, Figures], stored: HourAggregates | None) -> None:
    """Adds to the verdict what differs in the hour's Parquet file.

    Args:
        verdict: The hour's verdict.
        expected: What the clicks amount to.
        stored: The file; None when there is none.
    """
    if stored is None:
        if expected:
            verdict.add(_of_hour(verdict.hour, Place.PARQUET, "file", f"{len(expected):,} groups", "no file"))
        return
    seen: set[Group] = set()
    own = {"generation": stored.generation}
    for row in stored.table.to_pylist():
        group = (row["page"], row["country"])
        row["hour"] = round(row["hour"].timestamp() * 1000)
        _compare_group(verdict, Place.PARQUET, group, seen, expected, row, own)
    _missing(verdict, Place.PARQUET, expected, seen)


def compare_index(
    verdict: HourVerdict,
    expected: Mapping[Group, Figures],
    hits: Iterable[Mapping[str, Any]],
    stored: HourAggregates | None,
) -> None:
    """Adds to the verdict what differs in the hour's documents.

    Args:
        verdict: The hour's verdict.
        expected: What the clicks amount to.
        hits: All documents of the hour, with `_id`, `_version` and `_source`.
        stored: The hour's Parquet file, which the documents were made from.
    """
    seen: set[Group] = set()
    for hit in hits:
        document = hit["_source"]
        group = (str(document.get("url")), str(document.get("country")))
        host, path = host_and_path(group[0])
        own: dict[str, Any] = {"host": host, "path": path, "_id": document_id(verdict.hour, *group)}
        if stored is not None:
            own |= {"generation": stored.generation, "_version": stored.generation}
        found = {**document, "_id": hit["_id"], "_version": hit["_version"]}
        _compare_group(verdict, Place.INDEX, group, seen, expected, found, own)
        if stored is not None and (computed_at := document.get("computed_at", 0)) > stored.computed_at_ms:
            # Older is fine: the same generation was computed again without being published again.
            wanted = stored.computed_at_ms
            verdict.add(Difference(verdict.hour, Place.INDEX, *group, "computed_at", wanted, computed_at))
    _missing(verdict, Place.INDEX, expected, seen)


def host_and_path(page: str) -> tuple[str, str]:
    """Host without port, and path without query, of a canonical page."""
    authority, _, tail = page.partition("://")[2].partition("/")
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    return host, "/" + tail.partition("?")[0]


class Verifier:
    """Compares hours with the clicks in HBase.

    Every method raises what the clients raise: an outage is never a difference. An error of the aggregates' file system
    is an OSError.

    Args:
        settings: Names of tables and alias, address of the aggregates, days that HBase keeps a click.
        hbase: Client for clicks and ledger.
        search: Client for the index.
        settle_seconds: A click is stored at most so long before its hour is marked dirty.
        sleep: Waits some seconds.
    """

    def __init__(
        self,
        settings: "Settings",
        hbase: HBase,
        search: SearchClient,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._hbase = hbase
        self._search = search
        self._ledger = HourLedger(hbase, settings.hours_table)
        self._settle_seconds = settle_seconds
        self._sleep = sleep

    def hours(self, first: int | None = None, last: int | None = None) -> list[int]:
        """The hours there is something to say about: in the ledger, as a file, in the index, or with clicks in HBase.

        Args:
            first: Start of the first hour, epoch ms; None for no limit.
            last: Start of the last hour, epoch ms; None for no limit.
        """
        refresh(self._search, [self._settings.index_alias])
        start, end = first or 0, MAX_TIMESTAMP_MS + 1 if last is None else last + HOUR_MS
        known = {state.hour for state in self._ledger.all()}
        known |= set(stored_hours(self._settings.aggregates_uri))
        known |= set(hours_held(self._search, [self._settings.index_alias]))
        chosen = {hour for hour in known if start <= hour < end}
        for gap_start, gap_end in _gaps(chosen, start, end):
            clicks = read_clicks_in_order(self._hbase, self._settings.clicks_table, gap_start, gap_end)
            chosen |= {hour_of(click.timestamp) for click in clicks}
        return sorted(chosen)

    def verify(self, hours: Sequence[int]) -> Iterator[HourVerdict]:
        """A verdict on each hour; those on doubtful hours come last."""
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
        """Waits until the newest click of the hours, and of the half hours behind them, has been stored long enough."""
        newest = 0
        for run in contiguous_runs(hours):
            end = run[-1] + HOUR_MS + LONGEST_KNOWN_MS
            times = stored_times(self._hbase, self._settings.clicks_table, run[0], end)
            newest = max(newest, max(times, default=0))
        if not newest:
            return
        wait = (newest - self._ledger.server_time_ms()) / 1000 + self._settle_seconds
        if wait > 0:
            self._sleep(wait)

    def _look(self, hours: Sequence[int]) -> Iterator[HourVerdict]:
        for run in contiguous_runs(hours):
            for start in range(0, len(run), HOURS_AT_ONCE):
                yield from self._look_at_run(run[start : start + HOURS_AT_ONCE])

    def _look_at_run(self, run: Sequence[int]) -> Iterator[HourVerdict]:
        before = self._ledger.read([*run, run[-1] + HOUR_MS])
        if all(before[hour].is_dirty for hour in run):
            yield from (HourVerdict(hour, Outcome.DIRTY) for hour in run)
            return
        verdicts = list(self._compare(run, before))
        after = self._ledger.read(run)
        now_ms = time.time_ns() // 1_000_000
        expired = expired_hours(before.values(), ttl_days=self._settings.clicks_ttl_days, now_ms=now_ms)
        for verdict in verdicts:
            verdict.outcome = _outcome(verdict, before[verdict.hour], after[verdict.hour], expired)
            if verdict.outcome not in (Outcome.EQUAL, Outcome.DIFFERENT):
                verdict.differences, verdict.differing = [], 0
        yield from verdicts

    def _compare(self, run: Sequence[int], before: Mapping[int, HourState]) -> Iterator[HourVerdict]:
        documents = _ByHour(self._documents(run))
        end = run[-1] + HOUR_MS + LONGEST_KNOWN_MS
        clicks = read_clicks_in_order(self._hbase, self._settings.clicks_table, run[0], end)
        for hour, expected in recompute(clicks, run):
            verdict = HourVerdict(hour, clicks=sum(f.clicks for f in expected.values()), groups=len(expected))
            hits = documents.of(hour)
            if before[hour].is_dirty:  # not judged, so not read either
                yield verdict
                continue
            stored = self._stored(verdict)
            if verdict.differing == 0:
                compare_parquet(verdict, expected, stored)
            _compare_ledger(verdict, before[hour], expected, stored)
            compare_index(verdict, expected, hits, stored)
            yield verdict

    def _stored(self, verdict: HourVerdict) -> HourAggregates | None:
        try:
            return read_hour(self._settings.aggregates_uri, verdict.hour)
        except AggregatesUnreadable as error:
            verdict.add(_of_hour(verdict.hour, Place.PARQUET, "file", "readable", str(error)))
            return None

    def _documents(self, run: Sequence[int]) -> Iterator[Mapping[str, Any]]:
        within = {"range": {"hour": {"gte": run[0], "lt": run[-1] + HOUR_MS, "format": "epoch_millis"}}}
        return every_hit(self._search, [self._settings.index_alias], within, source=True, sort=[{"hour": "asc"}])


class _ByHour:
    """Documents that come in the order of their hours, handed out hour by hour; earlier ones are skipped."""

    def __init__(self, hits: Iterator[Mapping[str, Any]]) -> None:
        self._groups = groupby(hits, key=lambda hit: int(hit["_source"]["hour"]))
        self._next: tuple[int, Iterator[Mapping[str, Any]]] | None = None

    def of(self, hour: int) -> Iterator[Mapping[str, Any]]:
        while self._next is None or self._next[0] < hour:
            self._next = next(self._groups, (MAX_TIMESTAMP_MS, iter(())))
        return self._next[1] if self._next[0] == hour else iter(())


def _outcome(verdict: HourVerdict, before: HourState, after: HourState, expired: set[int]) -> Outcome:
    if verdict.hour in expired:
        return Outcome.EXPIRED
    if before.is_dirty and after.is_dirty:
        return Outcome.DIRTY
    if before != after:
        return Outcome.CHANGING
    return Outcome.DIFFERENT if verdict.differing else Outcome.EQUAL


def _compare_ledger(
    verdict: HourVerdict, state: HourState, expected: Mapping[Group, Figures], stored: HourAggregates | None
) -> None:
    hour = verdict.hour
    if not state.dirty and expected:
        verdict.add(_of_hour(hour, Place.LEDGER, "dirty", "at least 1: the hour has clicks", 0))
    if stored is not None and stored.generation != state.done:
        verdict.add(_of_hour(hour, Place.PARQUET, "generation", state.done, stored.generation))
    if stored is None and state.done and not verdict.differing:
        verdict.add(_of_hour(hour, Place.PARQUET, "file", "a file of an hour that is done", "no file"))


def _compare_group(
    verdict: HourVerdict,
    place: Place,
    group: Group,
    seen: set[Group],
    expected: Mapping[Group, Figures],
    found: Mapping[str, Any],
    own: Mapping[str, Any],
) -> None:
    def add(name: str, wanted: object, there: object) -> None:
        verdict.add(Difference(verdict.hour, place, *group, name, wanted, there))

    figures = expected.get(group)
    if figures is None:
        add("group", "absent", f"{found.get('click_count')} clicks, generation {found.get('generation')}")
        return
    if group in seen:
        add("group", "once", "again")
        return
    seen.add(group)
    for name, wanted in {"hour": verdict.hour, **figures.fields, **own}.items():
        if not _same(wanted, found.get(name)):
            add(name, wanted, found.get(name))


def _missing(verdict: HourVerdict, place: Place, expected: Mapping[Group, Figures], seen: set[Group]) -> None:
    for group, figures in expected.items():
        if group not in seen:
            verdict.add(Difference(verdict.hour, place, *group, "group", f"{figures.clicks} clicks", "absent"))


def _same(wanted: object, found: object) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return wanted == found


def _of_hour(hour: int, place: Place, name: str, expected: object, found: object) -> Difference:
    return Difference(hour, place, "", "", name, expected, found)


def _gaps(hours: Iterable[int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """What of [start, end) is in none of the hours."""
    for run in contiguous_runs(hours):
        if start < run[0]:
            yield start, run[0]
        start = run[-1] + HOUR_MS
    if start < end:
        yield start, end
