"""Live: from a click being sent to readers finding it, and how fast it catches up after an outage."""

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.bench import Bench, Platform, WorkerFailed
from benchmarks.figures import Bound, Figure, Stage
from benchmarks.probes import Prober, click, percentiles
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.clients.kafka.producer import click_producer
from dataco_assets.clock import now_ms
from dataco_assets.sources.generator import GeneratorSpec, generate

_SLOW, _SLOW_USERS = 50, 250
_FAST, _FAST_USERS = 2_000, 10_000
_PROBE_SECONDS: Final = 1.7  # no multiple of a micro-batch's interval
_LOOK_SECONDS: Final = 0.02
_CAUGHT_UP_WITHIN_SECONDS: Final = 1_800.0
_WARM_SECONDS: Final = 40.0
_STOP_SECONDS: Final = 60.0
_MOST_IN_STEP = 100
_TARGETS: Final[Mapping[int, tuple[float, float]]] = {_SLOW: (1.5, 3.0), _FAST: (2.5, 5.0)}
"""Seconds that half and 95 % of the probes may take, by clicks per second."""
_CATCH_UP_RATE: Final = 5 * _FAST


def measure(bench: Bench) -> None:
    """Measures live with little traffic, with much, after an outage, with a busy user, and with very many users."""
    platform = bench.platform("live")
    bench.provision(platform)
    seconds = bench.sizes.live_seconds
    warm = min(_WARM_SECONDS, seconds)
    with running_live(bench, platform) as live:
        live.probe()  # waits until it serves
        live.measured(_SLOW, _SLOW_USERS, warm)  # for the JVM's compilers
        slow = live.measured(_SLOW, _SLOW_USERS, bench.sizes.live_long_seconds)
        live.measured(_FAST, _FAST_USERS, warm)
        _note(bench, _SLOW, slow, "an hour that has just begun to fill")
        fast = live.measured(_FAST, _FAST_USERS, seconds)
        _note(bench, _FAST, fast, "an hour that has just begun to fill")
        rate, done = live.caught_up(bench.sizes.clicks)
        bench.findings.figures.append(
            Figure(
                f"live, catching up on {bench.sizes.clicks:,} clicks",
                *(rate, "clicks/s", _CATCH_UP_RATE, Bound.AT_LEAST),
                note=done,
            )
        )
        full = live.measured(_FAST, _FAST_USERS, seconds)
        _note(bench, _FAST, full, f"with {bench.sizes.clicks:,} clicks more in its hours")
        busy = bench.sizes.live_clicks_of_a_user
        rate, done = live.caught_up(busy, users=1)
        bench.findings.figures.append(
            Figure(f"live, {busy:,} clicks of one user in an hour", rate, "clicks/s", note=done)
        )
        single = live.measured(_SLOW, 1, seconds)
        bench.findings.figures += [
            Figure(f"live, a user of {busy:,} clicks who clicks {_SLOW} times a second, {name}", value, "s")
            for name, value in percentiles(single.seconds)
        ]
        users = bench.sizes.live_users
        rate, done = live.caught_up(users, users=users)
        bench.findings.figures.append(
            Figure(f"live, {users:,} users in an hour, a click each", rate, "clicks/s", note=done)
        )
        many = live.measured(_SLOW, _SLOW_USERS, seconds)
        bench.findings.figures += [
            Figure(f"live, {_SLOW} clicks/s with {users:,} users in the state, {name}", value, "s")
            for name, value in percentiles(many.seconds)
        ]
    bench.findings.figures.append(Figure("live, peak memory of the driver's JVM", live.driver_rss_bytes / 1e6, "MB"))
    bench.drop(platform)


@dataclass(frozen=True)
class Latencies:
    """Seconds from a probe being sent to its being found.

    Attributes:
        seconds: Of each probe, shortest first.
        load: Load average of the machine when it ended.
        stages: Mean seconds of each part of a micro-batch, by Spark's report.
        clicks: Mean number of records of a micro-batch.
    """

    seconds: Sequence[float]
    load: float
    stages: Mapping[str, float]
    clicks: float


def _note(bench: Bench, rate: int, found: Latencies, hour: str) -> None:
    work = f"live, {rate:,} clicks/s, {hour}"
    note = f"{len(found.seconds)} probes, load average {found.load:.1f}"
    bench.findings.figures += [
        Figure(f"{work}, sent → found, {name}", value, "s", target, Bound.AT_MOST, note=note)
        for (name, value), target in zip(percentiles(found.seconds), _TARGETS[rate], strict=True)
    ]
    bench.findings.stages.append(Stage(work, "records of a micro-batch", found.clicks, ""))
    bench.findings.stages += [Stage(work, name, value, "s") for name, value in found.stages.items()]


