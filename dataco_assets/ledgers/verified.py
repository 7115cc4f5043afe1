"""The outcome of the last `dataco verify`, so that others than who ran it can see it.

Kept in the table of the hour ledger: row `verified`, cell `h:verified` (JSON).
"""

from dataclasses import dataclass

import msgspec

from dataco_assets.ledgers.table import LedgerTable

_ROW, _CELL = b"verified", b"h:verified"


@dataclass(frozen=True)
class Verification:
    """What a verification found.

    Attributes:
        at: When it ended, epoch seconds.
        first_hour: The first hour, epoch ms.
        last_hour: The last hour, epoch ms.
        compared: Hours that were compared.
        different: Those among them that differ.
        not_compared: Hours that could not be compared.
        differences: Differences in all.
    """

    at: float
    first_hour: int
    last_hour: int
    compared: int
    different: int
    not_compared: int
    differences: int


class LastVerification(LedgerTable):
    """The last verification, in HBase. Every method raises what `dataco_assets.clients.hbase` raises."""

    def read(self) -> Verification | None:
        """The outcome; None when none was ever noted."""
        cell = self._read_cell(_ROW, _CELL)
        return None if cell is None else msgspec.json.decode(cell, type=Verification)

    def note(self, outcome: Verification) -> None:
        """Replaces the outcome by a later one."""

        def later(present: bytes | None) -> bytes | None:
            known = None if present is None else msgspec.json.decode(present, type=Verification)
            return msgspec.json.encode(outcome) if known is None or known.at < outcome.at else None

        self._change_cell(_ROW, _CELL, later)
