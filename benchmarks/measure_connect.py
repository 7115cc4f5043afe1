"""The Kafka Connect sink: clicks per second, memory, and what it spends on a click."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import requests

from benchmarks import performance_evaluation
from benchmarks.bench import Bench, Platform
from benchmarks.figures import Bound, Figure, Stage
from benchmarks.machine import peak_rss_bytes
from benchmarks.measure_ingest import drained, drop_table, warm_up
from dataco_assets.ledgers.offsets import Mode, OffsetLedger

_WORKER = "connect"
_CLIENTS = {1: "one", 2: "two"}
_STORED_WITHIN_SECONDS = 900
_LOOK_SECONDS = 0.05
_CALL_SECONDS = 60
_BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"


@dataclass(frozen=True)
class Stored:
    """A connector's work on a topic.

    Attributes:
        rate: Clicks per second, from its first checkpoint to the last but one (the last one waits until it is due);
            from its creation to the last, when there were fewer than three.
        cpu: CPU seconds that each server spent.
    """

    rate: float
    cpu: Mapping[str, float]


def measure(bench: Bench, large: Platform, small: Platform) -> None:
    """Stores the two filled topics with the sink, into tables of its own, and holds that against the peers.

    Connector, peers and drain take turns several times, and medians are compared.
    """
    sizes = bench.sizes
    bench.stack.up(extra=[_WORKER])
    try:
        warm_up(bench, large)
        memory = {count: _memory(bench, of, count) for of, count in ((small, sizes.few_clicks), (large, sizes.clicks))}
        rounds = [_round(bench, large, number) for number in range(sizes.repetitions)]
    finally:
        bench.stack.stop(_WORKER)
    medians = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    bench.findings.figures += [
        *(_against_evaluation(medians, tasks, sizes.clicks) for tasks in _CLIENTS),
        Figure(
            "CPU per click, Kafka Connect sink (one task) and HBase",
            *(medians["sink CPU"], "µs", 0.85, Bound.AT_MOST),
            against="drain, gateway and HBase",
            against_value=medians["drain CPU"],
        ),
        Figure(
            f"peak memory of a Kafka Connect worker, {sizes.clicks:,} clicks waiting",
            *(memory[sizes.clicks], "MB", 1.1, Bound.AT_MOST),
            against=f"the same, {sizes.few_clicks:,} waiting",
            against_value=memory[sizes.few_clicks],
        ),
    ]
    bench.findings.stages += [
        Stage("Kafka Connect sink, CPU per click", name, medians[name], "µs") for name in (_WORKER, "hbase")
    ]


def _against_evaluation(medians: Mapping[str, float], tasks: int, count: int) -> Figure:
    clients = _CLIENTS[tasks]
    return Figure(
        f"Kafka Connect sink, {clients} task{'s' * (tasks > 1)}, {count:,} clicks waiting",
        *(medians[f"sink {tasks}"], "clicks/s", 0.9, Bound.AT_LEAST),
        against=f"HBase PerformanceEvaluation, multiPut, {clients} Java client{'s' * (tasks > 1)}",
        against_value=medians[f"evaluation {tasks}"],
    )


def _round(bench: Bench, large: Platform, number: int) -> dict[str, float]:
    """One round: rates by name, and CPU per click in µs."""
    count = bench.sizes.clicks
    found: dict[str, float] = {}
    for tasks in _CLIENTS:
        stored = _stored(bench, bench.platform(f"sink{tasks}x{number}", of=large), count, tasks)
        found[f"sink {tasks}"] = stored.rate
        if tasks == 1:
            found |= {name: stored.cpu[name] / count * 1e6 for name in (_WORKER, "hbase")}
        table = f"{large.name}_sinkpeer{tasks}x{number}"
        bench.settle()
        found[f"evaluation {tasks}"] = performance_evaluation.rows_per_second(bench.stack, count, table, clients=tasks)
        drop_table(large, table)
    found["sink CPU"] = found[_WORKER] + found["hbase"]
    drain = bench.platform(f"sinkdrain{number}", of=large)
    bench.provision(drain)
    spent = drained(bench, drain, count)
    bench.drop_tables(drain)
    gateway_and_store = spent["server_cpu"]["thrift"] + spent["server_cpu"]["hbase"]
    found["drain CPU"] = (spent["cpu_seconds"] + gateway_and_store) / count * 1e6
    return found


def _memory(bench: Bench, of: Platform, count: int) -> float:
    """Highest resident size, in MB, of a worker that has done nothing but to store a topic."""
    bench.stack.stop(_WORKER)
    bench.stack.start(_WORKER)
    bench.stack.wait_ready(_WORKER)
    _stored(bench, bench.platform(f"sinkmemory{count}", of=of), count, 1)
    return peak_rss_bytes(bench.stack.pid(_WORKER)) / 1e6


def _stored(bench: Bench, platform: Platform, count: int, tasks: int) -> Stored:
    """Has a connector store a topic whole, in tables that go when it is done."""
    bench.provision(platform)
    bench.settle()
    url = f"{bench.stack.env()['DATACO_CONNECT_URL']}/connectors/{platform.name}"
    topic = platform.settings.clicks_topic
    with platform.hbase() as client:
        ledger = OffsetLedger(client, platform.settings.offsets_table)
        ledger.change_owner(topic, Mode.CONNECT)
        before = bench.server_cpu()
        requests.put(f"{url}/config", json=_config(platform, tasks), timeout=_CALL_SECONDS).raise_for_status()
        checkpoints = [(time.monotonic(), 0)]
        deadline = time.monotonic() + _STORED_WITHIN_SECONDS
        while (stored := sum(each.next_offset for each in ledger.read(topic).values())) < count:
            if stored > checkpoints[-1][1]:
                checkpoints.append((time.monotonic(), stored))
            if time.monotonic() > deadline:
                raise ValueError(f"the connector stored {stored} of {count} messages; its state: {_state(url)}")
            time.sleep(_LOOK_SECONDS)
        checkpoints.append((time.monotonic(), count))
        after = bench.server_cpu()
    requests.delete(url, timeout=_CALL_SECONDS).raise_for_status()
    bench.drop_tables(platform)
    return Stored(_rate(checkpoints), {name: after[name] - before[name] for name in after})


def _rate(checkpoints: Sequence[tuple[float, int]]) -> float:
    """Clicks per second of checkpoints: when each was made, and how many clicks were stored then; the first is none."""
    full = checkpoints[1:-1]
    (began, first), *_, (ended, last) = full if len(full) > 1 else checkpoints
    return (last - first) / (ended - began)


def _state(url: str) -> str:
    return requests.get(f"{url}/status", timeout=_CALL_SECONDS).text[:2_000]


def _config(platform: Platform, tasks: int) -> dict[str, str]:
    """The connector as docs/connect.md has it."""
    settings = platform.settings
    return {
        "connector.class": "dataco.connect.ClickSinkConnector",
        "tasks.max": str(tasks),
        "topics": settings.clicks_topic,
        "key.converter": _BYTES,
        "value.converter": _BYTES,
        "header.converter": _BYTES,
        "consumer.override.isolation.level": "read_committed",
        "consumer.override.max.poll.records": "5000",
        "kafka.bootstrap.servers": settings.kafka_bootstrap_servers,
        "rejected.topic": settings.rejected_topic,
        "start.group": settings.kafka_group,
        "hbase.zookeeper.quorum": settings.hbase_zookeeper_quorum,
        "hbase.table.prefix": settings.hbase_table_prefix,
        "partitions.start": settings.partitions_start,
    }
