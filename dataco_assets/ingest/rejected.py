"""The rejected topic: every click that was refused, bytes unchanged, with headers that say why and where it came from.

Belongs here: the record's form, and writing it. Does not belong here: deciding what to reject, and the commands that
list and replay.

Key: `<topic>/<partition>/<offset>` of the original, so that a record written again by a retried run is recognised as
the same. Value: the original bytes (null for a tombstone). Headers (UTF-8 text): `HEADERS`; the original's own headers
follow.
"""

from dataclasses import dataclass

from dataco_assets.clicks.event import Rejection
from dataco_assets.clients.kafka import AckedProducer, Message

HEADERS = {
    "dataco.reason": "why it was rejected, one of the names in clicks/event.py",
    "dataco.detail": "what exactly was wrong: at most 200 printable ASCII characters",
    "dataco.topic": "topic it came from",
    "dataco.partition": "partition it came from",
    "dataco.offset": "its offset there",
    "dataco.record_time": "its Kafka record time there, epoch ms",
    "dataco.key": "its key there, absent when it had none",
}


@dataclass(frozen=True)
class RejectedClick:
    """A message that is not a click, and why."""

    message: Message
    rejection: Rejection

    @property
    def size(self) -> int:
        """Bytes the original holds in memory: value, key and headers."""
        message = self.message
        headers = message.headers() or ()
        return len(message) + len(message.key() or b"") + sum(len(name) + len(value or b"") for name, value in headers)


def record_key(topic: str, partition: int, offset: int) -> bytes:
    """Key of the rejected record of a message."""
    return f"{topic}/{partition}/{offset}".encode()


def record_headers(rejected: RejectedClick) -> list[tuple[str, bytes]]:
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
    headers = [(name, value.encode()) for name, value in text.items()]
    if (key := message.key()) is not None:
        headers.append(("dataco.key", key if isinstance(key, bytes) else key.encode()))
    originals = message.headers() or []
    headers += [(name, value) for name, value in originals if name not in HEADERS and isinstance(value, bytes)]
    return headers


def send_rejected(producer: AckedProducer, rejected: RejectedClick) -> None:
    """Queues one rejected record; `producer.flush` makes it durable.

    Raises:
        Undeliverable: this or an earlier record was refused.
    """
    message = rejected.message
    value = message.value()
    producer.send(
        record_key(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0)),
        value.encode() if isinstance(value, str) else value,
        headers=record_headers(rejected),
    )
