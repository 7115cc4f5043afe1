"""Ingest of clicks in Avro beside the same clicks in JSON."""

import statistics

from benchmarks.bench import Bench
from benchmarks.figures import Bound, Figure
from benchmarks.measure_ingest import drained


def measure(bench: Bench) -> None:
    """Drains two topics that hold the same clicks in turn, several times, and compares medians."""
    count = bench.sizes.few_clicks
    rates: dict[bool, list[float]] = {False: [], True: []}
    topics = {avro: bench.platform("avro" if avro else "json") for avro in rates}
    bench.provision(*topics.values())
    for avro, platform in topics.items():
        arguments = {"count": count, "hours": 1, "until_ms": bench.until_ms, "avro": avro}
        bench.worker(platform, "fill", arguments)
    for number in range(bench.sizes.repetitions + 1):  # the first one warms the servers
        for avro, platform in topics.items():
            again = bench.platform(f"{'avro' if avro else 'json'}{number}", of=platform)
            bench.provision(again)
            found = drained(bench, again, count)
            bench.drop_tables(again)
            if number:
                rates[avro].append(found["seen"] / found["seconds"])
    bench.drop(*topics.values())
    bench.findings.figures.append(
        Figure(
            f"ingest in Avro, {count:,} clicks waiting",
            *(statistics.median(rates[True]), "clicks/s", 0.8, Bound.AT_LEAST),
            against="the same clicks in JSON",
            against_value=statistics.median(rates[False]),
        )
    )
