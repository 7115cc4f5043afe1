"""HBase through its Thrift 1 gateway: typed errors, deadlines, and retries on a fresh connection.

The only module that imports happybase and thriftpy2. Does not belong here: which tables exist, what their cells mean.

Three kinds of failure are kept apart, because each asks for something else:
    * the gateway or HBase behind it is unwell (`HBaseUnavailable`): retried until a deadline, then the run fails;
    * HBase refuses what was asked whatever the row (`HBaseRefused`: no such table, no such family, no permission):
      an operator's matter, never retried;
    * HBase refuses this very row (`RowRefused`: a cell larger than its limit): the row's own fault.
"""

import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import happybase
import Hbase_thrift as gateway  # pyright: ignore[reportMissingImports]  # made by happybase when it is imported
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter
from thriftpy2.protocol.cybin.cybin import ProtocolError
from thriftpy2.protocol.exc import TProtocolException
from thriftpy2.thrift import TApplicationException, TMessageType
from thriftpy2.transport import TTransportException

from dataco_assets.clients.mutations import mutate_rows_request
from dataco_assets.clients.row_times import NotRows, read_row_times
from dataco_assets.errors import DatacoError, ErrorKind

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

T = TypeVar("T")
Cells = dict[bytes, bytes]
TimedCells = dict[bytes, tuple[bytes, int]]
"""Value and time (epoch ms) by qualified column."""

GATEWAY_IDLE_SECONDS = 60  # the gateway drops a connection idle for so long (hbase.thrift.server.socket.read.timeout)
_REUSE_WITHIN_SECONDS = GATEWAY_IDLE_SECONDS / 2
_MESSAGE_LIMIT = 300
# thriftpy2 raises plain OSErrors on reads and writes and EOFError/struct trouble as TProtocolException.
_TRANSPORT_ERRORS = (
    TTransportException,
    TProtocolException,
    ProtocolError,
    TApplicationException,
    OSError,
    EOFError,
)
_ROW_TOO_LARGE = re.compile(r"KeyValue size too large|exceeds limit of \d+ bytes|Row length \d+ is > \d+")
_PERMANENT = re.compile(
    r"TableNotFoundException|NoSuchColumnFamilyException|TableNotEnabledException|AccessDeniedException|"
    r"NamespaceNotFoundException|UnknownProtocolException|region is read only"
)


class HBaseError(DatacoError):
    """HBase could not do what was asked."""


class HBaseUnavailable(HBaseError):
    """The gateway, or HBase behind it, does not answer; trying again later may help."""

    kind = ErrorKind.PASSING


class HBaseRefused(HBaseError):
    """HBase refuses the request whatever the row: no such table or family, or no permission."""


