"""What the page is asked to show: hours, filters and the measure of the trend, all of it in the URL's query. Pure.

Belongs here: reading that query, and writing the query of a view that differs in one thing, which is what every link of
the page is. Does not belong here: requests and figures.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final
from urllib.parse import parse_qsl, urlencode

from dataco_assets.aggregates.columns import AUDIENCE, PAGES, REFERRER_HOST, Aggregate, dimensions_of
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, hour_of
from dataco_assets.errors import DatacoError
from dataco_assets.untrusted import printable

MOST_DAYS: Final = 400
"""The longest range: each hour of it and of the one before is a bucket of an answer."""

_HOURLY_UP_TO_MS = 8 * DAY_MS
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_LONGEST_VALUE = 10_000
_SHOWN = 60


class ViewUnclear(DatacoError):
    """The URL asks for something that there is not."""


class Measure(StrEnum):
    """What a tile shows, and the trend of which can be drawn."""

    USERS = "users"
    VISITS = "visits"
    VIEWS = "views"
    VIEWS_PER_VISIT = "views_per_visit"
    VISIT_DURATION = "visit_duration"
    BOUNCE_RATE = "bounce_rate"
    ENTRIES = "entries"
    EXITS = "exits"
    TIME_ON_PAGE = "time_on_page"


OF_VISITS: Final = (
    *(Measure.USERS, Measure.VISITS, Measure.VIEWS),
    *(Measure.VIEWS_PER_VISIT, Measure.VISIT_DURATION, Measure.BOUNCE_RATE),
)
OF_CLICKS: Final = (
    *(Measure.USERS, Measure.VIEWS, Measure.ENTRIES),
    *(Measure.EXITS, Measure.TIME_ON_PAGE, Measure.BOUNCE_RATE),
)
"""The tiles of some clicks of each visit, which are chosen by what differs within a visit: page, referrer."""

DIMENSIONS: Final = tuple(column.name for column in dimensions_of((PAGES, AUDIENCE)))
"""What can be filtered by."""

_WITHIN_A_VISIT: Final = frozenset({PAGES.always_set, REFERRER_HOST.name})


@dataclass(frozen=True)
class Preset:
    """A range that moves with the clock.

    Attributes:
        title: What its link says.
        days: How many; today is the last. 0: the running hour and the 23 before it.
    """

    title: str
    days: int


PRESETS: Final[Mapping[str, Preset]] = {
    "24h": Preset("24 hours", 0),
    "7d": Preset("7 days", 7),
    "28d": Preset("28 days", 28),
    "90d": Preset("90 days", 90),
}
DEFAULT_PRESET: Final = "7d"


@dataclass(frozen=True)
class View:
    """What the page shows.

    Attributes:
        since_ms: Start of the first hour, epoch ms.
        until_ms: End of the last hour, epoch ms.
        preset: Name of the range that moves with the clock; empty: from a time to a time.
        filters: Values that clicks must have, by dimension; an empty value is that of an unknown one.
        measure: The measure of the trend.
    """

    since_ms: int
    until_ms: int
    preset: str
    filters: Mapping[str, str]
    measure: Measure

    @property
    def shift_ms(self) -> int:
        """How long before this period the one lies that it is compared with: whole days, or the hours themselves."""
        length = self.until_ms - self.since_ms
        return length if length < DAY_MS else -(-length // DAY_MS) * DAY_MS

    @property
    def before(self) -> "View":
        """The same, in the period before."""
        return replace(self, since_ms=self.since_ms - self.shift_ms, until_ms=self.until_ms - self.shift_ms, preset="")

    @property
    def step_ms(self) -> int:
        """Length of a step of the trend: an hour, or a day where hours would be too many."""
        return HOUR_MS if self.until_ms - self.since_ms <= _HOURLY_UP_TO_MS else DAY_MS

    @property
    def source(self) -> Aggregate:
        """The aggregate whose rows can be told apart by all filters."""
        return next(aggregate for aggregate in (PAGES, AUDIENCE) if can_filter(aggregate, self.filters))

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What the tiles show."""
        return OF_CLICKS if _WITHIN_A_VISIT & set(self.filters) else OF_VISITS

    def with_filter(self, dimension: str, value: str) -> "View":
        """The same, of the clicks with a value."""
        return _settled(replace(self, filters={**self.filters, dimension: value}))

    def without_filter(self, *dimensions: str) -> "View":
        """The same, whatever the value of some dimensions."""
        kept = {name: value for name, value in self.filters.items() if name not in dimensions}
        return _settled(replace(self, filters=kept))

    def with_preset(self, preset: str, now_ms: int) -> "View":
        """The same, in a range that moves with the clock."""
        since, until = _preset_range(preset, now_ms)
        return replace(self, since_ms=since, until_ms=until, preset=preset)

    def fixed(self) -> "View":
        """The same hours, whatever the time will be."""
        return replace(self, preset="")

    def query(self) -> str:
        """The URL's query that asks for this view, with its `?`."""
        first, last = self.ends()
        hours = {"range": self.preset} if self.preset else {"from": first, "to": last}
        return "?" + urlencode({**hours, **self.filters, "show": str(self.measure)})

    def ends(self) -> tuple[str, str]:
        """First and last day, or first and last hour, included; as the query has them."""
        last = self.until_ms - HOUR_MS
        if self.since_ms % DAY_MS or self.until_ms % DAY_MS:
            return written(self.since_ms, "%Y-%m-%dT%H:00"), written(last, "%Y-%m-%dT%H:00")
        return written(self.since_ms, "%Y-%m-%d"), written(last, "%Y-%m-%d")


