"""Parked work: it failed for a reason that only a person can remove, and is not retried until something changes.

Kept in the table of the hour ledger, in the cell `h:parked` (JSON) of an hour's row or of the row `ingest`, so that the
sensors, `dataco status` and `dataco resume` see the same, whichever machine they are on. An entry is kept after its
end: it records which failures are settled.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Self

import msgspec

from dataco_assets.clicks.hour import hour_from_key
from dataco_assets.ledgers.table import LedgerTable

INGEST = "ingest"
"""Name of the entry of the whole ingest; an hour's entry has the hour's key."""
_CELL = b"h:parked"
_NAMED = 5


class Receiver(StrEnum):
    """Who is told that work is parked and resumed; one may be away while the other is told."""

    WEBHOOK = "webhook"
    MAIL = "mail"


@dataclass(frozen=True)
class Parked:
    """Work that is parked, or was.

    Attributes:
        name: `ingest`, or an hour's key.
        error: Class of the error.
        message: First line of its message.
        run_id: The run that failed.
        since: When it failed, epoch seconds.
        circumstances: Fingerprint of settings, code and topic when the run was started.
        ended_at: When it was resumed, epoch seconds; None while it is parked.
        ended_by: What resumed it.
        is_reported: Whether the webhook has received that the work is parked, and not yet that it is resumed.
        is_mailed: Likewise whether people have received it by mail.
    """

    name: str
    error: str
    message: str
    run_id: str
    since: float
    circumstances: str
    ended_at: float | None = None
    ended_by: str = ""
    is_reported: bool = False
    is_mailed: bool = False

    @property
    def is_active(self) -> bool:
        """Whether the work is parked now."""
        return self.ended_at is None

    def ended(self, by: str, now: float) -> Self:
        """The entry, resumed. The end is never before the failure, whatever the clocks say."""
        return replace(self, ended_at=max(now, self.since), ended_by=by)

    def is_known_to(self, receiver: Receiver) -> bool:
        """Whether a receiver was told that the work is parked, and not yet that it is resumed."""
        return self.is_reported if receiver is Receiver.WEBHOOK else self.is_mailed

    def known_to(self, receiver: Receiver, *, as_active: bool) -> Self:
        """The entry, once a receiver was told that the work is parked, or that it is resumed."""
        if receiver is Receiver.WEBHOOK:
            return replace(self, is_reported=as_active)
        return replace(self, is_mailed=as_active)

    def settles(self, ended_at: float) -> bool:
        """Whether a run that failed at that time (epoch seconds) needs no more attention."""
        return self.ended_at is not None and ended_at <= self.ended_at


class ParkedWork(LedgerTable):
    """The entries in HBase. Every method raises what `dataco_assets.clients.hbase` raises.

    The table is the hour ledger's.
    """

    def all(self) -> dict[str, Parked]:
        """Every entry by name, also those that have ended."""
        return {key.decode(): _decoded(cells[_CELL]) for key, cells in self._hbase.scan(self._table, columns=[_CELL])}

    def hours(self) -> dict[int, Parked]:
        """The entries of hours, by the hour's start, epoch ms."""
        return {hour_from_key(name): entry for name, entry in self.all().items() if name != INGEST}

    def read(self, name: str) -> Parked | None:
        """One entry."""
        cells = self._hbase.rows(self._table, [name.encode()], [_CELL]).get(name.encode(), {})
        return _decoded(cells[_CELL]) if cells else None

    def write(self, entries: Iterable[Parked]) -> None:
        """Adds or replaces entries."""
        for entry in entries:
            encoded = msgspec.json.encode(entry)
            self._change_cell(entry.name.encode(), _CELL, lambda _, encoded=encoded: encoded)

    def mark_reported(self, entries: Iterable[Parked], receiver: Receiver) -> None:
        """Notes that a receiver was told the state of entries, whatever has become of the work meanwhile."""
        for entry in entries:
            self._change_cell(entry.name.encode(), _CELL, partial(_marked, entry, receiver))


def active(entries: Iterable[Parked]) -> list[Parked]:
    """Those that are parked now, oldest first."""
    return sorted((entry for entry in entries if entry.is_active), key=lambda entry: (entry.since, entry.name))


def why_parked(entries: Sequence[Parked]) -> str:
    """What is parked, why, since when, and what ends it; for a person.

    Args:
        entries: Active ones, oldest first; at least one.
    """
    first = entries[0]
    since = datetime.fromtimestamp(first.since, UTC)
    changes = "a setting, the code or the topic" if first.name == INGEST else "a setting or the code"
    return (
        f"Parked since {since:%Y-%m-%d %H:%M} UTC: {names(entries)}. {first.error}: {first.message} (run "
        f"{first.run_id[:8]}) Not tried again before a person resumes it with `dataco resume {first.name}`, or "
        f"{changes} changes."
    )


def names(entries: Sequence[Parked]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(entries) - _NAMED:,} more" if len(entries) > _NAMED else ""
    return ", ".join(entry.name for entry in entries[:_NAMED]) + more


def _marked(entry: Parked, receiver: Receiver, present: bytes | None) -> bytes | None:
    """The cell, once a receiver was told of the entry; None: it is about another failure now."""
    found = _decoded(present) if present else None
    if found is None or (found.run_id, found.since) != (entry.run_id, entry.since):
        return None
    return msgspec.json.encode(found.known_to(receiver, as_active=entry.is_active))


def _decoded(cell: bytes) -> Parked:
    return msgspec.json.decode(cell, type=Parked)
