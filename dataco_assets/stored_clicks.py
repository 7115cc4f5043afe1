"""Reading the clicks table directly, row by row, without Spark: for checks and for what an operator verifies with.

Belongs here: scans over a time span, all salts at once. Does not belong here: aggregating, which must not be shared
with the pipeline, and writing.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dataco_assets.clicks.row import key_ranges, timestamp_of
from dataco_assets.clients.hbase import HBase

_THREADS = 4
_USER_ID, _PAGE, _COUNTRY = b"click_data:user_id", b"click_data:page", b"geo_data:country"


@dataclass(frozen=True)
class RowCount:
    """Rows of a time span: all of them, and those stored before some moment."""

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


def count_rows(hbase: HBase, table: str, start_ms: int, end_ms: int, *, stored_before_ms: int) -> RowCount:
    """Counts the rows of clicks in [start, end), epoch ms.

    Raises:
        HBaseUnavailable, HBaseRefused
    """

    def count(bounds: tuple[bytes, bytes]) -> tuple[int, int]:
        total = before = 0
        for _, stored_at in hbase.scan_times(table, *bounds):
            total += 1
            before += stored_at < stored_before_ms
        return total, before

    with ThreadPoolExecutor(_THREADS) as pool:
        counts = list(pool.map(count, key_ranges(start_ms, end_ms)))
    return RowCount(sum(total for total, _ in counts), sum(before for _, before in counts))


def read_clicks(hbase: HBase, table: str, start_ms: int, end_ms: int) -> Iterator[StoredClick]:
    """Streams the clicks of [start, end), epoch ms, salt by salt and in time order within each.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    for start, stop in key_ranges(start_ms, end_ms):
        for key, cells in hbase.scan(table, start, stop, columns=[_USER_ID, _PAGE, _COUNTRY]):
            yield StoredClick(
                key,
                cells[_USER_ID].decode(),
                timestamp_of(key),
                cells[_PAGE].decode(),
                cells[_COUNTRY].decode(),
            )
