"""`dataco demo`: runs real and made-up clicks through the whole platform, on local servers, in a few minutes.

Every step is a command that a person could type, printed and run as such.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.markup import escape

from dataco_assets.errors import DatacoError
from dataco_assets.settings import PARTITION_FORMAT, variable


class RealLog(NamedTuple):
    """A real web server's log that the demo can send.

    Attributes:
        file: Its path.
        what: Its description in the demo's text.
        base_url: The site that wrote it, as far as its publishers say.
        hours: Hours from its first to its last request, rounded up.
    """

    file: Path
    what: str
    base_url: str
    hours: int


LARGE_LOG = RealLog(
    Path("../shared/data/apache_access.log"),
    "10,000 requests to a public web site, May 2015, from Elastic's examples",
    "http://www.semicomplete.com",
    84,
)
SMALL_LOG = RealLog(
    Path(str(resources.files("dataco_assets.sources") / "sample" / "access.log")),
    "700 requests to a public web site, April 2011, from Apache Crunch's examples",
    "http://host2.example",
    8,
)
MADE_UP_HOURS = 3
_YOUNG = timedelta(days=7)
"""Age up to which the demo fills all partitions."""
_SHOWN_LINES_OF_FAILURE = 25


class DemoStepFailed(DatacoError):
    """A command of the demo failed; the message holds its last lines."""


def demo(
    folder: Annotated[Path, typer.Option("--dir", help="Folder of the demo's servers and their data.")] = Path(
        ".stack"
    ),
    clicks: Annotated[int, typer.Option(help="How many made-up clicks to send.", min=1)] = 20_000,
) -> None:
    """Run real and made-up clicks through the whole platform.

    Starts Kafka, HDFS, HBase and Elasticsearch on this machine, sends clicks, stores, aggregates and publishes them,
    and shows the busiest pages.
    """
    from dataco_assets.jobs import INGEST_JOB

    console = Console(highlight=False)
    started = time.monotonic()
    steps = _Steps(console)
    steps.show(
        "Starting Kafka, HDFS, HBase, its Thrift gateway and Elasticsearch",
        *("stack", "up", "--dir", str(folder), "--ports", "auto"),
    )
    steps.env |= _stack_variables(folder)
    steps.show("Creating topics, tables and the index template", "setup")
    steps.show(
        f"Sending {clicks:,} made-up clicks: duplicates, late and malformed ones among them",
        *("clicks", "generate", "--count", str(clicks), "--hours", str(MADE_UP_HOURS), "--seed", "1"),
    )
    log = LARGE_LOG if LARGE_LOG.file.exists() else SMALL_LOG
    steps.show(
        f"Sending a real web server's log, shifted to now: {log.what}",
        *("clicks", "from-access-log", str(log.file), "--shift-to-now", "--base-url", log.base_url),
    )
    steps.execute("Storing them in HBase (job ingest_clicks)", INGEST_JOB)
    first, last = hours_to_fill(steps.env, max(log.hours, MADE_UP_HOURS) + 1, datetime.now(UTC))
    steps.show("Aggregating the hours on Spark and publishing them (job refresh_hours)", "backfill", first, last)
    steps.show("Where the platform stands", "status")
    steps.show("The busiest pages per country", "top", "--limit", "15", "--since", first)
    console.print(f"\nDone in {time.monotonic() - started:.0f} s.", style="bold green")
    console.print(
        "Open the Dagster UI on this with [bold]make ui[/], the traffic with [bold]make dashboard[/]; [bold]make "
        "down[/] stops all servers."
    )


def _stack_variables(folder: Path) -> dict[str, str]:
    """The variables that `dataco stack env` prints."""
    command = [_program("dataco"), "stack", "env", "--dir", str(folder)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words = shlex.split(printed, comments=True)
    return dict(word.split("=", 1) for word in words if "=" in word)


def hours_to_fill(environment: Mapping[str, str], hours_of_clicks: int, now: datetime) -> tuple[str, str]:
    """The first and the last hour to compute, as partition keys.

    On a stack that was made lately these are all partitions, hours without clicks included: Dagster's UI then shows
    none of them as missing.

    Args:
        environment: May hold `DATACO_PARTITIONS_START`.
        hours_of_clicks: Over how many hours before this one the demo's clicks are spread.
        now: The present time, UTC.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    first = last - timedelta(hours=hours_of_clicks)
    if start := environment.get(variable("partitions_start")):
        start_of_partitions = datetime.strptime(start, PARTITION_FORMAT).replace(tzinfo=UTC)
        if last - start_of_partitions <= _YOUNG:
            first = min(first, start_of_partitions)
    return first.strftime(PARTITION_FORMAT), last.strftime(PARTITION_FORMAT)


class _Steps:
    """Runs the demo's commands one by one, each under a title."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.env = dict(os.environ)
        self._count = 0

    def show(self, title: str, *command: str) -> None:
        """Runs a `dataco` command whose output is for people."""
        self._announce(title, ["dataco", *command])
        done = subprocess.run([_program("dataco"), *command], env=self.env, check=False)
        if done.returncode:
            raise DemoStepFailed(f"The step failed (exit code {done.returncode}): dataco {shlex.join(command)}")

    def execute(self, title: str, job: str) -> None:
        """Runs a job with Dagster's own command, whose long log is kept for a failure."""
        command = ["job", "execute", "-m", "dataco_assets.definitions", "-j", job]
        self._announce(title, ["dagster", *command])
        started = time.monotonic()
        done = subprocess.run(
            [_program("dagster"), *command],
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            last = "\n".join(done.stdout.splitlines()[-_SHOWN_LINES_OF_FAILURE:])
            raise DemoStepFailed(f"The step failed (exit code {done.returncode}). Its last lines:\n{last}")
        self._console.print(f"  [green]done[/] in {time.monotonic() - started:.0f} s")

    def _announce(self, title: str, command: list[str]) -> None:
        self._count += 1
        self._console.print(f"\n[bold]{self._count}. {escape(title)}[/]")
        self._console.print(f"   [dim]$ {escape(shlex.join(command))}[/]", soft_wrap=True)


def _program(name: str) -> str:
    """A command of this virtual environment, regardless of PATH."""
    return str(Path(sys.executable).with_name(name))
