"""Compares the hand-written `mutateRows` bytes with thriftpy2's serialisation."""

import happybase  # noqa: F401  # loads the Hbase_thrift module
import pytest
from Hbase_thrift import BatchMutation, Hbase, Mutation  # pyright: ignore[reportMissingImports]
from hypothesis import given
from hypothesis import strategies as st
from thriftpy2.protocol.binary import TBinaryProtocol
from thriftpy2.thrift import TClient
from thriftpy2.transport.memory import TMemoryBuffer

from dataco_assets.clients.mutations import encode_row, mutate_rows_request

COLUMNS = [b"click_data:user_id", b"geo_data:city", b"user_agent_data:device", b"click_data:url"]
Rows = list[tuple[bytes, list[tuple[bytes, bytes]]]]


def thriftpy2_bytes(table: bytes, rows: Rows, time_ms: int | None = None) -> bytes:
    buffer = TMemoryBuffer()
    client = TClient(Hbase, TBinaryProtocol(buffer, decode_response=False))
    batches = [
        BatchMutation(
            row=key, mutations=[Mutation(isDelete=False, column=c, value=v, writeToWAL=True) for c, v in cells]
        )
        for key, cells in rows
    ]
    if time_ms is None:
        client._send("mutateRows", tableName=table, rowBatches=batches, attributes={})
    else:
        client._send("mutateRowsTs", tableName=table, rowBatches=batches, timestamp=time_ms, attributes={})
    return buffer.getvalue()


def our_bytes(table: bytes, rows: Rows, time_ms: int | None = None) -> bytes:
    return mutate_rows_request(table, [encode_row(key, cells) for key, cells in rows], len(rows), time_ms=time_ms)


@given(
    table=st.binary(min_size=1, max_size=30),
    rows=st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=60),
            st.lists(st.tuples(st.sampled_from(COLUMNS), st.binary(max_size=300)), max_size=12),
        ),
        max_size=20,
    ),
    time_ms=st.none() | st.integers(0, 2**63 - 1),
)
def test_bytes_are_identical_to_thriftpy2s(table: bytes, rows: Rows, time_ms: int | None) -> None:
    assert our_bytes(table, rows, time_ms) == thriftpy2_bytes(table, rows, time_ms)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 65_536, 1 << 20])
def test_lengths_of_values(size: int) -> None:
    rows: Rows = [(b"key", [(COLUMNS[0], b"x" * size)])]
    assert our_bytes(b"clicks", rows) == thriftpy2_bytes(b"clicks", rows)
