"""The batch alone: from a click being sent to readers finding it, by sensors and runs of Dagster, without live."""

import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Final

import psutil

from benchmarks.bench import Bench
from benchmarks.figures import Bound, Figure
from benchmarks.measure_refresh import dagster_dev, prepare
from benchmarks.probes import Prober, percentiles
from dataco_assets.clients.elasticsearch import connect

_PROBE_SECONDS: Final = 7.3  # no multiple of the sensors' interval
_TARGETS: Final = (12.0, 20.0)
"""Seconds that half and 95 % of the probes may take with the defaults."""
_SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    "the defaults": {},
    "no waiting": {
        "DATACO_LAG_MIN_CLICKS": "1",
        "DATACO_LAG_MAX_AGE_SECONDS": "0",
        "DATACO_RUNNING_HOUR_REFRESH_SECONDS": "0",
    },
}


def measure(bench: Bench) -> None:
    """Measures with the default settings, and with those with which nothing waits on purpose."""
    platform = bench.platform("batch")
    bench.provision(platform)
    for name, settings in _SETTINGS.items():
        own = replace(platform, env={**platform.env, **settings})
        prepare(bench, own)
        with dagster_dev(bench, own), closing(connect(own.settings)) as search:
            prober = Prober(own, search)
            prober.probe()  # the first runs start Spark and load what they need
            over = threading.Timer(bench.sizes.batch_latency_seconds, (ended := threading.Event()).set)
            over.start()
            found = prober.probe_each(_PROBE_SECONDS, ended.wait)
        note = f"{len(found)} probes, load average {psutil.getloadavg()[0]:.1f}"
        targets = _TARGETS if not settings else (None, None)
        bench.findings.figures += [
            Figure(f"batch alone, {name}, sent → found, {each}", value, "s", target, Bound.AT_MOST, note=note)
            for (each, value), target in zip(percentiles(found), targets, strict=True)
        ]
