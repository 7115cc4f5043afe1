"""`dataco erase-user`: deletes users' clicks, and prevents them from being stored again.

`dataco_assets.privacy.erasure` does the work; it is imported when the command runs, so that `--help` stays quick.
"""

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from dataco_assets.cli.output import Json, iso_time, print_json, stderr_console
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.clicks.event import MAX_USER_ID
from dataco_assets.clicks.hour import contiguous_runs, hour_key
from dataco_assets.quantities import quantity
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
    users: Annotated[
        list[str] | None,
        typer.Argument(metavar="USER_ID…", help="Exactly as sent; `-` reads one from standard input, one line."),
    ] = None,
    *,
    from_file: Annotated[
        Path | None,
        typer.Option("--from-file", metavar="FILE", help="File of user ids, UTF-8, one per line.", dir_okay=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what is stored in HBase.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Erase without confirmation.")] = False,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="Also start a major compaction, which takes deleted clicks off the disks."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Erase users' clicks from HBase and the rejected clicks.

    Their rejected clicks can no longer be listed, shown or sent back. The hours they were in become dirty; the sensors,
    or `dataco backfill`, compute aggregates and index again. The users go onto a suppression list (as hashes): clicks
    that happened or came to Kafka before now are not stored again, however they come. What the users do from now on is
    stored.

    Many users share one pass over the table. Safe to run again, also after it broke off.
    """
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.clicks.suppressed import user_hash
    from dataco_assets.privacy.erasure import erase, preview

    user_ids, config = _user_ids(users or [], from_file), settings()
    say = partial(_say, err=as_json)
    with connect_at_once(config) as hbase:
        hbase.require_table(config.suppressed_table)
        hbase.require_table(config.clicks_table)
        if dry_run or not yes:
            found = preview(config, hbase, user_ids)
            say(_found(found, "would be deleted", len(user_ids)))
            if dry_run:
                say(["Nothing was changed. Rejected clicks are searched for only by the erasure itself."])
                if as_json:
                    print_json(_document(found, dry_run=True, compaction_requested=False))
                return
            who = "this user" if len(user_ids) == 1 else f"these {len(user_ids):,} users"
            typer.confirm(f"Erase {who} for good?", abort=True, err=as_json)
        erasure = erase(config, hbase, user_ids)
        undo = f"deleteall '{config.suppressed_table}', '{user_hash(user_ids[0]).decode()}'"
        say([*_found(erasure, "deleted", len(user_ids)), *_next(erasure, undo, len(user_ids))])
        if compact:
            hbase.compact(config.clicks_table)
            say([f"Major compaction of table {config.clicks_table} requested; HBase does it in the background."])
        else:
            say([_KEPT_ON_DISK.format(table=config.clicks_table)])
    if as_json:
        print_json(_document(erasure, dry_run=False, compaction_requested=compact))


def _user_ids(given: Sequence[str], file: Path | None) -> list[str]:
    """The users, each once, in the order given."""
    found = [_user_id(sys.stdin.readline().rstrip("\r\n") if text == STANDARD_STREAM else text) for text in given]
    found += _read_user_ids(file) if file else []
    if not found:
        raise NotAUserId("Name at least one user id, or a file of them with --from-file.")
    return list(dict.fromkeys(found))


def _read_user_ids(file: Path) -> Iterator[str]:
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise NotAUserId(f"--from-file {file}: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if line:
            yield _user_id(line, f"{file}, line {number:,}: ")


def _user_id(text: str, where: str = "") -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotAUserId(f"{where}A user id is UTF-8 text, and this is not.") from None
    if not 1 <= len(text) <= MAX_USER_ID:
        raise NotAUserId(f"{where}A user id has 1 to {MAX_USER_ID} characters, this has {len(text):,}.")
    return text


def _found(erasure: "Erasure", verb: str, users: int) -> Iterator[str]:
    if erasure.first_ms is None or erasure.last_ms is None:
        yield f"0 clicks {verb}: HBase holds none of {'this user' if users == 1 else 'these users'}."
    else:
        yield (
            f"{quantity(erasure.clicks, 'click')} {verb}, from {_time(erasure.first_ms)} to {_time(erasure.last_ms)} "
            f"UTC; {quantity(len(erasure.hours), 'hour')} to compute anew."
        )
    if erasure.resumed:
        yield f"An earlier erasure was broken off; it had begun {quantity(len(erasure.resumed), 'hour')}."
    if erasure.expired:
        yield (
            f"{quantity(len(erasure.expired), 'hour')} of these cannot be computed anew, since HBase may have dropped "
            "clicks of others (DATACO_CLICKS_TTL_DAYS): their counts stay as published. They hold no user id; "
            "sketches of few users in the aggregates' table hold a hash of it."
        )


def _next(erasure: "Erasure", undo: str, users: int) -> Iterator[str]:
    """What follows, and what is left.

    Args:
        erasure: What was done.
        undo: The HBase shell's command that takes a single user off the suppression list.
        users: How many there were.
    """
    if erasure.rejected:
        yield (
            f"{quantity(erasure.rejected, 'rejected click')} can no longer be listed, shown or sent back. Their bytes "
            "leave Kafka when the topic's retention ends: single records cannot be deleted there."
        )
    hours = (erasure.hours | erasure.resumed) - erasure.expired
    ranges = contiguous_runs(hours)
    if ranges:
        yield f"Aggregates and index follow by the sensors, or at once by:\n{_commands(ranges)}"
    who = "The user is" if users == 1 else "The users are"
    yield (
        f"{who} on the suppression list: clicks from before now are not stored again, also by an ingest run in "
        "progress. The clicks topic itself keeps them until its retention ends."
    )
    if users == 1 and not (erasure.clicks or erasure.rejected or erasure.resumed):
        yield (
            "Neither HBase nor the rejected topic has a click of this user id. If it was mistyped, take it off the "
            f"list in the HBase shell: {undo}"
        )


def _commands(ranges: list[list[int]]) -> str:
    if len(ranges) > _SHOWN_RANGES:
        return f"  dataco backfill {hour_key(ranges[0][0])} {hour_key(ranges[-1][-1])}"
    return "\n".join(f"  dataco backfill {hour_key(hours[0])} {hour_key(hours[-1])}" for hours in ranges)


def _document(erasure: "Erasure", *, dry_run: bool, compaction_requested: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "clicks": erasure.clicks,
        "first_click": iso_time(erasure.first_ms),
        "last_click": iso_time(erasure.last_ms),
        "hours": [iso_time(hour) for hour in sorted(erasure.hours)],
        "resumed_hours": [iso_time(hour) for hour in sorted(erasure.resumed)],
        "expired_hours": [iso_time(hour) for hour in sorted(erasure.expired)],
        "rejected": None if dry_run else erasure.rejected,
        "compaction_requested": compaction_requested,
    }


def _say(lines: "Iterator[str] | list[str]", *, err: bool) -> None:
    console = stderr_console() if err else Console(highlight=False)
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _time(epoch_ms: int) -> str:
    return f"{datetime.fromtimestamp(epoch_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