def view_of(query: str, now_ms: int) -> View:
    """The view that a URL's query asks for; what it does not name is as on the first visit.

    Args:
        query: With or without its `?`.
        now_ms: Epoch ms.

    Raises:
        ViewUnclear: It asks for what there is not.
    """
    asked = dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))
    filters = {name: asked[name] for name in DIMENSIONS if name in asked}
    if too_long := next((name for name, value in filters.items() if len(value) > _LONGEST_VALUE), None):
        raise ViewUnclear(f"The filter by {words(too_long)} is longer than any value.")
    if not any(can_filter(aggregate, filters) for aggregate in (PAGES, AUDIENCE)):
        raise ViewUnclear(
            f"Clicks are counted by page and country, and by {_listed(AUDIENCE.group)}, but not by page and the others "
            f"at once. Remove the filter by page, or the one by {_listed(filters.keys() - set(PAGES.group))}."
        )
    since, until, preset = _hours(asked, now_ms)
    return _settled(View(since, until, preset, filters, _measure(asked.get("show", Measure.VIEWS))))


def first_view(now_ms: int) -> View:
    """The view of somebody who asks for nothing."""
    return view_of("", now_ms)


def can_filter(aggregate: Aggregate, filters: Mapping[str, str]) -> bool:
    """Whether the rows of an aggregate can be told apart by all of these dimensions."""
    return set(filters) <= set(aggregate.group)


def words(name: str) -> str:
    """A column's name as a person would write it."""
    return {"referrer_host": "referrer"}.get(name, name.replace("_", " "))


def written(time_ms: int, form: str) -> str:
    """A time in UTC, in a form of `strftime`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime(form)


def _settled(view: View) -> View:
    """The view, with a measure that its tiles have."""
    return view if view.measure in view.measures else replace(view, measure=Measure.VIEWS)


def _measure(name: str) -> Measure:
    try:
        return Measure(name)
    except ValueError:
        raise ViewUnclear(f"'{printable(name, _SHOWN)}' is none of the measures {', '.join(Measure)}.") from None


def _hours(asked: Mapping[str, str], now_ms: int) -> tuple[int, int, str]:
    """Start, end and preset of the range that is asked for."""
    if not (asked.get("from") or asked.get("to")):
        preset = asked.get("range", DEFAULT_PRESET)
        if preset not in PRESETS:
            raise ViewUnclear(f"'{printable(preset, _SHOWN)}' is none of the ranges {', '.join(PRESETS)}.")
        return *_preset_range(preset, now_ms), preset
    first, last = (asked.get(name) or asked.get(other) or "" for name, other in (("from", "to"), ("to", "from")))
    since, _ = _span(first)
    _, until = _span(last)
    if until <= since:
        raise ViewUnclear(f"The range ends ({printable(last, _SHOWN)}) before it begins ({printable(first, _SHOWN)}).")
    if until - since > MOST_DAYS * DAY_MS:
        raise ViewUnclear(f"The range is longer than {MOST_DAYS} days.")
    return since, until, ""


def _preset_range(preset: str, now_ms: int) -> tuple[int, int]:
    until = hour_of(now_ms) + HOUR_MS
    days = PRESETS[preset].days
    return (now_ms // DAY_MS - days + 1) * DAY_MS if days else until - DAY_MS, until


def _span(text: str) -> tuple[int, int]:
    """Start and end of the day or hour that a text names, epoch ms."""
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        start = int(moment.timestamp()) * 1000
    except (ValueError, OverflowError):
        raise ViewUnclear(
            f"'{printable(text, _SHOWN)}' is no time like 2026-01-31 or 2026-01-31T12:00 (UTC)."
        ) from None
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ViewUnclear(f"'{printable(text, _SHOWN)}' is not between {_FIRST_YEAR} and {_LAST_YEAR}.")
    is_day = len(text) <= len("2026-01-31")
    return (start, start + DAY_MS) if is_day else (hour_of(start), hour_of(start) + HOUR_MS)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(words, names))
