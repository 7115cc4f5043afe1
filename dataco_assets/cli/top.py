"""`dataco top`: the busiest pages, or the audience by one of its dimensions, from Elasticsearch.

`dataco_assets.index.reading` is imported when the command runs, so that `--help` stays quick.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.aggregates.columns import AUDIENCE, PAGES
from dataco_assets.cli.listing import Listing, print_listing, watch
from dataco_assets.cli.output import Json, iso_time, note, print_json
from dataco_assets.cli.times import TimeUnclear, last_hour, moment
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.finality import Finality, in_words
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataco_assets.index.indices import Index
    from dataco_assets.index.reading import Span, Totals

_DEFAULT_HOURS = 24
WATCH_SECONDS = 2.0
"""Pause between two looks of `--watch`."""
_NUMBERS = ("clicks", "most users in an hour", "average s", "p50 s", "p90 s")
_NEW = "new"
_LEGEND = (
    "most users in an hour: distinct users in the page's busiest hour, since those of several hours do not add up. "
    "average s: seconds per click of known duration; p50 s, p90 s: what half and nine of ten of them do not exceed, "
    "from counts in buckets."
)
_LEGEND_OF_VISITORS = (
    "An empty value, or ZZ: unknown, or none. most users in an hour: distinct users who entered the busiest hour so, "
    f"each counted once; those of several hours do not add up. {_LEGEND.partition('. ')[2]}"
)
_STATES = {
    Finality.RUNNING: "the hour is not over",
    Finality.PROVISIONAL: "it ended less than 30 minutes ago, and its visits may go on",
    Finality.RESTATED: "changed after it was final (`dataco restatements`)",
    Finality.EXPIRED: "clicks may have left HBase (DATACO_CLICKS_TTL_DAYS), so it stays as it is",
}
_HOW_TO_FILL = (
    "`dataco setup` creates what is missing, `dataco clicks …` sends clicks, and the sensors (or `dagster asset "
    "materialize`) bring them into the index; `dataco status` tells how far they are."
)


Country = Annotated[str, typer.Option(help="Only clicks from there: two letters, ZZ for unknown.")]


class CountryUnclear(WrongUsage):
    """A country was given in a form that is none."""


class DimensionUnclear(WrongUsage):
    """A dimension was named that the audience does not have."""


class FormsExclude(WrongUsage):
    """Two forms of output were asked for."""


class NothingToShow(DatacoError):
    """There is no index yet, or nothing in it."""


@dataclass(frozen=True)
class _Question:
    """Which rows are wanted; `dimension` is empty for pages, `country` None for all."""

    hour: str
    since: str
    until: str
    country: str | None
    dimension: str
    limit: int


@dataclass(frozen=True)
class _Answer:
    """The rows of the hours [start, end), epoch ms; those from `live_from` on come from live, None: none of them."""

    question: _Question
    found: "Sequence[Totals]"
    held: "Span"
    start: int
    end: int
    live_from: int | None
    states: "Mapping[Finality, int]"


def top(
    *,
    hour: Annotated[str, typer.Option(help="One hour, like 2026-01-31-12:00 (UTC).")] = "",
    since: Annotated[str, typer.Option(help="From this time on, like 2026-01-31 or 2026-01-31T12:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time, included: a day with all its hours.")] = "",
    country: Country = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 10,
    by: Annotated[str, typer.Option(help=f"Visitors in place of pages, by one of: {', '.join(AUDIENCE.group)}.")] = "",
    watched: Annotated[bool, typer.Option("--watch", help="Show them again each 2 s, until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the busiest pages by country, or who clicked.

    With --by, the clicks are grouped by what is known of the visitors, in place of the page. Without a time: the last
    24 hours that the index holds.
    """
    from dataco_assets.clients.elasticsearch import connect_at_once
    from dataco_assets.index.indices import Index, closed_text

    if watched and as_json:
        raise FormsExclude("Give either --watch, for people, or --json, for programs.")
    question = _Question(hour, since, until, country_of(country), _dimension(by), limit)
    _refuse_unclear_times(hour, since, until)
    config = settings()
    index = Index.of(connect_at_once(config), config, AUDIENCE if question.dimension else PAGES)
    if watched:
        watch(_Looks(index, question), WATCH_SECONDS)
        return
    answer = _ask(index, question)
    for state in index.closed():
        note(closed_text(state))
    if as_json:
        print_json(_document(answer))
    else:
        print_listing(_listing(answer))


