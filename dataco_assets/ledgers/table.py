"""The HBase table under each ledger: its families, its creation, and the atomic change of a cell."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, TypeVar

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import Cells, HBase

_ROWS_PER_CALL = 500
_Row = TypeVar("_Row")


class LedgerTable:
    """A small HBase table of one region; subclasses add what its rows mean.

    Every method raises what `dataco_assets.clients.hbase` raises.

    Args:
        hbase: Client.
        table: Name of the table.
    """

    FAMILIES: ClassVar[Mapping[str, Mapping[str, object]]]
    """Column families and their options, as the Thrift gateway takes them."""

    def __init__(self, hbase: "HBase", table: str) -> None:
        self._hbase = hbase
        self._table = table

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._table

    def create(self) -> bool:
        """Creates the table; returns False when it exists already."""
        return self._hbase.create_table(self._table, self.FAMILIES)

    def _read_rows(self, keys: Sequence[bytes], columns: Sequence[bytes] | None) -> "dict[bytes, Cells]":
        """The cells of those of the rows that exist, by key; all columns if None is given."""
        rows: dict[bytes, Cells] = {}
        for some in batches(keys):
            rows |= self._hbase.rows(self._table, some, columns)
        return rows

    def _read_cell(self, key: bytes, column: bytes) -> bytes | None:
        return self._hbase.rows(self._table, [key], [column]).get(key, {}).get(column)

    def _change_cell(
        self, key: bytes, column: bytes, change: Callable[[bytes | None], bytes | None], *, ttl_ms: int | None = None
    ) -> None:
        """Replaces a cell's value atomically, whatever the region server's clock says.

        Args:
            key: The row.
            column: The cell.
            change: Gives the new value for the present one (None: there is no such cell); None leaves it as it is. It
                is called again when somebody else changed the cell meanwhile.
            ttl_ms: When the cell expires, after it was written; None: never.
        """
        while True:
            present = self._read_cell(key, column)
            value = change(present)
            if value is None or value == present:
                return
            if self._hbase.put_if(self._table, key, column, expected=present, value=value, ttl_ms=ttl_ms):
                return


def batches(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    """Splits rows, or their keys, into parts that one call to the gateway takes."""
    for start in range(0, len(rows), _ROWS_PER_CALL):
        yield rows[start : start + _ROWS_PER_CALL]
