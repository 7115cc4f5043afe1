"""Which hours need computing: the ledger that remembers it in HBase.

Belongs here: how an hour becomes dirty and done. Does not belong here: which hours a click touches (`clicks/hour.py`),
Dagster partitions, and the computing itself.

Ledger table: row = hour as `YYYY-MM-DD-HH:00` (UTC), so a scan is in time order; family `h`:
    * `h:dirty`: counter, raised each time clicks of the hour (or of the half hour behind it) were stored;
    * `h:done`: 8-byte integer, the value of `dirty` read before the refresh whose result readers now see;
    * `h:first_stored_at`: epoch ms as text, written once: no click of the hour was stored earlier.
An hour is dirty while dirty > done. A refresh reads `dirty` *before* it reads clicks, so a click that lands meanwhile
leaves the hour dirty, whatever the order of things after that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key
from dataco_assets.clients.hbase import Cells
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.table import LedgerTable

_CLOCK_ROW, _CLOCK = b"clock", b"h:clock"  # no hour's name, and behind them all
_DIRTY, _DONE, _FIRST_STORED_AT = b"h:dirty", b"h:done", b"h:first_stored_at"
_ROWS_PER_CALL = 500
_SCAN_MARGIN_MS = HOUR_MS
"""A scan takes time: what expires while it runs counts as expired."""


class HourExpired(DatacoError):
    """Clicks of an hour may have left HBase (time to live), so it must not be computed again."""


@dataclass(frozen=True)
class HourState:
    """What the ledger knows of one hour; an hour never touched has zeros."""

    hour: int
    dirty: int = 0
    done: int = 0
    first_stored_at: int | None = None

    @property
    def is_dirty(self) -> bool:
        """Whether readers do not see all of the hour's clicks yet."""
        return self.dirty > self.done


class HourLedger(LedgerTable):
    """The hour ledger in HBase; see the module for its rules.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"h": {"max_versions": 1}}

    def mark_dirty(self, hours: Iterable[int], *, holding_clicks: Iterable[int], stored_since_ms: int) -> None:
        """Notes that clicks were stored.

        Sent again after a broken call, the counters may rise twice: the hour is then merely computed with a higher
        generation.

        Args:
            hours: All hours the clicks touch (`touched_hours`).
            holding_clicks: Those that the clicks themselves are in.
            stored_since_ms: A time not later than the storing of the first of these clicks, epoch ms.
        """
        keys = sorted({hour_key(hour).encode() for hour in hours})
        holding = sorted({hour_key(hour).encode() for hour in holding_clicks})
        known = self._read_rows(holding, [_FIRST_STORED_AT])
        first = str(stored_since_ms).encode()
        for key in holding:
            if _FIRST_STORED_AT not in known.get(key, {}):
                self._hbase.put_if(self._table, key, _FIRST_STORED_AT, expected=None, value=first)
        for start in range(0, len(keys), _ROWS_PER_CALL):
            self._hbase.increment(self._table, _DIRTY, dict.fromkeys(keys[start : start + _ROWS_PER_CALL], 1))

    def raise_dirty(self, generations: Mapping[int, int]) -> None:
        """Makes hours dirty by raising their counters to at least the given values.

        Args:
            generations: The least value of `dirty` by hour.
        """
        states = self.read(generations)
        amounts = {hour_key(hour).encode(): least - states[hour].dirty for hour, least in generations.items()}
        # Each by its own amount, and by adding: what clicks that arrive meanwhile add is not lost.
        for key, amount in amounts.items():
            if amount > 0:
                self._hbase.increment(self._table, _DIRTY, {key: amount})

    def read(self, hours: Iterable[int]) -> dict[int, HourState]:
        """States of the given hours; each is there, with zeros when never touched."""
        wanted = sorted(set(hours))
        rows = self._read_rows([hour_key(hour).encode() for hour in wanted], None)
        return {hour: _state(hour, rows.get(hour_key(hour).encode(), {})) for hour in wanted}

    def all(self, since: int | None = None) -> list[HourState]:
        """States of all hours ever touched (from `since` on), oldest first."""
        start = hour_key(since).encode() if since is not None else None
        rows = self._hbase.scan(self._table, start, _CLOCK_ROW)
        return [_state(hour_from_key(key.decode()), cells) for key, cells in rows]

    def dirty(self) -> list[HourState]:
        """States of the hours whose clicks readers do not all see yet, oldest first."""
        return [state for state in self.all() if state.is_dirty]

    def server_time_ms(self) -> int:
        """HBase's own time, epoch ms, in which the times of rows are told."""
        return self._hbase.server_time_ms(self._table, _CLOCK_ROW, _CLOCK)

    def set_done(self, generations: Mapping[int, int]) -> None:
        """Notes the generation readers now see of each hour; never lowers it.

        Args:
            generations: Published generation by hour.
        """
        states = self.read(generations)
        for hour, generation in generations.items():
            self._raise_done(hour, generation, states[hour])

    def _raise_done(self, hour: int, generation: int, state: HourState) -> None:
        key = hour_key(hour).encode()
        while state.done < generation:
            expected = _int_bytes(state.done) if state.done else None
            if self._hbase.put_if(self._table, key, _DONE, expected=expected, value=_int_bytes(generation)):
                return
            state = self.read([hour])[hour]

    def refuse_expired(self, hours: Sequence[int], *, ttl_days: int, now_ms: int) -> None:
        """Makes sure that HBase can still hold every click of the hours, and of the half hour behind each.

        Raises:
            HourExpired: names the hours for which that is not certain.
        """
        states = self.read({hour + step for hour in hours for step in (0, HOUR_MS)})
        expired = sorted(expired_hours(states.values(), ttl_days=ttl_days, now_ms=now_ms).intersection(hours))
        if expired:
            raise HourExpired(
                f"{len(expired)} hours from {hour_key(expired[0])} to {hour_key(expired[-1])} hold clicks stored more "
                f"than {ttl_days} days ago (DATACO_CLICKS_TTL_DAYS): HBase may have dropped some, so computing them "
                "again could only lose clicks. Their aggregates stay as they are; leave them out of the selection.",
                hours=expired,
            )

    def _read_rows(self, keys: Sequence[bytes], columns: Sequence[bytes] | None) -> dict[bytes, Cells]:
        rows: dict[bytes, Cells] = {}
        for start in range(0, len(keys), _ROWS_PER_CALL):
            rows |= self._hbase.rows(self._table, keys[start : start + _ROWS_PER_CALL], columns)
        return rows


def expired_hours(states: Iterable[HourState], *, ttl_days: int, now_ms: int) -> set[int]:
    """Hours that may have lost clicks to the time to live, which runs from a click's arrival.

    An hour is only whole while the half hour behind it is: a click missing there would end a visit too early.

    Args:
        states: What the ledger says of the hours and of those behind them.
        ttl_days: How long HBase keeps a cell.
        now_ms: Epoch ms.
    """
    oldest = now_ms - ttl_days * 24 * HOUR_MS + _SCAN_MARGIN_MS
    losing = {s.hour for s in states if s.first_stored_at is not None and s.first_stored_at < oldest}
    return losing | {hour - HOUR_MS for hour in losing}


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
