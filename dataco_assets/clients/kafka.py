"""Kafka: topic metadata, a consumer of exact offset ranges, and producers that know what was acknowledged.

The only module that imports confluent_kafka. Does not belong here: what a click is, and which offsets to read.

Every call has a deadline: librdkafka would otherwise wait for a broker for ever. A broker that does not answer is
`KafkaUnavailable`; offsets that no longer exist are `OffsetsLost`; neither is ever taken for the other.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from confluent_kafka import (
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]  # documented as part of confluent_kafka.admin
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from confluent_kafka.cimpl import NewTopic
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from dataco_assets.errors import DatacoError

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dataco_assets.settings import Settings

T = TypeVar("T")
Header = tuple[str, bytes | None]
"""Name and value; Kafka lets the value be absent."""

LARGEST_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest click message that can be fetched; far above the 1 MiB a click may have, to be able to reject it."""
REJECTED_MESSAGE_BYTES = LARGEST_MESSAGE_BYTES + 64 * 1024
"""Limit of the rejected topic: the original bytes and the headers that say what was wrong with them."""

_AHEAD_KILOBYTES = 8 * 1024  # what librdkafka may fetch ahead of us
_QUEUE_KILOBYTES = 32 * 1024  # what may wait to be sent
_FETCH_BYTES = 1024 * 1024
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_MESSAGES = 5_000
_POLL_SECONDS = 0.2


class KafkaFailure(DatacoError):
    """Kafka could not do what was asked."""


class KafkaUnavailable(KafkaFailure):
    """No broker answers in time; trying again later may help."""

    transient = True


class TopicMissing(KafkaFailure):
    """The topic does not exist."""


class OffsetsLost(KafkaFailure):
    """Offsets that were to be read are no longer in the topic."""


class Undeliverable(KafkaFailure):
    """A broker refuses a message, or did not acknowledge it in time."""

    transient = True


@dataclass(frozen=True)
class TopicState:
    """A topic as it is now: its id (a re-created topic has another one) and its partitions."""

    name: str
    topic_id: str
    partitions: tuple[int, ...]


@dataclass(frozen=True)
class OffsetRange:
    """Offsets [start, end) of one partition."""

    partition: int
    start: int
    end: int

    @property
    def count(self) -> int:
        """Offsets in the range; messages may be fewer, since transaction markers take offsets too."""
        return max(0, self.end - self.start)


