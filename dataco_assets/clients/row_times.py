"""Parses the reply to a scan of one column without values: row keys and times, straight from the bytes.

thriftpy2 builds three objects and a dictionary per row of such a reply, which takes ten times as long as reading the
two values of interest. A test compares this with thriftpy2's own parser.

The format is Thrift's strict binary protocol (see `mutations`) of `Hbase.thrift`: `scannerGetList` answers
`{0: list<TRowResult>}` or an exception under another field, with `TRowResult {1: row, 2: map<column, TCell>}` and
`TCell {1: value, 2: timestamp}`.
"""

from collections.abc import Callable
from struct import Struct

from thriftpy2.protocol.exc import TProtocolException

_INT, _LONG = Struct(">i"), Struct(">q")
_STOP = b"\x00"
_ROWS_FIELD = b"\x0f\x00\x00"
_STRUCTS = b"\x0c"
_KEY_FIELD = b"\x0b\x00\x01"
_HEAD_BYTES = len(_KEY_FIELD) + _INT.size
_ONE_COLUMN = b"\x0d\x00\x02\x0b\x0c" + _INT.pack(1)
_NO_VALUE = b"\x0b\x00\x01" + _INT.pack(0)
_TIME_FIELD = b"\x0a\x00\x02"
_END = _STOP + _STOP  # of the cell, of the row


class NotRows(TProtocolException):
    """The reply is not rows.

    Attributes:
        field: The first field's header, 3 bytes, already read.
    """

    def __init__(self, field: bytes) -> None:
        super().__init__(TProtocolException.INVALID_DATA, f"a scan's reply begins with {field!r}, not with rows")
        self.field = field


def read_row_times(read: Callable[[int], bytes], column: bytes) -> list[tuple[bytes, int]]:
    """Key and time (epoch ms) of each row.

    Args:
        read: Reads exactly so many bytes of the reply, behind its message header.
        column: The one column asked for, `family:qualifier`; without its value.

    Raises:
        NotRows: the reply is an exception.
        TProtocolException: it has rows, but not of this one column without a value.
    """
    field = read(len(_ROWS_FIELD))
    if field != _ROWS_FIELD:
        raise NotRows(field)
    kind, (count,) = read(len(_STRUCTS)), _INT.unpack(read(_INT.size))
    between = _ONE_COLUMN + _INT.pack(len(column)) + column + _NO_VALUE + _TIME_FIELD
    behind_key, unpack_time = len(between), _LONG.unpack_from
    tail = behind_key + _LONG.size + len(_END)
    rows: list[tuple[bytes, int]] = []
    for _ in range(count):
        head = read(_HEAD_BYTES)
        length = int.from_bytes(head[-_INT.size :])
        rest = read(length + tail)
        if not (head.startswith(_KEY_FIELD) and rest.startswith(between, length) and rest.endswith(_END)):
            raise _unexpected(head + rest)
        rows.append((rest[:length], unpack_time(rest, length + behind_key)[0]))
    if (end := read(len(_STOP))) != _STOP or kind != _STRUCTS:
        raise _unexpected(kind + end)
    return rows


def _unexpected(found: bytes) -> TProtocolException:
    return TProtocolException(TProtocolException.INVALID_DATA, f"a scan's reply has an unexpected row: {found[:100]!r}")
