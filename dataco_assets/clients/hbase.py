"""A client of HBase's Thrift 1 gateway, with deadlines and retries on a fresh connection.

Only the modules `hbase*` and `row_times` beside this one import happybase and thriftpy2. `hbase_errors` has the errors.
Does not belong here: which tables exist, what their cells mean.

No method depends on the clocks of the region servers, which stamp cells with their own time: HBase hides a plain put
below a cell with a later time, and a plain delete hides only cells up to its own time. So rows are deleted at the time
of their newest cell, and single cells are replaced by compare-and-put, whose time is never below that of the cell it
replaces (`HRegion.checkAndMutate`; the same holds for increments).
"""

import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import happybase
import Hbase_thrift as gateway  # pyright: ignore[reportMissingImports]  # made by happybase when it is imported
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter
from thriftpy2.thrift import TApplicationException, TMessageType

from dataco_assets.clients.hbase_errors import (
    TRANSPORT_ERRORS,
    HBaseError,
    HBaseRefused,
    HBaseUnavailable,
    RowRefused,
    from_illegal_argument,
    from_io_error,
    from_transport,
)
from dataco_assets.clients.mutations import mutate_rows_request
from dataco_assets.clients.row_times import NotRows, read_row_times

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

T = TypeVar("T")
Cells = dict[bytes, bytes]
TimedCells = dict[bytes, tuple[bytes, int]]
"""Value and time (epoch ms) by qualified column."""

GATEWAY_IDLE_SECONDS = 60
"""The gateway drops a connection that is idle for this long (hbase.thrift.server.socket.read.timeout)."""
_REUSE_WITHIN_SECONDS = GATEWAY_IDLE_SECONDS / 2
_CLOCK_CELL_TTL_MS = 60_000


def connect(
    settings: "Settings", *, timeout_seconds: float | None = None, retry_seconds: float | None = None
) -> "HBase":
    """The client that the settings describe; nothing is sent yet.

    Args:
        settings: Address, and the patience of a run.
        timeout_seconds: Instead of the settings' own.
        retry_seconds: At most so long, whatever the settings say: a person at a terminal waits less long than a run.
    """
    return HBase(
        settings.hbase_thrift_host,
        settings.hbase_thrift_port,
        timeout_seconds=settings.hbase_thrift_timeout_seconds if timeout_seconds is None else timeout_seconds,
        retry_seconds=min(settings.hbase_retry_seconds, math.inf if retry_seconds is None else retry_seconds),
    )


