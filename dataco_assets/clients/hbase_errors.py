"""The errors of HBase and its Thrift gateway, and which of them a failed call is.

    HBaseError
    ├── HBaseUnavailable   passing    the gateway, or HBase behind it, is away or busy: retried
    ├── HBaseRefused       permanent  no such table or family, no permission, an invalid argument
    ├── GatewayMismatch    permanent  what answers does not speak HBase's Thrift 1 protocol
    └── RowRefused         data       HBase never takes this click: rejected

Ambiguous failures count as passing, so that an outage never needs a person:
    * a disabled table (`TableNotEnabledException`): `alter` disables a table for seconds;
    * `TApplicationException` of type INTERNAL_ERROR: an uncaught exception in the gateway, such as a lack of memory;
    * a connection closed without a reply: also what a gateway with framed or compact transport does;
    * bytes that are no Thrift on a connection that has answered before: only a fresh connection proves a mismatch.
"""

import re

import happybase  # noqa: F401  # makes the module Hbase_thrift
import Hbase_thrift as gateway  # pyright: ignore[reportMissingImports]
from thriftpy2.protocol.cybin.cybin import ProtocolError
from thriftpy2.protocol.exc import TProtocolException
from thriftpy2.thrift import TApplicationException
from thriftpy2.transport import TTransportException

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.untrusted import printable

TRANSPORT_ERRORS = (
    TTransportException,
    TProtocolException,
    ProtocolError,
    TApplicationException,
    OSError,
    EOFError,
)
"""What thriftpy2 raises apart from the gateway's own exceptions: also plain OSErrors, and EOFError."""
_MESSAGE_LIMIT = 300
_ROW_TOO_LARGE = re.compile(r"KeyValue size too large|exceeds limit of \d+ bytes|Row length \d+ is > \d+")
_PERMANENT = re.compile(
    r"TableNotFoundException|NoSuchColumnFamilyException|AccessDeniedException|NamespaceNotFoundException|"
    r"UnknownProtocolException|region is read only"
)
_DISABLED = "TableNotEnabledException"
_FAILED_INSIDE = {
    TApplicationException.UNKNOWN,
    TApplicationException.MISSING_RESULT,
    TApplicationException.INTERNAL_ERROR,
}
"""Types of a TApplicationException by which a right gateway reports trouble of its own."""


class HBaseError(DatacoError):
    """A call to HBase failed."""


class HBaseUnavailable(HBaseError):
    """The gateway, or HBase behind it, does not answer; trying again later may help."""

    kind = ErrorKind.PASSING


class HBaseRefused(HBaseError):
    """HBase refuses the request whatever the row: no such table or family, no permission, an invalid argument."""

    kind = ErrorKind.PERMANENT


class GatewayMismatch(HBaseError):
    """What listens at the gateway's address is not an HBase Thrift 1 gateway."""

    kind = ErrorKind.PERMANENT


class RowRefused(HBaseError):
    """HBase refuses at least one of the rows written, and would refuse it again."""

    kind = ErrorKind.DATA


def from_illegal_argument(error: gateway.IllegalArgument, kind: type[HBaseError], address: str) -> HBaseError:
    """The error for an invalid argument, which means something else in every call.

    Args:
        error: As the gateway raised it.
        kind: What it means in this call.
        address: `host:port` of the gateway.
    """
    reason = first_line(error.message)
    if kind is RowRefused:
        return RowRefused(f"HBase refuses a row: {reason}")
    return kind(f"HBase at {address} refuses an argument: {reason}")


def from_io_error(error: gateway.IOError, address: str, *, writes_rows: bool) -> HBaseError:
    """The error for a failure that HBase reported through the gateway.

    Args:
        error: As the gateway raised it.
        address: `host:port` of the gateway.
        writes_rows: Whether the call wrote rows, of which one may be too large.
    """
    message = _text(error.message)
    if writes_rows and _ROW_TOO_LARGE.search(message):
        return RowRefused(f"HBase refuses a row: {first_line(message)}")
    if permanent := _PERMANENT.search(message):
        return HBaseRefused(
            f"HBase at {address} refuses ({permanent[0]}): {first_line(message)}. "
            "`dataco setup` creates what is missing and says what differs."
        )
    if _DISABLED in message:
        return HBaseUnavailable(
            f"HBase at {address} has disabled a table ({_DISABLED}): {first_line(message)}. Unless it is being "
            "altered right now, run `enable` for it in the HBase shell."
        )
    return HBaseUnavailable(f"HBase behind the gateway at {address} fails: {first_line(message)}")


def from_transport(error: BaseException, address: str, *, answered_before: bool) -> HBaseError:
    """The error for a call whose reply did not come, or could not be read.

    Args:
        error: One of `TRANSPORT_ERRORS`.
        address: `host:port` of the gateway.
        answered_before: Whether the connection has had a proper reply before.
    """
    # happybase leaves messages as bytes, which `str` of such an error refuses.
    message = error.message if isinstance(error, TApplicationException) else str(error)
    reason = f"{type(error).__name__}: {first_line(message)}"
    if _speaks_another_protocol(error) and not answered_before:
        return GatewayMismatch(
            f"What answers at {address} is not an HBase Thrift 1 gateway ({reason}). Start `hbase thrift`, not "
            "`thrift2`, with the binary protocol (not compact, framed or HTTP), or set its address with "
            "DATACO_HBASE_THRIFT_HOST and _PORT."
        )
    if isinstance(error, TimeoutError):  # not while connecting: thriftpy2 raises that as a TTransportException
        return HBaseUnavailable(
            f"The HBase Thrift gateway at {address} takes connections, but does not answer in time ({reason}). Either "
            "it hangs, or HBase behind it is away: are the master, the region servers and ZooKeeper running?"
        )
    return HBaseUnavailable(
        f"The HBase Thrift gateway at {address} does not answer ({reason}). Is it running? Its address is "
        "DATACO_HBASE_THRIFT_HOST and _PORT."
    )


def _speaks_another_protocol(error: BaseException) -> bool:
    if isinstance(error, TApplicationException):
        return error.type not in _FAILED_INSIDE
    return isinstance(error, ProtocolError)


def first_line(message: str | bytes | None) -> str:
    """The first line of a message, which may quote a row, bounded and printable."""
    return printable(_text(message).strip().split("\n", 1)[0], _MESSAGE_LIMIT)


def _text(message: str | bytes | None) -> str:
    return message.decode(errors="replace") if isinstance(message, bytes) else message or "no message"
