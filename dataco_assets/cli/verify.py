"""`dataco verify`: recomputes hours from the clicks in HBase and compares them with the table and the index.

`dataco_assets.verification` does the work; it is imported when the command runs, so that `--help` stays quick.
"""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets.aggregates.columns import BOT_CLICKS
from dataco_assets.cli.hints import local_stack_hint
from dataco_assets.cli.output import Json, iso_time, note, print_json, print_table
from dataco_assets.cli.progress import hours_done
from dataco_assets.cli.times import ChosenFrom, ChosenTo, chosen_hours
from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.hours import MARKED_WITHIN_SECONDS
from dataco_assets.quantities import quantity
from dataco_assets.settings import settings
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from dataco_assets.ledgers.verified import Verification
    from dataco_assets.verification.compare import Difference, HourVerdict

DIFFERENT, UNABLE = 1, 2
"""Exit codes; 0 when all is equal."""
_SHOWN_CHARACTERS = 200
_COLUMNS = ("hour (UTC)", "where", "group", "field", "from the clicks", "found")


def verify(
    first: ChosenFrom = "",
    last: ChosenTo = "",
    *,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Hours that cannot be verified yet (dirty, changing, closed) count as different."
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Differences to show.")] = 50,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            max=3600,
            help="Seconds within which a stored click's hour is marked dirty: an hour that differs and has younger "
            "clicks is compared again when they are older.",
        ),
    ] = MARKED_WITHIN_SECONDS,
    as_json: Json = False,
) -> None:
    """Recompute hours from HBase and compare every field.

    The recomputation is plain Python and shares no code with Spark; it is compared with tables and indices. Only
    hours of which readers should see everything are compared. An hour that is dirty (waits for its refresh), changes
    during the comparison, or is so old that HBase may have dropped clicks, is reported but not compared. Sensors and
    runs can keep running. The outcome is noted in the hour ledger, for the page Trust and `dataco doctor`.

    Exit code: 0 all equal, 1 differences, 2 wrong usage, a server that does not answer, or no hour to verify.
    """
    from dataco_assets.cli.first_contact import connect_at_once
    from dataco_assets.clients import elasticsearch
    from dataco_assets.ledgers.verified import LastVerification
    from dataco_assets.verification.verifier import Verifier

    try:
        start, end = chosen_hours(first, last)
        config = settings()
        with (
            closing(elasticsearch.connect_at_once(config)) as search,
            connect_at_once(config, retry_seconds=30.0) as clicks,
        ):
            verifier = Verifier(config, clicks, search, settle_seconds=settle, sleep=_wait)
            hours = verifier.hours(start, end)
            if not hours:
                raise NothingToVerify(_nothing(start, end))
            report = Report(limit, closed_indices=verifier.closed_indices())
            with hours_done(len(hours)) as advance:
                for verdict in verifier.verify(hours):
                    report.take(verdict)
                    advance()
            LastVerification(clicks, config.hours_table).note(report.outcome(min(hours), max(hours), time.time()))
    except NothingToVerify as error:
        note(str(error), logging.ERROR)
        raise typer.Exit(UNABLE) from error
    except (DatacoError, OSError) as error:
        note(f"Error: {error}", logging.ERROR)
        if isinstance(error, DatacoError) and (hint := local_stack_hint(error.kind)):
            note(hint)
        raise typer.Exit(UNABLE) from error
    if as_json:
        print_json(_document(report))
    else:
        _show(report)
    if report.differing_hours or (strict and report.undecided):
        raise typer.Exit(DIFFERENT)


class NothingToVerify(DatacoError):
    """No hour of the range has a click, a file, a document or a row in the ledger."""


def _nothing(start: int | None, end: int | None) -> str:
    where = "" if start is None or end is None else f" from {hour_key(start)} to {hour_key(end)}"
    return (
        f"There is nothing to verify{where}: no click in HBase, no aggregates, no document and no hour in the "
        "ledger. Is the range right? `dataco status` shows the newest hour."
    )


