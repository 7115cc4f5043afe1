"""Writes clicks to HBase: bounded batches over several connections, whole-batch retries, refused rows singled out.

Belongs here: batching and what happens to a batch HBase does not take. Does not belong here: offsets, and the bytes of
a row.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Self, TypeVar

from dataco_assets.clients.hbase import HBase, HBaseRefused, RowRefused

Origin = TypeVar("Origin")

BATCH_BYTES = 1_000_000
BATCH_ROWS = 2_000
BATCH_ORIGIN_BYTES = 8_000_000
"""A small row may come from a large message, which is held until the row is durable."""
_TELLING_ROWS = 100
"""In a batch of so many rows, refused one by one to the last, the rows are not to blame."""


@dataclass(frozen=True)
class RefusedRow(Generic[Origin]):
    """A row HBase refuses for good: where it came from, and HBase's words."""

    origin: Origin
    why: str


class RowWriter(Generic[Origin]):
    """Collects encoded rows into batches and writes them in the background.

    Memory is bounded: at most two batches per connection wait or are under way, and `add` waits for room.

    Args:
        hbase: The client; each writing thread has a connection of its own.
        table: Table to write to.
        connections: Batches written at the same time.
    """

    def __init__(self, hbase: HBase, table: str, *, connections: int) -> None:
        self._hbase = hbase
        self._table = table
        self._most_in_flight = 2 * connections
        self._pool = ThreadPoolExecutor(connections, thread_name_prefix="hbase-writer")
        self._in_flight: set[Future[list[RefusedRow[Origin]]]] = set()
        self._rows: list[bytes] = []
        self._origins: list[Origin] = []
        self._bytes = 0
        self._origin_bytes = 0
        self._failure: BaseException | None = None
        self._refused: list[RefusedRow[Origin]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Batches not started yet are dropped: without `flush` nobody may count on them.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, row: bytes, origin: Origin, *, origin_bytes: int = 0) -> None:
        """Takes one row made by `mutations.encode_row`; may wait for room.

        Args:
            row: The encoded row.
            origin: Where it came from; handed back if the row is refused.
            origin_bytes: Memory the origin holds.

        Raises:
            HBaseUnavailable, HBaseRefused: an earlier batch failed.
        """
        full = self._bytes + len(row) > BATCH_BYTES or self._origin_bytes + origin_bytes > BATCH_ORIGIN_BYTES
        if full and self._rows:
            self._submit()
        self._rows.append(row)
        self._origins.append(origin)
        self._bytes += len(row)
        self._origin_bytes += origin_bytes
        if len(self._rows) >= BATCH_ROWS:
            self._submit()

    def flush(self) -> list[RefusedRow[Origin]]:
        """Waits until every row is durable or refused, and returns the refused ones since the last flush.

        Raises:
            HBaseUnavailable, HBaseRefused: a batch failed; no row since the last flush may be counted on.
        """
        self._raise_if_failed()
        if self._rows:
            self._submit()
        while self._in_flight:
            self._collect()
        refused, self._refused = self._refused, []
        return refused

    def _submit(self) -> None:
        self._raise_if_failed()
        while len(self._in_flight) >= self._most_in_flight:
            self._collect()
        rows, origins = self._rows, self._origins
        self._rows, self._origins, self._bytes, self._origin_bytes = [], [], 0, 0
        put: Callable[[list[bytes]], None] = lambda batch: self._hbase.put_rows(self._table, batch)  # noqa: E731
        self._in_flight.add(self._pool.submit(write_batch, put, rows, origins))

    def _collect(self) -> None:
        done, self._in_flight = wait(self._in_flight, return_when=FIRST_COMPLETED)
        for future in done:
            if (error := future.exception()) is not None:
                self._failure = error
            else:
                self._refused += future.result()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        # For good: after one lost batch, no later flush may look as if everything were durable.
        if self._failure is not None:
            raise self._failure


def write_batch(
    put: Callable[[list[bytes]], None], rows: list[bytes], origins: list[Origin]
) -> list[RefusedRow[Origin]]:
    """Writes a batch; when HBase refuses it for good, halves it until the refused rows stand alone.

    Args:
        put: Writes rows in one call; raises RowRefused when one of them is refused for good.
        rows: The rows.
        origins: Where each came from.

    Raises:
        HBaseRefused: every single row of a large batch is refused: that is the table's fault, not the rows'.
    """
    refused: list[RefusedRow[Origin]] = []
    pending = deque([(0, len(rows))])
    while pending:
        start, end = pending.popleft()
        try:
            put(rows[start:end])
        except RowRefused as error:
            if end - start == 1:
                refused.append(RefusedRow(origins[start], str(error)))
            else:
                middle = (start + end) // 2
                pending.extendleft([(middle, end), (start, middle)])
    if len(refused) == len(rows) >= _TELLING_ROWS:
        raise HBaseRefused(f"HBase refuses each of {len(rows)} rows, so the rows are not to blame: {refused[0].why}")
    return refused
