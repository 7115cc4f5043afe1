"""A producer whose `flush` returns only when all messages are acknowledged."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import KafkaFailure, Undeliverable, delivery_failure
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS, Reachability

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

Header = tuple[str, bytes | None]
"""Name and value; Kafka lets the value be absent."""

_QUEUE_KILOBYTES = 32 * 1024  # what may wait to be sent
_POLL_SECONDS = 0.2
_MESSAGE_BYTES = 1_000_000_000  # librdkafka's highest: each topic has its own limit, which brokers enforce


class AckedProducer:
    """A producer whose `flush` returns only when every message sent before it is acknowledged by all replicas.

    Memory is bounded: `send` waits while the queue is full.

    Args:
        brokers: The Kafka cluster.
        topic: Topic all messages go to.
        timeout_seconds: How long a message may take to be acknowledged.
        refused_seconds: `send` and `flush` fail once every broker has refused connections for so long; None: only when
            a message is not acknowledged in time.
        extra: Further librdkafka settings, e.g. a transactional id in tests.
    """

    def __init__(
        self,
        brokers: Brokers,
        topic: str,
        *,
        timeout_seconds: float = 60.0,
        refused_seconds: float | None = None,
        extra: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        self._servers = brokers.servers
        self._topic = topic
        self._timeout = timeout_seconds
        self._refused: KafkaError | None = None
        self._reachability = Reachability(brokers.servers, refused_seconds)
        self._producer = Producer(
            brokers.config(
                fixed={
                    "enable.idempotence": True,
                    "acks": "all",
                    "message.max.bytes": _MESSAGE_BYTES,
                    "delivery.timeout.ms": int(timeout_seconds * 1000),
                    "error_cb": self._reachability.on_error,
                    **(extra or {}),
                },
                tuning={
                    "compression.type": "lz4",
                    "linger.ms": 20,
                    "topic.metadata.propagation.max.ms": 5_000,  # a topic unknown for so long is missing, not new
                    "queue.buffering.max.kbytes": _QUEUE_KILOBYTES,
                },
            )
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self.flush()
            except KafkaFailure:
                self._producer.purge()  # or its destructor would wait for what cannot be delivered
                raise
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
            Undeliverable: an earlier message was not acknowledged in time.
            MessageRefused, TopicMissing: an earlier message was refused.
            KafkaUnavailable: see `refused_seconds`.
            AccessDenied, AuthenticationFailed, TlsRefused: a broker refuses rights, credentials or certificate.
        """
        arguments: dict[str, Any] = {"key": key, "value": value, "on_delivery": self._on_delivery}
        if timestamp_ms is not None:
            arguments["timestamp"] = timestamp_ms
        if headers is not None:
            arguments["headers"] = list(headers)
        while not self._queued(arguments):
            pass  # it has waited for a moment

    def _queued(self, arguments: Mapping[str, Any]) -> bool:
        """Takes what brokers replied and queues a message; False while the queue is full."""
        try:
            self._producer.poll(0)
            self._raise_if_refused()
            try:
                self._producer.produce(self._topic, **arguments)
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
                return False
        except KafkaException as error:  # also from `poll`: no message of this producer can be sent any more
            raise self._failure(error.args[0]) from error
        return True

    def flush(self) -> None:
        """Waits until every message is acknowledged.

        Raises:
            Undeliverable: one was not acknowledged in time.
            MessageRefused, TopicMissing: one was refused.
            KafkaUnavailable: see `refused_seconds`.
            AccessDenied, AuthenticationFailed, TlsRefused: a broker refuses rights, credentials or certificate.
        """
        deadline = time.monotonic() + self._timeout + 5
        while (left := self._flushed()) and time.monotonic() < deadline:
            self._reachability.check()
        self._raise_if_refused()
        if left:
            raise Undeliverable(
                f"{left} messages to topic {self._topic} were not acknowledged within {self._timeout:.0f} s "
                f"by Kafka at {self._servers}."
            )

    def _flushed(self) -> int:
        try:
            return self._producer.flush(_POLL_SECONDS)
        except KafkaException as error:  # a fatal one: no message of this producer can be sent any more
            self._reachability.check()
            raise self._failure(error.args[0]) from error

    def _failure(self, error: KafkaError) -> KafkaFailure:
        return delivery_failure(error, self._servers, self._topic, self._reachability.trouble)

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None and self._refused is None:
            self._refused = error

    def _raise_if_refused(self) -> None:
        self._reachability.check()
        if self._refused is not None:
            raise self._failure(self._refused)


def click_producer(settings: "Settings") -> AckedProducer:
    """A producer to the topic of the clicks, for a person at a terminal."""
    return AckedProducer(Brokers.of(settings), settings.clicks_topic, refused_seconds=PERSON_SECONDS)
