"""Bugs planted on purpose, which the comparison must find: otherwise passing it would prove nothing.

Each bug is a small change inside a worker's process, selected by name. Product code has no hooks for them.
"""

import uuid
from collections.abc import Callable
from typing import Any

from dataco_assets.clients.kafka.consumer import RangeConsumer
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.ingest import drain
from dataco_assets.ingest.drain import Drain, Step
from dataco_assets.ingest.writer import RowWriter
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.rejected.records import LARGEST_RECORD_BYTES


def _commit_before_write() -> None:
    """Offsets move before their rows are durable."""
    checkpoint: Callable[..., None] = Drain._checkpoint

    def hasty(self: Drain, topic: Any, consumer: RangeConsumer, window: Any) -> None:
        self._move_offsets(topic, window, consumer.positions)
        self._on_step(Step.OFFSETS_MOVED)
        checkpoint(self, topic, consumer, window)

    Drain._checkpoint = hasty


def _unacknowledged_rejects() -> None:
    """Rejected records are sent without waiting for Kafka's acknowledgement."""

    def careless(self: AckedProducer) -> None:
        del self

    def limit(self: KafkaAdmin, name: str) -> int:
        del self, name
        return LARGEST_RECORD_BYTES

    AckedProducer.flush = careless
    AckedProducer._raise_if_refused = careless
    # The test has deleted the rejected topic, which a drain notices when it reads the topic's limit.
    KafkaAdmin.message_limit_bytes = limit


def _random_row_key() -> None:
    """The same click gets another row each time it is stored."""
    add: Callable[..., None] = RowWriter.add

    def scattering(self: RowWriter[Any], key: bytes, row: bytes, origin: Any, *, origin_bytes: int = 0) -> None:
        random_hash = uuid.uuid4().hex.encode()  # as long as the hash that a row key ends in
        other = key[: -len(random_hash)] + random_hash
        add(self, other, row.replace(key, other, 1), origin, origin_bytes=origin_bytes)

    RowWriter.add = scattering
    # A drain would notice such rows of an earlier drain, and refuse the table.
    drain.require_current_keys = lambda *_: None


def _forgotten_hours() -> None:
    """The hour before is not marked dirty."""
    mark_dirty = HourLedger.mark_dirty

    def forgetful(self: HourLedger, hours: Any, *, holding_clicks: Any, **more: Any) -> None:
        del hours
        mark_dirty(self, holding_clicks, holding_clicks=holding_clicks, **more)

    HourLedger.mark_dirty = forgetful


BUGS: dict[str, Callable[[], None]] = {
    "commit-before-write": _commit_before_write,
    "unacknowledged-rejects": _unacknowledged_rejects,
    "random-row-key": _random_row_key,
    "forgotten-hours": _forgotten_hours,
}
"""Name → what plants the bug in this process."""
