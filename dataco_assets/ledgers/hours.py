"""The hour ledger in HBase: which hours need computing.

Belongs here: how an hour becomes dirty and done. Does not belong here: which hours a click touches (`clicks/hour.py`),
Dagster partitions, and the computing itself.

Ledger table: row = hour as `YYYY-MM-DD-HH:00` (UTC), so a scan is in time order; family `h`:
    * `h:dirty`: counter, raised each time clicks of the hour (or of the half hours around it) were stored;
    * `h:done`: 8-byte integer, the value of `dirty` read before the refresh whose result readers now see;
    * `h:first_stored_at`: epoch ms as text by HBase's clock, written once: no click of the hour was stored earlier.
An hour is dirty while dirty > done. A refresh reads `dirty` *before* it reads clicks, so a click that lands meanwhile
leaves the hour dirty, whatever the order of things after that.

So that the dirty hours can be found without reading the whole ledger, the row `low-water` says where to begin:
`h:low` = `<hour, epoch ms> <count>`; no hour before it waits for a refresh. Marking hours raises the count and, where
necessary, lowers the hour, after the counters were raised. Reading the ledger raises the hour, by compare-and-put on
the cell read before the scan, so that it fails if hours were marked meanwhile.

Dirty hours that no refresh computes (expired, or before the first partition) get a cell `h:passed` before the mark is
raised beyond them, so that the region server can find them without sending the others; `h:passed` in the row
`low-water` says that this was done for all of them.
"""

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

from dataco_assets.clicks.finality import SCAN_MARGIN_MS, Cause
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, VISIT_GAP_MS, hour_from_key, hour_key, touched_hours
from dataco_assets.clients.hbase import Cells
from dataco_assets.clients.mutations import encode_row
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.restating import CauseRange, cause_column
from dataco_assets.ledgers.table import LedgerTable, batches

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_BEHIND_HOURS = b"clock"
_CLOCK_ROWS, _CLOCK = b"clock/", b"h:clock"
_DIRTY, _DONE, _FIRST_STORED_AT = b"h:dirty", b"h:done", b"h:first_stored_at"
_LOW_ROW, _LOW = b"low-water", b"h:low"  # behind all hours, too
_PASSED, _YES = b"h:passed", b"1"
_HAVING_PASSED = b"SingleColumnValueFilter('h', 'passed', =, 'binary:1', true, true)"
_LOW_STEP_MS = DAY_MS
"""The low-water mark is raised in steps of this length, not at every look."""
MARKED_WITHIN_SECONDS = 120.0
"""A click's hour is marked dirty within this time after the click was stored, unless the drain died in between.
The same holds for rows that an erasure or a drain deletes."""
_MARK_POLL_SECONDS = 2.0
_ROWS_PER_SCAN_PAGE = 10_000  # more than a year of hours; about 1 MB


class HourExpired(DatacoError):
    """Clicks of an hour may have left HBase (time to live), so it must not be computed again."""


@dataclass(frozen=True)
class HourState:
    """The ledger's state of one hour; zeros for an hour never touched."""

    hour: int
    dirty: int = 0
    done: int = 0
    first_stored_at: int | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether readers do not see all of the hour's clicks yet."""
        return self.dirty > self.done


@dataclass(frozen=True)
class DirtyHours:
    """The dirty hours (epoch ms, oldest first) by whether a refresh can bring them up to date.

    Attributes:
        waiting: Those that a refresh will compute.
        expired: Late clicks came for them, but HBase may have dropped earlier ones: they are not computed again.
        outside: They lie before the first partition, so no run can compute them.
        reopened: Those waiting that were published before, without their newest clicks.
    """

    waiting: list[int]
    expired: list[int]
    outside: list[int]
    reopened: list[int] = field(default_factory=list, compare=False)