class Live:
    """Live in a process of its own, and the traffic that it gets.

    Args:
        platform: Whose live it is.
        reports: File with Spark's reports.
    """

    def __init__(self, platform: Platform, reports: Path, search: SearchClient) -> None:
        self._platform = platform
        self._reports = reports
        self._prober = Prober(platform, search, _LOOK_SECONDS)
        self.driver_rss_bytes = 0

    def probe(self) -> float:
        """Seconds until readers of the alias find a click of now."""
        return self._prober.probe()

    def measured(self, rate: int, users: int, seconds: float) -> Latencies:
        """Probes while others click at a rate, per second."""
        ended = threading.Event()
        traffic = threading.Thread(target=self._click, args=(rate, users, seconds, ended))
        before = len(self._lines())
        traffic.start()
        found = self._prober.probe_each(_PROBE_SECONDS, ended.wait)
        traffic.join()
        stages, clicks = _profile(self._lines()[before:])
        return Latencies(found, psutil.getloadavg()[0], stages, clicks)

    def caught_up(self, clicks: int, *, users: int = _FAST_USERS) -> tuple[float, str]:
        """Sends the clicks of an hour at once; returns clicks per second until readers find all, and how it was."""
        until = now_ms()
        sent: Iterable[tuple[bytes, bytes | None]]
        if users in (1, clicks):
            sent = _evenly(clicks, users, until)
        else:
            spec = GeneratorSpec(count=clicks, hours=1.0, until_ms=until, seed=until, users=users)
            sent = [(each.key, each.value) for each in generate(spec)]
        began = time.monotonic()
        with click_producer(self._platform.settings) as producer:
            for key, value in sent:
                producer.send(key, value)
            producer.flush()
        self._prober.probe(_CAUGHT_UP_WITHIN_SECONDS)
        seconds = time.monotonic() - began
        return clicks / seconds, f"load average {psutil.getloadavg()[0]:.1f}"

    def _click(self, rate: int, users: int, seconds: float, ended: threading.Event) -> None:
        total = int(rate * seconds)
        start = now_ms()
        spec = GeneratorSpec(
            count=total, hours=seconds / 3_600, until_ms=start + int(seconds * 1_000), seed=start, users=users
        )
        values: Iterator[tuple[bytes, bytes | None]] = (
            ((each.key, each.value) for each in generate(spec))
            if users > 1
            else ((b"busy-0", click(page, "busy-0", now_ms())) for page in cycle(_PAGES))
        )
        began = time.monotonic()
        with click_producer(self._platform.settings) as producer:
            for number in range(0, total, step := max(1, min(_MOST_IN_STEP, rate // 20))):
                for key, value in (next(values) for _ in range(min(step, total - number))):
                    producer.send(key, value)
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
        ended.set()

    def _lines(self) -> list[str]:
        return self._reports.read_text().splitlines() if self._reports.exists() else []


_PAGES = [f"https://shop.example/{number}" for number in range(20)]


def _evenly(clicks: int, users: int, until_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Clicks of the hour before a time, at even distances, of each user in turn."""
    hour_ms = 3_600_000
    for number, page in zip(range(clicks), cycle(_PAGES), strict=False):
        user = f"busy-{number % users}"
        yield user.encode(), click(page, user, until_ms - hour_ms + number * hour_ms // clicks)


def _profile(lines: Sequence[str]) -> tuple[dict[str, float], float]:
    """Mean seconds of the parts of the micro-batches, and their mean number of records."""
    reports = [report for report in map(json.loads, lines) if "addBatch" in report["durationMs"]]
    names = dict.fromkeys(name for report in reports for name in report["durationMs"])
    means = {name: statistics.mean(report["durationMs"].get(name, 0) for report in reports) / 1_000 for name in names}
    return means, statistics.mean(_records(report["sources"][0]) for report in reports)


def _records(source: Mapping[str, Any]) -> int:
    """Records of a micro-batch, by their offsets: Spark's own number is 0 when the sink is a function."""
    ends, starts = (
        [offset for partitions in (source[name] or {}).values() for offset in partitions.values()]
        for name in ("endOffset", "startOffset")
    )
    return sum(ends) - sum(starts)


@contextmanager
def running_live(bench: Bench, platform: Platform) -> Iterator[Live]:
    """Live, until the end of the block."""
    reports, answer, log = (bench.folder / f"{platform.name}.{name}" for name in ("reports", "answer", "log"))
    checkpoint = {"DATACO_LIVE_CHECKPOINT_URI": (bench.folder / "live" / platform.name).as_uri()}
    own = replace(platform, env={**platform.env, **checkpoint})
    command = [sys.executable, "-m", "benchmarks.workers", "live", json.dumps({"reports": str(reports)}), str(answer)]
    with log.open("wb") as output, closing(connect(platform.settings)) as search:
        process = subprocess.Popen(command, env={**os.environ, **own.env}, stdout=output, stderr=output)
        live = Live(own, reports, search)
        try:
            yield live
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_STOP_SECONDS)
        if process.returncode:
            raise WorkerFailed(f"Live failed:\n{log.read_text()[-4_000:]}")
        found: Mapping[str, Any] = json.loads(answer.read_text())
        live.driver_rss_bytes = found["driver_rss_bytes"]
