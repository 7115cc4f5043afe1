"""`dataco users`: distinct users of any range of hours, estimated from the aggregates or counted in HBase.

What reads tables is imported when the command runs, so that `--help` stays quick.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dataco_assets.cli.output import Json, iso_time, print_json
from dataco_assets.cli.times import From, To, hour_range
from dataco_assets.cli.top import Country, country_of
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.clicks.page import InvalidUrl, page_of
from dataco_assets.errors import DatacoError
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings, settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from dataco_assets.aggregates.users import Users

_HOW_EXACTLY = "`--exact` counts them in HBase, as long as it has the clicks."


class PageUnclear(WrongUsage):
    """A page was given in a form that is none."""


class ClicksGone(DatacoError):
    """An exact count was asked for, but HBase may have dropped clicks of the range."""


@dataclass(frozen=True)
class _Question:
    """What is asked: hours, both included, epoch ms; and page and country, None for all."""

    first: int
    last: int
    page: str | None
    country: str | None

    @property
    def hours(self) -> range:
        return range(self.first, self.last + HOUR_MS, HOUR_MS)


@dataclass(frozen=True)
class _Answer:
    """A number of users, where it is from, and hours of the question that the table does not hold."""

    users: "Users"
    source: Literal["table", "clicks"]
    never_computed: int = 0


def users(
    first: From,
    last: To,
    *,
    page: Annotated[str, typer.Option(help="Only clicks on this page: its URL.")] = "",
    country: Country = "",
    exact: Annotated[
        bool, typer.Option("--exact", help="Count the users in HBase's clicks: exact, and it reads all of them.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how many distinct users clicked in a range of hours.

    Estimated by merging the sketches in the aggregates' table, and shown with the bounds that hold the true number in
    95 of 100 cases. The number is exact for one hour, for one hour of one page from one country, and with --exact.
    """
    question = _Question(*hour_range(first, last), _page(page), country_of(country))
    config = settings()
    answer = _counted(config, question) if exact else _from_table(config, question)
    if as_json:
        print_json(_document(question, answer))
    else:
        typer.echo(_text(question, answer))


def _from_table(config: Settings, question: _Question) -> _Answer:
    from dataco_assets.aggregates.reading import read_users, table_state
    from dataco_assets.aggregates.table import TablePlace
    from dataco_assets.aggregates.users import users_of

    place = TablePlace.of(config)
    known = table_state(place, question.hours).hours
    batches = read_users(place, question.first, question.last, question.page, question.country)
    is_whole_hour = len(question.hours) == 1 and question.page is None and question.country is None
    return _Answer(users_of(batches, is_whole_hour=is_whole_hour), "table", len(question.hours) - len(known))


def _counted(config: Settings, question: _Question) -> _Answer:
    from dataco_assets.aggregates.users import Users
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.verification.users import count_users

    with connect_at_once(config) as hbase:
        ledger = HourLedger(hbase, config.hours_table)
        _refuse_gone(ledger.losing(question.hours, ttl_days=config.clicks_ttl_days), config)
        number = count_users(
            hbase,
            config.clicks_table,
            question.first,
            question.last + HOUR_MS,
            page=question.page,
            country=question.country,
        )
        # Asked again: a count may take so long that clicks expire under it.
        _refuse_gone(ledger.losing(question.hours, ttl_days=config.clicks_ttl_days), config)
    return _Answer(Users.exactly(number), "clicks")


def _refuse_gone(hours: set[int], config: Settings) -> None:
    if hours:
        raise ClicksGone(
            f"An exact count is not possible: {quantity(len(hours), 'hour')} from {hour_key(min(hours))} to "
            f"{hour_key(max(hours))} hold clicks stored more than {config.clicks_ttl_days} days ago "
            "(DATACO_CLICKS_TTL_DAYS), of which HBase may have dropped some. Leave these hours out, or leave --exact "
            "out for an estimate with its bounds."
        )


def _text(question: _Question, answer: _Answer) -> str:
    found = answer.users
    where = "".join(
        [
            f" on {printable(question.page)}" if question.page else "",
            f" from {question.country}" if question.country else "",
        ]
    )
    span = f"{hour_key(question.first)} to {hour_key(question.last)} UTC, both included"
    lines = [f"{quantity(found.number, 'user')}{where}, {span}."]
    if answer.source == "clicks":
        lines.append("Exact: counted in HBase's clicks.")
    elif found.is_exact:
        lines.append("Exact, from the aggregates' table.")
    else:
        bounds = f"{found.lower:,} to {found.upper:,} in 95 of 100 cases"
        lines.append(f"Estimated from the aggregates' table: {bounds}. {_HOW_EXACTLY}")
    if answer.never_computed:
        lines.append(f"{quantity(answer.never_computed, 'hour')} of these were never computed, and are not in it.")
    if found.hours_without_sketch:
        first, last = min(found.hours_without_sketch), max(found.hours_without_sketch)
        lines.append(
            f"{quantity(len(found.hours_without_sketch), 'hour')} were computed by an earlier version without a "
            f"sketch, and are not in it: `dataco backfill {hour_key(first)} {hour_key(last)}` fills them."
        )
    return "\n".join(lines)


def _document(question: _Question, answer: _Answer) -> dict[str, Any]:
    found = answer.users
    return {
        "first_hour": iso_time(question.first),
        "last_hour": iso_time(question.last),
        "page": question.page,
        "country": question.country,
        "users": found.number,
        "exact": found.is_exact,
        "lower": found.lower,
        "upper": found.upper,
        "source": answer.source,
        "hours_never_computed": answer.never_computed,
        "hours_without_sketch": len(found.hours_without_sketch),
    }


def _page(text: str) -> str | None:
    if not text:
        return None
    try:
        return page_of(text)
    except InvalidUrl as error:
        raise PageUnclear(
            f"--page '{printable(text, 60)}' {error}. Give it as `dataco top` shows it, like https://shop.example/cart."
        ) from None