@dataclass(frozen=True)
class Collecting:
    """How long late clicks of a published hour are collected before the hour is computed again.

    Most late clicks come soon. So an hour that keeps receiving some is computed at intervals that grow with its age,
    and a late click waits for a time that is short beside its own delay.

    Attributes:
        percent: The interval, as a percentage of the hour's age when it was last published.
        most_seconds: Maximum interval.
    """

    percent: float
    most_seconds: float

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """As the settings say."""
        return cls(settings.late_refresh_percent, settings.late_refresh_max_seconds)

    def ends_at(self, hour: int, published_at: int) -> int:
        """When the hour (epoch ms) is to be computed again, epoch ms.

        Args:
            hour: The hour.
            published_at: When its last result was published, epoch ms.
        """
        age_ms = max(0, published_at - hour - HOUR_MS)
        return published_at + int(min(age_ms * self.percent / 100, self.most_seconds * 1000))


@dataclass(frozen=True)
class _LowWater:
    """Where the ledger has to be read from; see the module."""

    hour: int
    count: int

    @classmethod
    def of(cls, cell: bytes | None) -> Self:
        hour, count = (cell or b"0 0").split()
        return cls(int(hour), int(count))

    def lowered_to(self, hour: int) -> Self:
        return replace(self, hour=min(self.hour, hour), count=self.count + 1)

    def raised_to(self, hour: int) -> Self:
        return replace(self, hour=hour)

    def encode(self) -> bytes:
        return f"{self.hour} {self.count}".encode()


