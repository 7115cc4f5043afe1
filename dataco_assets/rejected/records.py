"""The rejected topic: every click that was refused, bytes unchanged, with headers that say why and where it came from.

Belongs here: the form of its records, writing them and reading them back. Does not belong here: deciding what to
reject, and what is sent back (`replay`).

Key: `<topic>/<partition>/<offset>` of the original, so that a record written again by a retried run is recognised as
the same. Value: the original bytes (null for a tombstone). Headers (UTF-8 text): `HEADERS`; the original's own headers
follow.

A message that is too large for the rejected topic is kept *by reference*: its record has no value, none of the
original's own headers, and the headers `REFERENCE_HEADERS`. The message itself stays in its topic for as long as that
topic keeps it.

A *mark* is a later record that says what became of a rejected click. It has the same key, an empty value and the
headers `MARK_HEADERS`. It lacks `dataco.reason`, which every rejected record has and no click can bring along, so no
click can pass for a mark. It holds for the record with the same key *and* the same record time: a topic that was
deleted and created again uses its offsets twice.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from dataco_assets.clicks.event import Rejection
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clients.kafka.consumer import Message, as_bytes, key_of, size_of, value_of
from dataco_assets.clients.kafka.producer import AckedProducer, Header

HEADERS = {
    "dataco.reason": "why it was rejected, one of the names in clicks/event.py",
    "dataco.detail": "what exactly was wrong: at most 200 printable ASCII characters",
    "dataco.topic": "topic it came from",
    "dataco.partition": "partition it came from",
    "dataco.offset": "its offset there",
    "dataco.record_time": "its Kafka record time there, epoch ms",
    "dataco.key": "its key there, absent when it had none",
}

REFERENCE_HEADERS = {
    "dataco.value_bytes": "size of the original's value, which is not in this record",
    "dataco.value_hash": "BLAKE2b-128 of the original's value, 32 hex digits",
}
"""Headers of the record of a message that is too large for the rejected topic."""

REPLAY_OF = "dataco.replay_of"
"""The header by which ingest, the drain and the sink alike, knows a click that was sent back."""
REPLAY_HEADERS = {
    REPLAY_OF: "id of the rejected record that was sent back as this click",
    "dataco.replayed_at": "when it was sent back, epoch ms",
    "dataco.replay_attempt": "how often the click was sent back by then, counting this time",
}
"""Headers of a click that was sent back. If it is rejected again, its record keeps them: they are the click's own."""

MARK_HEADERS = {
    "dataco.record_time": "the same header of the record it marks",
    "dataco.replayed_at": "when that record was sent back, epoch ms",
    "dataco.replay_attempt": "how often the click was sent back by then",
    "dataco.erased_at": "instead of the two before: when its user was erased, epoch ms",
}

ROOM_BYTES = 64 * 1024
"""By so much the limit of the rejected topic exceeds that of the clicks topic: for the headers of `HEADERS`."""
LARGEST_RECORD_BYTES = 16 * 1024 * 1024 + ROOM_BYTES
"""Limit of a rejected topic that `dataco setup` creates. A click has at most 1 MiB; what is rejected may have more."""
_OVERHEAD_BYTES = 1024  # of a record and its batch, generously

_ID = re.compile(r"[A-Za-z0-9._-]{1,249}(/(0|[1-9][0-9]{0,18})){2}", re.ASCII)
_NUMBER = re.compile(rb"-?[0-9]{1,19}")


@dataclass(frozen=True)
class RejectedClick:
    """A message that is not a click, and why."""

    message: Message
    rejection: Rejection

    @property
    def size(self) -> int:
        """Bytes the original holds in memory: value, key and headers."""
        return size_of(self.message)


def record_key(topic: str, partition: int, offset: int) -> bytes:
    """Key of the rejected record of a message."""
    return f"{topic}/{partition}/{offset}".encode()


def record_headers(rejected: RejectedClick) -> list[Header]:
    """Headers of the rejected record of a message."""
    message, rejection = rejected.message, rejected.rejection
    text = {
        "dataco.reason": rejection.reason.value,
        "dataco.detail": rejection.detail,
        "dataco.topic": str(message.topic()),
        "dataco.partition": str(message.partition()),
        "dataco.offset": str(message.offset()),
        "dataco.record_time": str(message.timestamp()[1]),
    }
    headers: list[Header] = [(name, value.encode()) for name, value in text.items()]
    if (key := key_of(message)) is not None:
        headers.append(("dataco.key", key))
    originals = message.headers() or []
    headers += [(name, as_bytes(value)) for name, value in originals if name not in HEADERS | REFERENCE_HEADERS]
    return headers


def send_rejected(producer: AckedProducer, rejected: RejectedClick, *, limit_bytes: int) -> None:
    """Queues one rejected record; `producer.flush` makes it durable.

    Args:
        producer: Of the rejected topic.
        rejected: The message and why it is rejected.
        limit_bytes: The rejected topic's `max.message.bytes`; a larger record is kept by reference.

    Raises:
        KafkaFailure: this or an earlier record was refused or not acknowledged.
    """
    message = rejected.message
    value = value_of(message)
    headers = record_headers(rejected)
    if rejected.size + _headers_bytes(headers) + _OVERHEAD_BYTES > limit_bytes:
        headers, value = _reference(headers, value or b""), None
    key = record_key(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
    producer.send(key, value, headers=headers)


def _reference(headers: Sequence[Header], value: bytes) -> list[Header]:
    """The headers of a record whose message stays where it is: only the platform's own, and none that can be large."""
    own = [(name, text) for name, text in headers if name in HEADERS and name != "dataco.key"]
    return [
        *own,
        ("dataco.value_bytes", str(len(value)).encode()),
        ("dataco.value_hash", value_hash(value).encode()),
    ]


def value_hash(value: bytes) -> str:
    """The hash by which the value of a message that is kept by reference is recognised."""
    return blake2b(value, digest_size=16).hexdigest()


def _headers_bytes(headers: Sequence[Header]) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers)


