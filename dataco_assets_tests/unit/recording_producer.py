"""A fake producer that keeps each message as a consumer of the topic would receive it."""

from collections.abc import Sequence

from confluent_kafka import Message

from dataco_assets.clients.kafka.producer import AckedProducer, Header


class RecordingProducer(AckedProducer):
    """Stands in for the producer of the rejected topic.

    Attributes:
        messages: What was sent; offsets count from 0.
    """

    def __init__(self, first_record_time_ms: int = 0) -> None:
        self.messages: list[Message] = []
        self._first_record_time_ms = first_record_time_ms

    def send(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None = None,
        headers: Sequence[Header] | None = None,
    ) -> None:
        assert timestamp_ms is None
        offset = len(self.messages)
        self.messages.append(
            Message(
                topic="clicks.rejected",
                partition=0,
                offset=offset,
                key=key,
                value=value,
                headers=list(headers or []),
                timestamp=(1, self._first_record_time_ms + offset),
            )
        )