class HourLedger(LedgerTable):
    """The hour ledger in HBase; see the module for its rules.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"h": {"max_versions": 1}}

    def touched_by(self, times_ms: Iterable[int]) -> set[int]:
        """Hours that clicks of these times touch and that have to be marked, epoch ms.

        An hour after those of the clicks is left out while it holds no click: it has no row that could change, it may
        not have begun, and its first click marks it. Call this when the clicks are stored (or deleted): a click that
        arrives in such an hour meanwhile raises its counter later than that, so the refresh that finishes the hour
        reads it behind them.

        Args:
            times_ms: Times of clicks, or of the half hours they are in.
        """
        spans = {time_ms - time_ms % VISIT_GAP_MS for time_ms in times_ms}
        touched = {(hour, hour > span) for span in spans for hour in touched_hours(span)}
        certain = {hour for hour, is_after in touched if not is_after}
        after = {hour for hour, is_after in touched if is_after} - certain
        rows = self._read_rows([hour_key(hour).encode() for hour in sorted(after)], [_FIRST_STORED_AT])
        return certain | {hour_from_key(key.decode()) for key, cells in rows.items() if _FIRST_STORED_AT in cells}

    def mark_dirty(
        self,
        hours: Iterable[int],
        *,
        holding_clicks: Iterable[int],
        stored_since_ms: int,
        cause: Cause = Cause.LATE_CLICKS,
    ) -> None:
        """Notes that clicks were stored, or changed for another cause.

        Sent again after a broken call, the counters may rise twice: the hour is then merely computed with a higher
        generation.

        Args:
            hours: All hours to mark (`touched_by`).
            holding_clicks: Those that the clicks themselves are in.
            stored_since_ms: HBase's time (`server_time_ms`) when none of these clicks was stored yet, epoch ms.
            cause: Why, for the restatements of hours that were final. Only one other than late clicks costs requests.
        """
        hours = set(hours)
        if cause is not Cause.LATE_CLICKS:
            self.note_cause(hours, cause)
        keys = sorted({hour_key(hour).encode() for hour in hours})
        holding = sorted({hour_key(hour).encode() for hour in holding_clicks})
        known = self._read_rows(holding, [_FIRST_STORED_AT])
        first = str(stored_since_ms).encode()
        for key in holding:
            if _FIRST_STORED_AT not in known.get(key, {}):
                self._hbase.put_if(self._table, key, _FIRST_STORED_AT, expected=None, value=first)
        for some in batches(keys):
            self._hbase.increment(self._table, _DIRTY, dict.fromkeys(some, 1))
        if keys:
            oldest = hour_from_key(keys[0].decode())
            self._change_cell(_LOW_ROW, _LOW, lambda present: _LowWater.of(present).lowered_to(oldest).encode())

    def raise_dirty(self, generations: Mapping[int, int]) -> None:
        """Makes hours dirty by raising their counters to at least the given values.

        Args:
            generations: The least value of `dirty` by hour.
        """
        behind = {hour: state for hour, state in self.read(generations).items() if state.dirty < generations[hour]}
        self.note_cause(behind, Cause.REPAIR)
        # Each by its own amount, and by adding: what clicks that arrive meanwhile add is not lost.
        for hour, state in behind.items():
            self._hbase.increment(self._table, _DIRTY, {hour_key(hour).encode(): generations[hour] - state.dirty})

    def note_cause(self, hours: Iterable[int], cause: Cause) -> None:
        """Notes why hours are about to become dirty, if not by late clicks alone; call it before they are marked.

        Args:
            hours: The hours, epoch ms.
            cause: Why, for the restatements of those that were final.
        """
        for hour, state in self.read(hours).items():

            def noted(present: bytes | None, generation: int = state.dirty + 1, done: int = state.done) -> bytes:
                before = CauseRange.read(present) or CauseRange(generation, generation)
                return before.extended(generation, done).encode()

            self._change_cell(hour_key(hour).encode(), cause_column(cause), noted)

    def read(self, hours: Iterable[int]) -> dict[int, HourState]:
        """States of the given hours; each is there, with zeros when never touched."""
        wanted = sorted(set(hours))
        rows = self._read_rows([hour_key(hour).encode() for hour in wanted], None)
        return {hour: _state(hour, rows.get(hour_key(hour).encode(), {})) for hour in wanted}

    def changed_since(
        self, generations: Mapping[int, int], *, settle_seconds: float = MARKED_WITHIN_SECONDS
    ) -> set[int]:
        """Hours whose clicks changed after their generations were read, and which are therefore dirty.

        Clicks are stored or deleted first and their hours marked afterwards, so this waits for marks that are yet to
        come.

        Args:
            generations: The value of `dirty` that was read before the clicks were, by hour.
            settle_seconds: Longest time to wait for a mark.
        """
        deadline = time.monotonic() + settle_seconds
        changed: set[int] = set()
        while True:
            unchanged = generations.keys() - changed
            changed |= {hour for hour, state in self.read(unchanged).items() if state.dirty != generations[hour]}
            if len(changed) == len(generations) or time.monotonic() >= deadline:
                return changed
            time.sleep(_MARK_POLL_SECONDS)

    def all(self, start_ms: int = 0, end_ms: int | None = None) -> list[HourState]:
        """States of the hours in [start, end) that were ever touched, oldest first.

        Args:
            start_ms: Start of the first hour, epoch ms.
            end_ms: Start of the hour before which to stop, epoch ms; None for no limit.
        """
        stop = _BEHIND_HOURS if end_ms is None else hour_key(end_ms).encode()
        columns = [_DIRTY, _DONE, _FIRST_STORED_AT]
        rows = self._hbase.scan(
            self._table, hour_key(start_ms).encode(), stop, columns=columns, page_rows=_ROWS_PER_SCAN_PAGE
        )
        return [_state(hour_from_key(key.decode()), cells) for key, cells in rows]

    def not_marked_since(self, time_ms: int, hours: Sequence[int]) -> list[int]:
        """The given hours (in order) whose last mark HBase stored before a time, epoch ms."""
        if not hours:
            return []
        first, last = (hour_key(hour).encode() for hour in (hours[0], hours[-1]))
        rows = self._hbase.scan_with_times(self._table, first, last + b"\0")
        marked = {hour_from_key(key.decode()): cells[_DIRTY][1] for key, cells in rows if _DIRTY in cells}
        return [hour for hour in hours if marked.get(hour, time_ms) < time_ms]

    def count(self) -> int:
        """Number of hours that were ever marked; only their keys are read."""
        keys = self._hbase.scan_times(self._table, None, _BEHIND_HOURS, column=_DIRTY)
        return sum(1 for _ in keys)

    def unfinished(self, *, earliest_ms: int, ttl_days: int) -> DirtyHours:
        """The dirty hours, found without reading the hours that were finished long ago.

        Expired hours, and hours before the first partition, are only included while some older hour waits.

        Args:
            earliest_ms: Start of the first partition, epoch ms.
            ttl_days: How long HBase keeps a cell.
        """
        now_ms = self.server_time_ms()
        cell, low = self._low_water()
        states = self.all(low.hour - HOUR_MS)  # of the first one it counts whether the hour before has expired
        found = dirty_hours(states, earliest_ms=earliest_ms, ttl_days=ttl_days, now_ms=now_ms, from_ms=low.hour)
        begin = found.waiting[0] if found.waiting else states[-1].hour if states else low.hour
        if begin - low.hour >= _LOW_STEP_MS:
            self._note_passed(hour for hour in (*found.expired, *found.outside) if hour < begin)
            if self._hbase.put_if(self._table, _LOW_ROW, _LOW, expected=cell, value=low.raised_to(begin).encode()):
                self._hbase.put_if(self._table, _LOW_ROW, _PASSED, expected=None, value=_YES)
        return found

    def dirty(self, *, earliest_ms: int, ttl_days: int) -> DirtyHours:
        """All dirty hours, also those that no refresh computes, without reading hours that were finished long ago.

        Args:
            earliest_ms: Start of the first partition, epoch ms.
            ttl_days: How long HBase keeps a cell.
        """
        now_ms = self.server_time_ms()
        _, low = self._low_water()
        states = {state.hour: state for state in self.all(low.hour - HOUR_MS)}
        passed = self._hbase.scan(
            self._table, None, hour_key(low.hour).encode(), filter_string=_HAVING_PASSED, page_rows=_ROWS_PER_SCAN_PAGE
        )
        hours = [hour_from_key(key.decode()) for key, _ in passed]
        # With those next to them, on which it depends whether they have expired.
        states |= self.read(hour + step for hour in hours for step in (-HOUR_MS, 0, HOUR_MS))
        return dirty_hours(states.values(), earliest_ms=earliest_ms, ttl_days=ttl_days, now_ms=now_ms)

    def _note_passed(self, hours: Iterable[int]) -> None:
        rows = [encode_row(hour_key(hour).encode(), [(_PASSED, _YES)]) for hour in hours]
        for some in batches(rows):
            self._hbase.put_rows(self._table, some)

    def _low_water(self) -> tuple[bytes | None, _LowWater]:
        """The cell, and where to begin reading: at the start, if an earlier version noted no passed hours."""
        row = self._hbase.rows(self._table, [_LOW_ROW], [_LOW, _PASSED]).get(_LOW_ROW, {})
        cell = row.get(_LOW)
        low = _LowWater.of(cell)
        return cell, low if _PASSED in row else replace(low, hour=0)

    def server_time_ms(self) -> int:
        """HBase's own time, epoch ms: the only one that can be compared with the times at which clicks were stored."""
        return self._hbase.server_time_ms(self._table, _CLOCK_ROWS, _CLOCK)

    def set_done(self, generations: Mapping[int, int]) -> None:
        """Notes the generation readers now see of each hour; never lowers it.

        Args:
            generations: Published generation by hour.
        """
        for hour, generation in generations.items():

            def raised(done: bytes | None, generation: int = generation) -> bytes | None:
                return _int_bytes(generation) if int.from_bytes(done or b"", "big") < generation else None

            self._change_cell(hour_key(hour).encode(), _DONE, raised)

    def collecting(self, reopened: Sequence[int], rule: Collecting) -> set[int]:
        """Those of the hours that were published too lately to be computed again now.

        Args:
            reopened: Dirty hours that were published before.
            rule: How long late clicks are collected.
        """
        if not reopened or not rule.percent:
            return set()
        keys = [hour_key(hour).encode() for hour in reopened]
        published: dict[bytes, int] = {}
        for some in batches(keys):
            published |= self._hbase.times(self._table, some, _DONE)
        now_ms = self.server_time_ms()
        times = {hour_from_key(key.decode()): time_ms for key, time_ms in published.items()}
        return {hour for hour, time_ms in times.items() if rule.ends_at(hour, time_ms) > now_ms}

    def expired(self, hours: Collection[int], *, ttl_days: int, now_ms: int | None = None) -> set[int]:
        """Those of the hours for which HBase may no longer hold every click, or not every one of the half hours around.

        Args:
            hours: Hours to look up.
            ttl_days: How long HBase keeps a cell.
            now_ms: HBase's time (`server_time_ms`), epoch ms, where it is known already.
        """
        states = self.read({hour + step for hour in hours for step in (-HOUR_MS, 0, HOUR_MS)})
        now_ms = self.server_time_ms() if now_ms is None else now_ms
        return expired_hours(states.values(), ttl_days=ttl_days, now_ms=now_ms).intersection(hours)

    def losing(self, hours: Collection[int], *, ttl_days: int) -> set[int]:
        """Those of the hours of which HBase may have dropped clicks; what lies around them does not matter.

        Args:
            hours: Hours to look up.
            ttl_days: How long HBase keeps a cell.
        """
        return losing_hours(self.read(hours).values(), ttl_days=ttl_days, now_ms=self.server_time_ms())

    def refuse_expired(self, hours: Sequence[int], *, ttl_days: int, now_ms: int) -> None:
        """Raises unless HBase can still hold every click of the hours, and of the half hours around each.

        Raises:
            HourExpired: names the hours for which that is not certain.
        """
        expired = sorted(self.expired(hours, ttl_days=ttl_days, now_ms=now_ms))
        if expired:
            raise HourExpired(
                f"{len(expired)} hours from {hour_key(expired[0])} to {hour_key(expired[-1])} hold clicks stored more "
                f"than {ttl_days} days ago (DATACO_CLICKS_TTL_DAYS): HBase may have dropped some, so computing them "
                "again could only lose clicks. Their aggregates stay as they are; leave them out of the selection.",
                hours=expired,
            )


