"""Unsound hours: aggregates that failed their checks when they were computed, so that no run publishes them.

Kept in the table of the hour ledger, in the cell `h:unsound` (JSON) of an hour's row. The step that computes hours
notes them; the step that publishes reads them, in the same run or in a later one. An entry is about the aggregates of
one computation. Once the hour was computed again, it no longer counts.
"""

from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from dataco_assets.clicks.hour import hour_from_key, hour_key
from dataco_assets.ledgers.table import LedgerTable

_CELL: Final = b"h:unsound"
_PROBLEMS_KEPT = 10


class Unsound(msgspec.Struct, frozen=True):
    """Aggregates of an hour that failed their checks.

    Attributes:
        hour: Start, epoch ms.
        generation: Of the aggregates.
        computed_at_ms: When they were computed; with the generation, it identifies them.
        problems: What is wrong, one line each. Of many, the first are kept.
    """

    hour: int
    generation: int
    computed_at_ms: int
    problems: tuple[str, ...]


class UnsoundHours(LedgerTable):
    """The entries in HBase. Every method raises what `dataco_assets.clients.hbase` raises.

    The table is the hour ledger's.
    """

    def note(self, entries: Iterable[Unsound]) -> None:
        """Adds entries, or replaces those of the same hours."""
        for entry in entries:
            kept = msgspec.structs.replace(entry, problems=tuple(entry.problems[:_PROBLEMS_KEPT]))
            encoded = msgspec.json.encode(kept)
            self._change_cell(hour_key(entry.hour).encode(), _CELL, lambda _, encoded=encoded: encoded)

    def of(self, hours: Collection[int]) -> dict[int, Unsound]:
        """The last entry of each of the hours (epoch ms) that has one."""
        rows = self._read_rows([hour_key(hour).encode() for hour in sorted(hours)], [_CELL])
        return {
            hour_from_key(key.decode()): msgspec.json.decode(cells[_CELL], type=Unsound) for key, cells in rows.items()
        }
