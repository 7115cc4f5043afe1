"""The drain as it is, and the plain loop it is held against."""

import json
import time
from dataclasses import replace
from typing import Any

import happybase
from confluent_kafka import Consumer, TopicPartition

from benchmarks.machine import peak_rss_bytes
from dataco_assets.clicks.row import row_key
from dataco_assets.clients.hbase import connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.ingest.drain import Drain, policy_from
from dataco_assets.settings import settings

_LOOP_BATCH_ROWS = 1_000


def drain(connections: int | None = None) -> dict[str, Any]:
    """One drain of the topic: validation, rejects, ledgers and checkpoints as in every run."""
    config = settings()
    policy = policy_from(config)
    if connections is not None:
        policy = replace(policy, connections=connections)
    with connect(config) as hbase:
        began = time.process_time()
        with Drain(config, hbase, policy, brokers=Brokers.of(config)) as drained:
            result = drained.run()
        cpu = time.process_time() - began
    return {
        "seen": result.seen,
        "stored": result.stored,
        "seconds": result.seconds,
        "cpu_seconds": cpu,
        "rss_bytes": peak_rss_bytes(),
    }


def happybase_loop(count: int) -> dict[str, Any]:
    """What one would write first: poll, `json.loads`, a happybase batch of 1,000 rows. No validation, no ledger."""
    config = settings()
    consumer = Consumer(
        {
            "bootstrap.servers": config.kafka_bootstrap_servers,
            "group.id": f"{config.kafka_group}-loop",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    topic = consumer.list_topics(config.clicks_topic, timeout=10).topics[config.clicks_topic]
    consumer.assign([TopicPartition(config.clicks_topic, partition, 0) for partition in topic.partitions])
    connection = happybase.Connection(config.hbase_thrift_host, config.hbase_thrift_port, timeout=60_000)
    table = connection.table(config.clicks_table)
    started, began, seen = time.monotonic(), time.process_time(), 0
    while seen < count:
        messages = consumer.consume(_LOOP_BATCH_ROWS, timeout=5.0)
        if not messages:
            break
        batch = table.batch()
        for message in messages:
            seen += 1
            try:
                _put(batch, json.loads(message.value() or b"null"))
            except (ValueError, TypeError, KeyError, AttributeError):
                continue  # malformed
        batch.send()
    seconds, cpu = time.monotonic() - started, time.process_time() - began
    consumer.close()
    connection.close()
    return {"seen": seen, "seconds": seconds, "cpu_seconds": cpu}


_FAMILY = {
    **dict.fromkeys(("event_id", "user_id", "timestamp", "url", "page", "ip_address", "user_agent"), b"click_data:"),
    **dict.fromkeys(("referrer", "referrer_host"), b"click_data:"),
    **dict.fromkeys(("country", "city"), b"geo_data:"),
    **dict.fromkeys(("browser", "operating_system", "device"), b"user_agent_data:"),
}


def _put(batch: Any, click: dict[str, Any]) -> None:
    timestamp = click["timestamp"] if isinstance(click["timestamp"], int) else 0
    key = row_key(click["user_id"], timestamp, click.get("event_id") or click["url"])
    click["page"] = click["url"]
    batch.put(key, {family + name.encode(): str(click.get(name) or "").encode() for name, family in _FAMILY.items()})
