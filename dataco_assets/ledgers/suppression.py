"""The suppression list: erased users, whose earlier clicks must not be stored again.

Which clicks that are is in `dataco_assets/clicks/suppressed.py`, erasing itself in `dataco_assets/privacy/erasure.py`.

HBase table, one row per erased user. The row key is a BLAKE2b hash of the user id, so that the list does not contain
the ids themselves. (They are pseudonymous, not anonymous: whoever can guess an id can look it up.)
    * `s:erased_at`: epoch ms as text, by HBase's clock; it never goes back;
    * `p:unfinished`: names of the hours whose clicks are being deleted, until these are marked dirty, separated by
      spaces: the remaining work of an interrupted erasure. One cell, since deleted cells could hide later ones (see
      `clients/hbase.py`). Earlier versions kept a cell `p:<hour>` for each; these are read, too, and removed at
      the end.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, ClassVar

from dataco_assets.clicks.hour import hour_from_key, hour_key
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.ledgers.table import LedgerTable

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase

_ERASED_AT = b"s:erased_at"
_UNFINISHED = b"p:unfinished"
_OLD_PREFIX = b"p:"


class SuppressionList(LedgerTable):
    """The list in HBase; see the module.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"s": {"max_versions": 1}, "p": {"max_versions": 1}}

    def __init__(self, hbase: "HBase", table: str) -> None:
        super().__init__(hbase, table)
        self._was_seen = False

    def read(self) -> dict[bytes, int]:
        """All erased users. That the table exists is checked by the first call; a scan of a missing one fails, too.

        Raises:
            HBaseRefused: there is no such table. An empty list would be the wrong answer.
        """
        if not self._was_seen:
            self._hbase.require_table(self._table)
            self._was_seen = True
        rows = self._hbase.scan(self._table, columns=[_ERASED_AT])
        return {key: int(cells[_ERASED_AT]) for key, cells in rows}

    def suppress(self, user_id: str, at_ms: int) -> None:
        """Notes a user as erased at that time (HBase's, epoch ms), unless a later erasure is noted."""

        def later(present: bytes | None) -> bytes | None:
            return str(at_ms).encode() if present is None or int(present) < at_ms else None

        self._change_cell(user_hash(user_id), _ERASED_AT, later)

    def unfinished(self, user_id: str) -> set[int]:
        """Hours (epoch ms) that an interrupted erasure of the user left to be marked."""
        key = user_hash(user_id)
        cells = self._hbase.rows(self._table, [key]).get(key, {})
        return _hours(cells.get(_UNFINISHED)) | set(_old_notes(cells).values())

    def begin(self, user_id: str, hours: Collection[int]) -> None:
        """Notes hours whose clicks are about to be deleted."""
        self._change_cell(user_hash(user_id), _UNFINISHED, lambda present: _names(_hours(present) | set(hours)))

    def finish(self, user_id: str, hours: Collection[int]) -> None:
        """Notes that these hours are marked dirty."""
        key = user_hash(user_id)
        cells = self._hbase.rows(self._table, [key]).get(key, {})
        old = [column for column, hour in _old_notes(cells).items() if hour in hours]
        if old:
            self._hbase.delete_cells(self._table, key, old)
        if _UNFINISHED in cells:
            self._change_cell(key, _UNFINISHED, lambda present: _names(_hours(present) - set(hours)))


def _hours(cell: bytes | None) -> set[int]:
    return {hour_from_key(name) for name in (cell or b"").decode().split()}


def _names(hours: Collection[int]) -> bytes:
    return " ".join(map(hour_key, sorted(hours))).encode()


def _old_notes(cells: Mapping[bytes, bytes]) -> dict[bytes, int]:
    return {
        column: hour_from_key(column.removeprefix(_OLD_PREFIX).decode())
        for column in cells
        if column.startswith(_OLD_PREFIX) and column != _UNFINISHED
    }
