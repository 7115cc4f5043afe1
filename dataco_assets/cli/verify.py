"""`dataco verify`: do the Parquet files and the index say what the clicks in HBase amount to?

Belongs here: options, the table of differences, exit codes. Does not belong here: recomputing and comparing
(`dataco_assets.verification.verifier`, imported when the command runs so that `--help` stays quick).
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from dataco_assets.cli.text import plural, printable
from dataco_assets.cli.times import FORMS, TimeUnclear, hour_range
from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from dataco_assets.verification.compare import Difference, HourVerdict

DIFFERENT, UNABLE = 1, 2
"""Exit codes; 0 when all is equal."""
_SHOWN_CHARACTERS = 200
_WIDTH_IN_A_PIPE = 200


def verify(
    first: Annotated[str, typer.Argument(metavar="FROM", help=f"First hour: {FORMS}. Default: all hours.")] = "",
    last: Annotated[
        str,
        typer.Argument(metavar="TO", help="Last hour, included; a day: its last. Default: FROM's hour or day."),
    ] = "",
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Hours that cannot be judged count as different.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Differences to show.")] = 50,
    settle: Annotated[
        float,
        typer.Option(
            min=0,
            max=3600,
            help="Seconds within which a stored click's hour is marked dirty: an hour that differs and has younger "
            "clicks is looked at again when they are older.",
        ),
    ] = 120.0,
) -> None:
    """Recompute hours from the clicks in HBase, in plain Python, and compare every field with Parquet and index.

    Judged are hours of which readers should see everything. An hour that is dirty (waits for its refresh), changes
    while it is looked at, or is so old that HBase may have dropped clicks, is reported but not judged. All sensors and
    runs can stay on.

    Exit code: 0 all equal, 1 differences, 2 wrong usage or a server that does not answer.
    """
    from dataco_assets.clients import elasticsearch, hbase
    from dataco_assets.verification.verifier import Verifier

    try:
        start, end = hour_range(first, last or first) if first else (None, None)
        chosen = settings()
        with (
            closing(elasticsearch.connect_at_once(chosen)) as search,
            hbase.connect(chosen, retry_seconds=30.0) as clicks,
        ):
            verifier = Verifier(chosen, clicks, search, settle_seconds=settle, sleep=_wait)
            hours = verifier.hours(start, end)
            report = Report(limit, closed_indices=verifier.closed_indices())
            with _progress(len(hours)) as advance:
                for verdict in verifier.verify(hours):
                    report.take(verdict)
                    advance()
    except (DatacoError, OSError) as error:
        what = "Wrong usage" if isinstance(error, TimeUnclear) else "Nothing can be said, since not all could be read"
        Console(stderr=True).print(f"[bold red]{what}:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(UNABLE) from error
    _show(report)
    if report.differing_hours or (strict and report.not_judged):
        raise typer.Exit(DIFFERENT)


@dataclass
class Report:
    """Verdicts added up; only the first differences are kept.

    Attributes:
        limit: Differences to keep.
        outcomes: Hours by outcome.
        oldest: The oldest hour by outcome.
        clicks: Clicks of the judged hours.
        groups: Groups of the judged hours.
        differing: Differences in all.
        differing_hours: Hours that differ.
        shown: The differences kept.
        closed_indices: Indices that an operator closed.
    """

    limit: int
    outcomes: Counter[str] = field(default_factory=Counter)
    oldest: dict[str, int] = field(default_factory=dict)
    clicks: int = 0
    groups: int = 0
    differing: int = 0
    differing_hours: int = 0
    shown: "list[Difference]" = field(default_factory=list)
    closed_indices: list[str] = field(default_factory=list)

    def take(self, verdict: "HourVerdict") -> None:
        """Adds one hour."""
        outcome = verdict.outcome.value
        self.outcomes[outcome] += 1
        self.oldest[outcome] = min(verdict.hour, self.oldest.get(outcome, verdict.hour))
        if outcome in ("equal", "different"):
            self.clicks += verdict.clicks
            self.groups += verdict.groups
        if outcome == "different":
            self.differing_hours += 1
            self.differing += verdict.differing
            self.shown += verdict.differences[: self.limit - len(self.shown)]

    @property
    def judged(self) -> int:
        """Hours that were judged."""
        return self.outcomes["equal"] + self.outcomes["different"]

    @property
    def not_judged(self) -> int:
        """Hours that could not be."""
        return self.outcomes.total() - self.judged

    def lines(self) -> Iterator[str]:
        """What is said below the table."""
        verdict = f"{plural(self.differing_hours, 'hour')} differ" if self.differing_hours else "no difference"
        what = f"{plural(self.clicks, 'click')} in {plural(self.groups, 'group')}"
        yield f"{plural(self.judged, 'hour')} judged ({what}): {verdict}."
        for outcome, why in _NOT_JUDGED.items():
            if count := self.outcomes[outcome]:
                yield f"{plural(count, 'hour')} {outcome}: not judged; {why}. Oldest: {hour_key(self.oldest[outcome])}."
        for name in self.closed_indices:
            yield f"Index {name} is closed: readers do not see its hours. `POST /{name}/_open` opens it again."
        if self.differing_hours:
            yield (
                "A drain that died has stored clicks whose hours only the next drain marks: if clicks wait in Kafka "
                "(`dataco status`), drain and verify again. `dataco backfill FROM TO` computes hours anew and replaces "
                "what was changed by hand."
            )


_NOT_JUDGED = {
    "dirty": "clicks came that readers do not see yet",
    "changing": "they were refreshed while they were looked at",
    "expired": "HBase may have dropped some of their clicks (DATACO_CLICKS_TTL_DAYS)",
    "closed": "the index of their month is closed",
}


def _show(report: Report) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_IN_A_PIPE)
    if report.shown:
        console.print(table(report.shown, report.differing))
    for line in report.lines():
        console.print(line, soft_wrap=True, markup=False)


def table(differences: "Sequence[Difference]", total: int) -> Table:
    """The table of differences. Event text is shown as it is, never taken as markup or as a control sequence."""
    more = f"{total - len(differences):,} more are not shown (--limit)" if total > len(differences) else None
    shown = Table(title=f"{plural(total, 'difference')}", caption=more)
    shown.add_column("hour (UTC)", no_wrap=True)
    shown.add_column("where")
    shown.add_column("page", overflow="fold", ratio=1)
    for name in ("country", "field", "from the clicks", "found"):
        shown.add_column(name, overflow="fold")
    for each in differences:
        values = (each.place.value, each.page, each.country, each.field, each.expected, each.found)
        shown.add_row(hour_key(each.hour), *(Text(_shown(value)) for value in values))
    return shown


def _shown(value: object) -> str:
    text = "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return printable(text, _SHOWN_CHARACTERS)


def _wait(seconds: float) -> None:
    typer.echo(f"Some hours differ and have young clicks: looking at them again in {seconds:.0f} s.", err=True)
    time.sleep(seconds)


@contextmanager
def _progress(hours: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("hours", total=hours)
        yield lambda: progress.advance(task)
