"""Counts what the account of the clicks says was stored, without it: in Kafka, and by looking for each click's row."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clicks.row import row_key
from dataco_assets.clicks.suppressed import ErasedUsers, is_suppressed
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import (
    Message,
    header_of,
    place_of,
    read_ranges,
    record_time_ms,
    value_of,
)
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.ingest.account import FoundRejected, Recount
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.ledgers.tallies import TalliedRange

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.settings import Settings

_ROWS_AT_ONCE = 1_000
_READ = b"click_data:event_id"  # every row has it


def recount(
    settings: "Settings", hbase: "HBase", ranges: Sequence[TalliedRange], rejected: FoundRejected, *, now_ms: int
) -> list[Recount]:
    """Counts the messages of ranges in Kafka, and looks in HBase for the row of each that is a click.

    A message that was rejected, or whose user was erased, needs no row. Ranges are left out of which Kafka no longer
    has everything, whose rows may have expired, whose rejected records may have been removed, and those of an earlier
    log.

    Args:
        settings: Names of topic and tables, and the rules of clicks.
        hbase: Where the rows are.
        ranges: The ranges of the account.
        rejected: What the rejected topic holds.
        now_ms: Now, epoch ms.

    Raises:
        RegistryFailure: a record's schema cannot be asked for.
        TopicMissing, KafkaUnavailable, HBaseUnavailable, HBaseRefused: and what else the clients raise.
    """
    admin = KafkaAdmin(Brokers.of(settings), refused_seconds=PERSON_SECONDS)
    topic = admin.topic(settings.clicks_topic)
    earliest, ends = admin.earliest(topic), admin.stable_end(topic)
    oldest_ms = max(rejected.complete_since_ms, now_ms - settings.clicks_ttl_days * DAY_MS + HOUR_MS)
    present: dict[int, int] = {}
    for each in ranges:
        if each.topic_id == topic.topic_id:
            present[each.partition] = max(present.get(each.partition, 0), each.tally.log)
    chosen = [
        each
        for each in ranges
        if each.topic_id == topic.topic_id
        and each.tally.log == present[each.partition]
        and each.start >= earliest.get(each.partition, each.end)
        and each.end <= ends.get(each.partition, 0)  # a consumer would wait for what is behind it
        and each.tally.hour >= oldest_ms
        and not each.tally.counts.lost
    ]
    suppression = SuppressionList(hbase, settings.suppressed_table)
    with KnownSchemas.of(settings, registry_needed=False) as schemas:
        counting = _Counting(
            chosen,
            rejected,
            ClickParser(schemas),
            earliest_ms=settings.partitions_start_ms,
            read_erased=suppression.read,
            absent=lambda keys: set(keys) - hbase.rows(settings.clicks_table, keys, [_READ]).keys(),
        )
        wanted = [OffsetRange(each.partition, each.start, each.end) for each in _joined(chosen)]
        read_ranges(Brokers.of(settings), topic.name, wanted, counting.take)
        counting.look_up()
    return counting.result()


def _joined(ranges: Iterable[TalliedRange]) -> list[OffsetRange]:
    """The span of offsets of each partition: the consumer reads one range of each."""
    spans: dict[int, OffsetRange] = {}
    for each in ranges:
        span = spans.get(each.partition, OffsetRange(each.partition, each.start, each.end))
        start, end = min(span.start, each.start), max(span.end, each.end)
        spans[each.partition] = OffsetRange(each.partition, start, end)
    return list(spans.values())


@dataclass
class _Counting:
    """Counts messages by range, and notes those without a row."""

    ranges: Sequence[TalliedRange]
    rejected: FoundRejected
    parser: ClickParser
    earliest_ms: int
    read_erased: Callable[[], ErasedUsers]
    absent: Callable[[Sequence[bytes]], set[bytes]]
    _messages: defaultdict[int, int] = field(default_factory=lambda: defaultdict(int))
    _without_row: defaultdict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    _waiting: dict[bytes, list[tuple[int, int, Click, int]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._erased = self.read_erased()
        self._by_partition: dict[int, list[tuple[int, int]]] = {}
        for number, each in enumerate(self.ranges):
            self._by_partition.setdefault(each.partition, []).append((each.start, number))
        for starts in self._by_partition.values():
            starts.sort()

    def take(self, message: Message) -> None:
        """Counts a message."""
        partition, offset = place_of(message)
        starts = self._by_partition[partition]
        number = starts[bisect_right(starts, (offset, len(self.ranges))) - 1][1]
        if not self.ranges[number].start <= offset < self.ranges[number].end:
            return  # between two ranges
        self._messages[number] += 1
        if offset in self.rejected.records.get(partition, {}):
            return
        arrived_ms = record_time_ms(message)
        click = self.parser.parse(
            value_of(message),
            header_of(message, SCHEMA_HEADER),
            record_time_ms=arrived_ms,
            earliest_ms=self.earliest_ms,
        )
        if isinstance(click, Click) and not is_suppressed(self._erased, click.user_id, click.timestamp, arrived_ms):
            key = row_key(click.user_id, click.timestamp, click.event_id)
            self._waiting.setdefault(key, []).append((number, offset, click, arrived_ms))
            if len(self._waiting) >= _ROWS_AT_ONCE:
                self.look_up()

    def look_up(self) -> None:
        """Looks for the rows of the clicks that wait for that."""
        if absent := self.absent(list(self._waiting)):
            self._erased = self.read_erased()  # whoever was erased meanwhile is on the list before the rows go
        for key in absent:
            for number, offset, click, arrived_ms in self._waiting[key]:
                if not is_suppressed(self._erased, click.user_id, click.timestamp, arrived_ms):
                    self._without_row[number].append(offset)
        self._waiting.clear()

    def result(self) -> list[Recount]:
        """What was counted, of each range."""
        return [
            Recount(each, self._messages[number], tuple(sorted(self._without_row[number])))
            for number, each in enumerate(self.ranges)
        ]
