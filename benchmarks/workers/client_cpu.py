"""Measures the CPU time of a click in one process, stage by stage; only consuming needs a server (Kafka)."""

import time
from collections.abc import Callable
from typing import Any

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clicks.row import COLUMNS, cells, row_key
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import RangeConsumer
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.clients.mutations import encode_row, mutate_rows_request
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.ingest.click_bytes import encode_click
from dataco_assets.settings import settings
from dataco_assets.sources.avro import AvroEncoder

_ROUNDS = 5
_SAMPLE = 50_000
_BATCH = 2_000


def client_cpu() -> dict[str, Any]:
    """CPU microseconds per click by stage: the best of several rounds, since only disturbance can add to it."""
    config = settings()
    admin = KafkaAdmin(Brokers.of(config))
    topic = admin.topic(config.clicks_topic)
    ends = admin.stable_end(topic)
    ranges = [OffsetRange(p, 0, min(ends[p], _SAMPLE // len(topic.partitions))) for p in topic.partitions]
    brokers, group = Brokers.of(config), config.kafka_group
    began = time.process_time()
    with RangeConsumer(brokers, group, config.clicks_topic, ranges, stall_seconds=30) as consumer:
        messages = [message for batch in consumer.batches() for message in batch]
    consume = (time.process_time() - began) / len(messages) * 1e6
    records = [(m.value(), m.timestamp()[1]) for m in messages]
    earliest = config.partitions_start_ms
    parse = ClickParser(KnownSchemas(None)).parse
    encode = AvroEncoder().encode
    in_avro = [(encode(value), at) for value, at in records]  # pyright: ignore[reportArgumentType]

    def all_of_it() -> None:
        for value, at in records:
            click = parse(value, None, record_time_ms=at, earliest_ms=earliest)  # pyright: ignore[reportArgumentType]
            if isinstance(click, Click):
                encode_click(click)

    def decode() -> None:
        for value, at in records:
            parse(value, None, record_time_ms=at, earliest_ms=earliest)  # pyright: ignore[reportArgumentType]

    def decode_avro() -> None:
        for value, at in in_avro:
            parse(value, None, record_time_ms=at, earliest_ms=earliest)

    parsed = [parse(v, None, record_time_ms=at, earliest_ms=earliest) for v, at in records]  # pyright: ignore[reportArgumentType]
    clicks = [click for click in parsed if isinstance(click, Click)]
    rows = [row for _, row in map(encode_click, clicks)]

    def request() -> None:
        for start in range(0, len(rows), _BATCH):
            mutate_rows_request(b"clicks", rows[start : start + _BATCH], _BATCH)

    stages: dict[str, Callable[[], None]] = {
        "decode and validate": decode,
        "decode and validate, in Avro": decode_avro,
        "key, cells and encode": lambda: _each(encode_click, clicks),
        "the same the plain way": lambda: _each(
            lambda c: encode_row(row_key(c.user_id, c.timestamp, c.event_id), cells(c)), clicks
        ),
        "join requests": request,
    }
    found = {"consume": consume} | {name: _best(stage) / len(records) * 1e6 for name, stage in stages.items()}
    return {"total": _best(all_of_it) / len(records) * 1e6, "stages": found, "cells": len(COLUMNS)}


def _each(work: Callable[[Any], object], items: list[Any]) -> None:
    for item in items:
        work(item)


def _best(work: Callable[[], None]) -> float:
    times: list[float] = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return min(times)
