"""Loading the code location against a bare `import dagster`."""

import os
import resource
import statistics
import subprocess
import sys

from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure

_REPETITIONS = 5
_HEAVY = ("pyspark", "pandas", "pandera", "kubernetes", "happybase", "confluent_kafka", "elasticsearch")
_PLATFORM = f"""
import sys, dataco_assets.definitions
heavy = [name for name in {_HEAVY!r} if name in sys.modules]
sys.exit(f"loaded without need: {{heavy}}" if heavy else 0)
"""


def measure(bench: Bench, platform: Platform) -> None:
    """CPU seconds of a fresh interpreter, which the load of the machine hardly changes."""
    bench.settle()
    ours, bare = [], []
    for _ in range(_REPETITIONS):
        bare.append(_cpu_seconds("import dagster", platform))
        ours.append(_cpu_seconds(_PLATFORM, platform))
    bench.findings.figures.append(
        Figure(
            "load of the code location (CPU), no JVM, none of the heavy libraries",
            *(statistics.median(ours), "s", 2.0, Bound.AT_MOST),
            against="import dagster",
            against_value=statistics.median(bare),
        )
    )


def _cpu_seconds(code: str, platform: Platform) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **platform.env}, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
