"""Numbers, times and untrusted texts as the page writes them. Pure."""

from typing import Final
from urllib.parse import urlsplit

from dataco_assets.aggregates.columns import COUNTRY, REFERRER_HOST
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.dashboard.figures import Comparison
from dataco_assets.dashboard.view import DAY_MS, Measure, View, written
from dataco_assets.untrusted import on_one_line, printable

UNKNOWN_FIGURE: Final = "\N{EN DASH}"
_LONGEST: Final = 120
_LONGEST_WHOLE: Final = 600
_RATES: Final = frozenset({Measure.BOUNCE_RATE})
_TIMES: Final = frozenset({Measure.VISIT_DURATION, Measure.TIME_ON_PAGE})

TITLES: Final = {
    Measure.USERS: "Users, busiest hour",
    Measure.VISITS: "Visits",
    Measure.VIEWS: "Views",
    Measure.VIEWS_PER_VISIT: "Views per visit",
    Measure.VISIT_DURATION: "Visit duration",
    Measure.BOUNCE_RATE: "Bounce rate",
    Measure.ENTRIES: "Entries",
    Measure.EXITS: "Exits",
    Measure.TIME_ON_PAGE: "Time on page, mean",
}


def figure(measure: Measure, value: float | None) -> str:
    """A measure's value with its unit."""
    if value is None:
        return UNKNOWN_FIGURE
    if measure in _RATES:
        return percent(value)
    if measure in _TIMES:
        return duration(value)
    return f"{value:,.2f}" if measure is Measure.VIEWS_PER_VISIT else whole(value)


def whole(number: float) -> str:
    """A number of things: `12,345`."""
    return f"{round(number):,}"


def percent(share: float) -> str:
    """A share: `12.3 %`."""
    return f"{share * 100:.1f} %"


def share(part: float, all_of_it: float) -> str:
    """What part of all it is; unknown of nothing."""
    return percent(part / all_of_it) if all_of_it else UNKNOWN_FIGURE


def duration(seconds: float | None) -> str:
    """A length of time: `24.5 s`, `3 min 20 s`, `1 h 5 min`, `6 d 23 h`."""
    if seconds is None:
        return UNKNOWN_FIGURE
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def change(measure: Measure, comparison: Comparison) -> str:
    """How a measure changed: in percent, of a rate in points; empty when it is not known."""
    if measure in _RATES:
        return "" if comparison.difference is None else _signed(f"{comparison.difference * 100:.1f}", " points")
    return "" if comparison.change is None else _signed(f"{comparison.change * 100:,.0f}", " %")


def hour(time_ms: int) -> str:
    """An hour: `Sat 31 Jan 2026, 12:00`."""
    return written(time_ms, "%a %-d %b %Y, %H:%M")


def clock(time_ms: int) -> str:
    """A time: `31 Jan 12:41`."""
    return written(time_ms, "%-d %b %H:%M")


def day(time_ms: int) -> str:
    """A day: `Sat 31 Jan 2026`."""
    return written(time_ms, "%a %-d %b %Y")


def span(view: View) -> str:
    """The hours of a view: its days, or from when to when."""
    last = view.until_ms - HOUR_MS
    if view.since_ms % DAY_MS or view.until_ms % DAY_MS:
        is_one_day = view.since_ms // DAY_MS == last // DAY_MS
        until = written(view.until_ms, "%H:%M") if is_one_day and view.until_ms % DAY_MS else hour(view.until_ms)
        return f"{hour(view.since_ms)} \N{EN DASH} {until}"
    return (
        day(view.since_ms)
        if view.until_ms - view.since_ms == DAY_MS
        else f"{day(view.since_ms)} \N{EN DASH} {day(last)}"
    )


def value(dimension: str, text: str) -> str:
    """A value of a dimension in a row: escaped and shortened, or words for an unknown one."""
    if not text:
        return "none: direct, or not known" if dimension == REFERRER_HOST.name else "not known"
    if dimension == COUNTRY.name:
        return country(text)
    return printable(text, _LONGEST)


def page_parts(page: str) -> tuple[str, str]:
    """Scheme and host of a page, and the rest of it; both escaped and shortened."""
    try:
        parts = urlsplit(page)
    except ValueError:
        return "", printable(page, _LONGEST)
    origin = f"{parts.scheme}://{parts.netloc}"
    if not parts.netloc or not page.startswith(origin):
        return "", printable(page, _LONGEST)
    return printable(parts.netloc, _LONGEST), printable(page[len(origin) :] or "/", _LONGEST)


def line(text: str) -> str:
    """An untrusted text as one line: escaped and shortened."""
    return on_one_line(text, _LONGEST)


def in_full(text: str) -> str:
    """An untrusted text for a tooltip: escaped, and far longer than in a row."""
    return printable(text, _LONGEST_WHOLE)


def country(code: str) -> str:
    """The name of a country; its code when it has none here."""
    from dataco_assets.dashboard.countries import NAMES

    if code == COUNTRY.unknown:
        return "not known (ZZ)"
    return NAMES.get(code) or printable(code, _LONGEST)


def _signed(number: str, unit: str) -> str:
    if float(number.replace(",", "")) == 0:
        return f"±{number.lstrip('-')}{unit}"
    return f"\N{MINUS SIGN}{number[1:]}{unit}" if number.startswith("-") else f"+{number}{unit}"
