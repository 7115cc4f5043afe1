"""Reading the clicks table directly, row by row, without Spark: for checks and for what an operator verifies with.

Belongs here: scans over a time span, all salts at once. Does not belong here: aggregating, which must not be shared
with the pipeline, and writing.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from itertools import chain

from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_of
from dataco_assets.clicks.row import key_ranges, timestamp_of
from dataco_assets.clients.hbase import HBase

_THREADS = 4
_MERGED_PAGE_ROWS = 1_000
_COUNTED = b"geo_data:country"  # every row has it, in the smallest of the families that hold something of every row
_USER_ID, _PAGE, _COUNTRY = b"click_data:user_id", b"click_data:page", b"geo_data:country"


@dataclass(frozen=True)
class RowCount:
    """Rows of an hour: all of them, and those stored before some moment."""

    all: int
    stored_before: int


@dataclass(frozen=True)
class StoredClick:
    """The cells of a stored click that aggregation is about; the timestamp is epoch ms."""

    row_key: bytes
    user_id: str
    timestamp: int
    page: str
    country: str


def count_rows(hbase: HBase, table: str, stored_before: Mapping[int, int]) -> dict[int, RowCount]:
    """Counts the rows of clicks by hour; adjacent hours in one pass over each salt.

    Args:
        hbase: The client.
        table: The clicks table.
        stored_before: For each hour (start, epoch ms) to count: the moment to count up to, epoch ms.

    Raises:
        HBaseUnavailable, HBaseRefused
    """

    def count(bounds: tuple[bytes, bytes]) -> tuple[Counter[int], Counter[int]]:
        total: Counter[int] = Counter()
        before: Counter[int] = Counter()
        for key, stored_at in hbase.scan_times(table, *bounds, column=_COUNTED):
            hour = hour_of(timestamp_of(key))
            total[hour] += 1
            if stored_at < stored_before[hour]:
                before[hour] += 1
        return total, before

    spans = [key_ranges(run[0], run[-1] + HOUR_MS) for run in contiguous_runs(stored_before)]
    totals: Counter[int] = Counter()
    befores: Counter[int] = Counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        for total, before in pool.map(count, chain.from_iterable(spans)):
            totals.update(total)
            befores.update(before)
    return {hour: RowCount(totals[hour], befores[hour]) for hour in stored_before}


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
        for _, stored_at in hbase.scan_times(table, *bounds, column=_COUNTED):
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
