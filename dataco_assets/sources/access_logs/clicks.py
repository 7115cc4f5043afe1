r"""Requests of an access log as clicks.

Decisions:

- Every request whose target names a page is a click, whatever its method and status: the log is taken as it is.
- Logs have no user id. A user is an address with a user agent: `user_id` is a hash of the two, the same in every log.
- `event_id` is a hash of the line's number and bytes: two equal lines of a file are two clicks, and the same file sent
  again, compressed or not, is the same clicks.
- A client without a user agent has `-` for one, as Apache and nginx log it.
- Nothing is validated: a click that breaks the contract is rejected by the platform, where it can be seen.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from dataco_assets.errors import DatacoError
from dataco_assets.sources.access_logs.escapes import url_text
from dataco_assets.sources.access_logs.formats import Format, reader, shown
from dataco_assets.sources.access_logs.request import Host, Request, Skip
from dataco_assets.sources.enrichment import Client

HOUR_MS = 3_600_000
NO_USER_AGENT = "-"

_DEFAULT_PORTS = {"http": 80, "https": 443}


class SiteError(DatacoError):
    """The URLs of a log's requests cannot be completed; the message names what is missing or wrong."""


class Lookups(Protocol):
    """Finds what an address and a user agent reveal; `enrichment.Enrichment` is one."""

    def country(self, ip_address: str) -> str | None:
        """The ISO 3166-1 alpha-2 country of an address; None when unknown."""
        ...

    def client(self, user_agent: str) -> Client:
        """Browser, operating system and device of a user agent."""
        ...


@dataclass(frozen=True)
class Site:
    """What completes the URLs of a log that does not record them whole.

    Attributes:
        base_url: scheme and host of requests whose host is not logged; empty: there is no such site.
        scheme: `http` or `https`, for logged hosts whatever their port; empty: as logged.

    Raises:
        SiteError: `base_url` is not just scheme and host, or `scheme` is another one.
    """

    base_url: str = ""
    scheme: str = ""

    def __post_init__(self) -> None:
        if self.base_url and not _is_base(self.base_url):
            raise SiteError(
                f"The base URL {self.base_url[:200]!r} cannot be used: "
                f"it must be scheme and host only, like https://www.example.com"
            )
        if self.scheme not in ("", *_DEFAULT_PORTS):
            raise SiteError(f"The scheme {self.scheme[:200]!r} cannot be used: it must be http or https.")
        object.__setattr__(self, "base_url", self.base_url.rstrip("/"))


class Example(NamedTuple):
    """The first line that was skipped for a reason: its number from 1, and its text for a message."""

    number: int
    line: str


@dataclass
class LogReport:
    """What became of the lines read so far. Empty lines and comments are not counted."""

    lines: int = 0
    clicks: int = 0
    skipped: Counter[Skip] = field(default_factory=Counter)
    examples: dict[Skip, Example] = field(default_factory=dict)

    def skip(self, reason: Skip, number: int, line: bytes) -> None:
        """Counts a skipped line."""
        self.skipped[reason] += 1
        self.examples.setdefault(reason, Example(number, shown(line)))


def clicks(
    lines: Iterable[bytes],
    log_format: Format,
    lookups: Lookups,
    *,
    site: Site,
    report: LogReport,
    name: str = "the log",
    shift_ms: int = 0,
) -> Iterator[dict[str, str | int]]:
    """The clicks of a log, in its order.

    Args:
        lines: the log's lines, with or without their line ends, from the first: ids depend on line numbers.
        log_format: what the lines are in.
        lookups: finds the country of an address and the browser of a user agent.
        site: completes URLs.
        report: counts lines, clicks and what was skipped, while the iterator runs.
        name: of the file, for the message of an error.
        shift_ms: added to every timestamp.

    Yields:
        The members of each click, ready for JSON; `timestamp` in epoch milliseconds.

    Raises:
        SiteError: the first request lacks a host or scheme that `site` does not have either. Later such requests are
            skipped.
    """
    for number, line, request in requests(lines, log_format):
        report.lines += 1
        if isinstance(request, Skip):
            report.skip(request, number, line)
            continue
        url = _url(request, site)
        if isinstance(url, Skip):
            if not report.clicks and url in (Skip.NO_HOST, Skip.NO_SCHEME):
                raise SiteError(_what_is_missing(url, number, line, name))
            report.skip(url, number, line)
            continue
        report.clicks += 1
        yield _click(request, url, lookups, event_id=_hash(b"%d:" % number + line), shift_ms=shift_ms)


