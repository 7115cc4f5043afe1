"""Consumers that read exact offset ranges of a topic, or a whole topic."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, cast

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import (
    KafkaUnavailable,
    OffsetsLost,
    TopicMissing,
    missing,
    refusal,
    text_of,
    translate,
    unreachable,
)
from dataco_assets.clients.kafka.reachability import Reachability
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.clock import now_ms

_AHEAD_KILOBYTES = 2 * 1024  # what librdkafka may fetch ahead of us
_FETCH_BYTES = 256 * 1024
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_MESSAGES = 2_000
_POLL_SECONDS = 0.2
_READ_STALL_SECONDS = 30.0
READER_GROUP = "dataco-reader"
"""Group of those that read a topic without draining it; nothing is ever committed to it."""
_RESPONSE_BYTES = 2_000_000_000  # librdkafka's own 100 MB would stop at a topic with larger messages, for ever


class RangeConsumer:
    """Reads exactly the given offset ranges of one topic, committed transactions only, and stops at their ends.

    A partition is finished when its *position* reaches the end of its range: the last offsets may belong to
    transaction markers or aborted records, which are never delivered.

    Args:
        brokers: The Kafka cluster.
        group: Consumer group, only used to publish progress for other tools.
        topic: The topic's name.
        ranges: What to read.
        stall_seconds: No message and no progress for so long is an error.
    """

    def __init__(
        self, brokers: Brokers, group: str, topic: str, ranges: Sequence[OffsetRange], *, stall_seconds: float
    ) -> None:
        self._servers = brokers.servers
        self._topic = topic
        self._group = group
        self._stall_seconds = stall_seconds
        self._ends = {r.partition: r.end for r in ranges}
        self.positions = {r.partition: r.start for r in ranges}
        self._next = dict(self.positions)  # offset behind the last message that was taken
        self._empty: dict[int, list[OffsetRange]] = {partition: [] for partition in self.positions}
        self._unfinished = {r.partition for r in ranges if r.count}
        self._batch_messages = 100
        self._last_trouble = "no message arrived"
        self._reachability = Reachability(brokers.servers, None)
        self._consumer = Consumer(_consumer_config(brokers, group, self._reachability))
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
            AccessDenied, AuthenticationFailed, TlsRefused, TopicMissing, KafkaUnavailable: see `failures`.
        """
        progress_at = time.monotonic()
        while self._unfinished:
            batch, reached = self._take()
            if batch:
                yield batch
            if reached:
                progress_at = time.monotonic()
                self._advance(reached)
                continue
            self._reachability.check()
            if time.monotonic() - progress_at > self._stall_seconds:
                raise KafkaUnavailable(
                    unreachable(
                        self._servers,
                        f"{self._last_trouble}; nothing came from topic {self._topic} for {self._stall_seconds:.0f} s",
                        self._reachability.trouble,
                    )
                )

    def without_message(self, starts: Mapping[int, int]) -> dict[int, list[OffsetRange]]:
        """Runs of offsets that have no message, between offsets and `positions`, by partition.

        They are markers of transactions, messages that were rolled back, and messages removed by compaction.

        Args:
            starts: Where to begin; what is before is forgotten.
        """
        for partition, start in starts.items():
            self._empty[partition] = [run for run in self._empty[partition] if run.end > start]
        return {
            partition: [
                OffsetRange(partition, max(run.start, start), min(run.end, self.positions[partition]))
                for run in self._empty[partition]
                if run.start < self.positions[partition]
            ]
            for partition, start in starts.items()
        }

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Commits offsets to the group, for other tools to see; never moves one backwards.

        Raises:
            AccessDenied, KafkaUnavailable
        """
        wanted = [TopicPartition(self._topic, partition, offset) for partition, offset in offsets.items()]
        try:
            known = {t.partition: t.offset for t in self._consumer.committed(wanted, timeout=self._stall_seconds)}
            ahead = [t for t in wanted if t.offset > known.get(t.partition, -1)]
            if ahead:
                self._consumer.commit(offsets=ahead, asynchronous=False)
        except KafkaException as error:
            if not self._unfinished:  # so no message can be lost by asking for the events that explain a time-out
                self._take()
            raise translate(error, self._servers, f"group {self._group}", self._reachability.trouble) from error

    def _take(self) -> tuple[list[Message], dict[int, int]]:
        try:
            taken = self._consumer.consume(self._batch_messages, timeout=_POLL_SECONDS)
        except KafkaException as error:
            raise translate(error, self._servers, self._topic) from error
        batch: list[Message] = []
        reached: dict[int, int] = {}
        size = 0
        for message in taken:
            if (problem := message.error()) is not None:
                self._note_event(message, problem, reached)
                continue
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            if offset > self._next[partition]:
                self._note_empty(partition, offset)
            reached[partition] = self._next[partition] = offset + 1
            size += size_of(message)
            if offset < self._ends[partition]:
                batch.append(message)
        if batch:
            self._batch_messages = max(1, min(_BATCH_MESSAGES, _BATCH_BYTES * len(batch) // max(size, 1)))
        return batch, reached

    def _note_event(self, message: Message, problem: KafkaError, reached: dict[int, int]) -> None:
        code = problem.code()
        if code == KafkaError._PARTITION_EOF:
            partition, offset = cast("int", message.partition()), cast("int", message.offset())
            self._note_empty(partition, offset)
            reached[partition] = offset
        elif code in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
            partition = cast("int", message.partition())
            raise OffsetsLost(
                f"Topic {self._topic}, partition {partition}: offsets [{self.positions[partition]}, "
                f"{self._ends[partition]}) can no longer be read ({text_of(problem)})."
            )
        elif code in {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}:
            raise TopicMissing(missing(self._topic))
        elif code == KafkaError.GROUP_AUTHORIZATION_FAILED and self._group == READER_GROUP:
            pass  # nothing is committed to it
        elif refused := refusal(problem, self._servers, self._asked_about(code)):
            raise refused
        elif problem.fatal():
            raise KafkaUnavailable(unreachable(self._servers, text_of(problem)))
        else:
            # Brokers down, time-outs: librdkafka goes on trying by itself; the stall deadline judges.
            self._last_trouble = text_of(problem)

    def _asked_about(self, code: int) -> str:
        return f"group {self._group}" if code == KafkaError.GROUP_AUTHORIZATION_FAILED else f"topic {self._topic}"

    def _note_empty(self, partition: int, offset: int) -> None:
        if offset > self._next[partition]:
            self._empty[partition].append(OffsetRange(partition, self._next[partition], offset))
            self._next[partition] = offset

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


def read_all(
    brokers: Brokers,
    admin: KafkaAdmin,
    topic: str,
    each: Callable[[Message], None],
    *,
    partitions: Iterable[int] | None = None,
    stall_seconds: float = _READ_STALL_SECONDS,
) -> None:
    """Hands over every committed message a topic holds now, oldest first within a partition."""
    state = admin.topic(topic)
    earliest, end = admin.earliest(state), admin.stable_end(state)
    chosen = state.partitions if partitions is None else tuple(partitions)
    ranges = [OffsetRange(p, earliest[p], end[p]) for p in chosen]
    read_ranges(brokers, topic, ranges, each, stall_seconds=stall_seconds)


def read_ranges(
    brokers: Brokers,
    topic: str,
    ranges: Sequence[OffsetRange],
    each: Callable[[Message], None],
    *,
    stall_seconds: float = _READ_STALL_SECONDS,
) -> None:
    """Hands over every committed message of some offset ranges, oldest first within a partition."""
    with RangeConsumer(brokers, READER_GROUP, topic, ranges, stall_seconds=stall_seconds) as consumer:
        for batch in consumer.batches():
            for message in batch:
                each(message)


def place_of(message: Message) -> tuple[int, int]:
    """Partition and offset of a message."""
    return cast("int", message.partition()), cast("int", message.offset())


def value_of(message: Message) -> bytes | None:
    """A message's value; None for a tombstone."""
    value = message.value()
    return value.encode() if isinstance(value, str) else value  # no call: this is asked of every click


