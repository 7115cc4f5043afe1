"""`dataco restatements`: lists what changed in hours that were final."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.cli.times import FORMS, open_span
from dataco_assets.clicks.hour import hour_key
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from dataco_assets.index.restatements import Restatement

_NUMBERS = ("generation", "clicks", "change of clicks", "users", "change of users", "groups changed")
_COLUMNS = ("hour", "noted (UTC)", "cause", *_NUMBERS)


def restatements(
    first: Annotated[
        str | None, typer.Argument(metavar="[FROM]", help=f"First hour: {FORMS}. Default: the first that changed.")
    ] = None,
    last: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="Last hour, included. Default: the last that changed.")
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """List how hours that were final changed, when and why.

    An hour is final when it is published after it has been over for 30 minutes. Each later publication that changes it
    is a restatement: late clicks, an erasure, a replay, changed rules. Oldest hour first.
    """
    from dataco_assets.clients.elasticsearch import connect_at_once
    from dataco_assets.index.restatements import read_restatements

    since_ms, until_ms = open_span(first, last)
    client = connect_at_once(settings())
    found = list(read_restatements(client, settings().index_alias, since_ms=since_ms, until_ms=until_ms))
    if as_json:
        print_json({"restatements": [_document(each) for each in found]})
    else:
        print_table(_COLUMNS, map(_row, found), numbers=_NUMBERS)


def _row(each: "Restatement") -> tuple[str, ...]:
    return (
        hour_key(each.hour),
        iso_time(each.noted_at // 1000 * 1000) or "",
        each.cause.replace("_", " "),
        f"{each.generation_before} → {each.generation}",
        f"{each.clicks:,}",
        f"{each.clicks - each.clicks_before:+,}",
        f"{each.users:,}",
        f"{each.users - each.users_before:+,}",
        f"{each.groups_changed:,}",
    )


def _document(each: "Restatement") -> dict[str, Any]:
    times = {name: iso_time(getattr(each, name)) for name in ("hour", "computed_at", "noted_at")}
    return {"id": each.id, **asdict(each), **times}
