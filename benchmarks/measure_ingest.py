"""Ingest: clicks per second, memory, and what each process spends on a click."""

import statistics
from typing import Any

from benchmarks import performance_evaluation
from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure, Stage

_MEGABYTE = 1_000_000
CONNECTIONS = (1, 2, 3, 4)


def fill(bench: Bench, platform: Platform, count: int, hours: float) -> None:
    """Sends clicks to a platform's topic."""
    bench.worker(platform, "fill", {"count": count, "hours": hours, "until_ms": bench.until_ms})


def warm_up(bench: Bench, large: Platform) -> None:
    """Has the servers work for a while, so that their compilers are done before the first of those compared begins."""
    warm = bench.platform("warm", of=large)
    bench.provision(warm)
    bench.worker(_limited(warm, bench.sizes.warm_clicks), "drain")
    bench.drop_tables(warm)


def measure(bench: Bench, large: Platform, small: Platform) -> None:
    """Drains the two filled platforms and holds that against the peers; the rows stay for those who follow.

    The large one is drained and each peer run in turn, several times, and medians are compared: HBase has good and bad
    minutes.
    """
    sizes = bench.sizes
    warm_up(bench, large)
    few = drained(bench, small, sizes.few_clicks)
    many = drained(bench, large, sizes.clicks)
    _profile(bench, many, sizes.clicks)
    rounds = [{"ours": _rate(many), **_peers(bench, large, 0)}]
    rounds += [{"ours": _again(bench, large, n), **_peers(bench, large, n)} for n in range(1, sizes.repetitions)]
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    rates = {sizes.few_clicks: _rate(few), sizes.clicks: medians["ours"]}
    for what, target, rate in (
        ("HBase PerformanceEvaluation, multiPut, one Java client", 0.8, medians["performance evaluation"]),
        ("happybase loop, 1,000-row batches", 1.5, medians["happybase"]),
        ("hbase-spark writing the same clicks from Kafka", 1.5, medians["hbase-spark"]),
    ):
        bench.findings.figures.append(
            Figure(
                f"ingest, {sizes.clicks:,} clicks waiting",
                *(medians["ours"], "clicks/s", target, Bound.AT_LEAST),
                against=what,
                against_value=rate,
            )
        )
    memory = many["rss_bytes"] / _MEGABYTE, few["rss_bytes"] / _MEGABYTE
    bench.findings.figures += [
        Figure(
            f"peak memory of ingest, {sizes.clicks:,} clicks waiting",
            *(memory[0], "MB", 1.1, Bound.AT_MOST),
            against=f"the same, {sizes.few_clicks:,} waiting",
            against_value=memory[1],
        ),
        Figure(f"peak memory of ingest, {sizes.clicks:,} clicks waiting", memory[0], "MB", 600, Bound.AT_MOST),
    ]
    _curves(bench, large, rates)


def drained(bench: Bench, platform: Platform, count: int, connections: int | None = None) -> dict[str, Any]:
    """Drains a topic whole, and tells what each server spent on it."""
    bench.settle()
    before = bench.server_cpu()
    found = bench.worker(platform, "drain", {"connections": connections} if connections else {})
    after = bench.server_cpu()
    if found["seen"] != count:
        raise ValueError(f"{found['seen']} of {count} messages were drained")
    found["server_cpu"] = {name: after[name] - before[name] for name in after}
    return found


def _profile(bench: Bench, drain: dict[str, Any], count: int) -> None:
    work = "ingest, CPU per click"
    bench.findings.stages.append(Stage(work, "ingest process", drain["cpu_seconds"] / count * 1e6, "µs"))
    for name, seconds in drain["server_cpu"].items():
        bench.findings.stages.append(Stage(work, name, seconds / count * 1e6, "µs"))
    bench.findings.stages.append(Stage("ingest, wall clock per click", "all", drain["seconds"] / count * 1e6, "µs"))


def _again(bench: Bench, large: Platform, number: int) -> float:
    """Rate of a drain of the same clicks into tables that go when it is done."""
    again = bench.platform(f"again{number}", of=large)
    bench.provision(again)
    rate = _rate(drained(bench, again, bench.sizes.clicks))
    bench.drop_tables(again)
    return rate


def _peers(bench: Bench, large: Platform, number: int) -> dict[str, float]:
    """Rates of the peers over the same clicks, each into a table of its own that goes when it is done."""
    count = bench.sizes.clicks
    loop, spark = bench.platform(f"loop{number}", of=large), bench.platform(f"sparkwrite{number}", of=large)
    bench.provision(loop, spark)
    rates: dict[str, float] = {}
    table = f"{large.name}_evaluation{number}"
    bench.settle()
    rates["performance evaluation"] = performance_evaluation.rows_per_second(bench.stack, count, table)
    drop_table(large, table)
    bench.settle()
    found = bench.worker(loop, "happybase_loop", {"count": count})
    rates["happybase"] = found["seen"] / found["seconds"]
    bench.drop_tables(loop)
    bench.settle()
    rates["hbase-spark"] = count / bench.worker(spark, "spark_write")["seconds"]
    bench.drop_tables(spark)
    return rates


def drop_table(platform: Platform, table: str) -> None:
    """Drops a table if it exists."""
    with platform.hbase() as client:
        exists = table in client.tables()
    if exists:
        platform.drop_table(table)


def _curves(bench: Bench, large: Platform, rates: dict[int, float]) -> None:
    """Further points of the curves. Fewer clicks and connections: tables of their own, the same topic."""
    sizes = bench.sizes
    runs = [(f"n{count}", count, None) for count in sizes.curve_clicks]
    runs += [(f"c{number}", sizes.connection_clicks, number) for number in CONNECTIONS]
    platforms = {name: bench.platform(name, of=large) for name, _, _ in runs}
    bench.provision(*platforms.values())
    by_connections: list[tuple[float, float]] = []
    for name, count, connections in runs:
        platform = _limited(platforms[name], count)
        rate = _rate(drained(bench, platform, count, connections))
        if connections is None:
            rates[count] = rate
        else:
            by_connections.append((connections, rate))
        bench.drop_tables(platform)
    bench.findings.curves["ingest, clicks/s by clicks waiting"] = [(n, rates[n]) for n in sorted(rates)]
    bench.findings.curves["ingest, clicks/s by connections"] = by_connections


def _limited(platform: Platform, count: int) -> Platform:
    """The platform with a run that ends after so many messages."""
    return Platform(platform.name, {**platform.env, "DATACO_INGEST_MAX_CLICKS": str(count)})


def _rate(found: dict[str, Any]) -> float:
    return found["seen"] / found["seconds"]