class _Looks:
    """Asks the same question again and again, and tells how many clicks came to each row since the look before."""

    def __init__(self, index: "Index", question: _Question) -> None:
        self._index = index
        self._question = question
        self._clicks: dict[tuple[str, ...], int] | None = None

    def __call__(self) -> Listing:
        answer = _ask(self._index.look_again(), self._question)
        before, self._clicks = self._clicks, {_identity(answer, each): each.clicks for each in answer.found}
        return _listing(answer, self._clicks if before is None else before)


def _ask(index: "Index", question: _Question) -> _Answer:
    """Reads the rows.

    Raises:
        NothingToShow: there is no index yet, or nothing in it.
    """
    from dataco_assets.elasticsearch_errors import IndexMissing
    from dataco_assets.index.handover import hours_with_live
    from dataco_assets.index.indices import Index
    from dataco_assets.index.reading import busiest_pages, busiest_visitors, held_hours, span

    country, dimension = question.country, question.dimension
    try:
        held = span(index, country)
        if held is None:
            raise NothingToShow(_nothing(index.alias, country))
        start, end = time_range(question.hour, question.since, question.until, held)
        found: Sequence[Totals] = (
            busiest_visitors(index, dimension, start, end, country, question.limit)
            if dimension
            else busiest_pages(index, start, end, country, question.limit)
        )
        live = hours_with_live(index)
        config = settings()
        pages = Index.of(index.client, config, PAGES) if dimension else index
        states = held_hours(pages, config, (start, end)).counted(now_ms())
    except IndexMissing as error:
        raise NothingToShow(
            f"There is no index behind alias {index.alias} at {index.client.address} yet. {_HOW_TO_FILL}"
        ) from error
    live_from = live.first_within(start, end) if live else None
    return _Answer(question, found, held, start, end, live_from, states)


def time_range(hour: str, since: str, until: str, held: "Span") -> tuple[int, int]:
    """The requested hours, [start, end) in epoch ms.

    Args:
        hour: One hour, or empty.
        since: First hour, or empty.
        until: Last hour, included, or empty.
        held: What the index holds; fills in what was not given.

    Raises:
        TimeUnclear: A time is none, both forms were given, or nothing is between the times.
    """
    _refuse_unclear_times(hour, since, until)
    if hour:
        start = hour_of(moment("--hour", hour))
        return start, start + HOUR_MS
    end = (last_hour("--until", until) if until else held.last_hour) + HOUR_MS
    start = hour_of(moment("--since", since)) if since else end - _DEFAULT_HOURS * HOUR_MS
    if start >= end:
        raise TimeUnclear(f"There is no hour from {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC.")
    return start, end


def _refuse_unclear_times(hour: str, since: str, until: str) -> None:
    """Raises for wrong usage before any request to Elasticsearch."""
    if hour and (since or until):
        raise TimeUnclear("Give either --hour, or --since and --until.")
    for option, text in (("--hour", hour), ("--since", since), ("--until", until)):
        if text:
            moment(option, text)


