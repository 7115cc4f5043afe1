"""A request as an access log records it, and the reasons why a line yields none.

The readers of the formats (`ncsa`, `json_lines`, `w3c`, `alb`) return one of the two for each line. What they share is
here: addresses, hosts and times as text.
"""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from dataco_assets.sources.access_logs.escapes import url_text


class Skip(StrEnum):
    """Why a line yields no click."""

    OTHER_FORMAT = "not in this format"
    NO_REQUEST = "without a request line"
    NO_PAGE = "with a request that names no page"
    NO_HOST = "without a host"
    NO_SCHEME = "whose host has neither scheme nor port"
    BAD_ADDRESS = "whose client is not an IP address"
    BAD_TIME = "without a valid time"


class Host(NamedTuple):
    """The site a request was sent to, as far as the log names it.

    Attributes:
        name: host name or address as in a URL, IPv6 in brackets.
        port: None when the log does not record it.
        scheme: `http` or `https`; None when the log does not record it.
    """

    name: str
    port: int | None = None
    scheme: str | None = None


class Request(NamedTuple):
    """One request, with the escapes of the log undone.

    Attributes:
        address: IP address of the client.
        timestamp: epoch milliseconds.
        target: path and query, or an absolute URL, as sent to the server: any bytes.
        user_agent: None when the client sent none or the log does not record it.
        host: None when the log does not name it.
        referrer: None when the client sent none or the log does not record it.
    """

    address: str
    timestamp: int
    target: bytes
    user_agent: str | None
    host: Host | None = None
    referrer: str | None = None


Reader = Callable[[bytes], Request | Skip | None]
"""Reads the lines of one file, first to last, without line ends; None for a line that is a comment of the format."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:%\"<>\[\]\x00-\x20\x7f]+)(?::(?P<port>\d{1,5}))?")
_REQUEST_LINE = re.compile(rb"[A-Za-z]+ (?P<target>\S.*?)(?: HTTP/\d(?:\.\d)?)?", re.DOTALL)
_NOT_NAMED = frozenset({"", "-", "_"})  # `_` is nginx's name for the server of requests without a known host


def target_of(request_line: bytes) -> bytes | Skip:
    """The target of a request line such as `GET /path HTTP/1.1`."""
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        return Skip.NO_REQUEST
    return match["target"]


def referrer_of(header: bytes) -> str | None:
    """The referrer in a header's value, percent-encoded as a browser sends it; None where there is none."""
    return None if header in (b"", b"-") else url_text(header)


@lru_cache(4_096)
def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address, without port or brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def without_port(text: str) -> str:
    """The address in `address:port` or `[IPv6]:port`; any other text unchanged."""
    address, colon, port = text.rpartition(":")
    if not colon or not port.isdigit() or is_address(text):
        return text
    return address[1:-1] if address[:1] == "[" and address[-1:] == "]" else address


@lru_cache(4_096)
def host_of(text: str, scheme: str | None = None) -> Host | None:
    """The host in `name`, `name:port`, an address or `[IPv6]:port`; None when the text names none."""
    if text in _NOT_NAMED:
        return None
    if is_address(text):
        return Host(f"[{text}]" if ":" in text else text, None, scheme)
    match = _HOST.fullmatch(text)
    if match is None or match["name"] in _NOT_NAMED:
        return None
    return Host(match["name"], int(match["port"]) if match["port"] else None, scheme)


def milliseconds(moment: datetime) -> int:
    """Epoch milliseconds of a moment with an offset; fractions of a millisecond are cut off."""
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(4_096)
def iso_milliseconds(text: str) -> int | None:
    """Epoch milliseconds of an ISO 8601 time with an offset; None when the text is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else milliseconds(moment)
