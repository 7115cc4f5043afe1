"""Sends rejected clicks back to the clicks topic: which of them, and how.

A click goes back to the clicks topic with its own key and headers, its own bytes or repaired ones, and
`REPLAY_HEADERS`. Its record time is now, not that of the original: `timestamp_in_future` is judged against the record
time, so a click that came too early then passes now; and Kafka's retention and the age of waiting clicks go by the
record time too: an old one could be deleted at once.

Once Kafka has acknowledged it, a mark in the rejected topic records that, and the next replay skips the click. A crash
between the two sends the click again, which is harmless: the same bytes are the same event, hence the same HBase row.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from dataco_assets.clicks.avro import encoded_text
from dataco_assets.clicks.framing import SCHEMA_HEADER, is_json
from dataco_assets.clicks.suppressed import owners
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import Message, read_all
from dataco_assets.clients.kafka.failures import KafkaFailure
from dataco_assets.clients.kafka.producer import AckedProducer, Header, click_producer
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.clients.schema_registry import RegistryFailure
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.rejected.contents import Entry, read_values
from dataco_assets.rejected.judging import Judge
from dataco_assets.rejected.records import (
    REPLAY_HEADERS,
    REPLAY_OF,
    Fate,
    Mark,
    RejectedRecord,
    read_record,
    send_mark,
)

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_STALL_SECONDS = 30.0
_SENT_BETWEEN_MARKS = 500
_BYTES_BETWEEN_MARKS = 32 * 1024 * 1024


class ReplayStopped(DatacoError):
    """Clicks could not be read or sent half-way; the message says how many are through."""


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


def replay_headers(entry: Entry, at_ms: int, *, repaired: bool = False) -> list[Header]:
    """Headers of a click that is sent back: its own, and where it comes from.

    Args:
        entry: The click.
        at_ms: When it is sent, epoch ms.
        repaired: Whether it is sent with other bytes: these need not be of the schema that a header names.
    """
    left_out = {*REPLAY_HEADERS, SCHEMA_HEADER} if repaired else REPLAY_HEADERS
    own = [(name, value) for name, value in entry.record.headers if name not in left_out]
    return [
        *own,
        (REPLAY_OF, entry.record_id.encode()),
        ("dataco.replayed_at", str(at_ms).encode()),
        ("dataco.replay_attempt", str(entry.next_attempt).encode()),
    ]


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
    pairs = read_values(settings, entries) if repaired is None else iter([(entries[0], repaired)])
    done = 0
    try:
        with click_producer(settings) as clicks, _mark_producer(settings) as marks:
            for portion in _portions(pairs):
                _send(clicks, marks, portion, repaired=repaired is not None)
                done += len(portion)
    except KafkaFailure as error:
        raise ReplayStopped(
            f"{done:,} of {len(entries):,} clicks were sent back and marked, then it stopped: {error} The next replay "
            "skips those; others may have arrived too, which does no harm: a click sent twice is stored once."
        ) from error
    return done


def erase_from_rejected(settings: "Settings", user_ids: Collection[str]) -> int:
    """Takes the clicks of users out of what can be listed, shown and sent back; returns how many.

    One pass over the topic, however many users they are.

    Their bytes stay in Kafka until the topic's retention removes them: Kafka cannot delete single records.

    Raises:
        TopicMissing, KafkaUnavailable, Undeliverable: and what else the clients raise.
    """
    erased_ms, judge = now_ms(), Judge.of(settings)
    found: dict[tuple[str, int], Mark] = {}

    def look(message: Message) -> None:
        record = read_record(message)
        if isinstance(record, RejectedRecord) and concerns_users(message.value(), record, user_ids, judge):
            identity = record.record_id, record.record_time_ms
            found[identity] = Mark(*identity, Fate.ERASED, erased_ms)

    admin = KafkaAdmin(Brokers.of(settings), refused_seconds=PERSON_SECONDS)
    read_all(Brokers.of(settings), admin, settings.rejected_topic, look, stall_seconds=_STALL_SECONDS)
    with _mark_producer(settings) as marks:
        for mark in found.values():
            send_mark(marks, mark)
    return len(found)


def concerns_users(value: bytes | None, record: RejectedRecord, user_ids: Collection[str], judge: Judge) -> bool:
    """Whether a rejected click belongs to one of the users: by its key or its user id.

    Bytes without a readable user id count as a user's when they quote the id anywhere: an erasure takes one click too
    many rather than one too few. So it needs no schema registry, either.
    """
    header = record.schema_header
    try:
        user_id = judge.user_id(value, header)
    except RegistryFailure:
        user_id = None
    if not owners(user_id, record.key).isdisjoint(user_ids):
        return True
    if value is None or user_id is not None:
        return False
    quotes = _quotes_in_json if is_json(value, header) else _quotes_in_avro
    return any(quotes(value, user) for user in user_ids)


def _quotes_in_json(value: bytes, user_id: str) -> bool:
    return json.dumps(user_id).encode() in value or msgspec.json.encode(user_id) in value


def _quotes_in_avro(value: bytes, user_id: str) -> bool:
    """The same for Avro, where a user id may also be the 16 bytes of a UUID."""
    try:
        packed = UUID(user_id).bytes
    except ValueError:
        packed = None
    return encoded_text(user_id) in value or (packed is not None and packed in value)


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


def _send(
    clicks: AckedProducer, marks: AckedProducer, portion: list[tuple[Entry, bytes | None]], *, repaired: bool
) -> None:
    """Sends, waits for the acknowledgements, and only then marks."""
    sent_ms = now_ms()
    for entry, value in portion:
        clicks.send(
            entry.record.key, value, timestamp_ms=sent_ms, headers=replay_headers(entry, sent_ms, repaired=repaired)
        )
    clicks.flush()
    for entry, _ in portion:
        record = entry.record
        send_mark(marks, Mark(record.record_id, record.record_time_ms, Fate.REPLAYED, sent_ms, entry.next_attempt))
    marks.flush()


def _mark_producer(settings: "Settings") -> AckedProducer:
    return AckedProducer(Brokers.of(settings), settings.rejected_topic, refused_seconds=PERSON_SECONDS)
