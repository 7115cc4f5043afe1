"""Reads the clicks of a time span from HBase row by row, without Spark, for `dataco verify`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge

from dataco_assets.aggregates.columns import Column
from dataco_assets.clicks.row import key_ranges, timestamp_of
from dataco_assets.clients.hbase import HBase

_MERGED_PAGE_ROWS = 1_000
_TIMED = b"geo_data:country"  # every row has it, in the smallest of the families that hold something of every row
_USER_ID = b"click_data:user_id"


@dataclass(frozen=True)
class StoredClick:
    """The cells of a stored click from which aggregates are computed; the timestamp is epoch ms.

    Attributes:
        dimensions: The value of each dimension, by its name.
    """

    row_key: bytes
    user_id: str
    timestamp: int
    dimensions: Mapping[str, str]


def read_clicks_in_order(
    hbase: HBase, table: str, start_ms: int, end_ms: int, dimensions: Sequence[Column] = ()
) -> Iterator[StoredClick]:
    """Streams the clicks of [start, end), epoch ms, in the order of time, then row key; a page per salt is in memory.

    Args:
        hbase: Client.
        table: The clicks.
        start_ms: Start.
        end_ms: End, not included.
        dimensions: The dimensions to read.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    ranges = key_ranges(start_ms, end_ms)
    salts = (_read_range(hbase, table, bounds, dimensions) for bounds in ranges)
    return merge(*salts, key=lambda click: (click.timestamp, click.row_key))


def stored_times(hbase: HBase, table: str, start_ms: int, end_ms: int) -> Iterator[int]:
    """When each click of [start, end) was stored, epoch ms, in no particular order.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    for bounds in key_ranges(start_ms, end_ms):
        for _, stored_at in hbase.scan_times(table, *bounds, column=_TIMED):
            yield stored_at


def _read_range(
    hbase: HBase, table: str, bounds: tuple[bytes, bytes], dimensions: Sequence[Column]
) -> Iterator[StoredClick]:
    cells_of = {column.name: (":".join(column.cell).encode(), column.unknown or "") for column in dimensions}
    wanted = [_USER_ID, *(cell for cell, _ in cells_of.values())]
    for key, cells in hbase.scan(table, *bounds, columns=wanted, page_rows=_MERGED_PAGE_ROWS):
        # An unknown value is an empty cell, or none in a row of an earlier version.
        values = {name: cells.get(cell, b"").decode() or unknown for name, (cell, unknown) in cells_of.items()}
        yield StoredClick(key, cells[_USER_ID].decode(), timestamp_of(key), values)
