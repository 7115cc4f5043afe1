r"""The formats of Apache and nginx that descend from the NCSA server's log: common, combined, and with more in front.

| format | a line begins with | configured as |
|---|---|---|
| `common` | client, ident, user | Apache `%h %l %u %t "%r" %>s %b` |
| `combined` | the same, and ends with referrer and user agent | Apache and nginx `combined`; nginx.org's `main` |
| `vhost_combined` | server, client, ident, user | Apache `%v:%p %h …`, nginx `$host $remote_addr …` |
| `forwarded_combined` | the `X-Forwarded-For` header, client, ident, user | Apache `%{X-Forwarded-For}i %h …` |

Sources: Apache's mod_log_config, "Custom Log Formats"; Debian's apache2.conf (`vhost_combined`); nginx's
ngx_http_log_module and the nginx.conf of its packages. Fields after the last one are ignored (Apache's `combinedio`,
nginx's request times). The last two formats are read with and without referrer and user agent.

A line whose second field is an address is never read as common or combined: it begins with something in front of the
client. Whether that is a server or a client cannot be seen in a line such as `192.0.2.80 198.51.100.1 - - [`:
see `formats`.
"""

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import NamedTuple

from dataco_assets.sources.access_logs.escapes import header_text, unescaped
from dataco_assets.sources.access_logs.request import (
    Host,
    Request,
    Skip,
    host_of,
    is_address,
    milliseconds,
    referrer_of,
    target_of,
    without_port,
)

_QUOTED = rb'[^"\\]*(?:\\.[^"\\]*)*'
# `*+` keeps the time proportional to the length of a line that is a long list of addresses.
_LINE = re.compile(
    rb"(?P<front>(?:\S+, )*+)(?P<first>\S+) (?P<second>\S+)(?: .*?)? \[(?P<time>[^\[\]]{1,64})\] "
    rb'"(?P<request>' + _QUOTED + rb')" (?:\d{3}|-) (?:\d+|-)(?P<rest>.*)',
    re.DOTALL,
)
# A user agent that the server cut off has no closing quote.
_HEADERS = re.compile(
    rb' "(?P<referrer>' + _QUOTED + rb')" "(?P<user_agent>' + _QUOTED + rb')(?:"\s.*|"|\\?)',
    re.DOTALL,
)
_UNQUOTED_FIELDS = re.compile(rb'(?: [^"\s]+)*\s*')
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TIME = re.compile(rf"(\d\d)/({'|'.join(_MONTHS)})/(\d{{4}}):(\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.ASCII)
_HTTPS_PORTS = frozenset({443, 8443})


class Line(NamedTuple):
    """The parts of a line; texts are still escaped.

    Attributes:
        front: addresses and commas before the first field, of an `X-Forwarded-For` with several.
        first: the first field.
        second: the second field.
        time: as logged.
        request: the request line.
        user_agent: None when the line has neither referrer nor user agent.
        referrer: likewise.
    """

    front: bytes
    first: str
    second: str
    time: str
    request: bytes
    user_agent: bytes | None
    referrer: bytes | None


def parts(line: bytes) -> Line | None:
    """The parts of a line of any format of this module; None when it is none."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    headers = _HEADERS.fullmatch(match["rest"])
    if headers is None and not _UNQUOTED_FIELDS.fullmatch(match["rest"]):
        return None
    first, second, time = (header_text(match[name]) for name in ("first", "second", "time"))
    sent = headers.group("user_agent", "referrer") if headers else (None, None)
    return Line(match["front"], first, second, time, match["request"], *sent)


def common(line: bytes) -> Request | Skip:
    """Reads a line of the common format."""
    found = _parts_with_client_first(line)
    if found is None or found.user_agent is not None:
        return Skip.OTHER_FORMAT
    return _request(found, found.first, None)


def combined(line: bytes) -> Request | Skip:
    """Reads a line of the combined format."""
    found = _parts_with_client_first(line)
    if found is None or found.user_agent is None:
        return Skip.OTHER_FORMAT
    return _request(found, found.first, None)


def vhost_combined(line: bytes) -> Request | Skip:
    """Reads a line that begins with the server's name or address, with or without port."""
    found = parts(line)
    if found is None or found.front or not is_address(found.second):
        return Skip.OTHER_FORMAT
    host = host_of(found.first)
    return _request(found, found.second, host and _with_scheme_of_port(host))


def forwarded_combined(line: bytes) -> Request | Skip:
    """Reads a line that begins with `X-Forwarded-For`: the client is the first address there, else the next field."""
    found = parts(line)
    if found is None or not is_address(found.second):
        return Skip.OTHER_FORMAT
    forwarded = (header_text(found.front) + found.first).partition(",")[0]
    return _request(found, found.second if forwarded == "-" else without_port(forwarded), None)


def _parts_with_client_first(line: bytes) -> Line | None:
    found = parts(line)
    return None if found is None or found.front or is_address(found.second) else found


def _request(found: Line, address: str, host: Host | None) -> Request | Skip:
    target = target_of(unescaped(found.request))
    if isinstance(target, Skip):
        return target
    timestamp = clf_milliseconds(found.time)
    if timestamp is None:
        return Skip.BAD_TIME
    if not is_address(address):
        return Skip.BAD_ADDRESS
    user_agent = header_text(unescaped(found.user_agent or b""))
    agent = None if user_agent in ("", "-") else user_agent
    return Request(address, timestamp, target, agent, host, referrer_of(unescaped(found.referrer or b"")))


def _with_scheme_of_port(host: Host) -> Host:
    if host.port is None:
        return host
    return host._replace(scheme="https" if host.port in _HTTPS_PORTS else "http")


@lru_cache(4_096)
def clf_milliseconds(logged: str) -> int | None:
    """Epoch milliseconds of a time such as `10/Oct/2000:13:55:36 -0700`; months are English in every locale."""
    match = _TIME.fullmatch(logged)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, offset_hours, offset_minutes = match.groups()
    offset = timedelta(hours=int(offset_hours), minutes=int(offset_minutes))
    try:
        zone = timezone(-offset if sign == "-" else offset)
        moment = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=zone
        )
    except ValueError:
        return None
    return milliseconds(moment)