class HBase:
    """One client of the gateway: a connection per thread, made when needed and replaced when it breaks.

    Args:
        host: Host of the Thrift 1 gateway.
        port: Its port.
        timeout_seconds: Most one call may take; the connection is dropped after that.
        retry_seconds: How long a call is tried again, with exponential back-off and jitter, before it fails.
    """

    def __init__(self, host: str, port: int, *, timeout_seconds: float = 30.0, retry_seconds: float = 120.0) -> None:
        self.address = f"{host}:{port}"
        self._host = host
        self._port = port
        self._timeout_ms = int(timeout_seconds * 1000)
        self._retry_seconds = retry_seconds
        self._local = threading.local()
        self._open: set[happybase.Connection] = set()
        self._lock = threading.Lock()
        self.retries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections of all threads; the client can be used again afterwards."""
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()
        self._local = threading.local()

    # Tables

    def tables(self) -> set[str]:
        """Names of all tables."""
        return {name.decode() for name in self._call(lambda c: c.tables())}

    def require_table(self, name: str) -> None:
        """Makes sure that a table exists, because the gateway reports a write to a missing table as a transient error.

        Raises:
            HBaseRefused: it does not exist.
        """
        if name not in self.tables():
            raise HBaseRefused(f"HBase at {self.address} has no table {name}. `dataco setup` creates it.")

    def create_table(self, name: str, families: Mapping[str, Mapping[str, object]]) -> bool:
        """Creates a small table of one region; False when it was there already.

        Raises:
            HBaseRefused, HBaseUnavailable: see the module.
        """

        def create(connection: happybase.Connection) -> bool:
            try:
                connection.create_table(name, {family: dict(options) for family, options in families.items()})
            except gateway.AlreadyExists:
                return False
            return True

        return self._call(create)

    def families(self, table: str) -> set[str]:
        """Column families of a table."""
        return {name.decode() for name in self._call(lambda c: c.table(table).families())}

    def compact(self, table: str) -> None:
        """Asks HBase for a major compaction, which takes deleted and expired cells off the disks; it goes on alone."""
        self._call(lambda c: c.compact_table(table, major=True))

    # Rows

    def rows(self, table: str, keys: Sequence[bytes], columns: Sequence[bytes] | None = None) -> dict[bytes, Cells]:
        """Reads rows by key, in one call; absent rows are left out."""
        if not keys:
            return {}
        return cast("dict[bytes, Cells]", dict(self._call(lambda c: c.table(table).rows(list(keys), columns=columns))))

    def times(self, table: str, keys: Sequence[bytes], column: bytes) -> dict[bytes, int]:
        """When a cell of each row was stored (epoch ms), in one call; rows without it are left out."""
        if not keys:
            return {}
        rows = self._call(lambda c: c.table(table).rows(list(keys), columns=[column], include_timestamp=True))
        return {key: cells[column][1] for key, cells in cast("list[tuple[bytes, TimedCells]]", rows)}

    def scan(
        self,
        table: str,
        start: bytes | None = None,
        stop: bytes | None = None,
        *,
        columns: Sequence[bytes] | None = None,
        filter_string: bytes | None = None,
        page_rows: int = 5_000,
    ) -> Iterator[tuple[bytes, Cells]]:
        """Streams the rows of [start, stop), in key order.

        Read in pages that each are retried as a whole, so a gateway restart in the middle neither loses nor doubles
        a row: the next page starts right behind the last row delivered.

        Args:
            table: The table.
            start: First row key, None for the table's first.
            stop: Row key before which to stop, None for the table's end.
            columns: Columns to read, None for all.
            filter_string: Filter that the region servers apply, in HBase's filter language; never of untrusted text. A
                page that few rows of a long range pass can take longer than a call may: scan short ranges.
            page_rows: Rows per page; bounds the memory held.
        """

        def page(connection: happybase.Connection, start: bytes | None) -> list[tuple[bytes, Cells]]:
            rows = connection.table(table).scan(
                row_start=start,
                row_stop=stop,
                batch_size=page_rows,
                limit=page_rows,
                columns=columns,
                filter=filter_string,
            )
            return cast("list[tuple[bytes, Cells]]", list(rows))

        yield from self._pages(page, start, page_rows)

    def scan_with_times(
        self, table: str, start: bytes | None = None, stop: bytes | None = None, *, page_rows: int = 2_000
    ) -> Iterator[tuple[bytes, TimedCells]]:
        """Streams the rows of [start, stop) with the time at which each cell was stored; paged like `scan`.

        Args:
            table: The table.
            start: First row key, None for the table's first.
            stop: Row key before which to stop, None for the table's end.
            page_rows: Rows per page; bounds the memory held.
        """

        def page(connection: happybase.Connection, start: bytes | None) -> list[tuple[bytes, TimedCells]]:
            rows = connection.table(table).scan(
                row_start=start, row_stop=stop, batch_size=page_rows, limit=page_rows, include_timestamp=True
            )
            return cast("list[tuple[bytes, TimedCells]]", list(rows))

        yield from self._pages(page, start, page_rows)

    def scan_times(
        self,
        table: str,
        start: bytes | None = None,
        stop: bytes | None = None,
        *,
        column: bytes,
        page_rows: int = 10_000,
    ) -> Iterator[tuple[bytes, int]]:
        """Streams the keys of [start, stop) and when each row was stored (the time of one of its cells, epoch ms).

        Args:
            table: The table.
            start: First row key, None for the table's first.
            stop: Row key before which to stop, None for the table's end.
            column: A column that every row has; HBase does not look at the files of the other families.
            page_rows: Rows per page; bounds the memory held.
        """

        def page(connection: happybase.Connection, start: bytes | None) -> list[tuple[bytes, int]]:
            client: Any = connection.client
            scan = gateway.TScan(
                startRow=start, stopRow=stop, columns=[column], caching=page_rows, filterString=b"KeyOnlyFilter()"
            )
            scanner = client.scannerOpenWithScan(table.encode(), scan, {})
            try:
                client._send("scannerGetList", id=scanner, nbRows=page_rows)
                rows = _receive_row_times(client, column)
            except (gateway.IOError, gateway.IllegalArgument):
                client.scannerClose(scanner)  # after any other error the connection, and with it the scanner, is gone
                raise
            client.scannerClose(scanner)
            return rows

        yield from self._pages(page, start, page_rows)

    def _pages(
        self,
        page: Callable[[happybase.Connection, bytes | None], list[tuple[bytes, T]]],
        start: bytes | None,
        page_rows: int,
    ) -> Iterator[tuple[bytes, T]]:
        while True:
            # The only invalid argument there can be is a scanner that the gateway gave up: the next try opens another.
            rows = self._call(lambda connection, start=start: page(connection, start), illegal=HBaseUnavailable)
            yield from rows
            if len(rows) < page_rows:
                return
            start = rows[-1][0] + b"\x00"

    def put_rows(self, table: str, encoded: Sequence[bytes], *, time_ms: int | None = None) -> None:
        """Writes rows made by `mutations.encode_row`, in one call, tried again as a whole.

        The rows are in the write-ahead log of their region servers when this returns.

        Args:
            table: The table.
            encoded: The rows; no two with the same key, since HBase gives them no order.
            time_ms: Timestamp of every cell, epoch ms; None for the time of the region server.

        Raises:
            RowRefused: at least one row is refused for good.
            HBaseRefused, HBaseUnavailable: see the module.
        """
        request = mutate_rows_request(table.encode(), encoded, len(encoded), time_ms=time_ms)
        call = "mutateRows" if time_ms is None else "mutateRowsTs"

        def put(connection: happybase.Connection) -> None:
            client: Any = connection.client
            client._oprot.trans.write(request)
            client._oprot.trans.flush()
            client._recv(call)

        self._call(put, illegal=RowRefused)

    def delete_rows(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        """Deletes whole rows, all at the time of the newest cell among them; returns the keys that were there.

        A row that is written again meanwhile may stay.
        """
        if not keys:
            return set()

        def delete(connection: happybase.Connection) -> set[bytes]:
            found = {
                key: cells for key, cells in connection.table(table).rows(list(keys), include_timestamp=True) if cells
            }
            rows = {key: {name.partition(b":")[0] for name in cells} for key, cells in found.items()}
            newest = max((time_ms for cells in found.values() for _, time_ms in cells.values()), default=0)
            _delete_at(connection, table, rows, newest)
            return set(found)

        deleted: set[bytes] = set()  # of all tries: one that broke off may have deleted
        self._call(lambda connection: deleted.update(delete(connection)))
        return deleted

    def delete_cells(self, table: str, key: bytes, columns: Sequence[bytes]) -> None:
        """Deletes single cells of one row, all at the time of the newest among them."""

        def delete(connection: happybase.Connection) -> None:
            cells = connection.table(table).row(key, columns=list(columns), include_timestamp=True)
            if cells:
                newest = max(time_ms for _, time_ms in cells.values())
                _delete_at(connection, table, {key: set(cells)}, newest)

        self._call(delete)

    # Single cells

    def server_time_ms(self, table: str, prefix: bytes, column: bytes) -> int:
        """A region server's clock, epoch ms: the time of a cell that is written for the purpose.

        Each call writes a row of its own, which expires after a minute: in a row written again and again, a cell from
        before the clock was set back would hide the new one.

        Args:
            table: The table.
            prefix: What the keys of these rows begin with.
            column: The cell to write.
        """
        attributes = _ttl(_CLOCK_CELL_TTL_MS)

        def read(connection: happybase.Connection) -> int:
            key = prefix + uuid.uuid4().hex.encode()
            mutation = gateway.Mutation(isDelete=False, column=column, value=b"", writeToWAL=True)
            client: Any = connection.client
            client.mutateRow(table.encode(), key, [mutation], attributes)
            written = connection.table(table).row(key, columns=[column], include_timestamp=True)
            if column not in written:
                raise HBaseUnavailable(f"HBase at {self.address} does not show a cell of table {table} just written.")
            return int(written[column][1])

        return self._call(read)

    def increment(self, table: str, column: bytes, amounts: Mapping[bytes, int]) -> None:
        """Adds to 8-byte counters, one per row key, in one call.

        A call that broke off is sent again, so an amount may be added twice: only for counters where that is harmless.
        """
        increments = [
            gateway.TIncrement(table=table.encode(), row=key, column=column, ammount=amount)
            for key, amount in amounts.items()
        ]
        if increments:
            self._call(lambda c: c.client.incrementRows(increments))

    def put_if(
        self,
        table: str,
        key: bytes,
        column: bytes,
        *,
        expected: bytes | None,
        value: bytes,
        ttl_ms: int | None = None,
    ) -> bool:
        """Writes a cell if it holds `expected` (None: if it is absent); atomic. It expires after `ttl_ms`, if given.

        After a call that broke off, False may mean that the first try had succeeded: read before concluding.
        """
        mutation = gateway.Mutation(isDelete=False, column=column, value=value, writeToWAL=True)
        attributes = {} if ttl_ms is None else _ttl(ttl_ms)
        return self._call(lambda c: c.client.checkAndPut(table.encode(), key, column, expected, mutation, attributes))

    # Calls

    def _call(self, action: Callable[[happybase.Connection], T], *, illegal: type[HBaseError] = HBaseRefused) -> T:
        """Calls, and again on a fresh connection while HBase is unavailable.

        Args:
            action: The call.
            illegal: What an `IllegalArgument` means here; `RowRefused` for a call that writes rows.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(HBaseUnavailable),
            wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5),
            stop=stop_after_delay(self._retry_seconds),
            before_sleep=self._count_retry,
            reraise=True,
        )
        return retrying(lambda: self._attempt(action, illegal))

    def _count_retry(self, _: object) -> None:
        self.retries += 1

    def _attempt(self, action: Callable[[happybase.Connection], T], illegal: type[HBaseError]) -> T:
        try:
            result = action(self._connection())
        except gateway.IllegalArgument as error:
            raise from_illegal_argument(error, illegal, self.address) from error
        except gateway.IOError as error:
            self._drop()
            raise from_io_error(error, self.address, writes_rows=illegal is RowRefused) from error
        except TRANSPORT_ERRORS as error:
            answered_before = getattr(self._local, "answered", False)
            self._drop()
            raise from_transport(error, self.address, answered_before=answered_before) from error
        except BaseException:
            # The reply may still be under way: this connection must not be used for another request.
            self._drop()
            raise
        self._local.used_at = time.monotonic()
        self._local.answered = True
        return result

    def _connection(self) -> happybase.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is not None and time.monotonic() - self._local.used_at > _REUSE_WITHIN_SECONDS:
            self._drop()
            connection = None
        if connection is None:
            connection = happybase.Connection(self._host, self._port, timeout=self._timeout_ms)
            self._local.connection = connection
            self._local.answered = False
            self._local.used_at = time.monotonic()
            with self._lock:
                self._open.add(connection)
        return connection

    def _drop(self) -> None:
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            with self._lock:
                self._open.discard(connection)
            connection.close()


