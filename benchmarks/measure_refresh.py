"""Refreshes: one large hour, a month of hours in one backfill, and a small hour in a running `dagster dev`."""

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.bench import Bench, Platform, WorkerFailed
from benchmarks.figures import Bound, Figure, Stage
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.ledgers.hours import HourLedger
from local_stack.ports import LOOPBACK, choose
from local_stack.stack import DAGSTER_CONFIG

_DEV_SECONDS = 120
_POLL_SECONDS = 0.1
_LOOK_SECONDS = 5.0  # interval at which Dagster's daemon evaluates its sensors


@dataclass(frozen=True)
class Refreshed:
    """A refresh, and the times of the parts that it cannot avoid.

    Attributes:
        name: Its name as a figure.
        seconds: From the run's start until its hours were searchable.
        scan: Seconds of a bare scan of its rows.
        documents: How many it wrote.
        dagster: Seconds of the same job when its steps do nothing.
    """

    name: str
    seconds: float
    scan: float
    documents: int
    dagster: float


def measure_hour(bench: Bench, small: Platform) -> Refreshed:
    """One large hour, warm, against the connector's bare count of the same key ranges."""
    hour = bench.until_ms - HOUR_MS
    key = hour_key(hour)
    prepare(bench, small)
    found = bench.worker(
        small,
        "refresh",
        {
            "warm_up": key,
            "warm_ups": bench.sizes.warm_refreshes,
            "spans": [(key, key)],
            "repetitions": bench.sizes.repetitions,
        },
    )
    span = found["spans"][0]
    name = f"one hour of {bench.sizes.few_clicks:,} clicks, dirty → searchable, warm"
    bench.findings.figures.append(
        Figure(
            name,
            *(span["searchable"], "s", 2.0, Bound.AT_MOST),
            against="the connector's bare count of the same key ranges",
            against_value=span["bare count"],
        )
    )
    _profile(bench, f"refresh of an hour of {bench.sizes.few_clicks:,} clicks", span)
    return Refreshed(name, span["searchable"], span["bare scan"], found["documents"], found["dagster"])


def measure_backfill(bench: Bench, large: Platform) -> Refreshed:
    """All hours in one backfill, against as many single hours and against a bare scan of the same rows."""
    sizes = bench.sizes
    first = bench.until_ms - sizes.hours * HOUR_MS
    single = hour_key(first + sizes.hours // 2 * HOUR_MS)
    lengths = [1, *sizes.curve_hours, sizes.hours]
    spans = [(single, single)]
    spans += [(hour_key(first), hour_key(first + (length - 1) * HOUR_MS)) for length in lengths[1:]]
    prepare(bench, large)
    arguments = {"warm_up": single, "warm_ups": sizes.warm_refreshes, "spans": spans, "repetitions": 1}
    found = bench.worker(large, "refresh", arguments)
    by_length = dict(zip(lengths, found["spans"], strict=True))
    one, all_hours = by_length[1], by_length[sizes.hours]
    name = f"{sizes.hours} hours, {sizes.clicks:,} clicks, one backfill"
    bench.findings.figures += [
        Figure(
            name,
            *(all_hours["searchable"], "s", 0.02, Bound.AT_MOST),
            against=f"{sizes.hours} times a single one of these hours, in the same warm session",
            against_value=one["searchable"],
            factor=sizes.hours,
        ),
        _launched(bench, large, name, spans),
        Figure(
            name,
            *(all_hours["searchable"], "s", 1.5, Bound.AT_MOST),
            against="a bare scan of the same rows",
            against_value=all_hours["bare scan"],
        ),
    ]
    bench.findings.curves["backfill, seconds by hours"] = [(n, by_length[n]["searchable"]) for n in lengths]
    bench.findings.curves["bare scan, seconds by hours"] = [(n, by_length[n]["bare scan"]) for n in lengths]
    _profile(bench, f"backfill of {sizes.hours} hours", all_hours)
    bench.findings.stages.append(Stage("warm session", "start of Spark", found["spark_start"], "s"))
    return Refreshed(name, all_hours["searchable"], all_hours["bare scan"], found["documents"], found["dagster"])


def _launched(bench: Bench, large: Platform, name: str, spans: Sequence[tuple[str, str]]) -> Figure:
    """The backfill and a single hour as Dagster launches them: each run in a process of its own."""

    def seconds(first: str, last: str) -> float:
        return bench.worker(large, "first_refresh", {"first": first, "last": last})["searchable"]

    return Figure(
        f"{name}, in a process of its own",
        *(seconds(*spans[-1]), "s", 0.02, Bound.AT_MOST),
        against=f"{bench.sizes.hours} times a single one of these hours, in a process of its own",
        against_value=statistics.median(seconds(*spans[0]) for _ in range(bench.sizes.repetitions)),
        factor=bench.sizes.hours,
    )


def measure_floors(bench: Bench, refreshed: Sequence[Refreshed], documents_per_second: float) -> None:
    """Each refresh against the minimum that any code would need: reading, writing, and Dagster's own work.

    Args:
        bench: The bench.
        refreshed: The refreshes.
        documents_per_second: At which Elasticsearch's own helper writes such documents.
    """
    for each in refreshed:
        parts = {
            "bare scan": each.scan,
            f"parallel_bulk of {each.documents:,} documents": each.documents / documents_per_second,
            "the same Dagster job with steps that do nothing": each.dagster,
        }
        bench.findings.figures.append(
            Figure(
                each.name,
                *(each.seconds, "s"),
                against="its floor: bare scan, parallel_bulk of its documents, Dagster's own work",
                against_value=sum(parts.values()),
            )
        )
        bench.findings.stages += [Stage(f"floor: {each.name}", part, seconds, "s") for part, seconds in parts.items()]


def measure_dev(bench: Bench, large: Platform) -> None:
    """A small hour becomes dirty while `dagster dev` runs: how long until a search sees it."""
    sizes = bench.sizes
    prepare(bench, large)
    hours = [bench.until_ms - (number + 2) * HOUR_MS for number in range(0, 2 * sizes.refreshes, 2)]
    with large.hbase() as client, dagster_dev(bench, large):
        ledger = HourLedger(client, large.settings.hours_table)
        _settle_ledger(ledger)
        since, dirty_at = time.time(), {}
        for number, hour in enumerate(hours):
            # At moments spread evenly over the sensor's interval: runs of equal length would stay in step with it.
            time.sleep((number / len(hours) * _LOOK_SECONDS - time.time()) % _LOOK_SECONDS)
            dirty_at[hour] = time.time()
            ledger.mark_dirty([hour], holding_clicks=[hour], stored_since_ms=int(dirty_at[hour] * 1000))
            _wait_until_done(ledger, hour)
            _wait_until_idle(large.env["DAGSTER_HOME"])
    runs = bench.worker(large, "dev_runs", {"since": since, "hours": hours})["runs"]
    _dev_figure(bench, runs, dirty_at)


def _dev_figure(bench: Bench, runs: list[dict[str, Any]], dirty_at: dict[int, float]) -> None:
    names = {
        "waiting for the sensor": lambda run: run["created"] - dirty_at[run["hour"]],
        "launching the run": lambda run: run["started"] - run["created"],
        "start of Spark": lambda run: run["stages"].get("url_country_aggregates: start Spark", 0.0),
        "from the run's start to searchable": lambda run: run["stages"]["searchable at"] - run["started"],
    }
    for name, of in names.items():
        value = statistics.median(of(run) for run in runs)
        bench.findings.stages.append(Stage("refresh of a small hour in dagster dev", name, value, "s"))
    _profile(bench, "refresh of a small hour in dagster dev", _medians([run["stages"] for run in runs]))
    seconds = [run["stages"]["searchable at"] - dirty_at[run["hour"]] for run in runs]
    spark_start = statistics.median(names["start of Spark"](run) for run in runs)
    waiting = statistics.median(names["waiting for the sensor"](run) for run in runs)
    bench.findings.figures.append(
        Figure(
            f"an hour of {bench.sizes.clicks // bench.sizes.hours:,} clicks, dirty → searchable in `dagster dev`, p50",
            *(statistics.median(seconds), "s", 20.0, Bound.AT_MOST),
            note=f"{spark_start:.1f} s start of Spark, {waiting:.1f} s until the sensor looked",
        )
    )


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(each.get(name, 0.0) for each in rounds) for name in rounds[0]}


