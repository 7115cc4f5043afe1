"""The formats by name, and the recognition of a log's format from its first lines.

Each format's reader refuses the lines of the others, so the format of most of the first lines is the log's. One pair
cannot be distinguished by a single line: `192.0.2.80 198.51.100.1 - - [` is a server and its client
(`vhost_combined`), or a client and its proxy (`forwarded_combined`). The wrong choice makes all visitors one user. It
is decided by many lines: a name in front is a server's, a list of addresses a client's, and if one of the two columns
has ten times as many different addresses as the other, it is the clients'. Anything less clear is refused.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from enum import StrEnum

from dataco_assets.errors import DatacoError
from dataco_assets.sources.access_logs import ncsa
from dataco_assets.sources.access_logs.alb import alb
from dataco_assets.sources.access_logs.cloudfront import cloudfront
from dataco_assets.sources.access_logs.json_lines import json_lines
from dataco_assets.sources.access_logs.request import Reader, Skip, is_address
from dataco_assets.sources.access_logs.w3c import w3c
from dataco_assets.untrusted import printable

LINES_LOOKED_AT = 1_000
"""Number of lines from which the format is recognised."""

_CLEARLY_MORE = 10
_SHOWN_CHARACTERS = 120
_LARGEST_SYSTEM_PORT = 1_023


class Format(StrEnum):
    """The formats that can be read."""

    COMBINED = "combined"
    COMMON = "common"
    VHOST_COMBINED = "vhost_combined"
    FORWARDED_COMBINED = "forwarded_combined"
    JSON = "json"
    W3C = "w3c"
    ALB = "alb"
    CLOUDFRONT = "cloudfront"


class UnknownFormat(DatacoError):
    """A log's format cannot be recognised; the message names the file, a line and what to do."""


_READERS: dict[Format, Callable[[], Reader]] = {
    Format.COMBINED: lambda: ncsa.combined,
    Format.COMMON: lambda: ncsa.common,
    Format.VHOST_COMBINED: lambda: ncsa.vhost_combined,
    Format.FORWARDED_COMBINED: lambda: ncsa.forwarded_combined,
    Format.JSON: lambda: json_lines,
    Format.W3C: w3c,
    Format.ALB: lambda: alb,
    Format.CLOUDFRONT: cloudfront,
}


def reader(log_format: Format) -> Reader:
    """A reader for one file of a format."""
    return _READERS[log_format]()


def recognise(lines: Sequence[bytes], name: str) -> Format:
    """The format of a log.

    Args:
        lines: the first lines of the log without their line ends, up to `LINES_LOOKED_AT`.
        name: of the file, for the message of an error.

    Raises:
        UnknownFormat: no line is in any format, or two formats fit equally well.
    """
    counts = Counter({found: _lines_in(found, lines) for found in Format})
    (best, most), (second, next_most) = counts.most_common(2)
    if not most:
        return _recognise_directives(lines, name)
    if {Format.VHOST_COMBINED, Format.FORWARDED_COMBINED} == {best, second} and most == next_most:
        return _server_or_client_in_front(lines, name)
    if most == next_most:
        raise UnknownFormat(
            f"{name} holds as many lines in the format {best} as in {second}: choose one with --format. "
            f"Lines in another format are then skipped."
        )
    return best


def shown(line: bytes) -> str:
    """A line for a message: on one line, printable, and cut to 120 characters."""
    return printable(line[: _SHOWN_CHARACTERS + 1].decode(errors="backslashreplace"), _SHOWN_CHARACTERS)


def _lines_in(log_format: Format, lines: Sequence[bytes]) -> int:
    read = reader(log_format)
    return sum(read(line) not in (Skip.OTHER_FORMAT, None) for line in lines if line)


def _recognise_directives(lines: Sequence[bytes], name: str) -> Format:
    """The format of a log without requests: one that a server has just begun, or none."""
    fields = [line for line in lines if line.startswith(b"#Fields:")]
    if fields and all(line.startswith(b"#") for line in lines if line):
        return Format.CLOUDFRONT if b"x-edge-location" in fields[0] else Format.W3C
    number, first = next((number, line) for number, line in enumerate(lines, start=1) if line)
    raise UnknownFormat(
        f"{name} is not in a log format that is known here. Line {number:,} is: {shown(first)}\n"
        f"Known are {', '.join(Format)}; docs/sources.md shows a line of each."
    )


def _server_or_client_in_front(lines: Sequence[bytes], name: str) -> Format:
    """Decides what precedes the client's or the proxy's address."""
    found = [parts for parts in map(ncsa.parts, lines) if parts and is_address(parts.second)]
    servers = sum(_is_server(parts) for parts in found)
    lists = sum(bool(parts.front) or "," in parts.first for parts in found)
    fronts, seconds = len({parts.first for parts in found}), len({parts.second for parts in found})
    if servers > len(found) / 2 and not lists:
        return Format.VHOST_COMBINED
    if not servers and (lists or fronts >= _CLEARLY_MORE * seconds):
        return Format.FORWARDED_COMBINED
    if not lists and seconds >= _CLEARLY_MORE * fronts:
        return Format.VHOST_COMBINED
    line = next(line for line in lines if (parts := ncsa.parts(line)) and is_address(parts.second))
    raise UnknownFormat(
        f"The lines of {name} begin with two addresses, and {len(found):,} lines with {fronts:,} different first and "
        f"{seconds:,} different second ones do not show which is the client's. One line is: {shown(line)}\n"
        f"Use --format {Format.VHOST_COMBINED} if the first is the server's, "
        f"--format {Format.FORWARDED_COMBINED} if it is the client's and the second a proxy's."
    )


def _is_server(parts: ncsa.Line) -> bool:
    """Whether a first field is a server's: a name, or an address with a port that clients do not send from."""
    if parts.front or "," in parts.first or parts.first == "-" or is_address(parts.first):
        return False
    address, colon, port = parts.first.rpartition(":")
    if colon and port.isdigit() and is_address(address.strip("[]")):
        return int(port) <= _LARGEST_SYSTEM_PORT
    return True