def key_of(message: Message) -> bytes | None:
    """A message's key; None when it has none."""
    return as_bytes(message.key())


def size_of(message: Message) -> int:
    """Bytes that a message holds in memory: value, key and headers, each of which a producer may make large."""
    size = len(message) + len(message.key() or b"")
    for name, content in message.headers() or ():
        size += len(name) + len(content or b"")
    return size


def header_of(message: Message, name: str) -> bytes | None:
    """The last header of a name; None without one, or without a value."""
    headers = message.headers()
    if not headers:  # nearly always, and this is asked of every click
        return None
    return as_bytes(dict(headers).get(name))


def as_bytes(content: str | bytes | None) -> bytes | None:
    """A key, a value or a header's value; always bytes already, but the client's types also allow text."""
    return content.encode() if isinstance(content, str) else content


def record_time_ms(message: Message) -> int:
    """When Kafka took a message, epoch ms; now, for a record of a producer so old that it has no time."""
    kind, time_ms = message.timestamp()
    return time_ms if kind != TIMESTAMP_NOT_AVAILABLE else now_ms()


def _consumer_config(brokers: Brokers, group: str, reachability: Reachability) -> dict[str, Any]:
    return brokers.config(
        fixed={
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # every other value hides a loss or re-reads outside the range
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "receive.message.max.bytes": _RESPONSE_BYTES,
            "error_cb": reachability.on_error,
        },
        tuning={
            "queued.max.messages.kbytes": _AHEAD_KILOBYTES,
            "fetch.queue.backoff.ms": 10,  # with so little fetched ahead, the default of a second would be a long wait
            # Of compressed bytes, which become several times as many here. The first message of a fetch comes whole
            # whatever its size, up to the largest response that the client accepts.
            "max.partition.fetch.bytes": _FETCH_BYTES,
            "fetch.max.bytes": 4 * _FETCH_BYTES,
            "fetch.wait.max.ms": 100,
        },
    )
