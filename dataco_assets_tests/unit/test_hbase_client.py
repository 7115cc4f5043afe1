"""Tests the HBase client against faulty servers: which error is raised, how soon, and what it says.

The servers are threads of the test: some never answer, and one speaks Thrift with a few methods.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import happybase  # noqa: F401  # loads the Hbase_thrift module
import Hbase_thrift as gateway  # pyright: ignore[reportMissingImports]  # made by happybase when it is imported
import pytest
from thriftpy2.protocol.cybin.cybin import TCyBinaryProtocolFactory
from thriftpy2.thrift import TApplicationException, TMessageType, TProcessor
from thriftpy2.transport import TCyBufferedTransportFactory
from thriftpy2.transport.socket import TSocket

from dataco_assets.clients.hbase import HBase
from dataco_assets.clients.hbase_errors import (
    GatewayMismatch,
    HBaseError,
    HBaseRefused,
    HBaseUnavailable,
    RowRefused,
)
from dataco_assets.clients.mutations import encode_row
from dataco_assets.errors import ErrorKind

TIMEOUT_SECONDS = 0.2
SLACK_SECONDS = 10  # a busy machine

Answer = Callable[[socket.socket], None]


@contextmanager
def server(answer: Answer) -> Iterator[int]:
    """Accepts connections, one after another, and handles each with `answer`; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    answer(connection)

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def client(port: int, *, retry_seconds: float = 0.0) -> HBase:
    return HBase("127.0.0.1", port, timeout_seconds=TIMEOUT_SECONDS, retry_seconds=retry_seconds)


def fails(kind: type[HBaseError], act: Callable[[], object], *, within: float) -> str:
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        act()
    assert time.monotonic() - started <= within + SLACK_SECONDS
    assert type(caught.value) is kind
    return str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HBaseUnavailable, ErrorKind.PASSING),
        (HBaseRefused, ErrorKind.PERMANENT),
        (GatewayMismatch, ErrorKind.PERMANENT),
        (RowRefused, ErrorKind.DATA),
    ],
)
def test_each_error_says_what_has_to_happen_before_the_call_can_succeed(
    error: type[HBaseError], kind: ErrorKind
) -> None:
    assert error.kind is kind


# Servers that are down or faulty


def test_a_host_name_that_does_not_resolve_names_address_and_variable() -> None:
    hbase = HBase("nohost.invalid", 9090, timeout_seconds=60, retry_seconds=0)
    told = fails(HBaseUnavailable, hbase.tables, within=3)
    assert "nohost.invalid:9090" in told
    assert "DATACO_HBASE_THRIFT_HOST" in told


def test_nobody_listening_is_unavailable_and_names_address_and_variable() -> None:
    port = unused_port()
    told = fails(HBaseUnavailable, client(port).tables, within=0)
    assert f"127.0.0.1:{port}" in told
    assert "DATACO_HBASE_THRIFT_HOST" in told


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        told = fails(HBaseUnavailable, client(port).tables, within=TIMEOUT_SECONDS)
    assert f"127.0.0.1:{port} takes connections, but does not answer in time" in told
    assert "HBase behind it" in told


def test_tries_end_with_the_retry_time_and_are_counted() -> None:
    hbase = client(unused_port(), retry_seconds=1.0)
    # The last wait may begin just before the time is over; the waits double from 0.1 s, plus up to 0.5 s of jitter.
    fails(HBaseUnavailable, hbase.tables, within=1.0 + 1.3)
    assert hbase.retries >= 1


def replying(reply: bytes) -> Answer:
    """Answers any request with these bytes and closes the connection."""

    def answer(connection: socket.socket) -> None:
        connection.recv(1_000)
        connection.sendall(reply)

    return answer


@pytest.mark.parametrize("reply", [b"", b"\x80\x01\x00\x02\x00"])
def test_a_reply_that_breaks_off_is_unavailable(reply: bytes) -> None:
    with server(replying(reply)) as port:
        fails(HBaseUnavailable, client(port).tables, within=TIMEOUT_SECONDS)


