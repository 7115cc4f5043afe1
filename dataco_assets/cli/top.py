"""`dataco top`: the busiest pages, from Elasticsearch.

Belongs here: reading times a person types, and the table. Does not belong here: asking Elasticsearch
(`dataco_assets.index.reading`, imported when the command runs so that `--help` stays quick).
"""

import re
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dataco_assets.cli.text import printable
from dataco_assets.cli.times import TimeUnclear, last_hour, moment
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataco_assets.index.reading import PageTotals, Span

_DEFAULT_HOURS = 24
_HOW_TO_FILL = (
    "`dataco setup` creates what is missing, `dataco clicks …` sends clicks, and the sensors (or `dagster asset "
    "materialize`) bring them into the index; `dataco status` tells how far they are."
)


class CountryUnclear(WrongUsage):
    """A country was given in a form that is none."""


class NothingToShow(DatacoError):
    """The index is missing, or holds nothing of what was asked for."""


def top(
    *,
    hour: Annotated[str, typer.Option(help="One hour, like 2026-01-31-12:00 (UTC).")] = "",
    since: Annotated[str, typer.Option(help="From this time on, like 2026-01-31 or 2026-01-31T12:00Z.")] = "",
    until: Annotated[str, typer.Option(help="Up to this time, included: a day with all its hours.")] = "",
    country: Annotated[str, typer.Option(help="Only clicks from there: two letters, ZZ for unknown.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="Rows to show.")] = 10,
) -> None:
    """Show the busiest pages by country.

    Without a time: the last 24 hours that the index holds.
    """
    from dataco_assets.clients.elasticsearch import connect_at_once
    from dataco_assets.elasticsearch_errors import IndexMissing
    from dataco_assets.index.indices import Index, closed_text
    from dataco_assets.index.reading import busiest_pages, span

    chosen, code = settings(), _country(country)
    client = connect_at_once(chosen)
    try:
        index = Index(client, chosen.index_alias)
        held = span(index, code)
        if held is None:
            raise NothingToShow(_nothing(chosen.index_alias, code))
        start, end = time_range(hour, since, until, held)
        pages = busiest_pages(index, start, end, code, limit)
    except IndexMissing as error:
        raise NothingToShow(
            f"There is no index behind alias {chosen.index_alias} at {client.address} yet. {_HOW_TO_FILL}"
        ) from error
    for state in index.closed():
        Console(stderr=True, highlight=False).print(closed_text(state), markup=False, soft_wrap=True)
    if not pages:
        asked = f"in hours from {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC"
        raise NothingToShow(
            f"The index holds no clicks {_from(code)}{asked}. What it holds {_from(code)}starts at "
            f"{hour_key(held.first_hour)} and ends with {hour_key(held.last_hour)}."
        )
    Console(highlight=False).print(table(pages, start, end, code))


def time_range(hour: str, since: str, until: str, held: "Span") -> tuple[int, int]:
    """The hours asked for, [start, end) in epoch ms.

    Args:
        hour: One hour, or empty.
        since: First hour, or empty.
        until: Last hour, included, or empty.
        held: What the index holds; fills in what was not given.

    Raises:
        TimeUnclear: a time is none, both forms were given, or nothing is between the times.
    """
    if hour and (since or until):
        raise TimeUnclear("Give either --hour, or --since and --until.")
    if hour:
        start = hour_of(moment("--hour", hour))
        return start, start + HOUR_MS
    end = (last_hour("--until", until) if until else held.last_hour) + HOUR_MS
    start = hour_of(moment("--since", since)) if since else end - _DEFAULT_HOURS * HOUR_MS
    if start >= end:
        raise TimeUnclear(f"There is no hour from {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC.")
    return start, end


def table(pages: "Sequence[PageTotals]", start: int, end: int, country: str | None) -> Table:
    """The table of the busiest pages. Event text is shown as it is, never taken as markup or as a control sequence."""
    where = f" from {country}" if country else " by country"
    shown = Table(
        title=f"Busiest pages{where}, {hour_key(start)} to {hour_key(end - HOUR_MS)} UTC, both included",
        caption="most users in an hour: distinct users in the page's busiest hour, since those of several hours cannot "
        "be added up · average s: seconds per click of known duration",
    )
    shown.add_column("#", justify="right", style="dim")
    shown.add_column("page", overflow="fold", ratio=1)
    shown.add_column("country")
    for name in ("clicks", "most users in an hour", "average s"):
        shown.add_column(name, justify="right")
    for rank, page in enumerate(pages, start=1):
        average = page.average_seconds
        shown.add_row(
            str(rank),
            Text(printable(page.page)),
            Text(printable(page.country)),
            f"{page.clicks:,}",
            f"{page.most_users_in_an_hour:,}",
            "-" if average is None else f"{average:,.1f}",
        )
    return shown


def _country(text: str) -> str | None:
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
