r"""Web-server access logs in the combined format (Apache, nginx) as clicks.

Belongs here: reading lines and turning a request into the members of a click. Does not belong here: looking up
countries and browsers (`enrichment`), sending.

Decisions:

- Every request whose target names a page is a click, whatever its method and status: the log is taken as it is.
- Logs have no user id. A user is an address with a user agent: `user_id` is a hash of the two, the same in every log.
- `event_id` is a hash of the line's number and bytes: two equal lines of a file are two clicks, and the same file sent
  again is the same clicks.
- Text stays as logged: an escape such as `\xe4` or `\"` is not undone, a user agent `-` (none was sent) stays `-`,
  and a byte that is not UTF-8 is written as such an escape too. What the contract of a click does not allow is
  rejected by the platform, where it can be seen, and not here.
- A line cut off inside its user agent (servers cut long ones) still is a request.
"""

import ipaddress
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Protocol
from urllib.parse import urlsplit

from dataco_assets.errors import DatacoError
from dataco_assets.sources.enrichment import Client

DEFAULT_BASE_URL = "http://www.semicomplete.com"
"""The site that the sample log of the Elastic examples was written by."""

HOUR_MS = 3_600_000

_LINE = re.compile(
    r"(?P<address>\S+) \S+ (?P<user>.+?) \[(?P<time>[^\]]+)\] "
    r'"(?P<request>(?:[^"\\]|\\.)*)" (?:\d{3}|-) (?:\d+|-) '
    r'"(?:[^"\\]|\\.)*" "(?P<user_agent>(?:[^"\\]|\\.)*)(?:"\s.*|"?)',  # some formats add fields after the user agent
    re.DOTALL,
)
_REQUEST = re.compile(r"(?P<method>[A-Za-z]+) (?P<target>\S.*?)(?: HTTP/\d(?:\.\d)?)?", re.DOTALL)
_TIME = "%d/%b/%Y:%H:%M:%S %z"


class Skip(StrEnum):
    """Why a line is no click."""

    NOT_COMBINED = "not in the combined log format"
    NO_REQUEST = "no request line"
    NO_PAGE = "request without a page"
    BAD_ADDRESS = "client is not an IP address"
    BAD_TIME = "no valid time"


class BaseUrlError(DatacoError):
    """The base URL is not just scheme and host; the message names it."""


class _Lookups(Protocol):
    def country(self, ip_address: str) -> str | None: ...

    def client(self, user_agent: str) -> Client: ...


@dataclass
class LogReport:
    """What became of the lines read so far. Empty lines are not counted."""

    lines: int = 0
    clicks: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)


def clicks(
    lines: Iterable[bytes],
    lookups: _Lookups,
    *,
    report: LogReport,
    base_url: str = DEFAULT_BASE_URL,
    shift_ms: int = 0,
) -> Iterator[dict[str, str | int]]:
    """The clicks of a log, in its order.

    Args:
        lines: the log's lines, with or without their line ends, from the first: ids depend on line numbers.
        lookups: finds the country of an address and the browser of a user agent.
        report: counts lines, clicks and what was skipped, while the iterator runs.
        base_url: scheme and host that the logged targets belong to.
        shift_ms: added to every timestamp.

    Yields:
        The members of each click, ready for JSON; `timestamp` in epoch milliseconds.

    Raises:
        BaseUrlError: the base URL is not just scheme and host.
    """
    base = _checked(base_url)
    for number, line in enumerate(lines, start=1):
        line = line.rstrip(b"\r\n")  # noqa: PLW2901  # the line end is not part of the line
        if not line:
            continue
        report.lines += 1
        click = _click(line, number, base, lookups)
        if isinstance(click, Skip):
            report.skipped[click] += 1
            continue
        report.clicks += 1
        click["timestamp"] = int(click["timestamp"]) + shift_ms
        yield click


def hours_to_now(lines: Iterable[bytes], now_ms: int) -> int:
    """Milliseconds, a whole number of hours, by which the log's last time comes to lie within the hour before now.

    Whole hours keep every click at its minute, so that visits and hours stay what they were. 0 for a log without times.
    """
    found = (_LINE.fullmatch(_text(line.rstrip(b"\r\n"))) for line in lines)
    times = (_epoch_ms(match["time"]) for match in found if match)
    last_ms = max((moment for moment in times if moment is not None), default=now_ms)
    return (now_ms - last_ms) // HOUR_MS * HOUR_MS


def _click(line: bytes, number: int, base: str, lookups: _Lookups) -> dict[str, str | int] | Skip:
    match = _LINE.fullmatch(_text(line))
    if match is None:
        return Skip.NOT_COMBINED
    url = _url(match["request"], base)
    if isinstance(url, Skip):
        return url
    address, user_agent = match["address"], match["user_agent"] or "-"
    timestamp = _epoch_ms(match["time"])
    if timestamp is None:
        return Skip.BAD_TIME
    if not _is_address(address):
        return Skip.BAD_ADDRESS
    members: dict[str, str | int | None] = {
        "event_id": _hash(b"%d:" % number + line),
        "user_id": _hash(f"{address} {user_agent}".encode()),
        "timestamp": timestamp,
        "url": url,
        "ip_address": address,
        "user_agent": user_agent,
        "country": lookups.country(address),
        **lookups.client(user_agent)._asdict(),
    }
    return {name: value for name, value in members.items() if value is not None}


def _url(request: str, base: str) -> str | Skip:
    match = _REQUEST.fullmatch(request)
    if match is None:
        return Skip.NO_REQUEST
    target = match["target"]
    if target.startswith("/"):
        return base + target  # joined as text: a target such as //x would otherwise name another host
    if target.lower().startswith(("http://", "https://")):  # a request to a proxy names the whole URL
        return target
    return Skip.NO_PAGE


def _checked(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        sound, parts = False, urlsplit("")
    if not sound or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise BaseUrlError(
            f"The base URL {base_url[:200]!r} cannot be used: give scheme and host only, like {DEFAULT_BASE_URL}"
        )
    return f"{parts.scheme}://{parts.netloc}"


def _text(line: bytes) -> str:
    return line.decode(errors="backslashreplace")  # the way the servers themselves escape


@lru_cache(4_096)
def _epoch_ms(logged: str) -> int | None:
    try:
        return int(datetime.strptime(logged, _TIME).timestamp()) * 1000
    except ValueError:
        return None


@lru_cache(4_096)
def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
