"""Reads the clicks of a time span from HBase row by row, without Spark, for `dataco verify`."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import merge

from dataco_assets.clicks.row import key_ranges, timestamp_of
from dataco_assets.clients.hbase import HBase

_MERGED_PAGE_ROWS = 1_000
_TIMED = b"geo_data:country"  # every row has it, in the smallest of the families that hold something of every row
_USER_ID, _PAGE, _COUNTRY = b"click_data:user_id", b"click_data:page", b"geo_data:country"


@dataclass(frozen=True)
class StoredClick:
    """The cells of a stored click from which aggregates are computed; the timestamp is epoch ms."""

    row_key: bytes
    user_id: str
    timestamp: int
    page: str
    country: str


def read_clicks_in_order(hbase: HBase, table: str, start_ms: int, end_ms: int) -> Iterator[StoredClick]:
    """Streams the clicks of [start, end), epoch ms, in the order of time, then row key; a page per salt is in memory.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    ranges = key_ranges(start_ms, end_ms)
    salts = (_read_range(hbase, table, start, stop, page_rows=_MERGED_PAGE_ROWS) for start, stop in ranges)
    return merge(*salts, key=lambda click: (click.timestamp, click.row_key))


def stored_times(hbase: HBase, table: str, start_ms: int, end_ms: int) -> Iterator[int]:
    """When each click of [start, end) was stored, epoch ms, in no particular order.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    for bounds in key_ranges(start_ms, end_ms):
        for _, stored_at in hbase.scan_times(table, *bounds, column=_TIMED):
            yield stored_at


def _read_range(hbase: HBase, table: str, start: bytes, stop: bytes, *, page_rows: int) -> Iterator[StoredClick]:
    for key, cells in hbase.scan(table, start, stop, columns=[_USER_ID, _PAGE, _COUNTRY], page_rows=page_rows):
        yield StoredClick(
            key,
            cells[_USER_ID].decode(),
            timestamp_of(key),
            cells[_PAGE].decode(),
            cells[_COUNTRY].decode(),
        )
