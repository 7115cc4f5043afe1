"""`dataco erase-user`: removes what is stored of a user, and keeps it from coming back.

Belongs here: options, the question, the report. Does not belong here: erasing
(`dataco_assets.privacy.erasure`, imported when the command runs so that `--help` stays quick).
"""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dataco_assets.cli.text import plural
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.event import MAX_USER_ID
from dataco_assets.clicks.hour import contiguous_runs, hour_key
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from dataco_assets.privacy.erasure import Erasure

STANDARD_STREAM = "-"
_SHOWN_RANGES = 10
_KEPT_ON_DISK = (
    "HBase hides deleted clicks at once, but they stay on its disks until the next major compaction of table {table} "
    "(`--compact` starts one; HBase does it by itself, as a rule weekly)."
)


class NotAUserId(WrongUsage):
    """What was given cannot be a user's id."""


def erase_user(
    user: Annotated[
        str, typer.Argument(metavar="USER_ID", help="Exactly as sent; `-` reads it from standard input, one line.")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is stored in HBase.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Also start a major compaction, which takes deleted clicks off the disks."),
    ] = False,
) -> None:
    """Erase a user: their clicks in HBase, and their rejected clicks from what can be listed and sent back.

    The hours they were in become dirty; the sensors, or `dataco backfill`, compute aggregates and index anew. The user
    goes onto a suppression list (as a hash): clicks that happened or came to Kafka before now are not stored again,
    however they come. What the user does from now on is stored.

    Safe to run again, and to be run again after it broke off.
    """
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.ledgers.suppression import user_hash
    from dataco_assets.privacy.erasure import erase, preview

    user_id, chosen = _user_id(user), settings()
    with connect_at_once(chosen) as hbase:
        hbase.require_table(chosen.suppressed_table)
        hbase.require_table(chosen.clicks_table)
        if dry_run or not yes:
            _say(_found(preview(chosen, hbase, user_id), "would be deleted"))
        if dry_run:
            _say(["Nothing was changed. Rejected clicks are looked for only when it is."])
            return
        if not yes:
            typer.confirm("Erase this user for good?", abort=True)
        erasure = erase(chosen, hbase, user_id)
        row = user_hash(user_id).decode()
        _say([*_found(erasure, "deleted"), *_next(erasure, f"deleteall '{chosen.suppressed_table}', '{row}'")])
        if compact:
            hbase.compact(chosen.clicks_table)
            _say([f"Major compaction of table {chosen.clicks_table} requested; HBase does it in the background."])
        else:
            _say([_KEPT_ON_DISK.format(table=chosen.clicks_table)])


def _user_id(text: str) -> str:
    if text == STANDARD_STREAM:
        text = sys.stdin.readline().rstrip("\r\n")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotAUserId("A user id is UTF-8 text, and this is not.") from None
    if not 1 <= len(text) <= MAX_USER_ID:
        raise NotAUserId(f"A user id has 1 to {MAX_USER_ID} characters, this has {len(text):,}.")
    return text


def _found(erasure: "Erasure", verb: str) -> Iterator[str]:
    if erasure.first_ms is None or erasure.last_ms is None:
        yield f"0 clicks {verb}: HBase holds none of this user."
    else:
        yield (
            f"{plural(erasure.clicks, 'click')} {verb}, from {_time(erasure.first_ms)} to {_time(erasure.last_ms)} "
            f"UTC; {plural(len(erasure.hours), 'hour')} to compute anew."
        )
    if erasure.resumed:
        yield f"An earlier erasure of this user was broken off; it had begun {plural(len(erasure.resumed), 'hour')}."
    if erasure.expired:
        yield (
            f"{plural(len(erasure.expired), 'hour')} of these cannot be computed anew, since HBase may have dropped "
            "clicks of others (DATACO_CLICKS_TTL_DAYS): their counts stay as published. They hold no user id."
        )


def _next(erasure: "Erasure", undo: str) -> Iterator[str]:
    """What follows, and what is left.

    Args:
        erasure: What was done.
        undo: The HBase shell's command that takes the user off the suppression list.
    """
    if erasure.rejected:
        yield (
            f"{plural(erasure.rejected, 'rejected click')} can no longer be listed, shown or sent back. Their bytes "
            "leave Kafka when the topic's retention ends: single records cannot be deleted there."
        )
    hours = (erasure.hours | erasure.resumed) - erasure.expired
    ranges = contiguous_runs(hours)
    if ranges:
        yield f"Aggregates and index follow by the sensors, or at once by:\n{_commands(ranges)}"
    yield (
        "The user is on the suppression list: clicks from before now are not stored again, also by an ingest run in "
        "progress. The clicks topic itself keeps them until its retention ends."
    )
    if not (erasure.clicks or erasure.rejected or erasure.resumed):
        yield (
            "Neither HBase nor the rejected topic has a click of this user id. If it was mistyped, take it off the "
            f"list in the HBase shell: {undo}"
        )


def _commands(ranges: list[list[int]]) -> str:
    if len(ranges) > _SHOWN_RANGES:
        return f"  dataco backfill {hour_key(ranges[0][0])} {hour_key(ranges[-1][-1])}"
    return "\n".join(f"  dataco backfill {hour_key(hours[0])} {hour_key(hours[-1])}" for hours in ranges)


def _say(lines: "Iterator[str] | list[str]") -> None:
    console = Console(highlight=False)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _time(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
