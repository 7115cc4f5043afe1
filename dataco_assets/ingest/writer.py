"""Writes clicks to HBase in bounded batches over several connections, and singles out the rows that HBase refuses.

HBase gives the mutations of one row inside one batch no order, so a batch holds each row key once: of two messages with
the same key, the later one is written. In two batches either may win; as every put writes all columns of the row, the
row is one of the messages as a whole in any case.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Self, TypeVar

from dataco_assets.clients.hbase import HBase, HBaseRefused, RowRefused

Origin = TypeVar("Origin")

BATCH_BYTES = 1_000_000
BATCH_ROWS = 2_000
BATCH_ORIGIN_BYTES = 8_000_000
"""A small row may come from a large message, which is held until the row is durable."""
_TELLING_ROWS = 100
"""If every row of a batch this large is refused, treat it as a failure of the table."""


@dataclass(frozen=True)
class RefusedRow(Generic[Origin]):
    """A row that HBase refuses permanently: where it came from, and HBase's message."""

    origin: Origin
    why: str


@dataclass(slots=True)
class _Batch(Generic[Origin]):
    """Rows that go to HBase in one call: their keys, their bytes, and where each came from.

    Attributes:
        bytes: Memory that the rows hold.
        origin_bytes: Memory that the origins hold.
    """

    keys: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    origins: list[Origin] = field(default_factory=list)
    bytes: int = 0
    origin_bytes: int = 0


class RowWriter(Generic[Origin]):
    """Collects encoded rows into batches and writes them in the background.

    Memory is bounded: at most two batches per connection are queued or in flight, and `add` blocks until there is room.

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
        self._batch: _Batch[Origin] = _Batch()
        self._failure: BaseException | None = None
        self._refused: list[RefusedRow[Origin]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Batches that have not started are dropped: only `flush` promises that rows are durable.
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, key: bytes, row: bytes, origin: Origin, *, origin_bytes: int = 0) -> None:
        """Adds one row; may block until there is room.

        Args:
            key: The row key.
            row: The row made by `mutations.encode_row`.
            origin: Where it came from; returned by `flush` if HBase refuses the row.
            origin_bytes: Memory the origin holds, in bytes.

        Raises:
            HBaseUnavailable, HBaseRefused: an earlier batch failed.
        """
        batch = self._batch
        full = batch.bytes + len(row) > BATCH_BYTES or batch.origin_bytes + origin_bytes > BATCH_ORIGIN_BYTES
        if full and batch.rows:
            self._submit()
            batch = self._batch
        batch.keys.append(key)
        batch.rows.append(row)
        batch.origins.append(origin)
        batch.bytes += len(row)
        batch.origin_bytes += origin_bytes
        if len(batch.keys) >= BATCH_ROWS:
            self._submit()

    def flush(self) -> list[RefusedRow[Origin]]:
        """Waits until every row is durable or refused, and returns the refused ones since the last flush.

        Raises:
            HBaseUnavailable, HBaseRefused: a batch failed; no row since the last flush may be counted on.
        """
        self._raise_if_failed()
        if self._batch.rows:
            self._submit()
        while self._in_flight:
            self._collect()
        refused, self._refused = self._refused, []
        return refused

    def _submit(self) -> None:
        self._raise_if_failed()
        while len(self._in_flight) >= self._most_in_flight:
            self._collect()
        batch, self._batch = self._batch, _Batch()
        put: Callable[[list[bytes]], None] = lambda rows: self._hbase.put_rows(self._table, rows)  # noqa: E731
        self._in_flight.add(self._pool.submit(_write, put, batch))

    def _collect(self) -> None:
        done, self._in_flight = wait(self._in_flight, return_when=FIRST_COMPLETED)
        for future in done:
            if (error := future.exception()) is not None:
                self._failure = error
            else:
                self._refused += future.result()
        self._raise_if_failed()

    def _raise_if_failed(self) -> None:
        # Permanently: after one lost batch, no later flush may report that everything is durable.
        if self._failure is not None:
            raise self._failure


def _write(put: Callable[[list[bytes]], None], batch: _Batch[Origin]) -> list[RefusedRow[Origin]]:
    """Writes a batch, of the rows with the same key the last; where HBase refuses that one, the one before it."""
    if len(set(batch.keys)) == len(batch.keys):  # nearly always
        return write_batch(put, batch.rows, batch.origins)
    versions: dict[bytes, list[tuple[bytes, Origin]]] = {}
    for key, row, origin in zip(batch.keys, batch.rows, batch.origins, strict=True):
        versions.setdefault(key, []).append((row, origin))
    refused: list[RefusedRow[Origin]] = []
    while versions:
        rows = [rows[-1][0] for rows in versions.values()]
        failed = {found.origin: found.why for found in write_batch(put, rows, list(versions))}
        refused += [RefusedRow(versions[key].pop()[1], why) for key, why in failed.items()]
        versions = {key: versions[key] for key in failed if versions[key]}
    return refused


def write_batch(
    put: Callable[[list[bytes]], None], rows: list[bytes], origins: list[Origin]
) -> list[RefusedRow[Origin]]:
    """Writes rows in one call; if HBase refuses the call because of a row, bisects it to find the refused rows.

    Args:
        put: Writes rows in one call; raises RowRefused when one of them is refused permanently.
        rows: The rows; no two with the same key.
        origins: Where each came from.

    Returns:
        The refused rows, in their order; all others are stored.

    Raises:
        HBaseRefused: every single row of a large batch is refused, so the cause is the table and not the rows.
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
        raise HBaseRefused(
            f"HBase refuses each of {len(rows)} rows, so the cause is not a single row: {refused[0].why}"
        )
    return refused