def prepare(bench: Bench, platform: Platform) -> None:
    """A Dagster instance as a local stack has it."""
    home = Path(platform.env["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(DAGSTER_CONFIG, home / "dagster.yaml")
    bench.settle()


def _profile(bench: Bench, work: str, measured: dict[str, float]) -> None:
    for stage, value in measured.items():
        if stage.startswith(("step ", "url_country_aggregates: ", "es_click_index: ", "bare ")):
            bench.findings.stages.append(Stage(work, stage, value, "s"))


def _settle_ledger(ledger: HourLedger) -> None:
    """Marks all hours as done, so that the sensor does not refresh hours that the backfill left out."""
    ledger.set_done({state.hour: state.dirty for state in ledger.all() if state.is_dirty})


def _wait_until_done(ledger: HourLedger, hour: int) -> None:
    _wait(
        lambda: not ledger.read([hour])[hour].is_dirty,
        f"`dagster dev` did not refresh the hour {hour_key(hour)} within {_DEV_SECONDS} s.",
    )


def _wait_until_idle(home: str) -> None:
    """A run goes on for a moment after its hour is done, and the sensor starts no other in the same lane meanwhile."""
    with dg.DagsterInstance.from_config(home) as instance:
        _wait(
            lambda: all(run.is_finished for run in instance.get_runs()),
            f"A run of `dagster dev` did not end within {_DEV_SECONDS} s.",
        )


def _wait(reached: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + _DEV_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise WorkerFailed(failure)
        time.sleep(_POLL_SECONDS)


@contextmanager
def dagster_dev(bench: Bench, platform: Platform) -> Iterator[None]:
    """`dagster dev` with all its sensors running, until the block ends."""
    port = choose(["web"])["web"]
    command = [str(Path(sys.executable).with_name("dagster")), "dev", "-m", "dataco_assets.definitions"]
    with (bench.folder / "dagster-dev.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "-h", LOOPBACK, "-p", str(port)],
            env={**os.environ, **platform.env},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_for_web(process, port)
            yield
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _wait_for_web(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _DEV_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/server_info", timeout=2):  # loopback
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None:
                break
            time.sleep(0.5)
    raise WorkerFailed("`dagster dev` did not come up.")