def _ttl(milliseconds: int) -> dict[bytes, bytes]:
    """Attributes of a mutation whose cells expire."""
    return {b"_ttl": milliseconds.to_bytes(8, "big")}  # Mutation.OP_ATTRIBUTE_TTL


def _receive_row_times(client: Any, column: bytes) -> list[tuple[bytes, int]]:
    protocol = client._iprot
    _, kind, _ = protocol.read_message_begin()
    if kind == TMessageType.EXCEPTION:
        fault = TApplicationException()
        fault.read(protocol)
        raise fault
    try:
        return read_row_times(protocol.trans.read, column)
    except NotRows as error:
        fault = {b"\x0c\x00\x01": gateway.IOError, b"\x0c\x00\x02": gateway.IllegalArgument}.get(error.field)
        if fault is None:
            raise
        reported = fault()
        reported.read(protocol)
        protocol.trans.read(1)  # the end of the reply
        raise reported from None


def _delete_at(connection: happybase.Connection, table: str, rows: Mapping[bytes, set[bytes]], newest: int) -> None:
    """Deletes families (`family`) or columns (`family:qualifier`) of rows, in one call, up to a time (epoch ms)."""
    if rows:
        mutations = [
            gateway.BatchMutation(
                row=key,
                mutations=[gateway.Mutation(isDelete=True, column=name, writeToWAL=True) for name in sorted(names)],
            )
            for key, names in rows.items()
        ]
        client: Any = connection.client
        client.mutateRowsTs(table.encode(), mutations, newest, {})
