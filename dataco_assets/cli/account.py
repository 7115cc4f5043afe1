"""`dataco account`: accounts for every message of the clicks topic; exits with 1 when something does not add up."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.cli.times import FORMS, open_span
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clock import now_ms
from dataco_assets.quantities import quantity
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from dataco_assets.ingest.account import Account, Finding, LogAccount
    from dataco_assets.ledgers.tallies import Counts, TalliedRange

DOES_NOT_ADD_UP = 1
"""Exit code: a range does not add up."""
_NUMBERS = ("produced", "stored", "repeated", "rejected", "suppressed", "lost", "empty")
_COLUMNS = ("partition", "offsets", *_NUMBERS)


def account(
    first: Annotated[
        str | None, typer.Argument(metavar="[FROM]", help=f"First hour of ingestion: {FORMS}. Default: the oldest.")
    ] = None,
    last: Annotated[
        str | None, typer.Argument(metavar="[TO]", help="Last hour of ingestion, included. Default: now.")
    ] = None,
    *,
    recount: Annotated[
        bool,
        typer.Option(
            "--recount",
            help="Also count the messages that Kafka still has, and look for each click's row in HBase.",
        ),
    ] = False,
    ranges: Annotated[bool, typer.Option("--ranges", help="List each partition's hours of ingestion.")] = False,
    as_json: Json = False,
) -> None:
    """Account for every message of the clicks topic.

    Produced = stored + repeated + rejected + suppressed + lost, in every range of offsets. Whoever stores clicks notes
    what became of each offset, in the same write that moves a partition's position. This command adds the notes up,
    looks for offsets that none covers, and counts the records of the rejected topic. An hour is the one in which
    messages were ingested, by HBase's clock, not that of their clicks.

    Stored: a row was written. Repeated: it was written already by a message read shortly before. Rejected: the message
    is in the rejected topic. Suppressed: its user was erased. Lost: it left the topic before it was read, which a
    person accepted. Empty are offsets without a message: markers of transactions, messages rolled back or compacted.

    Exit code: 0 everything adds up, 1 a range does not; it is named.
    """
    from dataco_assets.clients.hbase import connect
    from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
    from dataco_assets.ingest.account import compared_with_recounts, compared_with_rejected
    from dataco_assets.ingest.accounting import read_account, read_rejected_places
    from dataco_assets.ingest.recount import recount as counted_again

    since_ms, until_ms = open_span(first, last)
    now = now_ms()
    with connect(settings(), retry_seconds=PERSON_SECONDS) as hbase:
        found = read_account(settings(), hbase, now_ms=now, since_ms=since_ms, until_ms=until_ms)
        # After the ledger: what is rejected is in the topic before the ledger counts it.
        rejected = read_rejected_places(settings(), now_ms=now, since_ms=since_ms)
        found = compared_with_rejected(found, rejected)
        if recount:
            again = counted_again(settings(), hbase, found.ranges, rejected, now_ms=now)
            found = compared_with_recounts(found, again)
    if as_json:
        print_json(_document(found))
    else:
        _show(found, in_ranges=ranges)
    if not found.adds_up:
        raise typer.Exit(DOES_NOT_ADD_UP)


def _show(found: "Account", *, in_ranges: bool) -> None:
    if in_ranges:
        print_table(("hour", *_COLUMNS), map(_range_row, found.ranges), numbers=_NUMBERS)
    else:
        total = ("all", "", *_numbers(found.produced, found.counts))
        print_table(_COLUMNS, [*map(_log_row, found.logs), total], numbers=_NUMBERS)
    for note in found.notes:
        typer.echo(f"Note: {note}")
    for problem in found.problems:
        typer.echo(f"Does not add up: {problem}")
    typer.echo(_verdict(found))


def _verdict(found: "Account") -> str:
    if not found.ranges:
        return "No tallies: nothing was ingested in these hours by a version that keeps them."
    told = "Everything adds up." if found.adds_up else f"{quantity(len(found.problems), 'problem')} found."
    if (rejected := found.rejected) is not None:
        told += f" The rejected topic has {rejected.found:,} of {rejected.counted:,} counted as rejected"
        told += f" ({quantity(rejected.left_out, 'older range')} not compared)." if rejected.left_out else "."
    if (again := found.recounts) is not None:
        told += f" Counted again in Kafka and HBase: {quantity(sum(each.messages for each in again), 'message')}"
        told += f" of {len(again):,} of {quantity(len(found.ranges), 'range')}."
    return told


def _log_row(log: "LogAccount") -> tuple[str, ...]:
    return str(log.partition), f"[{log.start}, {log.end})", *_numbers(log.produced, log.counts)


def _range_row(each: "TalliedRange") -> tuple[str, ...]:
    return (
        hour_key(each.tally.hour),
        str(each.partition),
        f"[{each.start}, {each.end})",
        *_numbers(each.produced, each.tally.counts),
    )


def _numbers(produced: int, counts: "Counts") -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in (produced, *counts.by_fate.values(), counts.empty))


def _document(found: "Account") -> dict[str, Any]:
    return {
        "adds_up": found.adds_up,
        "produced": found.produced,
        **asdict(found.counts),
        "rejected_topic": None if found.rejected is None else asdict(found.rejected),
        "counted_again": None if found.recounts is None else sum(each.messages for each in found.recounts),
        "problems": [_finding(each) for each in found.problems],
        "notes": [_finding(each) for each in found.notes],
        "ranges": [
            {
                "hour": iso_time(each.tally.hour),
                "partition": each.partition,
                "topic_id": each.topic_id,
                "start": each.start,
                "end": each.end,
                "produced": each.produced,
                **asdict(each.tally.counts),
            }
            for each in found.ranges
        ],
    }


def _finding(each: "Finding") -> dict[str, Any]:
    return {**asdict(each), "hour": iso_time(each.hour)}