def requests(lines: Iterable[bytes], log_format: Format) -> Iterator[tuple[int, bytes, Request | Skip]]:
    """Line numbers from 1, lines without line ends, and what they record; empty lines and comments are left out."""
    read = reader(log_format)
    for number, ended in enumerate(lines, start=1):
        line = ended.rstrip(b"\r\n")
        request = read(line) if line else None
        if request is not None:
            yield number, line, request


def hours_to_now(lines: Iterable[bytes], log_format: Format, now_ms: int) -> int:
    """Milliseconds, a whole number of hours, by which the log's last time comes to lie within the hour before now.

    Whole hours keep every click at its minute, so that visits and hours stay what they were. 0 for a log without times.
    """
    times = (request.timestamp for _, _, request in requests(lines, log_format) if isinstance(request, Request))
    return (now_ms - max(times, default=now_ms)) // HOUR_MS * HOUR_MS


def _click(request: Request, url: str, lookups: Lookups, *, event_id: str, shift_ms: int) -> dict[str, str | int]:
    user_agent = request.user_agent or NO_USER_AGENT
    members: dict[str, str | int | None] = {
        "event_id": event_id,
        "user_id": _hash(f"{request.address} {user_agent}".encode()),
        "timestamp": request.timestamp + shift_ms,
        "url": url,
        "ip_address": request.address,
        "user_agent": user_agent,
        "country": lookups.country(request.address),
        **lookups.client(user_agent)._asdict(),
        "referrer": request.referrer,
    }
    return {name: value for name, value in members.items() if value is not None}


def _url(request: Request, site: Site) -> str | Skip:
    target = url_text(request.target)
    if target.lower().startswith(("http://", "https://")):  # as sent to a proxy or logged by a load balancer
        return target
    if not target.startswith("/"):  # OPTIONS *, CONNECT host:port
        return Skip.NO_PAGE
    origin = _origin(request.host, site)
    # Joined as text: resolving a target such as //x would make it name another host.
    return origin if isinstance(origin, Skip) else origin + target


def _origin(host: Host | None, site: Site) -> str | Skip:
    if host is None:
        return site.base_url or Skip.NO_HOST
    scheme = site.scheme or host.scheme
    if scheme is None:
        return Skip.NO_SCHEME
    # With a scheme of the user's, the default port of the other one is that of a proxy's back end.
    hidden = _DEFAULT_PORTS.values() if site.scheme else (_DEFAULT_PORTS[scheme],)
    port = "" if host.port is None or host.port in hidden else f":{host.port}"
    return f"{scheme}://{host.name}{port}"


def _what_is_missing(reason: Skip, number: int, line: bytes, name: str) -> str:
    if reason is Skip.NO_HOST:
        return (
            f"Line {number:,} of {name} does not name the site that the request was sent to: {shown(line)}\n"
            f"Give its scheme and host, like --base-url https://www.example.com"
        )
    return (
        f"Line {number:,} of {name} names a host without scheme and port: {shown(line)}\n"
        f"Say which scheme the site is reached by: --scheme https or --scheme http."
    )


def _is_base(base_url: str) -> bool:
    try:
        parts = urlsplit(base_url)
        sound = parts.scheme in _DEFAULT_PORTS and parts.hostname and (parts.port or True)
    except ValueError:
        return False
    return bool(sound) and parts.path in ("", "/") and not parts.query and not parts.fragment


def _hash(data: bytes) -> str:
    return blake2b(data, digest_size=16).hexdigest()