def expired_hours(states: Iterable[HourState], *, ttl_days: int, now_ms: int) -> set[int]:
    """Hours that may have lost clicks to the time to live, which runs from a click's arrival.

    An hour is only whole while the half hours around it are: a click missing there would end a visit too early, or
    begin one too many.

    Args:
        states: States of the hours and of those next to them.
        ttl_days: How long HBase keeps a cell.
        now_ms: HBase's time, epoch ms.
    """
    losing = losing_hours(states, ttl_days=ttl_days, now_ms=now_ms)
    return {hour + step for hour in losing for step in (-HOUR_MS, 0, HOUR_MS)}


def losing_hours(states: Iterable[HourState], *, ttl_days: int, now_ms: int) -> set[int]:
    """Hours that may have lost clicks of their own to the time to live; arguments as of `expired_hours`."""
    oldest = now_ms - ttl_days * DAY_MS + SCAN_MARGIN_MS
    return {s.hour for s in states if s.first_stored_at is not None and s.first_stored_at < oldest}


def dirty_hours(
    states: Iterable[HourState], *, earliest_ms: int, ttl_days: int, now_ms: int, from_ms: int = 0
) -> DirtyHours:
    """Groups the dirty hours of the ledger by whether a refresh can bring them up to date.

    Args:
        states: States of all hours.
        earliest_ms: Start of the first partition, epoch ms.
        ttl_days: How long HBase keeps a cell.
        now_ms: HBase's time, epoch ms.
        from_ms: Hours before this one (epoch ms) only say what has expired.
    """
    states = list(states)
    expired = expired_hours(states, ttl_days=ttl_days, now_ms=now_ms)
    found = DirtyHours([], [], [])
    dirty = {state.hour: state for state in states if state.is_dirty and state.hour >= from_ms}
    for hour in sorted(dirty):
        kind = found.outside if hour < earliest_ms else found.expired if hour in expired else found.waiting
        kind.append(hour)
    found.reopened.extend(hour for hour in found.waiting if dirty[hour].done)
    return found


def _int_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _state(hour: int, cells: Cells) -> HourState:
    first = cells.get(_FIRST_STORED_AT)
    return HourState(
        hour=hour,
        dirty=int.from_bytes(cells.get(_DIRTY, b""), "big"),
        done=int.from_bytes(cells.get(_DONE, b""), "big"),
        first_stored_at=int(first) if first is not None else None,
    )
