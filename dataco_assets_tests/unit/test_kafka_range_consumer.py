"""Tests what a consumer of offset ranges says of offsets that hold no message, on a fake of the Kafka client."""

from collections.abc import Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, Message, TopicPartition
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataco_assets.clients.kafka import consumer as consumer_module
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import RangeConsumer
from dataco_assets.clients.kafka.topics import OffsetRange


class Client:
    """A fake Kafka client: delivers the messages of its partitions in turn, and the end of each, a few at a time."""

    log: Sequence[Sequence[bool]]
    """Whether there is a message, by partition and offset."""
    at_once: int
    headers: Sequence[tuple[str, bytes]] = ()
    """Of every message."""
    asked: list[int]
    """How many messages were asked for, in each call of the last client."""

    def __init__(self, _: object) -> None:
        self._events: list[Message] = []
        Client.asked = []

    def assign(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            messages = self.log[place.partition]
            offsets = [n for n in range(place.offset, len(messages)) if messages[n]]
            common: dict[str, Any] = {"partition": place.partition, "value": b"x", "headers": list(self.headers)}
            self._events += [Message(offset=offset, **common) for offset in offsets]
            end = KafkaError(KafkaError._PARTITION_EOF)
            self._events.append(Message(partition=place.partition, offset=len(messages), error=end))

    def consume(self, most: int, timeout: float) -> list[Message]:
        del timeout
        Client.asked.append(most)
        taken, self._events = self._events[: self.at_once], self._events[self.at_once :]
        return taken

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        gone = {place.partition for place in places}
        self._events = [event for event in self._events if event.partition() not in gone]

    def close(self) -> None:
        """Nothing is open."""


LOGS = st.lists(st.lists(st.booleans(), max_size=40), min_size=1, max_size=3)


@given(log=LOGS, at_once=st.integers(1, 9), windows=st.integers(1, 4), data=st.data())
@hypothesis_settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_offsets_without_a_message_are_told_once_window_by_window(
    monkeypatch: pytest.MonkeyPatch, log: list[list[bool]], at_once: int, windows: int, data: st.DataObject
) -> None:
    Client.log, Client.at_once = log, at_once
    monkeypatch.setattr(consumer_module, "Consumer", Client)
    spans = [sorted(data.draw(st.tuples(*[st.integers(0, len(messages))] * 2))) for messages in log]
    ranges = [OffsetRange(partition, start, end) for partition, (start, end) in enumerate(spans)]
    told: dict[int, list[int]] = {each.partition: [] for each in ranges}
    delivered: dict[int, list[int]] = {each.partition: [] for each in ranges}

    with RangeConsumer(Brokers("nowhere:1"), "group", "clicks", ranges, stall_seconds=5) as consumer:
        starts = dict(consumer.positions)

        def look() -> None:
            for partition, runs in consumer.without_message(starts).items():
                told[partition] += [offset for run in runs for offset in range(run.start, run.end)]
            starts.update(consumer.positions)

        for n, batch in enumerate(consumer.batches()):
            if n % windows == 0:  # before the batch is taken over, as the drain does
                look()
            for message in batch:
                delivered[message.partition() or 0].append(message.offset() or 0)
        look()

    for each in ranges:
        offsets = range(each.start, each.end)
        assert delivered[each.partition] == [n for n in offsets if log[each.partition][n]]
        assert told[each.partition] == [n for n in offsets if not log[each.partition][n]]


@pytest.mark.parametrize(("header_bytes", "most"), [(0, 2_000), (1_000_000, 8), (20_000_000, 1)])
def test_a_batch_is_bounded_by_what_its_messages_hold_headers_included(
    monkeypatch: pytest.MonkeyPatch, header_bytes: int, most: int
) -> None:
    monkeypatch.setattr(Client, "log", [[True] * 30], raising=False)
    monkeypatch.setattr(Client, "at_once", 10, raising=False)
    monkeypatch.setattr(Client, "headers", [("trace", b"t" * header_bytes)])
    monkeypatch.setattr(consumer_module, "Consumer", Client)
    ranges = [OffsetRange(0, 0, 30)]
    with RangeConsumer(Brokers("nowhere:1"), "group", "clicks", ranges, stall_seconds=5) as consumer:
        assert sum(map(len, consumer.batches())) == 30
    assert Client.asked[1:] == [most] * (len(Client.asked) - 1)
