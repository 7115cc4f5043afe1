"""`python -m benchmarks`: runs the measurements in order and writes their results."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import (
    measure_avro,
    measure_batch_latency,
    measure_client_cpu,
    measure_connect,
    measure_ingest,
    measure_live,
    measure_loading,
    measure_publication,
    measure_refresh,
    report,
)
from benchmarks.bench import Bench, Platform
from benchmarks.curves import draw
from benchmarks.figures import Findings
from benchmarks.machine import facts
from benchmarks.sizes import FULL, QUICK
from dataco_assets.errors import DatacoError
from local_stack.errors import StackError
from local_stack.stack import Stack, running_stack

REUSED_STACK = "DATACO_TEST_STACK_DIR"
ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).with_name("results")
PAGE, PICTURE = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance.png"

app = typer.Typer(add_completion=False)


class Only(StrEnum):
    """A part of the run."""

    LOADING = "loading"
    CPU = "cpu"
    INGEST = "ingest"
    CONNECT = "connect"
    AVRO = "avro"
    HOUR = "hour"
    BACKFILL = "backfill"
    PUBLICATION = "publication"
    DEV = "dev"
    BATCH_LATENCY = "batch-latency"
    LIVE = "live"


@app.command()
def main(
    quick: Annotated[bool, typer.Option("--quick", help="Small amounts, to test that the benchmarks work.")] = False,
    only: Annotated[list[Only] | None, typer.Option(help="Only this part and those it depends on; repeatable.")] = None,
) -> None:
    """Measure each figure beside its peer, print them, write JSON, and update docs/performance.md.

    Only a complete run changes the page. The servers are started for the run and removed afterwards, unless
    DATACO_TEST_STACK_DIR names the folder of a running stack.
    """
    console = Console(highlight=False)
    started, found, findings = time.monotonic(), facts(), Findings()
    file = RESULTS / f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.json"

    def keep() -> None:
        report.write_json(file, findings, found, time.monotonic() - started)

    try:
        with _stack(console) as stack, tempfile.TemporaryDirectory(prefix="dataco-bench-") as folder:
            _run(Bench(stack, Path(folder), QUICK if quick else FULL, findings), console, set(only or Only), keep)
    except (DatacoError, StackError) as error:
        console.print(f"[red]{type(error).__name__}[/]: ", end="")
        console.print(str(error), markup=False)
        raise typer.Exit(1) from error
    finally:
        report.show(console, findings.figures)  # also what was measured before something failed
        seconds = time.monotonic() - started
        console.print(f"{seconds / 60:.1f} minutes. Everything as JSON: {file.relative_to(ROOT)}")
    draw(findings.curves, file.with_suffix(".png"))
    if not (quick or only):
        draw(findings.curves, PICTURE)
        report.update_page(PAGE, findings, found, seconds)
        console.print(f"Updated {PAGE.relative_to(ROOT)} and {PICTURE.relative_to(ROOT)}.")


def _run(bench: Bench, console: Console, wanted: set[Only], keep: Callable[[], None]) -> None:
    """Runs the requested steps, and writes the findings after each."""
    large, small = bench.platform("large"), bench.platform("small")
    sizes = bench.sizes
    made: list[Platform] = []
    refreshed: list[measure_refresh.Refreshed] = []

    def fill() -> None:
        bench.provision(large, small)
        made.extend((large, small))
        measure_ingest.fill(bench, large, sizes.clicks, sizes.hours)
        measure_ingest.fill(bench, small, sizes.few_clicks, 1)

    def ingest() -> None:
        if Only.INGEST in wanted:
            measure_ingest.measure(bench, large, small)
        else:
            measure_ingest.drained(bench, small, sizes.few_clicks)
            measure_ingest.drained(bench, large, sizes.clicks)

    def publication() -> None:
        measure_refresh.measure_floors(bench, refreshed, measure_publication.measure(bench, large))

    stored = {Only.HOUR, Only.BACKFILL, Only.PUBLICATION, Only.DEV}
    steps: list[tuple[str, set[Only], Callable[[], None]]] = [
        ("loading the code location", {Only.LOADING}, lambda: measure_loading.measure(bench, large)),
        ("sending clicks to Kafka", {Only.CPU, Only.INGEST, Only.CONNECT, *stored}, fill),
        ("client CPU", {Only.CPU}, lambda: measure_client_cpu.measure(bench, large)),
        ("ingest in Avro", {Only.AVRO}, lambda: measure_avro.measure(bench)),
        ("ingest and its peers", {Only.INGEST, *stored}, ingest),
        (
            "the Kafka Connect sink and its peers",
            {Only.CONNECT},
            lambda: measure_connect.measure(bench, large, small),
        ),
        ("one large hour", {Only.HOUR}, lambda: refreshed.append(measure_refresh.measure_hour(bench, small))),
        (
            "many hours in one backfill",
            {Only.BACKFILL, Only.PUBLICATION},
            lambda: refreshed.append(measure_refresh.measure_backfill(bench, large)),
        ),
        ("publication", {Only.PUBLICATION}, publication),
        ("a small hour in a running dagster dev", {Only.DEV}, lambda: measure_refresh.measure_dev(bench, large)),
        ("latency of the batch alone", {Only.BATCH_LATENCY}, lambda: measure_batch_latency.measure(bench)),
        ("live", {Only.LIVE}, lambda: measure_live.measure(bench)),
    ]
    try:
        for title, parts, step in steps:
            if parts & wanted:
                began = time.monotonic()
                step()
                keep()
                console.print(f"[dim]{time.monotonic() - began:6.0f} s[/]  {title}")
    finally:
        if os.environ.get(REUSED_STACK):  # a stack of our own goes as a whole
            bench.drop(*made)


@contextmanager
def _stack(console: Console) -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="dataco-bench-stack-") as own, ExitStack() as exits:
        with console.status("Starting the servers"):
            stack = exits.enter_context(running_stack(Path(own) / "stack", variable=REUSED_STACK))
        yield stack
