"""The batch alone: from a click being sent to readers finding it, by sensors and runs of Dagster, without live.

And what Dagster and its runs take of the processor for it, without live and beside it.
"""

import contextlib
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Final

import psutil

from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure
from benchmarks.measure_live import running_live
from benchmarks.measure_refresh import dagster_dev, prepare
from benchmarks.probes import Prober, percentiles
from dataco_assets.clients.elasticsearch import connect

_PROBE_SECONDS: Final = 3.7  # no multiple of the sensors' interval
_LOOK_SECONDS: Final = 0.2
_TARGETS: Final = (12.0, 20.0)
"""Seconds that half and 95 % of the probes may take with the defaults."""
_MARK: Final = "BENCHMARK_PROCESSES_OF"
"""Environment variable by which the processes that Dagster starts are found, a Spark driver that waits included."""
_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "the defaults": {},
    "an ingest each 30 s and a refresh each 60 s": {
        "DATACO_LAG_MAX_AGE_SECONDS": "30",
        "DATACO_RUNNING_HOUR_REFRESH_SECONDS": "60",
    },
}


def measure(bench: Bench) -> None:
    """Measures with the default settings, with sparing ones, and beside live."""
    platform = bench.platform("batch")
    bench.provision(platform)
    for name, settings in _SETTINGS.items():
        own = replace(platform, env={**platform.env, **settings})
        prepare(bench, own)
        found = _probed(bench, own, f"batch alone, {name}")
        note = f"{len(found)} probes, load average {psutil.getloadavg()[0]:.1f}"
        targets = _TARGETS if not settings else (None, None)
        bench.findings.figures += [
            Figure(f"batch alone, {name}, sent → found, {each}", value, "s", target, Bound.AT_MOST, note=note)
            for (each, value), target in zip(percentiles(found), targets, strict=True)
        ]
    beside = bench.platform("besides")
    bench.provision(beside)
    prepare(bench, beside)
    with running_live(bench, beside) as live:
        live.probe()  # from then on readers have live
        _probed(bench, beside, "beside live")


def _probed(bench: Bench, platform: Platform, name: str) -> list[float]:
    """Seconds of each probe while Dagster runs; notes what its processes take of the processor meanwhile."""
    marked = replace(platform, env={**platform.env, _MARK: name})
    with dagster_dev(bench, marked), closing(connect(platform.settings)) as search:
        prober = Prober(platform, search, _LOOK_SECONDS)
        prober.probe()  # the first runs start Spark and load what they need
        over = threading.Timer(bench.sizes.batch_latency_seconds, (ended := threading.Event()).set)
        over.start()
        began, before = time.monotonic(), _cpu_seconds(name)
        found = prober.probe_each(_PROBE_SECONDS, ended.wait)
        per_minute = (_cpu_seconds(name) - before) / (time.monotonic() - began) * 60
    bench.findings.figures.append(
        Figure(f"CPU of Dagster and its runs, {name}, a click each 3.7 s", per_minute, "s/min")
    )
    return found


def _cpu_seconds(name: str) -> float:
    """What the processes so marked have taken so far, with their children that have ended."""
    total = 0.0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(_MARK) == name:
                total += sum(process.cpu_times()[:4])
    return total
