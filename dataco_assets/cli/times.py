"""Times as a person types them in arguments and options.

One rule for all commands: a time is a day, an hour or a moment, in UTC unless it has an offset, and **an end is
included**: a day with all its hours, an hour with all its minutes.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, NamedTuple

import typer

from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, hour_key, hour_of
from dataco_assets.untrusted import printable

FORMS = "2026-01-31 (a day, UTC), 2026-01-31-12:00 (an hour, as Dagster writes it) or 2026-01-31T12:00Z"
"""The forms of a time, for help texts."""

From = Annotated[str, typer.Argument(metavar="FROM", help=f"First hour: {FORMS}. A day: its first hour.")]
To = Annotated[
    str, typer.Argument(metavar="TO", help="Last hour, included, in the same forms. A day: its last hour, 23:00.")
]
ChosenFrom = Annotated[str, typer.Argument(metavar="FROM", help=f"First hour: {FORMS}. Default: all hours.")]
ChosenTo = Annotated[
    str, typer.Argument(metavar="TO", help="Last hour, included; a day: its last. Default: FROM's hour or day.")
]

_FORM = re.compile(
    r"(?P<day>\d{4}-\d{2}-\d{2})"
    r"(?:(?P<separator>[-T ])(?P<hour>\d{2})"
    r"(?::(?P<minute>\d{2})(?::(?P<second>\d{2})(?P<fraction>\.\d{1,6})?)?)?"
    r"(?P<offset>Z|[+-]\d{2}:?\d{2})?)?"
)
_LENGTH_MS = {"fraction": 1, "second": 1_000, "minute": 60_000, "hour": HOUR_MS}


class TimeUnclear(WrongUsage):
    """A time was given in a form that is none, or a range has no hour in it."""


class Typed(NamedTuple):
    """What a typed time means.

    Attributes:
        start_ms: Its first moment, epoch ms.
        end_ms: The first moment after it, epoch ms: the next day, hour, minute or second.
    """

    start_ms: int
    end_ms: int


def typed(option: str, text: str) -> Typed:
    """The span of time that a typed time names.

    Args:
        option: The option or argument, for the message.
        text: A day, an hour as Dagster writes it, or an ISO 8601 time.

    Raises:
        TimeUnclear: It is no time.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise _unclear(option, text)
    try:
        start = datetime.fromisoformat(_iso(form))
        start_ms = int((start if start.tzinfo else start.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise _unclear(option, text) from None
    return Typed(start_ms, start_ms + _length_ms(form))


def moment(option: str, text: str) -> int:
    """The first moment of a typed time, epoch ms.

    Raises:
        TimeUnclear: It is no time.
    """
    return typed(option, text).start_ms


def end_of(option: str, text: str) -> int:
    """The first moment after a typed time, epoch ms: what is before it is included.

    Raises:
        TimeUnclear: It is no time.
    """
    return typed(option, text).end_ms


def last_hour(option: str, text: str) -> int:
    """The last hour of a typed time, epoch ms: 23:00 of a day, otherwise the hour that contains the time.

    Raises:
        TimeUnclear: It is no time.
    """
    return hour_of(end_of(option, text) - 1)


def hour_range(first: str, last: str) -> tuple[int, int]:
    """The first and the last hour that FROM and TO name, both included, epoch ms.

    Raises:
        TimeUnclear: One is no time, or TO is before FROM.
    """
    start, end = hour_of(moment("FROM", first)), last_hour("TO", last)
    if end < start:
        raise TimeUnclear(f"TO ({hour_key(end)}) is before FROM ({hour_key(start)}).")
    return start, end


def chosen_hours(first: str, last: str) -> tuple[int, int] | tuple[None, None]:
    """The first and the last hour of a range that may be left out, both included, epoch ms; None: all hours.

    Args:
        first: FROM; empty: all hours.
        last: TO; empty: FROM's hour or day.

    Raises:
        TimeUnclear: One is no time, or TO is before FROM.
    """
    return hour_range(first, last or first) if first else (None, None)


def open_span(first: str | None, last: str | None) -> tuple[int | None, int | None]:
    """The half-open span of a range whose ends may be left out, epoch ms; None: no limit.

    Raises:
        TimeUnclear: One is no time, or TO is before FROM.
    """
    if first is not None and last is not None:
        start, end = hour_range(first, last)
        return start, end + HOUR_MS
    return (None if first is None else hour_of(moment("FROM", first))), None


def _iso(form: "re.Match[str]") -> str:
    if form["hour"] is None:
        return form["day"]
    return f"{form['day']}T{form[0][len(form['day']) + 1 :]}"


def _length_ms(form: "re.Match[str]") -> int:
    if form["hour"] is None:
        return DAY_MS
    if form["separator"] == "-" and form["minute"] == "00" and form["second"] is None:
        return HOUR_MS  # a partition key
    return next(length for part, length in _LENGTH_MS.items() if form[part] is not None)


def _unclear(option: str, text: str) -> TimeUnclear:
    return TimeUnclear(
        f"{option} '{printable(text, 40)}' is not a time like 2026-01-31, 2026-01-31T12:00Z or 2026-01-31-12:00."
    )
