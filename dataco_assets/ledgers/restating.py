"""What the hour ledger knows of hours that are published again: what readers have now, and why that changes.

Kept in the table of the hour ledger, in the row of the hour:
    * `h:restating`: JSON of the restatement whose documents are being written, or `null`. It is written before the
      documents, since the difference cannot be found any more once they are, and is cleared when the record is in the
      index of restatements.
    * `h:cause_<cause>`: `<first> <last>`, the generations for which something else than late clicks made the hour
      dirty (`HourLedger.note_cause`). A cell for each cause, since several may come between two publications.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_key
from dataco_assets.ledgers.table import LedgerTable, batches

_DONE: Final = b"h:done"
_RESTATING: Final = b"h:restating"
_NONE: Final = b"null"
_SPECIAL: Final = (Cause.ERASURE, Cause.REPAIR, Cause.REPLAY, Cause.RECOMPUTED)
"""The causes that are noted. Of several that apply, the first one is told."""


@dataclass(frozen=True)
class CauseRange:
    """Generations of an hour for which something else than late clicks made it dirty.

    Attributes:
        first: The first one.
        last: The last one, included.
    """

    first: int
    last: int

    @classmethod
    def read(cls, cell: bytes | None) -> Self | None:
        """What a cell holds; None without one."""
        return None if cell is None else cls(*map(int, cell.split()))

    def encode(self) -> bytes:
        """The cell."""
        return f"{self.first} {self.last}".encode()

    def explains(self, before: int, generation: int) -> bool:
        """Whether the cause came between two generations that are published one after the other.

        Args:
            before: The one that readers had.
            generation: The one that they get.
        """
        return before < self.last and self.first <= generation

    def extended(self, generation: int, done: int) -> "CauseRange":
        """The range once the cause comes again.

        While it has not been published as a whole, it keeps its start: a refresh that runs may publish its first part.

        Args:
            generation: What the hour's next mark will make its generation.
            done: Its published generation.
        """
        return CauseRange(self.first if done < self.last else generation, max(self.last, generation))


@dataclass(frozen=True)
class Former:
    """What readers have of an hour that was final when it was last published.

    Attributes:
        generation: The published generation.
        pending: The restatement that was being published when a run died or failed, as it was stored; None: none.
        causes: For which generations the hour became dirty by something else than late clicks.
    """

    generation: int
    pending: bytes | None = None
    causes: Mapping[Cause, CauseRange] = field(default_factory=dict)

    def cause(self, generation: int) -> Cause:
        """Why a generation differs from the published one."""
        if generation == self.generation:
            return Cause.RECOMPUTED
        applying = (
            cause
            for cause in _SPECIAL
            if cause in self.causes and self.causes[cause].explains(self.generation, generation)
        )
        return next(applying, Cause.LATE_CLICKS)


def cause_column(cause: Cause) -> bytes:
    """The column that says for which generations of an hour a cause applies."""
    return f"h:cause_{cause}".encode()


class Restating(LedgerTable):
    """The cells in HBase. Every method raises what `dataco_assets.clients.hbase` raises.

    The table is the hour ledger's.
    """

    def formers(self, hours: Collection[int]) -> dict[int, Former]:
        """Those of the hours that were final when they were last published: over for 30 minutes, by HBase's clock.

        Args:
            hours: The hours, epoch ms.
        """
        keys = {hour_key(hour).encode(): hour for hour in sorted(hours)}
        published: dict[bytes, int] = {}
        for some in batches(list(keys)):
            published |= self._hbase.times(self._table, some, _DONE)
        final = [key for key, at_ms in published.items() if at_ms >= keys[key] + HOUR_MS + VISIT_GAP_MS]
        rows = self._read_rows(final, [_DONE, _RESTATING, *map(cause_column, _SPECIAL)])
        return {keys[key]: _former(rows[key]) for key in final if key in rows}

    def change(self, hour: int, change: Callable[[bytes | None], bytes]) -> bytes:
        """Replaces the pending restatement of an hour.

        Args:
            hour: The hour, epoch ms.
            change: Gives the new one for the one that is there; called again if another run changed it meanwhile.

        Returns:
            What is there now.
        """
        latest = _NONE

        def changed(present: bytes | None) -> bytes:
            nonlocal latest
            latest = change(_pending(present))
            return latest

        self._change_cell(hour_key(hour).encode(), _RESTATING, changed)
        return latest

    def clear(self, hour: int, pending: bytes) -> None:
        """Removes the pending restatement of an hour, unless another run changed it."""
        self._hbase.put_if(self._table, hour_key(hour).encode(), _RESTATING, expected=pending, value=_NONE)


def _pending(cell: bytes | None) -> bytes | None:
    return None if cell in (None, _NONE) else cell


def _former(cells: Mapping[bytes, bytes]) -> Former:
    found = {cause: CauseRange.read(cells.get(cause_column(cause))) for cause in _SPECIAL}
    return Former(
        generation=int.from_bytes(cells.get(_DONE, b""), "big"),
        pending=_pending(cells.get(_RESTATING)),
        causes={cause: noted for cause, noted in found.items() if noted is not None},
    )