def _listing(answer: _Answer, before: "Mapping[tuple[str, ...], int] | None" = None) -> Listing:
    """The rows as a table; with the clicks of each row at the look before, also how many came since."""
    question, dimension = answer.question, answer.question.dimension
    country, hours = question.country, f"{hour_key(answer.start)} to {hour_key(answer.end - HOUR_MS)} UTC"
    if not answer.found:
        held = answer.held
        return Listing(
            f"The index holds no clicks {_from(country)}in hours from {hours}. What it holds {_from(country)}starts at "
            f"{hour_key(held.first_hour)} and ends with {hour_key(held.last_hour)}."
        )
    where = f"from {country}" if country else "" if dimension else "by country"
    what = f"Visitors by {dimension.replace('_', ' ')}" if dimension else "Busiest pages"
    live = "" if answer.live_from is None else f" Live from {hour_key(answer.live_from)} on."
    groups = [_group(each, dimension) for each in answer.found]
    new = () if before is None else (_NEW,)
    rows = [
        (
            str(rank),
            *group.values(),
            f"{each.clicks:,}",
            *(() if before is None else (_risen(answer, each, before),)),
            f"{each.most_users_in_an_hour:,}",
            *map(_seconds, (each.average_seconds, each.seconds(50), each.seconds(90))),
        )
        for rank, (each, group) in enumerate(zip(answer.found, groups, strict=True), start=1)
    ]
    clicks, *others = _NUMBERS
    return Listing(
        title=f"{' '.join(filter(None, (what, where)))}, {hours}, both included.{live}",
        columns=("#", *groups[0], clicks, *new, *others),
        rows=rows,
        numbers=("#", *_NUMBERS, _NEW),
        legend=f"{_LEGEND_OF_VISITORS if dimension else _LEGEND} {_states(answer.states)}",
    )


def _identity(answer: _Answer, row: "Totals") -> tuple[str, ...]:
    return tuple(_group(row, answer.question.dimension).values())


def _risen(answer: _Answer, row: "Totals", before: "Mapping[tuple[str, ...], int]") -> str:
    """How many clicks came to a row since the look before; empty: none, or its clicks were below the last row's."""
    known = before.get(_identity(answer, row))
    if known is None and len(before) == answer.question.limit:
        return ""
    by = row.clicks - (known or 0)
    return f"{by:+,}" if by else ""


def _states(states: "Mapping[Finality, int]") -> str:
    """The end of the legend: how final the numbers are, and what the words mean that it says."""
    meanings = [f"{each}: {_STATES[each]}" for each, count in states.items() if count and each in _STATES]
    return ". ".join((in_words(states), *meanings)) + "."


def _group(each: "Totals", dimension: str) -> dict[str, str]:
    """What a row is about, by the names of its columns."""
    values = vars(each)
    return {dimension: values["value"]} if dimension else {name: values[name] for name in ("page", "country")}


def _dimension(text: str) -> str:
    """The dimension of an option; empty when none was given.

    Raises:
        DimensionUnclear: The audience has no such dimension.
    """
    name = text.strip().lower().replace("-", "_").replace(" ", "_")
    if name and name not in AUDIENCE.group:
        raise DimensionUnclear(f"--by '{printable(text, 40)}' is none of {', '.join(AUDIENCE.group)}.")
    return name


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}"


def _document(answer: _Answer) -> dict[str, Any]:
    dimension = answer.question.dimension
    return {
        "first_hour": iso_time(answer.start),
        "last_hour": iso_time(answer.end - HOUR_MS),
        "live_from": iso_time(answer.live_from),
        "country": answer.question.country,
        "hours": answer.states,
        **({"by": dimension} if dimension else {}),
        "visitors" if dimension else "pages": [
            {
                **_group(each, dimension),
                "clicks": each.clicks,
                "most_users_in_an_hour": each.most_users_in_an_hour,
                "average_seconds": each.average_seconds,
                "p50_seconds": each.seconds(50),
                "p90_seconds": each.seconds(90),
            }
            for each in answer.found
        ],
    }


def country_of(text: str) -> str | None:
    """The country of an option, in capitals; None when none was given.

    Raises:
        CountryUnclear: It is no country.
    """
    if not text:
        return None
    if not re.fullmatch(r"[A-Za-z]{2}", text):
        raise CountryUnclear(f"--country {text[:20]!r} is not a country of two letters, like DE (ISO 3166-1).")
    return text.upper()


def _nothing(alias: str, country: str | None) -> str:
    if country:
        return f"The index behind alias {alias} holds no clicks from {country}. Without --country it shows all."
    return f"The index behind alias {alias} is empty. {_HOW_TO_FILL}"


def _from(country: str | None) -> str:
    return f"from {country} " if country else ""
