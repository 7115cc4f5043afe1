"""Writing: a producer that knows what was acknowledged.

Does not belong here: what is sent.
"""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataco_assets.clients.kafka.failures import Undeliverable, missing
from dataco_assets.clients.kafka.logs import quiet_logger

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

Header = tuple[str, bytes | None]
"""Name and value; Kafka lets the value be absent."""

LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest click message that can be fetched; far above the 1 MiB a click may have, to be able to reject it."""
REJECTED_MESSAGE_BYTES = LARGEST_MESSAGE_BYTES + 64 * 1024
"""Limit of the rejected topic: the original bytes and the headers that say what was wrong with them."""

_QUEUE_KILOBYTES = 32 * 1024  # what may wait to be sent
_POLL_SECONDS = 0.2


class AckedProducer:
    """A producer whose `flush` returns only when every message sent before it is acknowledged by all replicas.

    Memory is bounded: `send` waits while the queue is full.

    Args:
        bootstrap_servers: Brokers.
        topic: Topic all messages go to.
        timeout_seconds: How long a message may take to be acknowledged.
        extra: Further librdkafka settings, e.g. a transactional id in tests.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        topic: str,
        *,
        timeout_seconds: float = 60.0,
        extra: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._timeout = timeout_seconds
        self._refused: KafkaError | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "compression.type": "lz4",
                "linger.ms": 20,
                "topic.metadata.propagation.max.ms": 5_000,  # a topic unknown for so long is missing, not new
                "message.max.bytes": REJECTED_MESSAGE_BYTES,
                "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
                "delivery.timeout.ms": int(timeout_seconds * 1000),
                "logger": quiet_logger(),
                **(extra or {}),
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.purge()

    def send(
        self,
        key: bytes | None,
        value: bytes | None,
        timestamp_ms: int | None = None,
        headers: Sequence[Header] | None = None,
    ) -> None:
        """Queues one message; waits while the queue is full.

        Raises:
            Undeliverable: an earlier message was refused or not acknowledged in time.
        """
        arguments: dict[str, Any] = {"key": key, "value": value, "on_delivery": self._on_delivery}
        if timestamp_ms is not None:
            arguments["timestamp"] = timestamp_ms
        if headers is not None:
            arguments["headers"] = list(headers)
        while True:
            self._producer.poll(0)
            self._raise_if_refused()
            try:
                self._producer.produce(self._topic, **arguments)
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                raise Undeliverable(self._explain(error.args[0])) from error
            else:
                return

    def flush(self) -> None:
        """Waits until every message is acknowledged.

        Raises:
            Undeliverable: one was refused or not acknowledged in time.
        """
        left = self._producer.flush(self._timeout + 5)
        self._raise_if_refused()
        if left:
            raise Undeliverable(
                f"{left} messages to topic {self._topic} were not acknowledged within {self._timeout:.0f} s "
                f"by Kafka at {self._servers}."
            )

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and self._refused is None:
            self._refused = error

    def _raise_if_refused(self) -> None:
        if self._refused is not None:
            raise Undeliverable(self._explain(self._refused))

    def _explain(self, error: KafkaError) -> str:
        if error.code() in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}:
            return missing(self._topic)
        return (
            f"A message to topic {self._topic} was not taken by Kafka at {self._servers}: {error.str()}. "
            "Is the broker running (DATACO_KAFKA_BOOTSTRAP_SERVERS), and is the topic's max.message.bytes large enough?"
        )


def click_producer(settings: "Settings") -> AckedProducer:
    """A producer to the topic of the clicks."""
    return AckedProducer(settings.kafka_bootstrap_servers, settings.clicks_topic)