@dataclass
class Report:
    """Sums up the verdicts; only the first differences are kept.

    Attributes:
        limit: Differences to keep.
        outcomes: Hours by outcome.
        oldest: The oldest hour by outcome.
        clicks: Clicks of the compared hours.
        groups: Groups of the compared hours.
        differing: Differences in all.
        differing_hours: Hours that differ.
        shown: The differences kept.
        fields: Names of the fields that differ, as far as the verdicts have them.
        closed_indices: Indices that an operator closed.
        lacking: Measures that compared hours were computed without.
        lacking_hours: How many hours lack any.
    """

    limit: int
    outcomes: Counter[str] = field(default_factory=Counter)
    oldest: dict[str, int] = field(default_factory=dict)
    clicks: int = 0
    groups: int = 0
    differing: int = 0
    differing_hours: int = 0
    shown: "list[Difference]" = field(default_factory=list)
    fields: set[str] = field(default_factory=set)
    closed_indices: list[str] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    lacking_hours: int = 0

    def take(self, verdict: "HourVerdict") -> None:
        """Adds one hour."""
        outcome = verdict.outcome.value
        self.outcomes[outcome] += 1
        self.oldest[outcome] = min(verdict.hour, self.oldest.get(outcome, verdict.hour))
        if outcome in ("equal", "different"):
            self.clicks += verdict.clicks
            self.groups += verdict.groups
            self.lacking |= verdict.lacking
            self.lacking_hours += bool(verdict.lacking)
        if outcome == "different":
            self.differing_hours += 1
            self.differing += verdict.differing
            self.shown += verdict.differences[: self.limit - len(self.shown)]
            self.fields |= {difference.field for difference in verdict.differences}

    @property
    def compared(self) -> int:
        """Hours that were compared."""
        return self.outcomes["equal"] + self.outcomes["different"]

    @property
    def undecided(self) -> int:
        """Hours that could not be verified now, but can be later."""
        return sum(self.outcomes[name] for name in ("dirty", "changing", "closed"))

    def outcome(self, first_hour: int, last_hour: int, at: float) -> "Verification":
        """What is kept of a verification of these hours (epoch ms) that ended at a time (epoch seconds)."""
        from dataco_assets.ledgers.verified import Verification

        not_compared = self.outcomes.total() - self.compared
        return Verification(
            at, first_hour, last_hour, self.compared, self.differing_hours, not_compared, self.differing
        )

    def lines(self) -> Iterator[str]:
        """The lines below the table."""
        verdict = f"{quantity(self.differing_hours, 'hour')} differ" if self.differing_hours else "no difference"
        what = f"{quantity(self.clicks, 'click')} in {quantity(self.groups, 'group')}"
        yield f"{quantity(self.compared, 'hour')} compared ({what}): {verdict}."
        for outcome, why in _NOT_COMPARED.items():
            if count := self.outcomes[outcome]:
                oldest = hour_key(self.oldest[outcome])
                yield f"{quantity(count, 'hour')} {outcome}: not compared; {why}. Oldest: {oldest}."
        if self.lacking_hours:
            yield (
                f"{quantity(self.lacking_hours, 'hour')} computed by an earlier version without "
                f"{', '.join(sorted(self.lacking))}: `dataco backfill FROM TO` fills them."
            )
        for name in self.closed_indices:
            yield f"Index {name} is closed: readers do not see its hours. `POST /{name}/_open` opens it again."
        if self.fields == {BOT_CLICKS.name}:
            yield (
                f"Only {BOT_CLICKS.name} differ: the hours were computed by another rule about bots than that of the "
                "settings. `dataco rules diff` tells how, and `dataco rules refresh` computes these hours again."
            )
        elif self.differing_hours:
            yield (
                "A drain that was killed may have stored clicks whose hours only the next drain marks: if clicks "
                "wait in Kafka (`dataco status`), drain and verify again. `dataco backfill FROM TO` computes "
                "hours anew and replaces what was changed by hand."
            )


_NOT_COMPARED = {
    "dirty": "clicks came that readers do not see yet",
    "changing": "they were refreshed during the comparison",
    "expired": "HBase may have dropped some of their clicks (DATACO_CLICKS_TTL_DAYS)",
    "outside": "they lie before the first partition (DATACO_PARTITIONS_START), so no run computes them",
    "closed": "the index of their month is closed",
}


def _show(report: Report) -> None:
    if report.shown:
        typer.echo(f"{quantity(report.differing, 'difference')}:")
        print_table(_COLUMNS, [_row(difference) for difference in report.shown])
        if report.differing > len(report.shown):
            typer.echo(f"{report.differing - len(report.shown):,} more are not shown (--limit).")
    for line in report.lines():
        typer.echo(line)


def _row(difference: "Difference") -> tuple[str, ...]:
    where = f"{difference.place.value} {difference.aggregate}".rstrip()
    group = ", ".join(value or "-" for value in difference.group.values())
    values = (where, group, difference.field, difference.expected, difference.found)
    return hour_key(difference.hour), *(_shown(value) for value in values)


def _document(report: Report) -> dict[str, Any]:
    return {
        "ok": not report.differing_hours,
        "hours": {"compared": report.compared, **{name: report.outcomes[name] for name in ("equal", "different")}},
        "not_compared": {
            name: {"hours": report.outcomes[name], "oldest": iso_time(report.oldest.get(name))}
            for name in _NOT_COMPARED
        },
        "clicks": report.clicks,
        "groups": report.groups,
        "differing": report.differing,
        "differences": [
            {
                "hour": iso_time(each.hour),
                "place": each.place.value,
                "aggregate": each.aggregate,
                "group": each.group,
                "field": each.field,
                "expected": _json_value(each.expected),
                "found": _json_value(each.found),
            }
            for each in report.shown
        ],
        "closed_indices": report.closed_indices,
        "lacking": {"hours": report.lacking_hours, "measures": sorted(report.lacking)},
    }


def _json_value(value: object) -> object:
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _shown(value: object) -> str:
    text = "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return printable(text, _SHOWN_CHARACTERS)


def _wait(seconds: float) -> None:
    note(f"Some hours differ and have recent clicks: comparing them again in {seconds:.0f} s.")
    time.sleep(seconds)