@pytest.mark.parametrize("reply", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 64, b"\x15\x03\x01\x00\x02\x02\x32"])
def test_a_server_that_does_not_speak_thrift_is_named_at_once(reply: bytes) -> None:
    with server(replying(reply)) as port:
        reported = fails(GatewayMismatch, client(port, retry_seconds=30).tables, within=TIMEOUT_SECONDS)
    assert f"127.0.0.1:{port}" in reported
    assert "Thrift 1" in reported
    assert "DATACO_HBASE_THRIFT_HOST" in reported


# A gateway that answers


class Gateway:
    """A few methods of the real gateway; the given failures are raised first, one per call."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.connections = 0
        self.closed: list[int] = []

    def _next(self) -> None:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)

    def getTableNames(self) -> list[str]:  # noqa: N802  # the gateway's name
        self._next()
        return ["clicks", "click_hours"]

    def createTable(self, tableName: bytes, columnFamilies: object) -> None:  # noqa: ARG002, N802, N803
        self._next()

    def checkAndPut(self, *_: object) -> bool:  # noqa: N802
        self._next()
        return True

    def scannerOpenWithScan(self, tableName: bytes, scan: object, attributes: object) -> int:  # noqa: ARG002, N802, N803
        return 7

    def scannerGetList(self, id: int, nbRows: int) -> list[object]:  # noqa: A002, ARG002, N802, N803
        self._next()
        return []

    def scannerClose(self, id: int) -> None:  # noqa: A002, N802
        self.closed.append(id)

    def mutateRows(self, tableName: bytes, rowBatches: list[object], attributes: object) -> None:  # noqa: ARG002, N802, N803
        self._next()

    def answer(self, connection: socket.socket) -> None:
        """Serves one connection until it ends; a planted ConnectionResetError closes it without a reply."""
        self.connections += 1
        processor = TProcessor(gateway.Hbase, self)
        transport = TCyBufferedTransportFactory().get_transport(TSocket(sock=connection))
        protocol = TCyBinaryProtocolFactory().get_protocol(transport)
        try:
            while True:
                processor.process(protocol, protocol)
        except Exception:  # noqa: BLE001, S110  # the end of the connection, or the planted break
            pass


def io_error(message: str | None) -> BaseException:
    return gateway.IOError(message=message)


def test_what_the_gateway_says_comes_through() -> None:
    with server(Gateway().answer) as port, client(port) as hbase:
        assert hbase.tables() == {"clicks", "click_hours"}


@pytest.mark.parametrize(
    ("exception", "message"),
    [
        ("TableNotFoundException", "org.apache.hadoop.hbase.TableNotFoundException: clicks\n\tat org.apache.x"),
        (
            "NoSuchColumnFamilyException",
            "Failed 2 actions: o.a.h.h.r.NoSuchColumnFamilyException: no family x: 2 times",
        ),
        ("AccessDeniedException", "org.apache.hadoop.hbase.security.AccessDeniedException: Insufficient permissions"),
    ],
)
def test_an_operators_matter_is_refused_at_once_with_one_line_of_hbases_words(exception: str, message: str) -> None:
    fake = Gateway(io_error(message))
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        told = fails(HBaseRefused, hbase.tables, within=TIMEOUT_SECONDS)
    assert fake.calls == 1
    assert f"127.0.0.1:{port}" in told
    assert exception in told
    assert "\n" not in told
    assert "b'" not in told, "bytes shown as Python writes them"
    assert "dataco setup" in told


@pytest.mark.parametrize(
    "refusal",
    [
        gateway.IOError(message="DoNotRetryIOException: Cell with size 11000036 exceeds limit of 10485760 bytes"),
        gateway.IOError(message="IllegalArgumentException: KeyValue size too large"),
    ],
)
def test_a_row_that_is_too_large_is_the_rows_own_fault_and_not_tried_again(refusal: BaseException) -> None:
    fake = Gateway(refusal)
    row = encode_row(b"key", [(b"click_data:url", b"x")])
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        fails(RowRefused, lambda: hbase.put_rows("clicks", [row]), within=TIMEOUT_SECONDS)
    assert fake.calls == 1


def test_the_same_refusal_of_a_ledgers_cell_is_no_clicks_fault() -> None:
    fake = Gateway(gateway.IllegalArgument(message="no such column"), gateway.IllegalArgument(message="bad family"))
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        fails(HBaseRefused, lambda: hbase.put_if("t", b"k", b"x", expected=None, value=b"1"), within=TIMEOUT_SECONDS)
        fails(HBaseRefused, lambda: hbase.create_table("t", {"f:": {}}), within=TIMEOUT_SECONDS)
    assert fake.calls == 2


def test_rows_that_the_gateway_finds_invalid_are_refused() -> None:
    fake = Gateway(gateway.IllegalArgument(message="Row length 40000 is > 32767"))
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        row = encode_row(b"key", [(b"click_data:url", b"x")])
        fails(RowRefused, lambda: hbase.put_rows("clicks", [row]), within=TIMEOUT_SECONDS)
    assert fake.calls == 1


@pytest.mark.parametrize(
    "failure", [gateway.IllegalArgument(message="scanner ID is invalid"), gateway.IOError(message="region moved")]
)
def test_a_scanner_that_fails_is_closed_and_another_one_opened(failure: BaseException) -> None:
    fake = Gateway(failure)
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        assert list(hbase.scan_times("clicks", column=b"geo_data:country")) == []
    assert fake.calls == 2
    assert fake.closed == [7, 7]


def test_a_method_that_the_server_does_not_know_is_a_mismatch_at_once() -> None:
    def answer(connection: socket.socket) -> None:
        transport = TCyBufferedTransportFactory().get_transport(TSocket(sock=connection))
        protocol = TCyBinaryProtocolFactory().get_protocol(transport)
        name, _, number = protocol.read_message_begin()
        protocol.write_message_begin(name, TMessageType.EXCEPTION, number)
        TApplicationException(TApplicationException.UNKNOWN_METHOD, f"Invalid method name: '{name}'").write(protocol)
        transport.flush()

    with server(answer) as port:
        reported = fails(GatewayMismatch, client(port, retry_seconds=30).tables, within=TIMEOUT_SECONDS)
    assert "getTableNames" in reported
    assert "thrift2" in reported


def test_an_exception_inside_the_gateway_passes() -> None:
    failing = [True]

    def answer(connection: socket.socket) -> None:
        if not failing:
            Gateway().answer(connection)
            return
        failing.clear()
        transport = TCyBufferedTransportFactory().get_transport(TSocket(sock=connection))
        protocol = TCyBinaryProtocolFactory().get_protocol(transport)
        name, _, number = protocol.read_message_begin()
        protocol.write_message_begin(name, TMessageType.EXCEPTION, number)
        TApplicationException(TApplicationException.INTERNAL_ERROR, "Internal error processing it").write(protocol)
        transport.flush()

    with server(answer) as port, client(port, retry_seconds=3) as hbase:
        assert hbase.tables() == {"clicks", "click_hours"}
        assert hbase.retries == 1


@pytest.mark.parametrize(
    "message",
    [
        "TableNotEnabledException: clicks is disabled",
        "RetriesExhaustedException: Failed after attempts=16",
        "",
        "  \n ",
        None,
    ],
)
def test_trouble_behind_the_gateway_passes(message: str | None) -> None:
    fake = Gateway(io_error(message))
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        assert hbase.tables() == {"clicks", "click_hours"}
        assert hbase.retries == 1


def test_a_broken_connection_is_replaced_by_a_fresh_one_and_the_call_repeated_whole() -> None:
    fake = Gateway(ConnectionResetError(), ConnectionResetError())
    row = encode_row(b"key", [(b"click_data:url", b"x")])
    with server(fake.answer) as port, client(port, retry_seconds=3) as hbase:
        hbase.put_rows("clicks", [row])
    assert (fake.calls, fake.connections) == (3, 3)


def test_an_interrupted_call_leaves_no_connection_with_a_late_reply() -> None:
    fake = Gateway()
    with server(fake.answer) as port, client(port) as hbase:
        hbase.tables()

        def interrupted(_: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            hbase._call(interrupted)
        hbase.tables()
    assert fake.connections == 2


def test_each_thread_has_a_connection_of_its_own_and_keeps_it() -> None:
    held = threading.Barrier(3)

    class Counting(Gateway):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

        def answer(self, connection: socket.socket) -> None:
            copy = connection.dup()  # served beside the others
            threading.Thread(target=super().answer, args=(copy,), daemon=True).start()

    fake = Counting()
    with server(fake.answer) as port, client(port) as hbase:

        def work() -> None:
            hbase.tables()
            held.wait(10)
            hbase.tables()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert (fake.calls, fake.connections) == (6, 3)
