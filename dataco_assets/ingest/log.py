"""Reads the offsets of topic and ledger, from which runs are planned, and computes the lag.

It makes metadata calls only, each with the deadline of the given client; `oldest_waiting_ms` alone reads messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import msgspec

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import READER_GROUP, RangeConsumer, record_time_ms
from dataco_assets.clients.kafka.failures import OffsetsLost
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange, TopicState
from dataco_assets.ingest.plan import LogOffsets, Loss, make_plan
from dataco_assets.ledgers.offsets import OffsetLedger

_NO_LIMIT = 1 << 62


@dataclass(frozen=True)
class Lag:
    """Clicks waiting, as offsets up to the last stable one."""

    topic: TopicState
    start: Mapping[int, int]
    waiting: Mapping[int, int]
    losses: tuple[Loss, ...]

    @property
    def total(self) -> int:
        """Waiting offsets of all partitions."""
        return sum(self.waiting.values())


def read_log(admin: KafkaAdmin, ledger: OffsetLedger, topic: TopicState, group: str) -> LogOffsets:
    """Reads where the topic's log and the platform's positions stand.

    Raises:
        KafkaUnavailable, HBaseUnavailable: and what else the clients raise.
    """
    positions = ledger.read(topic.name)
    # The group only matters for partitions the ledger does not know: a platform that takes over from another consumer.
    known = positions.keys() >= set(topic.partitions)
    return LogOffsets(
        earliest=admin.earliest(topic),
        stable_end=admin.stable_end(topic),
        high_watermark=admin.high_watermark(topic),
        committed={} if known else admin.committed(group, topic),
        ledger=positions,
    )


def measure_lag(admin: KafkaAdmin, ledger: OffsetLedger, topic_name: str, group: str) -> Lag:
    """Measures what waits to be stored.

    Raises:
        TopicMissing, KafkaUnavailable, HBaseUnavailable: and what else the clients raise.
    """
    topic = admin.topic(topic_name)
    plan = make_plan(topic, read_log(admin, ledger, topic, group), max_offsets=_NO_LIMIT, on_data_loss="skip")
    return Lag(
        topic,
        start={r.partition: r.start for r in plan.ranges},
        waiting={r.partition: r.count for r in plan.ranges},
        losses=plan.skipped,
    )


def has_waited_since(admin: KafkaAdmin, lag: Lag, cutoff_ms: int) -> bool:
    """Whether a waiting click's record time is before a time.

    Asked by looking for the first offset at or after that time, so no message is read. Producers may set the record
    time: one record from the future hides the age of all behind it, which is what `Watch` is for.

    Raises:
        KafkaUnavailable: and what else the client raises.
    """
    if not lag.total:
        return False
    newer = admin.first_at_or_after(lag.topic, cutoff_ms)
    return any(
        waiting and ((first := newer.get(partition)) is None or first > lag.start[partition])
        for partition, waiting in lag.waiting.items()
    )


def oldest_waiting_ms(brokers: Brokers, lag: Lag, *, stall_seconds: float) -> int | None:
    """Record time of the oldest waiting click, epoch ms; None when none waits.

    Reads the first waiting message of each partition. Unlike the other functions here, it can find that a message is
    gone, or of a transaction that was rolled back: those do not count.

    Args:
        brokers: The Kafka cluster.
        lag: What waits.
        stall_seconds: No answer for so long is an error.

    Raises:
        KafkaUnavailable: and what else the client raises.
    """
    ranges = [OffsetRange(p, start, start + lag.waiting[p]) for p, start in lag.start.items() if lag.waiting[p]]
    found: dict[int, int] = {}
    try:
        with RangeConsumer(brokers, READER_GROUP, lag.topic.name, ranges, stall_seconds=stall_seconds) as consumer:
            for batch in consumer.batches():
                for message in batch:
                    found.setdefault(message.partition() or 0, record_time_ms(message))
                if len(found) == len(ranges):
                    break
    except OffsetsLost:
        pass  # retention was faster; the next look counts the loss
    return min(found.values(), default=None)


class Watch(msgspec.Struct, frozen=True):
    """The oldest waiting offset of each partition, and since when it has been seen to wait; whatever its record time.

    Attributes:
        topic_id: The topic they are of.
        oldest: Offset and epoch seconds by partition, of partitions where something waits.
    """

    topic_id: str = ""
    oldest: dict[int, tuple[int, float]] = {}

    def updated(self, lag: Lag, now: float) -> Self:
        """The watch after a look at the lag."""
        known = self.oldest if lag.topic.topic_id == self.topic_id else {}
        oldest: dict[int, tuple[int, float]] = {}
        for partition, waiting in lag.waiting.items():
            if waiting:
                offset, since = known.get(partition, (-1, now))
                start = lag.start[partition]
                oldest[partition] = (start, since if offset == start else now)
        return type(self)(lag.topic.topic_id, oldest)

    def longest(self, now: float) -> float:
        """Seconds that some offset has been seen to wait; 0 when none waits."""
        return max((now - since for _, since in self.oldest.values()), default=0.0)

    def to_json(self) -> str:
        """As text, to be kept between two looks."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """What `to_json` gave; an empty watch when it is something else."""
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()
