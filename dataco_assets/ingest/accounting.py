"""Reads what the account of the clicks is made of: the offset ledger, and what can be counted without it."""

from typing import TYPE_CHECKING

from dataco_assets.clicks.hour import DAY_MS, HOUR_MS
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import Message, read_ranges
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.ingest.account import Account, FoundRejected, add_up
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.rejected.records import RejectedRecord, read_record

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.settings import Settings


def read_account(
    settings: "Settings", hbase: "HBase", *, now_ms: int, since_ms: int | None = None, until_ms: int | None = None
) -> Account:
    """The account of what was ingested in some hours, by the offset ledger alone.

    Args:
        settings: Names of the topic and the ledger.
        hbase: Where the ledger is.
        now_ms: Now, epoch ms.
        since_ms: First hour of ingestion, epoch ms; None: from the beginning.
        until_ms: End of the last hour, epoch ms; None: up to now.

    Raises:
        TallyUnreadable: somebody else has written into the ledger.
        HBaseUnavailable, HBaseRefused
    """
    ledger = OffsetLedger(hbase, settings.offsets_table)
    progress = ledger.progress(settings.clicks_topic, since_ms=since_ms, until_ms=until_ms)
    kept_since_ms = now_ms - settings.clicks_ttl_days * DAY_MS
    return add_up(progress, kept_since_ms=kept_since_ms if since_ms is None else None, is_up_to_now=until_ms is None)


def read_rejected_places(settings: "Settings", *, now_ms: int, since_ms: int | None = None) -> FoundRejected:
    """Reads the rejected topic, and notes of each record where its click came from.

    Args:
        settings: Names of the topics.
        now_ms: Now, epoch ms.
        since_ms: First hour of ingestion that matters, epoch ms; None: all that is there.

    Raises:
        TopicMissing, AccessDenied, KafkaUnavailable: and what else the client raises.
    """
    admin = KafkaAdmin(Brokers.of(settings), refused_seconds=PERSON_SECONDS)
    topic = admin.topic(settings.rejected_topic)
    earliest, ends = admin.earliest(topic), admin.stable_end(topic)
    # The clocks may differ.
    starts = earliest if since_ms is None else admin.starts_at(topic, max(0, since_ms - HOUR_MS), ends)
    records: dict[int, dict[int, int]] = {}

    def take(message: Message) -> None:
        record = read_record(message)
        if isinstance(record, RejectedRecord) and record.origin[0] == settings.clicks_topic:
            _, partition, offset = record.origin
            times = records.setdefault(partition, {})
            times[offset] = max(times.get(offset, 0), record.rejected_at_ms)

    ranges = [OffsetRange(partition, starts[partition], end) for partition, end in ends.items()]
    read_ranges(Brokers.of(settings), topic.name, ranges, take)
    retention_ms = int(admin.topic_config(topic.name)["retention.ms"])
    removed_before_ms = now_ms - retention_ms if any(earliest.values()) and retention_ms >= 0 else 0
    return FoundRejected(records, removed_before_ms)
