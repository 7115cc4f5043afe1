"""Compares the hand-written parser of a scan's reply with thriftpy2."""

import happybase  # noqa: F401  # loads the Hbase_thrift module
import pytest
from Hbase_thrift import (  # pyright: ignore[reportMissingImports]
    Hbase,
    IOError,  # noqa: A004  # its name in Hbase.thrift
    TCell,
    TRowResult,
)
from hypothesis import given
from hypothesis import strategies as st
from thriftpy2.protocol.binary import TBinaryProtocol
from thriftpy2.protocol.exc import TProtocolException
from thriftpy2.transport.memory import TMemoryBuffer

from dataco_assets.clients.row_times import NotRows, read_row_times

COLUMN = b"click_data:event_id"


def thriftpy2_bytes(**result: object) -> bytes:
    buffer = TMemoryBuffer()
    Hbase.scannerGetList_result(**result).write(TBinaryProtocol(buffer))
    return buffer.getvalue()


def thriftpy2_rows(reply: bytes) -> list[tuple[bytes, int]]:
    result = Hbase.scannerGetList_result()
    result.read(TBinaryProtocol(TMemoryBuffer(reply), decode_response=False))
    return [(row.row, row.columns[COLUMN].timestamp) for row in result.success]


def row(key: bytes, time: int, *, column: bytes = COLUMN, value: bytes = b"") -> object:
    return TRowResult(row=key, columns={column: TCell(value=value, timestamp=time)})


@given(
    st.lists(st.tuples(st.binary(max_size=60), st.integers(min_value=-(2**63), max_value=2**63 - 1)), max_size=30),
    st.binary(max_size=5),
)
def test_rows_are_those_thriftpy2_reads_and_nothing_more_is_read(
    rows: list[tuple[bytes, int]], next_reply: bytes
) -> None:
    reply = thriftpy2_bytes(success=[row(key, time) for key, time in rows])
    stream = TMemoryBuffer(reply + next_reply)

    assert read_row_times(stream.read, COLUMN) == thriftpy2_rows(reply)
    assert stream.read(len(next_reply)) == next_reply


@pytest.mark.parametrize(
    "strange",
    [
        row(b"key", 1, column=b"click_data:user_id_"),
        row(b"key", 1, value=b"x"),
        TRowResult(row=b"key", columns={}),
        TRowResult(row=b"key", columns={COLUMN: TCell(value=b"", timestamp=1), b"a:b": TCell(value=b"", timestamp=1)}),
    ],
    ids=["another column", "a value", "no column", "two columns"],
)
def test_a_row_of_another_shape_is_refused(strange: object) -> None:
    reply = thriftpy2_bytes(success=[row(b"key", 1), strange, row(b"key", 2)])

    with pytest.raises(TProtocolException, match="unexpected row"):
        read_row_times(TMemoryBuffer(reply).read, COLUMN)


def test_an_exception_is_told_apart_and_left_to_be_read() -> None:
    stream = TMemoryBuffer(thriftpy2_bytes(io=IOError(message="region is gone")))

    with pytest.raises(NotRows) as raised:
        read_row_times(stream.read, COLUMN)

    said = IOError()
    said.read(TBinaryProtocol(stream, decode_response=True))
    assert (raised.value.field, said.message) == (b"\x0c\x00\x01", "region is gone")


def test_a_reply_that_ends_early_is_no_reply() -> None:
    reply = thriftpy2_bytes(success=[row(b"key", 1)])

    with pytest.raises((TProtocolException, EOFError)):
        read_row_times(TMemoryBuffer(reply[:-1]).read, COLUMN)