class RowRefused(HBaseError):
    """HBase refuses this row for good, and would refuse it again."""


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
        """Makes sure a table exists: writing to one that does not looks, to the gateway, like a passing trouble.

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

    def delete_table(self, name: str) -> None:
        """Disables and deletes a table."""
        self._call(lambda c: c.delete_table(name, disable=True))

    def compact(self, table: str) -> None:
        """Asks HBase for a major compaction, which takes deleted and expired cells off the disks; it goes on alone."""
        self._call(lambda c: c.compact_table(table, major=True))

    # Rows

    def rows(self, table: str, keys: Sequence[bytes], columns: Sequence[bytes] | None = None) -> dict[bytes, Cells]:
        """Reads rows by key, in one call; absent rows are left out."""
        if not keys:
            return {}
        return cast("dict[bytes, Cells]", dict(self._call(lambda c: c.table(table).rows(list(keys), columns=columns))))

    def scan(
        self,
        table: str,
        start: bytes | None = None,
        stop: bytes | None = None,
        *,
        columns: Sequence[bytes] | None = None,
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
            page_rows: Rows per page; bounds the memory held.
        """

        def page(connection: happybase.Connection, start: bytes | None) -> list[tuple[bytes, Cells]]:
            rows = connection.table(table).scan(
                row_start=start, row_stop=stop, batch_size=page_rows, limit=page_rows, columns=columns
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
            client._send("scannerGetList", id=scanner, nbRows=page_rows)
            rows = _receive_row_times(client, column)
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
            rows = self._call(lambda connection, start=start: page(connection, start))
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

        self._call(put)

    def delete_rows(self, table: str, keys: Sequence[bytes]) -> None:
        """Deletes whole rows, in one call."""

        def delete(connection: happybase.Connection) -> None:
            batch = connection.table(table).batch()
            for key in keys:
                batch.delete(key)
            batch.send()

        self._call(delete)

    def delete_cells(self, table: str, key: bytes, columns: Sequence[bytes]) -> None:
        """Deletes single cells of one row, in one call."""
        self._call(lambda c: c.table(table).delete(key, columns=list(columns)))

    def put(self, table: str, key: bytes, cells: Cells) -> None:
        """Writes one row."""
        self._call(lambda c: c.table(table).put(key, cells))

    # Single cells

    def server_time_ms(self, table: str, key: bytes, column: bytes) -> int:
        """HBase's own time, epoch ms: that of a cell written for the purpose.

        Only this clock can be compared with the times at which rows were stored.
        """

        def read(connection: happybase.Connection) -> int:
            rows = connection.table(table)
            rows.put(key, {column: b""})
            _, stored_at = rows.row(key, columns=[column], include_timestamp=True)[column]
            return int(stored_at)

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

    def put_if(self, table: str, key: bytes, column: bytes, *, expected: bytes | None, value: bytes) -> bool:
        """Writes a cell if it holds `expected` (None: if it is absent); atomic.

        After a call that broke off, False may mean that the first try had succeeded: read before concluding.
        """
        mutation = gateway.Mutation(isDelete=False, column=column, value=value, writeToWAL=True)
        return self._call(lambda c: c.client.checkAndPut(table.encode(), key, column, expected, mutation, {}))

    # Calls

    def _call(self, action: Callable[[happybase.Connection], T]) -> T:
        retrying = Retrying(
            retry=retry_if_exception_type(HBaseUnavailable),
            wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.5),
            stop=stop_after_delay(self._retry_seconds),
            before_sleep=self._count_retry,
            reraise=True,
        )
        return retrying(lambda: self._attempt(action))

    def _count_retry(self, _: object) -> None:
        self.retries += 1

    def _attempt(self, action: Callable[[happybase.Connection], T]) -> T:
        try:
            result = action(self._connection())
        except gateway.IllegalArgument as error:
            raise RowRefused(f"HBase refuses a row: {_first_line(error.message)}") from error
        except gateway.IOError as error:
            self._drop()
            raise self._translate(error) from error
        except _TRANSPORT_ERRORS as error:
            self._drop()
            raise HBaseUnavailable(
                f"The HBase Thrift gateway at {self.address} does not answer ({type(error).__name__}: "
                f"{_first_line(str(error))}). Is it running? Its address is DATACO_HBASE_THRIFT_HOST and _PORT."
            ) from error
        except BaseException:
            # The reply may still be under way: this connection must not be used for another question.
            self._drop()
            raise
        self._local.used_at = time.monotonic()
        return result

    def _translate(self, error: gateway.IOError) -> HBaseError:
        message = _text(error.message)
        if _ROW_TOO_LARGE.search(message):
            return RowRefused(f"HBase refuses a row: {_first_line(message)}")
        if permanent := _PERMANENT.search(message):
            return HBaseRefused(
                f"HBase at {self.address} refuses ({permanent[0]}): {_first_line(message)}. "
                "`dataco setup` creates what is missing and says what differs."
            )
        return HBaseUnavailable(f"HBase behind the gateway at {self.address} fails: {_first_line(message)}")

    def _connection(self) -> happybase.Connection:
        connection = getattr(self._local, "connection", None)
        if connection is not None and time.monotonic() - self._local.used_at > _REUSE_WITHIN_SECONDS:
            self._drop()
            connection = None
        if connection is None:
            connection = happybase.Connection(self._host, self._port, timeout=self._timeout_ms)
            self._local.connection = connection
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
        said = fault()
        said.read(protocol)
        raise said from None


def _text(message: str | bytes | None) -> str:
    return message.decode(errors="replace") if isinstance(message, bytes) else message or "no message"


def _first_line(message: str | bytes | None) -> str:
    line = _text(message).strip().split("\n", 1)[0]
    return line if len(line) <= _MESSAGE_LIMIT else line[:_MESSAGE_LIMIT] + "…"
