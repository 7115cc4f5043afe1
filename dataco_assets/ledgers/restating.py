"""What the hour ledger knows of hours that are published again: what readers have now, and why that changes.

Kept in the table of the hour ledger, in the row of the hour:
    * `h:restating`: JSON of the restatement whose documents are being written, or `null`. It is written before the
      documents, since the difference cannot be found any more once they are, and is cleared when the record is in the
      index of restatements.
    * `h:cause`: `<generation> <cause>`, if something else than clicks made the hour dirty (`HourLedger.mark_dirty`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_key
from dataco_assets.ledgers.table import LedgerTable, batches

_DONE: Final = b"h:done"
_CAUSE: Final = b"h:cause"
_RESTATING: Final = b"h:restating"
_NONE: Final = b"null"


@dataclass(frozen=True)
class Former:
    """What readers have of an hour that was final when it was last published.

    Attributes:
        generation: The published generation.
        pending: The restatement that was being published when a run died or failed, as it was stored; None: none.
        cause_generation: From which generation on the cause below applies; 0: it never does.
        special_cause: Why the hour became dirty, if not by clicks.
    """

    generation: int
    pending: bytes | None = None
    cause_generation: int = 0
    special_cause: Cause = Cause.LATE_CLICKS

    def cause(self, generation: int) -> Cause:
        """Why a generation differs from the published one."""
        if generation == self.generation:
            return Cause.RECOMPUTED
        if self.generation < self.cause_generation <= generation:
            return self.special_cause
        return Cause.LATE_CLICKS


def cause_cell(generation: int, cause: Cause) -> tuple[bytes, bytes]:
    """Column and value that say from which generation of an hour on a cause applies."""
    return _CAUSE, f"{generation} {cause}".encode()


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
        rows = self._read_rows(final, [_DONE, _CAUSE, _RESTATING])
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
    generation, _, cause = cells.get(_CAUSE, b"0 late_clicks").decode().partition(" ")
    return Former(
        generation=int.from_bytes(cells.get(_DONE, b""), "big"),
        pending=_pending(cells.get(_RESTATING)),
        cause_generation=int(generation),
        special_cause=Cause(cause),
    )
