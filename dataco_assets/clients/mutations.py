"""Encodes rows as the bytes of a Thrift `mutateRows` request.

happybase builds one Mutation object per cell and lets thriftpy2 serialise the tree, which costs more than everything
else that ingest does with a click. The request is simple enough to be encoded directly; a test compares these bytes
with thriftpy2's own.

The format is Thrift's strict binary protocol (https://github.com/apache/thrift/blob/master/doc/specs/thrift-binary-protocol.md)
of `Hbase.thrift`: `mutateRows(1: tableName, 2: list<BatchMutation>, 3: map attributes)` and
`mutateRowsTs(1: tableName, 2: list<BatchMutation>, 3: i64 timestamp, 4: map attributes)`, with
`BatchMutation {1: row, 2: list<Mutation>}` and `Mutation {1: isDelete, 2: column, 3: value, 4: writeToWAL}`.
"""

from collections.abc import Iterable, Sequence
from struct import Struct

_INT, _LONG = Struct(">i").pack, Struct(">q").pack
_MESSAGE_CALL = b"\x80\x01\x00\x01"  # strict version 1, type CALL
_NAME, _NAME_WITH_TIME = b"mutateRows", b"mutateRowsTs"
_SEQUENCE_ID = _INT(0)
_STOP = b"\x00"
_FIELD_STRING, _FIELD_LIST, _FIELD_MAP, _FIELD_LONG = b"\x0b", b"\x0f", b"\x0d", b"\x0a"
_STRUCT = b"\x0c"
_ROW_FIELD = _FIELD_STRING + b"\x00\x01"
_MUTATIONS_FIELD = _FIELD_LIST + b"\x00\x02" + _STRUCT
_NOT_A_DELETE = b"\x02\x00\x01\x00"  # field 1, bool false
_COLUMN_FIELD = _FIELD_STRING + b"\x00\x02"
_VALUE_FIELD = _FIELD_STRING + b"\x00\x03"
CELL_END = b"\x02\x00\x04\x01" + _STOP  # field 4, bool true: never skip the write-ahead log
"""The bytes of a cell behind its value."""
ROW_END = _STOP
"""The bytes of a row behind its last cell."""
_HEAD = _MESSAGE_CALL + _INT(len(_NAME)) + _NAME + _SEQUENCE_ID
_HEAD_WITH_TIME = _MESSAGE_CALL + _INT(len(_NAME_WITH_TIME)) + _NAME_WITH_TIME + _SEQUENCE_ID
_EMPTY_MAP_AND_STOP = b"\x0b\x0b" + _INT(0) + _STOP
_TIME_FIELD = _FIELD_LONG + b"\x00\x03"
_END = _FIELD_MAP + b"\x00\x03" + _EMPTY_MAP_AND_STOP
_END_BEHIND_TIME = _FIELD_MAP + b"\x00\x04" + _EMPTY_MAP_AND_STOP


def _cell_prefix(column: bytes) -> bytes:
    return _NOT_A_DELETE + _COLUMN_FIELD + _INT(len(column)) + column + _VALUE_FIELD


class _ColumnPrefixes(dict[bytes, bytes]):
    """A cell's bytes up to the value's length, made once per column name."""

    def __missing__(self, column: bytes) -> bytes:
        prefix = self[column] = _cell_prefix(column)
        return prefix


_prefixes = _ColumnPrefixes()


def encode_row(key: bytes, cells: Sequence[tuple[bytes, bytes]]) -> bytes:
    """One row as the bytes of a `BatchMutation`.

    Args:
        key: The row key.
        cells: Qualified column (`family:qualifier`) and value of each cell; the column names must come from a fixed
            set, since their prefixes are remembered.
    """
    parts = [_ROW_FIELD, _INT(len(key)), key, _MUTATIONS_FIELD, _INT(len(cells))]
    for column, value in cells:
        parts += (_prefixes[column], _INT(len(value)), value, CELL_END)
    parts.append(ROW_END)
    return b"".join(parts)


def row_heads(key_bytes: int, cells: int) -> tuple[bytes, bytes]:
    """The bytes of a row before its key, and those between its key and its first cell.

    Args:
        key_bytes: Length of the key.
        cells: How many cells there are.
    """
    return _ROW_FIELD + _INT(key_bytes), _MUTATIONS_FIELD + _INT(cells)


def cell_heads(column: bytes, longest: int) -> list[bytes]:
    """The bytes of a cell before its value, by the value's length: 0 to `longest` bytes."""
    return [_cell_prefix(column) + _INT(length) for length in range(longest + 1)]


def mutate_rows_request(table: bytes, rows: Iterable[bytes], count: int, *, time_ms: int | None = None) -> bytes:
    """A whole `mutateRows` request, or `mutateRowsTs` if the time of the cells is given.

    Args:
        table: The table's name.
        rows: What `encode_row` made.
        count: How many rows there are.
        time_ms: Timestamp of every cell, epoch ms; None leaves it to HBase.
    """
    listing = (_FIELD_STRING, b"\x00\x01", _INT(len(table)), table, _FIELD_LIST, b"\x00\x02", _STRUCT, _INT(count))
    if time_ms is None:
        return b"".join((_HEAD, *listing, *rows, _END))
    return b"".join((_HEAD_WITH_TIME, *listing, *rows, _TIME_FIELD, _LONG(time_ms), _END_BEHIND_TIME))
