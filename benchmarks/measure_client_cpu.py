"""What a click costs the ingest process, measured in one process with nothing else to do."""

from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure, Stage


def measure(bench: Bench, large: Platform) -> None:
    """Measures with clicks of the large topic."""
    found = bench.worker(large, "client_cpu")
    bench.findings.figures.append(
        Figure(
            "client CPU per click: decode, validate, key, encode",
            *(found["total"], "µs", 5.0, Bound.AT_MOST),
            note=f"{found['cells']:.1f} cells a click",
        )
    )
    bench.findings.figures.append(
        Figure(
            "client CPU per click in Avro: decode, validate",
            *(found["stages"]["decode and validate, in Avro"], "µs", 3.0, Bound.AT_MOST),
            against="the same in JSON",
            against_value=found["stages"]["decode and validate"],
        )
    )
    bench.findings.stages += [
        Stage("ingest process, CPU per click", stage, value, "µs") for stage, value in found["stages"].items()
    ]
