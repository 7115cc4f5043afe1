"""Fills a topic with synthetic clicks."""

from typing import Any

from dataco_assets.clients.kafka.producer import click_producer
from dataco_assets.settings import settings
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets.sources.generator import GeneratorSpec, generate

MALFORMED, DUPLICATES, LATE = 0.001, 0.01, 0.02


def fill(count: int, hours: float, until_ms: int, *, avro: bool = False) -> dict[str, Any]:
    """Sends clicks, some of them malformed, repeated or late, and tells how large they are on average."""
    spec = GeneratorSpec(
        count=count,
        hours=hours,
        until_ms=until_ms - 1,
        malformed=MALFORMED,
        duplicates=DUPLICATES,
        late=LATE,
        late_hours=min(2.0, hours / 2),
    )
    size = 0
    encode = AvroEncoder().encode if avro else lambda value: value
    with click_producer(settings()) as producer:
        for sent in generate(spec):
            value = encode(sent.value)
            producer.send(sent.key, value)
            size += len(value or b"")
    return {"bytes": size / count}
