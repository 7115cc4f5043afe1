"""Rejected clicks looked at and sent back: what the rejected topic holds, what goes back, and how.

Belongs here: the decisions (pure, on records already read), and reading and sending around them. Does not belong here:
the form of the records (`rejected`), and the command line.

A click goes back to the clicks topic with its own key and headers, its own bytes or repaired ones, and
`REPLAY_HEADERS`. Its record time is now, not that of the original: `timestamp_in_future` is judged against the record
time, so a click that came too early then passes now; and Kafka's retention and the age of waiting clicks go by the
record time too: an old one could be deleted at once.

Then, once Kafka has acknowledged it, a mark in the rejected topic says so, by which the next replay skips it. Who dies
between the two sends it again the next time: that changes nothing, since the same bytes are the same event, hence the
same HBase row.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from dataco_assets.clicks.event import Rejection, parse
from dataco_assets.clients.kafka.consumer import Message, RangeConsumer, read_all
from dataco_assets.clients.kafka.failures import KafkaFailure, OffsetsLost, TopicMissing
from dataco_assets.clients.kafka.producer import AckedProducer, Header, click_producer
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.suppression import ErasedUsers, SuppressionList, is_suppressed_message
from dataco_assets.rejected.records import (
    REPLAY_HEADERS,
    Fate,
    Mark,
    RejectedRecord,
    read_record,
    send_mark,
    value_hash,
)

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.settings import Settings

_GROUP = "dataco-reader"  # never commits
_STALL_SECONDS = 30.0
_SENT_BETWEEN_MARKS = 500
_BYTES_BETWEEN_MARKS = 32 * 1024 * 1024

Judge = Callable[[bytes | None], Rejection | None]


class RecordGone(DatacoError):
    """A rejected click is not there, not any more, or was erased."""


class ReplayStopped(DatacoError):
    """Clicks could not be read or sent half-way; the message says how many are through."""


@dataclass(frozen=True)
class Entry:
    """A rejected click, and what is known of it now.

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
    """What the rejected topic holds.

    Attributes:
        entries: Each rejected click once, oldest record time first.
        erased: Ids of clicks whose user was erased; they are not among the entries.
        foreign: Records that are neither rejected clicks nor marks.
    """

    entries: tuple[Entry, ...]
    erased: frozenset[str] = frozenset()
    foreign: int = 0

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
class Choice:
    """Which rejected clicks are meant; what is empty does not narrow.

    Attributes:
        reasons: Only these reasons.
        since_ms: Record time from here on, epoch ms.
        until_ms: Record time before here, epoch ms.
    """

    reasons: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def of(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those of the entries that are meant, in their order."""
        return [entry for entry in entries if self._takes(entry.record)]

    def _takes(self, record: RejectedRecord) -> bool:
        return (
            (not self.reasons or record.reason in self.reasons)
            and (self.since_ms is None or record.record_time_ms >= self.since_ms)
            and (self.until_ms is None or record.record_time_ms < self.until_ms)
        )


@dataclass(frozen=True)
class ReplayPlan:
    """What a replay does with each click it was asked for.

    Attributes:
        sent: Goes back.
        replayed: Stays, since it was sent back before.
        unfit: Stays, since the rules as they are now would reject it again.
    """

    sent: tuple[Entry, ...]
    replayed: tuple[Entry, ...]
    unfit: tuple[Entry, ...]


def plan_replay(entries: Iterable[Entry], *, again: bool, unfit_too: bool) -> ReplayPlan:
    """Decides what goes back.

    Clicks that would be rejected again stay by default: many at once look like a change of the producer, and the drain
    then stops for all clicks.

    Args:
        entries: What was asked for.
        again: Also what was sent back before.
        unfit_too: Also what would be rejected again.
    """
    sent: list[Entry] = []
    replayed: list[Entry] = []
    unfit: list[Entry] = []
    for entry in entries:
        if entry.replays and not again:
            replayed.append(entry)
        elif entry.verdict is not None and not unfit_too:
            unfit.append(entry)
        else:
            sent.append(entry)
    return ReplayPlan(tuple(sent), tuple(replayed), tuple(unfit))


def replay_headers(entry: Entry, now_ms: int) -> list[Header]:
    """Headers of a click that is sent back: its own, and where it comes from."""
    own = [(name, value) for name, value in entry.record.headers if name not in REPLAY_HEADERS]
    return [
        *own,
        ("dataco.replay_of", entry.record_id.encode()),
        ("dataco.replayed_at", str(now_ms).encode()),
        ("dataco.replay_attempt", str(entry.next_attempt).encode()),
    ]


@dataclass
class Gathering:
    """Makes `Contents` of the rejected topic's records, taken in any order that keeps each partition's.

    Attributes:
        judge: The rules as they are now.
        erased_users: Whose clicks count as erased even without a mark: a drain that began before an erasure may have
            rejected one behind its back.
    """

    judge: Judge
    erased_users: ErasedUsers = field(default_factory=dict[bytes, int])
    _records: dict[tuple[str, int], tuple[RejectedRecord, Rejection | None]] = field(default_factory=dict)
    _marks: dict[tuple[str, int], list[Mark]] = field(default_factory=dict)
    _suppressed: set[tuple[str, int]] = field(default_factory=set)
    _foreign: int = 0

    def take(self, message: Message) -> None:
        """Takes one record over; of a click's several records the newest counts."""
        record = read_record(message)
        if record is None:
            self._foreign += 1
        elif isinstance(record, Mark):
            self._marks.setdefault(_identity(record), []).append(record)
        else:
            value = message.value()
            self._records[_identity(record)] = record, self.judge(value)
            if is_suppressed_message(self.erased_users, value, record.key, record.record_time_ms):
                self._suppressed.add(_identity(record))

    def contents(self) -> Contents:
        """What the records taken so far amount to."""
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
        entries.sort(key=lambda entry: (entry.record.record_time_ms, entry.record.partition, entry.record.offset))
        return Contents(tuple(entries), frozenset(erased), self._foreign)


def judge_by(settings: "Settings") -> Judge:
    """The rules a click sent now is judged by; all but HBase's own verdict."""
    now_ms, earliest_ms = _now_ms(), settings.partitions_start_ms

    def judge(payload: bytes | None) -> Rejection | None:
        verdict = parse(payload, record_time_ms=now_ms, earliest_ms=earliest_ms)
        return verdict if isinstance(verdict, Rejection) else None

    return judge


def read_rejected(settings: "Settings", hbase: "HBase") -> Contents:
    """Reads the whole rejected topic; about a kilobyte of memory for each click, whatever its size.

    Args:
        settings: Names of the topic and the suppression list.
        hbase: Where that list is.

    Raises:
        TopicMissing, KafkaUnavailable, HBaseUnavailable, HBaseRefused: and what else the clients raise.
    """
    gathering = Gathering(judge_by(settings), SuppressionList(hbase, settings.suppressed_table).read())
    _read_topic(settings, gathering.take)
    return gathering.contents()


def read_value(settings: "Settings", entry: Entry) -> bytes | None:
    """The bytes of a rejected click; None for a tombstone.

    Raises:
        RecordGone, OffsetsLost, KafkaUnavailable: and what else the clients raise.
    """
    ((_, value),) = _values(settings, [entry])
    return value


def replay(settings: "Settings", entries: Sequence[Entry], *, repaired: bytes | None = None) -> int:
    """Sends rejected clicks back to the clicks topic and marks them; returns how many.

    Args:
        settings: Names of the topics, address of the brokers.
        entries: What to send, as planned.
        repaired: Bytes to send instead of the click's own; for exactly one entry.

    Raises:
        ReplayStopped: Kafka did not take, or no longer has, all of them.
        RecordGone: the rejected topic was created anew meanwhile.
    """
    if repaired is not None and len(entries) != 1:
        raise ValueError("repaired bytes are for exactly one click")
    pairs = _values(settings, entries) if repaired is None else iter([(entries[0], repaired)])
    done = 0
    try:
        with click_producer(settings) as clicks, _mark_producer(settings) as marks:
            for portion in _portions(pairs):
                _send(clicks, marks, portion)
                done += len(portion)
    except KafkaFailure as error:
        raise ReplayStopped(
            f"{done:,} of {len(entries):,} clicks were sent back and marked, then it stopped: {error} The next replay "
            "skips those; others may have arrived too, which does no harm: a click sent twice is stored once."
        ) from error
    return done


def erase_from_rejected(settings: "Settings", user_id: str) -> int:
    """Takes a user's clicks out of what can be listed, shown and sent back; returns how many.

    Their bytes stay in Kafka until the topic's retention removes them: Kafka cannot delete single records.

    Raises:
        TopicMissing, KafkaUnavailable, Undeliverable: and what else the clients raise.
    """
    now_ms = _now_ms()
    found: dict[tuple[str, int], Mark] = {}

    def look(message: Message) -> None:
        record = read_record(message)
        if isinstance(record, RejectedRecord) and concerns_user(message.value(), record.key, user_id):
            found[_identity(record)] = Mark(record.record_id, record.record_time_ms, Fate.ERASED, now_ms)

    _read_topic(settings, look)
    with _mark_producer(settings) as marks:
        for mark in found.values():
            send_mark(marks, mark)
    return len(found)


class _Owned(msgspec.Struct):
    user_id: str | int


def concerns_user(value: bytes | None, key: bytes | None, user_id: str) -> bool:
    """Whether a rejected click is a user's: by its key or its user id.

    Bytes without a readable user id are taken for the user's when they quote the id anywhere: an erasure rather takes
    one too many.
    """
    if key == user_id.encode():
        return True
    if value is None:
        return False
    try:
        return str(msgspec.json.decode(value, type=_Owned).user_id) == user_id
    except (msgspec.MsgspecError, UnicodeError):
        return any(quoted in value for quoted in (json.dumps(user_id).encode(), msgspec.json.encode(user_id)))


def _identity(record: RejectedRecord | Mark) -> tuple[str, int]:
    return record.record_id, record.record_time_ms


def _read_topic(settings: "Settings", each: Callable[[Message], None]) -> None:
    admin = KafkaAdmin(settings.kafka_bootstrap_servers, refused_seconds=PERSON_SECONDS)
    read_all(settings.kafka_bootstrap_servers, admin, settings.rejected_topic, each, stall_seconds=_STALL_SECONDS)


def _values(settings: "Settings", entries: Sequence[Entry]) -> Iterator[tuple[Entry, bytes | None]]:
    """The entries with their bytes, read anew so that only a few are in memory at a time."""
    wanted = {(entry.record.partition, entry.record.offset): entry for entry in entries}
    servers, topic = settings.kafka_bootstrap_servers, settings.rejected_topic
    with RangeConsumer(servers, _GROUP, topic, _ranges(wanted), stall_seconds=_STALL_SECONDS) as consumer:
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
    value = message.value()
    if record.value_hash is None:
        return value.encode() if isinstance(value, str) else value
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
    try:
        with RangeConsumer(
            settings.kafka_bootstrap_servers, _GROUP, topic, place, stall_seconds=_STALL_SECONDS
        ) as consumer:
            values = [message.value() for batch in consumer.batches() for message in batch]
    except (TopicMissing, OffsetsLost):
        return None
    return next((value.encode() if isinstance(value, str) else value for value in values), None)


def _ranges(positions: Iterable[tuple[int, int]]) -> list[OffsetRange]:
    offsets: dict[int, list[int]] = {}
    for partition, offset in positions:
        offsets.setdefault(partition, []).append(offset)
    return [OffsetRange(partition, min(found), max(found) + 1) for partition, found in offsets.items()]


def _replaced(topic: str) -> str:
    return f"Topic {topic} changed while it was read: was it created anew? Run the command again."


def _portions(pairs: Iterable[tuple[Entry, bytes | None]]) -> Iterator[list[tuple[Entry, bytes | None]]]:
    """Bounded in number and bytes: so much is sent before it is marked."""
    portion: list[tuple[Entry, bytes | None]] = []
    size = 0
    for entry, value in pairs:
        portion.append((entry, value))
        size += len(value or b"")
        if len(portion) >= _SENT_BETWEEN_MARKS or size >= _BYTES_BETWEEN_MARKS:
            yield portion
            portion, size = [], 0
    if portion:
        yield portion


def _send(clicks: AckedProducer, marks: AckedProducer, portion: list[tuple[Entry, bytes | None]]) -> None:
    """Sends, waits for the acknowledgements, and only then marks."""
    now_ms = _now_ms()
    for entry, value in portion:
        clicks.send(entry.record.key, value, timestamp_ms=now_ms, headers=replay_headers(entry, now_ms))
    clicks.flush()
    for entry, _ in portion:
        record = entry.record
        send_mark(marks, Mark(record.record_id, record.record_time_ms, Fate.REPLAYED, now_ms, entry.next_attempt))
    marks.flush()


def _mark_producer(settings: "Settings") -> AckedProducer:
    return AckedProducer(settings.kafka_bootstrap_servers, settings.rejected_topic, refused_seconds=PERSON_SECONDS)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
