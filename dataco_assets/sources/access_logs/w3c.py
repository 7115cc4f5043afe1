"""The W3C extended log file format, of IIS above all.

Source: "Extended Log File Format" (https://www.w3.org/TR/WD-logfile.html) and "W3C Logging" in the documentation of
IIS. A `#Fields:` line names the fields of the lines after it; times are UTC.

IIS writes `+` for a space. In a user agent, a referrer and the path a `+` is therefore read as a space when the log
names Microsoft as its software: IIS refuses paths with a real `+` unless it is configured to allow double escaping. A
query is logged as it was sent.
"""

import re
from collections.abc import Callable, Mapping

from dataco_assets.sources.access_logs.escapes import header_text
from dataco_assets.sources.access_logs.request import (
    Host,
    Reader,
    Request,
    Skip,
    host_of,
    is_address,
    iso_milliseconds,
    referrer_of,
)

Row = Mapping[str, bytes]

CLOUDFRONT_FIELD = "x-edge-location"
"""A field that every log of CloudFront has and no other log."""

_TOKEN = re.compile(rb'"((?:[^"]|"")*)"(?!\S)|(\S+)')
_NONE = (b"", b"-")
_HTTPS_PORT = b"443"


class Table:
    """The rows of a file with `#Fields:` lines, as mappings from the names of the fields to what is logged."""

    def __init__(self) -> None:
        self.software = b""
        self._fields: list[str] = []
        self._date = b""

    def row(self, line: bytes) -> Row | Skip | None:
        """The row on a line; None for a directive."""
        if line.startswith(b"#"):
            self._read_directive(line)
            return None
        values = line.split(b"\t") if b"\t" in line else [_token(found) for found in _TOKEN.finditer(line)]
        if not self._fields or len(values) != len(self._fields):
            return Skip.OTHER_FORMAT
        row = dict(zip(self._fields, values, strict=True))
        row.setdefault("date", self._date)
        return row

    def _read_directive(self, line: bytes) -> None:
        name, _, value = line[1:].partition(b":")
        match name.strip().lower():
            case b"fields":
                self._fields = header_text(value).split()
            case b"date":
                self._date = value.strip().partition(b" ")[0]
            case b"software":
                self.software = value


def w3c() -> Reader:
    """A reader of the W3C extended format."""
    table = Table()

    def read(line: bytes) -> Request | Skip | None:
        row = table.row(line)
        if row is None or isinstance(row, Skip):
            return row
        if CLOUDFRONT_FIELD in row:
            return Skip.OTHER_FORMAT
        if b"Microsoft" in table.software:
            return request(row, spaces_for_plus, target(row, spaces_for_plus), _host(row))
        return request(row, _unchanged, target(row, _unchanged), _host(row))

    return read


def request(row: Row, header_of: Callable[[bytes], bytes], sent: bytes, host: Host | None) -> Request | Skip:
    """The request of a row.

    Args:
        row: the fields as logged.
        header_of: undoes the log's escapes in a user agent and a referrer.
        sent: path and query as sent.
        host: the site, where the row names it.
    """
    if sent in _NONE:
        return Skip.NO_REQUEST
    timestamp = iso_milliseconds(f"{text(row, 'date')}T{text(row, 'time')}+00:00")
    if timestamp is None:
        return Skip.BAD_TIME
    address = text(row, "c-ip")
    if not is_address(address):
        return Skip.BAD_ADDRESS
    user_agent = row.get("cs(User-Agent)", b"")
    agent = None if user_agent in _NONE else header_text(header_of(user_agent))
    return Request(address, timestamp, sent, agent, host, referrer_of(header_of(row.get("cs(Referer)", b""))))


def target(row: Row, decoded: Callable[[bytes], bytes]) -> bytes:
    """Path and query of a row; `decoded` undoes the log's escapes in the path."""
    stem, query = row.get("cs-uri-stem") or row.get("cs-uri", b""), row.get("cs-uri-query", b"")
    return decoded(stem) + (b"" if query in _NONE else b"?" + query)


def text(row: Row, name: str) -> str:
    """A field of a row as text; empty when the log does not have it."""
    return header_text(row.get(name, b""))


def spaces_for_plus(value: bytes) -> bytes:
    """The value with each `+` turned into the space that IIS wrote it for."""
    return value.replace(b"+", b" ")


def _host(row: Row) -> Host | None:
    host = host_of(text(row, "cs-host") or text(row, "cs(Host)"))
    port = row.get("s-port", b"")
    if host is None or not port.isdigit():
        return host
    return host._replace(scheme="https" if port == _HTTPS_PORT else "http")


def _token(found: re.Match[bytes]) -> bytes:
    return found[2] if found[1] is None else found[1].replace(b'""', b'"')


def _unchanged(value: bytes) -> bytes:
    return value