class Fate(StrEnum):
    """What a mark says became of a rejected click."""

    REPLAYED = "replayed"
    ERASED = "erased"


@dataclass(frozen=True)
class Mark:
    """What became of a rejected click.

    Attributes:
        record_id: Key of the record it marks.
        record_time_ms: Record time of the click it marks, epoch ms.
        fate: What became of it.
        at_ms: When, epoch ms.
        attempt: How often the click was sent back by then; 0 for other fates.
    """

    record_id: str
    record_time_ms: int
    fate: Fate
    at_ms: int
    attempt: int = 0


@dataclass(frozen=True)
class RejectedRecord:
    """A rejected record read back, without its value: that may be megabytes.

    Attributes:
        record_id: `<topic>/<partition>/<offset>` of the click, its key.
        record_time_ms: When Kafka took the click, epoch ms; negative when the producer gave no time.
        reason: Why it was rejected; a name of a newer version may be among them.
        detail: What exactly was wrong.
        key: The click's own key.
        headers: The click's own headers.
        partition: Where this record is in the rejected topic.
        offset: Its offset there.
        rejected_at_ms: When it was written there, epoch ms.
        value_bytes: Size of the value; None for a tombstone.
        value_hash: `value_hash` of a value that is not in the record (kept by reference); None when it is there.
    """

    record_id: str
    record_time_ms: int
    reason: str
    detail: str
    key: bytes | None
    headers: tuple[Header, ...]
    partition: int
    offset: int
    rejected_at_ms: int
    value_bytes: int | None
    value_hash: str | None = None

    @property
    def origin(self) -> tuple[str, int, int]:
        """Topic, partition and offset of the rejected message."""
        topic, partition, offset = self.record_id.split("/")
        return topic, int(partition), int(offset)

    @property
    def schema_header(self) -> bytes | None:
        """What names the schema of a value in Avro, where a header does."""
        return dict(self.headers).get(SCHEMA_HEADER)

    @property
    def replay_of(self) -> str | None:
        """Id of the rejected record this click was sent back from, as its header says; None when it was not."""
        value = (dict(self.headers).get(REPLAY_OF) or b"").decode(errors="replace")
        return value if is_record_id(value) else None

    @property
    def attempt(self) -> int:
        """How often this click had been sent back when it was rejected."""
        return max(0, _number(dict(self.headers).get("dataco.replay_attempt")) or 0)


def is_record_id(text: str) -> bool:
    """Whether a text has the form of a rejected record's key."""
    return _ID.fullmatch(text) is not None


def read_record(message: Message) -> RejectedRecord | Mark | None:
    """Reads a record of the rejected topic; None when it is neither a rejected click nor a mark of this version."""
    record_id = (message.key() or b"").decode(errors="replace")
    pairs = tuple(_headers(message))
    known = HEADERS.keys() | MARK_HEADERS.keys() | REFERENCE_HEADERS.keys()
    ours = {name: value for name, value in reversed(pairs) if name in known and value is not None}
    record_time_ms = _number(ours.get("dataco.record_time"))
    if not is_record_id(record_id) or record_time_ms is None:
        return None
    if "dataco.reason" not in ours:
        return _mark(record_id, record_time_ms, ours)
    value = message.value()
    absent = _number(ours.get("dataco.value_bytes")) if value is None else None
    return RejectedRecord(
        record_id=record_id,
        record_time_ms=record_time_ms,
        reason=ours["dataco.reason"].decode(errors="replace"),
        detail=ours.get("dataco.detail", b"").decode(errors="replace"),
        key=ours.get("dataco.key"),
        headers=tuple((n, v) for n, v in pairs if n not in HEADERS and n not in REFERENCE_HEADERS),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        rejected_at_ms=message.timestamp()[1],
        value_bytes=absent if value is None else len(value),
        value_hash=None if absent is None else ours.get("dataco.value_hash", b"").decode(errors="replace"),
    )


def send_mark(producer: AckedProducer, mark: Mark) -> None:
    """Queues one mark; `producer.flush` makes it durable.

    Raises:
        Undeliverable: this or an earlier record was refused.
    """
    text = {"dataco.record_time": mark.record_time_ms, f"dataco.{mark.fate.value}_at": mark.at_ms}
    if mark.fate is Fate.REPLAYED:
        text["dataco.replay_attempt"] = mark.attempt
    headers = [(name, str(number).encode()) for name, number in text.items()]
    # Not null: should somebody compact the topic, a null would take the rejected click itself away.
    producer.send(mark.record_id.encode(), b"", headers=headers)


def _mark(record_id: str, record_time_ms: int, ours: dict[str, bytes]) -> Mark | None:
    if (erased_at_ms := _number(ours.get("dataco.erased_at"))) is not None:
        return Mark(record_id, record_time_ms, Fate.ERASED, erased_at_ms)
    replayed_at_ms, attempt = _number(ours.get("dataco.replayed_at")), _number(ours.get("dataco.replay_attempt"))
    if replayed_at_ms is None or attempt is None:
        return None
    return Mark(record_id, record_time_ms, Fate.REPLAYED, replayed_at_ms, attempt)


def _headers(message: Message) -> Iterator[Header]:
    for name, value in message.headers() or []:
        yield name, as_bytes(value)


def _number(text: bytes | None) -> int | None:
    return int(text) if text is not None and _NUMBER.fullmatch(text) else None
