"""Reads and changes topics and consumer groups with metadata calls, each with a deadline."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]  # documented as part of confluent_kafka.admin
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from confluent_kafka.cimpl import NewTopic
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import (
    KafkaFailure,
    KafkaUnavailable,
    TopicMissing,
    error_code,
    translate,
    unreachable,
)
from dataco_assets.clients.kafka.reachability import Reachability

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")

_POLL_SECONDS = 0.05
_COORDINATOR_SECONDS = 2.0
"""How long the coordinator of a group is asked before a look at what the broker reports of it."""


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
        brokers: The Kafka cluster.
        timeout_seconds: Most one call may take.
        refused_seconds: A call fails once every broker has refused connections for so long; None: only at its timeout.
    """

    def __init__(
        self, brokers: Brokers, *, timeout_seconds: float = 10.0, refused_seconds: float | None = None
    ) -> None:
        self._brokers = brokers
        self._servers = brokers.servers
        self._timeout = timeout_seconds
        self._reachability = Reachability(brokers.servers, refused_seconds)
        self._client = AdminClient(brokers.config(fixed={"error_cb": self._reachability.on_error}))

    def topic(self, name: str) -> TopicState:
        """The topic's id and partitions.

        Raises:
            TopicMissing, AccessDenied, KafkaUnavailable
        """
        futures = self._client.describe_topics(TopicCollection([name]), request_timeout=self._timeout)
        described = self._result(futures[name], name)
        return TopicState(name, str(described.topic_id), tuple(sorted(p.id for p in described.partitions)))

    def topics(self) -> set[str]:
        """Names of all topics."""
        try:
            return set(self._client.list_topics(timeout=self._timeout).topics)
        except KafkaException as error:
            raise self._failure(error, "its topics") from error

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

    def starts_at(self, topic: TopicState, timestamp_ms: int, ends: Mapping[int, int]) -> dict[int, int]:
        """Where to read from to get what has a record time at or after a time, by partition.

        Args:
            topic: The topic.
            timestamp_ms: The time, epoch ms.
            ends: Where reading ends, which is where it begins in partitions that have nothing of that time.
        """
        found = self.first_at_or_after(topic, timestamp_ms)
        return {partition: ends[partition] if at is None else at for partition, at in found.items()}

    def committed(self, group: str, topic: TopicState) -> dict[int, int]:
        """Offsets the group has committed; partitions without one are left out.

        Asked through a consumer: the admin client's own call crashes the process (confluent-kafka 2.16) while the
        group's coordinator is getting ready, as it is on a fresh broker. Asked again until the deadline for the same
        reason.
        """
        consumer = Consumer(self._brokers.config(fixed={"group.id": group, "error_cb": self._reachability.on_error}))
        ready = Retrying(
            retry=retry_if_exception_type(KafkaUnavailable),
            stop=stop_after_delay(self._timeout),
            wait=wait_fixed(0.2),
            reraise=True,
        )
        try:
            return ready(self._committed, consumer, group, topic)
        finally:
            consumer.close()

    def _committed(self, consumer: Consumer, group: str, topic: TopicState) -> dict[int, int]:
        wanted = [TopicPartition(topic.name, partition) for partition in topic.partitions]
        try:
            found = consumer.committed(wanted, timeout=min(_COORDINATOR_SECONDS, self._timeout))
        except KafkaException as error:
            event = consumer.poll(0)  # a refusal that the call itself reports as a time-out
            self._reachability.check()
            problem = event.error() if event is not None else None
            cause = error if problem is None else KafkaException(problem)
            raise translate(cause, self._servers, f"group {group}", self._reachability.trouble) from error
        return {entry.partition: entry.offset for entry in found if entry.offset >= 0}

    def create_topic(self, name: str, *, partitions: int, replication: int, config: Mapping[str, str]) -> bool:
        """Creates a topic and waits until brokers know it; False when it was there already."""
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replication, config=dict(config))
        future = self._client.create_topics([topic], request_timeout=self._timeout)[name]
        try:
            self._result(future, name)
        except KafkaFailure as error:
            if error_code(error.__cause__) == KafkaError.TOPIC_ALREADY_EXISTS:
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

    def message_limit_bytes(self, name: str) -> int:
        """The topic's `max.message.bytes`: the largest message that brokers accept."""
        return int(self.topic_config(name)["max.message.bytes"])

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
        deadline = time.monotonic() + self._timeout + 1
        while not future.done():
            self._client.poll(_POLL_SECONDS)
            self._reachability.check()
            if time.monotonic() > deadline:
                raise KafkaUnavailable(unreachable(self._servers, "no answer in time", self._reachability.trouble))
        try:
            return future.result()
        except KafkaException as error:
            raise self._failure(error, what) from error

    def _failure(self, error: KafkaException, what: str) -> KafkaFailure:
        self._client.poll(0)
        self._reachability.check()
        return translate(error, self._servers, what, self._reachability.trouble)
