"""Publications in progress: which runs may be writing documents of which hours, and of which generations.

Kept in the table of the hour ledger, behind the hours: one row per run, `publishing/<run>`, whose cell `h:hours` (JSON)
has the generation of each hour that the run publishes. The row is written before the run looks at the index, and
removed when its documents are verified. The row of a run that failed or died stays: its tasks may still be writing.

A run that leaves a document as it is must know that no older run is about to overwrite it. Each run first writes its
own row and then reads those of the others, so of two runs at least the one that reads later sees the other:
    * the older run sees the newer one, or finds the hour done by it, and writes nothing (`Others.newer`); or
    * the newer run sees the older one, and writes every document, with its own generation as version: the index then
      refuses the older run's (`Others.older`).
An older run that has ended its work on an hour, or is behind the generation that was completed (`done`), needs no such
care: completing that generation either saw the older run, too, or kept it from writing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from dataco_assets.clients.mutations import encode_row
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.table import LedgerTable

_ROWS: Final = b"publishing/"
_BEHIND_ROWS: Final = b"publishing0"  # the next key behind all that begin like that
_CELL: Final = b"h:hours"


@dataclass(frozen=True)
class Others:
    """What other runs do with the hours of a run.

    Attributes:
        newer: Hours that a run of a newer generation publishes or has published.
        older: Hours of which a run of an older generation may still write documents.
    """

    newer: frozenset[int]
    older: frozenset[int]


class Publications(LedgerTable):
    """The rows in HBase. Every method raises what `dataco_assets.clients.hbase` raises.

    The table is the hour ledger's.
    """

    def announce(self, run: str, generations: Mapping[int, int]) -> None:
        """Writes the row of a run, before it looks at the index.

        Args:
            run: Name of this attempt, unique.
            generations: The generation it publishes, by hour (epoch ms).
        """
        row = encode_row(_key(run), [(_CELL, msgspec.json.encode(generations))])
        self._hbase.put_rows(self._table, [row])

    def withdraw(self, run: str) -> None:
        """Removes the row of a run that writes no more."""
        self._hbase.delete_rows(self._table, [_key(run)])

    def others(self, run: str, generations: Mapping[int, int]) -> Others:
        """What other runs do with the hours; removes rows of runs that can do no harm any more.

        Args:
            run: Name of this attempt, which announced itself before.
            generations: The generation it publishes, by hour (epoch ms).
        """
        announced = {
            key: msgspec.json.decode(cells[_CELL], type=dict[int, int])
            for key, cells in self._hbase.scan(self._table, _ROWS, _BEHIND_ROWS, columns=[_CELL])
            if key != _key(run)
        }
        hours = {hour for each in announced.values() for hour in each}
        # Read behind the rows: a run that withdrew before they were read had set it.
        done = {hour: state.done for hour, state in self._ledger.read(hours | generations.keys()).items()}
        newer = {hour for hour, ours in generations.items() if done[hour] > ours}
        older: set[int] = set()
        harmless: list[bytes] = []
        for key, theirs in announced.items():
            newer |= {hour for hour, ours in generations.items() if theirs.get(hour, 0) > ours}
            older |= {hour for hour, ours in generations.items() if done[hour] <= theirs.get(hour, -1) < ours}
            if all(generation < done[hour] for hour, generation in theirs.items()):
                harmless.append(key)
        self._hbase.delete_rows(self._table, harmless)
        return Others(frozenset(newer), frozenset(older - newer))

    @property
    def _ledger(self) -> HourLedger:
        return HourLedger(self._hbase, self._table)


def _key(run: str) -> bytes:
    return _ROWS + run.encode()
