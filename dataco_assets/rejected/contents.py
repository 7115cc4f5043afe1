"""Contents of the rejected topic: each rejected click once, with its replays and whether it was erased.

A command that names clicks by id reads the topic backwards until it has found them: what is known of a click (later
records of the same click, marks) lies behind its record, so it has been read by then. A command with a time reads from
the first record of that time on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dataco_assets.clicks.event import Rejection
from dataco_assets.clicks.suppressed import ErasedUsers, is_suppressed_message
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import READER_GROUP, Message, RangeConsumer, read_ranges, value_of
from dataco_assets.clients.kafka.failures import OffsetsLost, TopicMissing
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.rejected.judging import Judge
from dataco_assets.rejected.records import Fate, Mark, RejectedRecord, read_record, value_hash

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.settings import Settings

_STALL_SECONDS = 30.0
_FIRST_WINDOW = 10_000
"""Records that a search by id reads first from the end of each partition; every further window is twice as large."""


class RecordGone(DatacoError):
    """A rejected click does not exist, no longer exists, or was erased."""


@dataclass(frozen=True)
class Entry:
    """A rejected click and its present state.

    Attributes:
        record: The newest of its records.
        verdict: Why the rules as they are now would reject its bytes; None when they would not.
        replays: How often it was sent back.
        replayed_at_ms: When last, epoch ms; None when never.
    """

    record: RejectedRecord
    verdict: Rejection | None
    replays: int = 0
    replayed_at_ms: int | None = None

    @property
    def record_id(self) -> str:
        """`<topic>/<partition>/<offset>` of the click."""
        return self.record.record_id

    @property
    def next_attempt(self) -> int:
        """Number of the click's next replay, counting those that led to this record."""
        return self.record.attempt + self.replays + 1


@dataclass(frozen=True)
class Contents:
    """Contents of the rejected topic.

    Attributes:
        entries: Each rejected click once, in the order of rejection.
        erased: Ids of clicks whose user was erased; they are not among the entries.
        foreign: Records that are neither rejected clicks nor marks.
        skipped: Older records that were left out.
    """

    entries: tuple[Entry, ...]
    erased: frozenset[str] = frozenset()
    foreign: int = 0
    skipped: int = 0

    def find(self, record_id: str) -> Entry:
        """The click with an id; the one rejected last where a topic created anew used its offsets twice.

        Raises:
            RecordGone
        """
        found = [entry for entry in self.entries if entry.record_id == record_id]
        if found:
            return max(found, key=lambda entry: (entry.record.rejected_at_ms, entry.record.offset))
        if record_id in self.erased:
            raise RecordGone(f"The user of rejected click {record_id} was erased: it is not shown or sent back.")
        raise RecordGone(
            f"There is no rejected click {record_id}. `dataco rejected list` shows those there are; they are kept for "
            "DATACO_REJECTED_RETENTION_HOURS."
        )

    def origins(self, record: RejectedRecord) -> list[str]:
        """Ids of the rejected clicks this one was sent back from, latest first, as far as they are still there."""
        parents = {entry.record_id: entry.record.replay_of for entry in self.entries}
        chain: list[str] = []
        parent = record.replay_of
        while parent is not None and parent not in chain and parent != record.record_id:
            chain.append(parent)
            parent = parents.get(parent)
        return chain

    def rejected_again(self, record: RejectedRecord) -> list[str]:
        """Ids of the rejected clicks that were sent back from this one."""
        return [entry.record_id for entry in self.entries if entry.record.replay_of == record.record_id]


@dataclass(frozen=True)
class Filter:
    """Selects rejected clicks; what is empty does not narrow.

    Attributes:
        reasons: Only these reasons.
        since_ms: Rejected from here on, epoch ms.
        until_ms: Rejected before here, epoch ms.
    """

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def apply(self, entries: Iterable[Entry]) -> list[Entry]:
        """The selected entries, in their order."""
        return [entry for entry in entries if self._selects(entry.record)]

    def _selects(self, record: RejectedRecord) -> bool:
        return (
            (not self.reasons or record.reason in self.reasons)
            and (self.since_ms is None or record.rejected_at_ms >= self.since_ms)
            and (self.until_ms is None or record.rejected_at_ms < self.until_ms)
        )