class KafkaAdmin:
    """Metadata calls, each with a deadline.

    Args:
        bootstrap_servers: Brokers, `host:port`, comma-separated.
        timeout_seconds: Most one call may take.
    """

    def __init__(self, bootstrap_servers: str, *, timeout_seconds: float = 10.0) -> None:
        self._servers = bootstrap_servers
        self._timeout = timeout_seconds
        config: dict[str, Any] = {"bootstrap.servers": bootstrap_servers, "logger": _quiet_logger()}
        self._client = AdminClient(config)

    def topic(self, name: str) -> TopicState:
        """The topic's id and partitions.

        Raises:
            TopicMissing, KafkaUnavailable
        """
        futures = self._client.describe_topics(TopicCollection([name]), request_timeout=self._timeout)
        described = self._result(futures[name], name)
        return TopicState(name, str(described.topic_id), tuple(sorted(p.id for p in described.partitions)))

    def topics(self) -> set[str]:
        """Names of all topics."""
        try:
            return set(self._client.list_topics(timeout=self._timeout).topics)
        except KafkaException as error:
            raise _translate(error, self._servers, "its topics") from error

    def earliest(self, topic: TopicState) -> dict[int, int]:
        """First offset still kept, by partition."""
        return self._offsets(topic, cast("OffsetSpec", OffsetSpec.earliest()))

    def stable_end(self, topic: TopicState) -> dict[int, int]:
        """Last stable offset by partition: the end of what a read_committed consumer can see now."""
        return self._offsets(topic, cast("OffsetSpec", OffsetSpec.latest()))

    def high_watermark(self, topic: TopicState) -> dict[int, int]:
        """End of the replicated log by partition, open transactions included."""
        return self._offsets(topic, cast("OffsetSpec", OffsetSpec.latest()), IsolationLevel.READ_UNCOMMITTED)

    def first_at_or_after(self, topic: TopicState, timestamp_ms: int) -> dict[int, int | None]:
        """First offset with a record time at or after a time, by partition; None when there is none."""
        found = self._offsets(topic, OffsetSpec.for_timestamp(timestamp_ms))
        return {partition: offset if offset >= 0 else None for partition, offset in found.items()}

    def committed(self, group: str, topic: TopicState) -> dict[int, int]:
        """Offsets the group has committed; partitions without one are left out.

        Asked through a consumer: the admin client's own call crashes the process (confluent-kafka 2.16) while the
        group's coordinator is getting ready, as it is on a fresh broker. Asked again until the deadline for the same
        reason.
        """
        ready = Retrying(
            retry=retry_if_exception_type(KafkaUnavailable),
            stop=stop_after_delay(self._timeout),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        return ready(self._committed, group, topic)

    def _committed(self, group: str, topic: TopicState) -> dict[int, int]:
        consumer = Consumer({"bootstrap.servers": self._servers, "group.id": group, "logger": _quiet_logger()})
        try:
            wanted = [TopicPartition(topic.name, partition) for partition in topic.partitions]
            found = consumer.committed(wanted, timeout=self._timeout)
        except KafkaException as error:
            raise _translate(error, self._servers, topic.name) from error
        finally:
            consumer.close()
        return {entry.partition: entry.offset for entry in found if entry.offset >= 0}

    def create_topic(self, name: str, *, partitions: int, replication: int, config: Mapping[str, str]) -> bool:
        """Creates a topic and waits until brokers know it; False when it was there already."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=dict(config))
        future = self._client.create_topics([topic], request_timeout=self._timeout)[name]
        try:
            self._result(future, name)
        except KafkaFailure as error:
            if _code(error.__cause__) == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise
        known = Retrying(
            retry=retry_if_exception_type(TopicMissing),
            stop=stop_after_delay(self._timeout),
            wait=wait_fixed(0.1),
            reraise=True,
        )
        known(self.topic_config, name)
        known(self.topic, name)
        return True

    def delete_topic(self, name: str) -> None:
        """Deletes a topic."""
        self._result(self._client.delete_topics([name], request_timeout=self._timeout)[name], name)

    def topic_config(self, name: str) -> dict[str, str]:
        """The topic's configuration in force."""
        resource = ConfigResource(ResourceType.TOPIC, name)
        future = self._client.describe_configs([resource], request_timeout=self._timeout)[resource]
        return {key: entry.value for key, entry in self._result(future, name).items()}

    def _offsets(
        self,
        topic: TopicState,
        spec: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> dict[int, int]:
        if not topic.partitions:
            return {}
        wanted = {TopicPartition(topic.name, partition): spec for partition in topic.partitions}
        futures = self._client.list_offsets(wanted, isolation_level=isolation, request_timeout=self._timeout)
        return {entry.partition: self._result(future, topic.name).offset for entry, future in futures.items()}

    def _result(self, future: "Future[T]", what: str) -> T:
        try:
            return future.result(timeout=self._timeout + 1)
        except KafkaException as error:
            raise _translate(error, self._servers, what) from error
        except TimeoutError as error:
            raise KafkaUnavailable(_unreachable(self._servers, "no answer in time")) from error


class RangeConsumer:
    """Reads exactly the given offset ranges of one topic, committed transactions only, and stops at their ends.

    A partition is finished when its *position* reaches the end of its range: the last offsets may belong to
    transaction markers or aborted records, which are never delivered.

    Args:
        bootstrap_servers: Brokers.
        group: Consumer group, only used to publish progress for other tools.
        topic: The topic's name.
        ranges: What to read.
        stall_seconds: No message and no progress for so long is an error.
    """

    def __init__(
        self, bootstrap_servers: str, group: str, topic: str, ranges: Sequence[OffsetRange], *, stall_seconds: float
    ) -> None:
        self._servers = bootstrap_servers
        self._topic = topic
        self._stall_seconds = stall_seconds
        self._ends = {r.partition: r.end for r in ranges}
        self.positions = {r.partition: r.start for r in ranges}
        self._unfinished = {r.partition for r in ranges if r.count}
        self._batch_messages = 100
        self._last_trouble = "no message arrived"
        self._consumer = Consumer(_consumer_config(bootstrap_servers, group))
        self._consumer.assign([TopicPartition(topic, r.partition, r.start) for r in ranges if r.count])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def batches(self) -> Iterator[list[Message]]:
        """Yields the messages of the ranges in batches bounded by number and bytes.

        `positions` is moved past a batch only when the next one is asked for, so that it never runs ahead of what
        the caller has taken over.

        Raises:
            OffsetsLost: an offset of the ranges is no longer there.
            TopicMissing, KafkaUnavailable: see the module.
        """
        progress_at = time.monotonic()
        while self._unfinished:
            batch, reached = self._take()
            if batch:
                yield batch
            if reached:
                progress_at = time.monotonic()
                self._advance(reached)
            elif time.monotonic() - progress_at > self._stall_seconds:
                raise KafkaUnavailable(
                    _unreachable(
                        self._servers,
                        f"{self._last_trouble}; nothing came from topic {self._topic} for {self._stall_seconds:.0f} s",
                    )
                )

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits offsets to the group, for other tools to see; never moves one backwards.

        Raises:
            KafkaUnavailable
        """
        wanted = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            known = {t.partition: t.offset for t in self._consumer.committed(wanted, timeout=self._stall_seconds)}
            ahead = [t for t in wanted if t.offset > known.get(t.partition, -1)]
            if ahead:
                self._consumer.commit(offsets=ahead, asynchronous=False)
        except KafkaException as error:
            raise _translate(error, self._servers, self._topic) from error

    def _take(self) -> tuple[list[Message], dict[int, int]]:
        try:
            taken = self._consumer.consume(self._batch_messages, timeout=_POLL_SECONDS)
        except KafkaException as error:
            raise _translate(error, self._servers, self._topic) from error
        batch: list[Message] = []
        reached: dict[int, int] = {}
        size = 0
        for message in taken:
            if (problem := message.error()) is not None:
                self._note_event(message, problem, reached)
                continue
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            reached[partition] = offset + 1
            size += len(message)
            if offset < self._ends[partition]:
                batch.append(message)
        if batch:
            self._batch_messages = max(1, min(_BATCH_MESSAGES, _BATCH_BYTES * len(batch) // max(size, 1)))
        return batch, reached

    def _note_event(self, message: Message, problem: KafkaError, reached: dict[int, int]) -> None:
        code = problem.code()
        if code == KafkaError._PARTITION_EOF:
            reached[cast("int", message.partition())] = cast("int", message.offset())
        elif code in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            partition = cast("int", message.partition())
            raise OffsetsLost(
                f"Topic {self._topic}, partition {partition}: offsets [{self.positions[partition]}, "
                f"{self._ends[partition]}) can no longer be read ({problem.str()})."
            )
        elif code in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}:
            raise TopicMissing(_missing(self._topic))
        elif problem.fatal():
            raise KafkaUnavailable(_unreachable(self._servers, problem.str()))
        else:
            # Brokers down, time-outs: librdkafka goes on trying by itself; the stall deadline judges.
            self._last_trouble = problem.str()

    def _advance(self, reached: Mapping[int, int]) -> None:
        finished: list[int] = []
        for partition, position in reached.items():
            end = self._ends[partition]
            self.positions[partition] = max(self.positions[partition], min(position, end))
            if position >= end and partition in self._unfinished:
                self._unfinished.discard(partition)
                finished.append(partition)
        if finished:
            self._consumer.incremental_unassign([TopicPartition(self._topic, partition) for partition in finished])


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
                "logger": _quiet_logger(),
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
            return _missing(self._topic)
        return (
            f"A message to topic {self._topic} was not taken by Kafka at {self._servers}: {error.str()}. "
            "Is the broker running (DATACO_KAFKA_BOOTSTRAP_SERVERS), and is the topic's max.message.bytes large enough?"
        )


def click_producer(settings: "Settings") -> AckedProducer:
    """A producer to the topic of the clicks."""
    return AckedProducer(settings.kafka_bootstrap_servers, settings.clicks_topic)


def read_all(
    bootstrap_servers: str,
    admin: KafkaAdmin,
    topic: str,
    each: Callable[[Message], None],
    *,
    partitions: Iterable[int] | None = None,
    stall_seconds: float = 30.0,
) -> None:
    """Hands over every committed message a topic holds now, oldest first within a partition."""
    state = admin.topic(topic)
    earliest, end = admin.earliest(state), admin.stable_end(state)
    chosen = state.partitions if partitions is None else tuple(partitions)
    ranges = [OffsetRange(p, earliest[p], end[p]) for p in chosen]
    with RangeConsumer(bootstrap_servers, "dataco-reader", topic, ranges, stall_seconds=stall_seconds) as consumer:
        for batch in consumer.batches():
            for message in batch:
                each(message)


def record_time_ms(message: Message) -> int:
    """When Kafka took a message, epoch ms; now, for a record of a producer so old that it has no time."""
    kind, time_ms = message.timestamp()
    return time_ms if kind != TIMESTAMP_NOT_AVAILABLE else time.time_ns() // 1_000_000


def _consumer_config(bootstrap_servers: str, group: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap_servers,
        "group.id": group,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",  # every other value hides a loss or re-reads outside the range
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        "queued.max.messages.kbytes": _AHEAD_KILOBYTES,
        # Of compressed bytes, which become several times as many here. No limit to a message: the first one of a fetch
        # comes whole whatever its size.
        "max.partition.fetch.bytes": _FETCH_BYTES,
        "fetch.max.bytes": 4 * _FETCH_BYTES,
        "fetch.wait.max.ms": 100,
        "logger": _quiet_logger(),
    }


def _quiet_logger() -> logging.Logger:
    """Takes librdkafka's own log lines to Python's logging; without a handler there they would go to the terminal."""
    logger = logging.getLogger("dataco.kafka")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    return logger


def _code(error: BaseException | None) -> int | None:
    return error.args[0].code() if isinstance(error, KafkaException) else None


_MISSING: frozenset[int | None] = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID}
)
_UNREACHABLE: frozenset[int | None] = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)


def _translate(error: KafkaException, servers: str, what: str) -> KafkaFailure:
    code = _code(error)
    text = error.args[0].str()
    if code in _MISSING:
        return TopicMissing(_missing(what))
    if code in _UNREACHABLE:
        return KafkaUnavailable(_unreachable(servers, text))
    return KafkaFailure(f"Kafka at {servers} refuses a request about {what}: {text}.")


def _missing(topic: str) -> str:
    return f"Topic {topic} does not exist. `dataco setup` creates the platform's topics."


def _unreachable(servers: str, why: str) -> str:
    return f"Kafka at {servers} does not answer ({why}). Is it running? Its address is DATACO_KAFKA_BOOTSTRAP_SERVERS."
