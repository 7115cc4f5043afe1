"""Where the topic and the platform stand: the numbers a plan is made from, and the lag that sensors and people see.

Metadata calls only, each with the deadline of the client given. Does not belong here: reading messages.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dataco_assets.clients.kafka.topics import KafkaAdmin, TopicState
from dataco_assets.ingest.offsets import OffsetLedger
from dataco_assets.ingest.plan import LogOffsets, Loss, make_plan

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

    Asked by looking for the first offset at or after that time, so no message is read.

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