@dataclass
class ContentsBuilder:
    """Builds `Contents` of the rejected topic's records, taken in any order.

    Attributes:
        judge: The rules as they are now.
        erased_users: Whose clicks count as erased even without a mark: a drain that began before an erasure may have
            rejected one after it.
    """

    judge: Judge
    erased_users: ErasedUsers = field(default_factory=dict[bytes, int])
    _records: dict[tuple[str, int], tuple[RejectedRecord, Rejection | None]] = field(default_factory=dict)
    _marks: dict[tuple[str, int], list[Mark]] = field(default_factory=dict)
    _suppressed: set[tuple[str, int]] = field(default_factory=set)
    _foreign: int = 0

    def take(self, message: Message) -> None:
        """Adds one record; of several records of a click the newest counts."""
        record = read_record(message)
        if record is None:
            self._foreign += 1
        elif isinstance(record, Mark):
            self._marks.setdefault(_identity(record), []).append(record)
        else:
            value = message.value()
            known = self._records.get(_identity(record))
            if known is None or _written(known[0]) < _written(record):
                self._records[_identity(record)] = record, self.judge.verdict(value, record.schema_header)
            if self.erased_users and self._is_suppressed(record, value):
                self._suppressed.add(_identity(record))

    def _is_suppressed(self, record: RejectedRecord, value: bytes | None) -> bool:
        user_id = self.judge.user_id(value, record.schema_header)
        return is_suppressed_message(self.erased_users, user_id, record.key, record.record_time_ms)

    def lacks(self, record_ids: Collection[str]) -> bool:
        """Whether a record of these clicks, or of one they were sent back from, has not been taken yet."""
        parents = {record.record_id: record.replay_of for record, _ in self._records.values()}
        chain = set(record_ids)
        pending = list(chain)
        while pending:
            if (record_id := pending.pop()) not in parents:
                return True
            parent = parents[record_id]
            if parent is not None and parent not in chain:
                chain.add(parent)
                pending.append(parent)
        return False

    def contents(self) -> Contents:
        """Returns the contents as of the records taken so far."""
        entries: list[Entry] = []
        erased: set[str] = set()
        for identity, (record, verdict) in self._records.items():
            marks = self._marks.get(identity, [])
            if identity in self._suppressed or any(mark.fate is Fate.ERASED for mark in marks):
                erased.add(record.record_id)
                continue
            replays = max((max(1, mark.attempt - record.attempt) for mark in marks), default=0)
            last = max((mark.at_ms for mark in marks), default=None)
            entries.append(Entry(record, verdict, replays, last))
        entries.sort(key=lambda entry: (entry.record.rejected_at_ms, entry.record.partition, entry.record.offset))
        return Contents(tuple(entries), frozenset(erased), self._foreign)


def read_rejected(
    settings: "Settings", hbase: "HBase", *, since_ms: int | None = None, newest: int | None = None
) -> Contents:
    """Reads the rejected topic from a time on; about a kilobyte of memory for each click, whatever its size.

    Args:
        settings: Names of the topic and the suppression list.
        hbase: Where that list is.
        since_ms: Read what was rejected from this time on, epoch ms; None: the whole topic.
        newest: Read at most so many records of each partition, the newest; None: all.

    Raises:
        TopicMissing, KafkaUnavailable, HBaseUnavailable, HBaseRefused: and what else the clients raise.
    """
    builder = _builder(settings, hbase)
    admin = _admin(settings)
    topic = admin.topic(settings.rejected_topic)
    starts, ends = admin.earliest(topic), admin.stable_end(topic)
    if since_ms is not None:
        starts = admin.starts_at(topic, since_ms, ends)
    first = starts if newest is None else {each: max(start, ends[each] - newest) for each, start in starts.items()}
    _read(settings, first, ends, builder.take)
    return replace(builder.contents(), skipped=sum(first.values()) - sum(starts.values()))


