"""Standard access logs of AWS CloudFront: the W3C extended format with tabs and percent-encoded values.

Source: "Standard logging reference" in the CloudFront developer guide. The host is the one the browser asked for
(`x-host-header`), not the distribution's (`cs(Host)`). User agents and referrers are percent-encoded once. Older logs,
until about 2020, have all values encoded once more, so that a space in a user agent reads `%2520`. In a row whose user
agent does so, path and query are decoded once, too; otherwise they are taken as the browser sent them.
"""

import re
from urllib.parse import unquote_to_bytes

from dataco_assets.sources.access_logs.request import Host, Reader, Request, Skip, host_of
from dataco_assets.sources.access_logs.w3c import CLOUDFRONT_FIELD, Row, Table, request, target, text

_ENCODED_TWICE = re.compile(rb"%25[0-9A-Fa-f]{2}")
_SCHEMES = {b"http": "http", b"ws": "http", b"https": "https", b"wss": "https"}


def cloudfront() -> Reader:
    """A reader of CloudFront's standard logs."""
    table = Table()

    def read(line: bytes) -> Request | Skip | None:
        row = table.row(line)
        if row is None or isinstance(row, Skip):
            return row
        if CLOUDFRONT_FIELD not in row:
            return Skip.OTHER_FORMAT
        twice = bool(_ENCODED_TWICE.search(row.get("cs(User-Agent)", b"")))
        sent = target(row, bytes)
        return request(row, _header, unquote_to_bytes(sent) if twice else sent, _host(row))

    return read


def _header(logged: bytes) -> bytes:
    once = unquote_to_bytes(logged)
    return unquote_to_bytes(once) if _ENCODED_TWICE.search(logged) else once


def _host(row: Row) -> Host | None:
    asked = text(row, "x-host-header")
    return host_of(text(row, "cs(Host)") if asked in ("", "-") else asked, _SCHEMES.get(row.get("cs-protocol", b"")))
