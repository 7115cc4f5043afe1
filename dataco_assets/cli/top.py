"""`dataco top`: the busiest pages, or the audience by one of its dimensions, from Elasticsearch.

`dataco_assets.index.reading` is imported when the command runs, so that `--help` stays quick.
"""

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.aggregates.columns import AUDIENCE, PAGES
from dataco_assets.cli.output import Json, iso_time, on_terminal, print_json, print_table
from dataco_assets.cli.times import TimeUnclear, last_hour, moment
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataco_assets.index.reading import Span, Totals

_DEFAULT_HOURS = 24
_NUMBERS = ("clicks", "most users in an hour", "average s", "p50 s", "p90 s")
_LEGEND = (
    "most users in an hour: distinct users in the page's busiest hour, since those of several hours do not add up. "
    "average s: seconds per click of known duration; p50 s, p90 s: what half and nine of ten of them do not exceed, "
    "from counts in buckets."
)
_LEGEND_OF_VISITORS = (
    "An empty value, or ZZ: unknown, or none. most users in an hour: distinct users who entered the busiest hour so, "
    f"each counted once; those of several hours do not add up. {_LEGEND.partition('. ')[2]}"
)
_HOW_TO_FILL = (
    "`dataco setup` creates what is missing, `dataco clicks …` sends clicks, and the sensors (or `dagster asset "
    "materialize`) bring them into the index; `dataco status` tells how far they are."
)


Country = Annotated[str, typer.Option(help="Only clicks from there: two letters, ZZ for unknown.")]


class CountryUnclear(WrongUsage):
    """A country was given in a form that is none."""


class DimensionUnclear(WrongUsage):
    """A dimension was named that the audience does not have."""


class NothingToShow(DatacoError):
    """There is no index yet, or nothing in it."""


def top(
    *,
    hour: Annotated[str, typer.Option(help="One hour, like 2026-01-31-12:00 (UTC).")] = "",
    since: Annotated[str, typer.Option(help="From this time on, like 2026-01-31 or 2026-01-31T12:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time, included: a day with all its hours.")] = "",
    country: Country = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 10,
    by: Annotated[str, typer.Option(help=f"Visitors in place of pages, by one of: {', '.join(AUDIENCE.group)}.")] = "",
    as_json: Json = False,
) -> None:
    """Show the busiest pages by country, or who clicked.

    With --by, the clicks are grouped by what is known of the visitors, in place of the page. Without a time: the last
    24 hours that the index holds.
    """
    from dataco_assets.clients.elasticsearch import connect_at_once
    from dataco_assets.elasticsearch_errors import IndexMissing
    from dataco_assets.index.indices import Index, closed_text
    from dataco_assets.index.reading import busiest_pages, busiest_visitors, span

    code, dimension = country_of(country), _dimension(by)
    _refuse_unclear_times(hour, since, until)
    config = settings()
    client = connect_at_once(config)
    index = Index.of(client, config, AUDIENCE if dimension else PAGES)
    try:
        held = span(index, code)
        if held is None:
            raise NothingToShow(_nothing(index.alias, code))
        start, end = time_range(hour, since, until, held)
        found: Sequence[Totals] = (
            busiest_visitors(index, dimension, start, end, code, limit)
            if dimension
            else busiest_pages(index, start, end, code, limit)
        )
    except IndexMissing as error:
        raise NothingToShow(
            f"There is no index behind alias {index.alias} at {client.address} yet. {_HOW_TO_FILL}"
        ) from error
    for state in index.closed():
        typer.echo(closed_text(state), err=True)
    if as_json:
        print_json(_document(found, start, end, code, dimension))
    elif found:
        _print(found, start, end, code, dimension)
    else:
        typer.echo(
            f"The index holds no clicks {_from(code)}in hours from {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC. "
            f"What it holds {_from(code)}starts at {hour_key(held.first_hour)} and ends with "
            f"{hour_key(held.last_hour)}."
        )


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


def _print(found: "Sequence[Totals]", start: int, end: int, country: str | None, dimension: str) -> None:
    where = f"from {country}" if country else "" if dimension else "by country"
    what = f"Visitors by {dimension.replace('_', ' ')}" if dimension else "Busiest pages"
    title = " ".join(filter(None, (what, where)))
    typer.echo(f"{title}, {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC, both included.")
    groups = [_group(each, dimension) for each in found]
    rows = [
        (
            str(rank),
            *group.values(),
            f"{each.clicks:,}",
            f"{each.most_users_in_an_hour:,}",
            *map(_seconds, (each.average_seconds, each.seconds(50), each.seconds(90))),
        )
        for rank, (each, group) in enumerate(zip(found, groups, strict=True), start=1)
    ]
    print_table(("#", *groups[0], *_NUMBERS), rows, numbers=("#", *_NUMBERS))
    if on_terminal():
        typer.echo(_LEGEND_OF_VISITORS if dimension else _LEGEND)


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


def _document(found: "Sequence[Totals]", start: int, end: int, country: str | None, dimension: str) -> dict[str, Any]:
    return {
        "first_hour": iso_time(start),
        "last_hour": iso_time(end - HOUR_MS),
        "country": country,
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
            for each in found
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