def find_rejected(settings: "Settings", hbase: "HBase", record_ids: Collection[str]) -> Contents:
    """Reads the rejected topic backwards until it has found some clicks, and those they were sent back from.

    Args:
        settings: Names of the topic and the suppression list.
        hbase: Where that list is.
        record_ids: Ids of rejected clicks; one that does not exist makes this read the whole topic.

    Returns:
        All that was read on the way; `Contents.find` raises for an id that is not there.

    Raises:
        TopicMissing, KafkaUnavailable, HBaseUnavailable, HBaseRefused: and what else the clients raise.
    """
    builder = _builder(settings, hbase)
    admin = _admin(settings)
    topic = admin.topic(settings.rejected_topic)
    earliest, ends = admin.earliest(topic), admin.stable_end(topic)
    window = _FIRST_WINDOW
    while any(ends[partition] > earliest[partition] for partition in ends) and builder.lacks(record_ids):
        starts = {partition: max(earliest[partition], end - window) for partition, end in ends.items()}
        _read(settings, starts, ends, builder.take)
        ends, window = starts, 2 * window
    return builder.contents()


def read_value(settings: "Settings", entry: Entry) -> bytes | None:
    """The bytes of a rejected click; None for a tombstone.

    Raises:
        RecordGone, OffsetsLost, KafkaUnavailable: and what else the clients raise.
    """
    ((_, value),) = read_values(settings, [entry])
    return value


def _written(record: RejectedRecord) -> tuple[int, int]:
    """Orders the records of one click, which are all in one partition unless the topic got more of them meanwhile."""
    return record.rejected_at_ms, record.offset


def _identity(record: RejectedRecord | Mark) -> tuple[str, int]:
    return record.record_id, record.record_time_ms


def _builder(settings: "Settings", hbase: "HBase") -> ContentsBuilder:
    return ContentsBuilder(Judge.of(settings), SuppressionList(hbase, settings.suppressed_table).read())


def _admin(settings: "Settings") -> KafkaAdmin:
    return KafkaAdmin(Brokers.of(settings), refused_seconds=PERSON_SECONDS)


def _read(
    settings: "Settings", starts: Mapping[int, int], ends: Mapping[int, int], each: Callable[[Message], None]
) -> None:
    ranges = [OffsetRange(partition, starts[partition], end) for partition, end in ends.items()]
    brokers, topic = Brokers.of(settings), settings.rejected_topic
    read_ranges(brokers, topic, ranges, each, stall_seconds=_STALL_SECONDS)


def read_values(settings: "Settings", entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes | None]]:
    """The entries with their bytes, read anew so that only a few are in memory at a time."""
    wanted = {(entry.record.partition, entry.record.offset): entry for entry in entries}
    brokers, topic = Brokers.of(settings), settings.rejected_topic
    with RangeConsumer(brokers, READER_GROUP, topic, _ranges(wanted), stall_seconds=_STALL_SECONDS) as consumer:
        for batch in consumer.batches():
            for message in batch:
                entry = wanted.pop((int(message.partition() or 0), int(message.offset() or 0)), None)
                if entry is None:
                    continue
                if message.key() != entry.record_id.encode():
                    raise RecordGone(_replaced(topic))
                yield entry, _whole_value(settings, entry.record, message)
    if wanted:
        raise RecordGone(_replaced(topic))


def _whole_value(settings: "Settings", record: RejectedRecord, message: Message) -> bytes | None:
    if record.value_hash is None:
        return value_of(message)
    original = _original_value(settings, record)
    if original is None or value_hash(original) != record.value_hash:
        raise RecordGone(
            f"Rejected click {record.record_id} was too large for topic {settings.rejected_topic}, which keeps only a "
            f"reference to it, and its own topic does not hold it any more."
        )
    return original


def _original_value(settings: "Settings", record: RejectedRecord) -> bytes | None:
    topic, partition, offset = record.origin
    place = [OffsetRange(partition, offset, offset + 1)]
    found: list[Message] = []
    try:
        read_ranges(Brokers.of(settings), topic, place, found.append, stall_seconds=_STALL_SECONDS)
    except (TopicMissing, OffsetsLost):
        return None
    return value_of(found[0]) if found else None


def _ranges(positions: Iterable[tuple[int, int]]) -> list[OffsetRange]:
    offsets: dict[int, list[int]] = {}
    for partition, offset in positions:
        offsets.setdefault(partition, []).append(offset)
    return [OffsetRange(partition, min(found), max(found) + 1) for partition, found in offsets.items()]


def _replaced(topic: str) -> str:
    return f"Topic {topic} changed while it was read: was it created anew? Run the command again."
