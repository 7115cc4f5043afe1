"""A fake broker and a fake HBase, and a drain between them: for tests of its order, its judgement and its account.

Plan, parser, writer, offset ledger and hour ledger are the real ones.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import pytest
from confluent_kafka import Message

from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_of, touched_hours
from dataco_assets.clients.hbase import HBase, RowRefused
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import Undeliverable
from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.ingest import drain as drain_module
from dataco_assets.ingest.drain import Drain, DrainPolicy, DrainResult, Step
from dataco_assets.settings import Settings

NOON = 1_767_268_800_000  # 2026-01-01T12:00Z
BAD = b"{"
POISON = "refused-by-hbase"
HOLE = b""
"""An offset without a message, such as the marker of a transaction."""


TOPIC_ID = "KJ/SqPxCRBeO+N0TzcvwxA"
"""Base64, as the ids are that Kafka gives to topics."""


class Killed(BaseException):
    """Simulates kill -9: nothing catches it."""


def _message(partition: int, offset: int, value: bytes) -> Message | None:
    if value == HOLE:
        return None
    return message(partition, offset, value)


def message(partition: int, offset: int, value: bytes, **more: Any) -> Message:
    """A message of the clicks topic; `more` is what else the client's `Message` takes."""
    return Message(
        topic="clicks", partition=partition, offset=offset, value=value, timestamp=(1, NOON + HOUR_MS), **more
    )


class Broker:
    """A fake Kafka: a clicks topic, the rejected topic and a consumer group."""

    def __init__(self, partitions: Sequence[Sequence[bytes]], journal: list[str]) -> None:
        self.topic_id = TOPIC_ID
        self.journal = journal
        self.batch = 50
        self.log = {
            partition: [_message(partition, offset, value) for offset, value in enumerate(values)]
            for partition, values in enumerate(partitions)
        }
        self.rejected: dict[bytes, tuple[bytes | None, dict[str, bytes]]] = {}
        self.committed: dict[int, int] = {}
        self.takes_rejects = True


class Admin:
    """A fake `KafkaAdmin`."""

    broker: Broker

    def __init__(self, _: str, **__: object) -> None:
        """Ignores its arguments."""

    def topic(self, name: str) -> TopicState:
        return TopicState(name, self.broker.topic_id, tuple(self.broker.log))

    def earliest(self, topic: TopicState) -> dict[int, int]:
        return dict.fromkeys(topic.partitions, 0)

    def stable_end(self, topic: TopicState) -> dict[int, int]:
        return {partition: len(self.broker.log[partition]) for partition in topic.partitions}

    high_watermark = stable_end

    def message_limit_bytes(self, _topic: str) -> int:
        return 16 * 1024 * 1024

    def committed(self, group: str, topic: TopicState) -> dict[int, int]:  # noqa: ARG002  # as the real one
        return self.broker.committed


class Consumer:
    """A fake `RangeConsumer`: positions move past a batch when the next one is requested."""

    broker: Broker

    def __init__(self, _servers: str, _group: str, _topic: str, ranges: Sequence[OffsetRange], **_: Any) -> None:
        self.positions = {r.partition: r.start for r in ranges}
        self._ends = {r.partition: r.end for r in ranges}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""

    def batches(self) -> Iterator[list[Message]]:
        while unfinished := [p for p, end in self._ends.items() if self.positions[p] < end]:
            for partition in unfinished:
                start = self.positions[partition]
                end = min(start + self.broker.batch, self._ends[partition])
                yield [message for message in self.broker.log[partition][start:end] if message is not None]
                self.positions[partition] = end

    def without_message(self, starts: Mapping[int, int]) -> dict[int, list[OffsetRange]]:
        return {
            partition: [
                OffsetRange(partition, offset, offset + 1)
                for offset in range(start, self.positions[partition])
                if self.broker.log[partition][offset] is None
            ]
            for partition, start in starts.items()
        }

    def commit(self, offsets: Mapping[int, int]) -> None:
        ahead = {p: offset for p, offset in offsets.items() if offset > self.broker.committed.get(p, -1)}
        if ahead:
            self.broker.journal.append("group")
        self.broker.committed |= ahead


class Producer:
    """A fake `AckedProducer`: messages are in the topic once flushed."""

    broker: Broker

    def __init__(self, *_: str) -> None:
        self._queue: list[tuple[bytes, tuple[bytes | None, dict[str, bytes]]]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Unflushed messages are lost, which is allowed."""

    def send(self, key: bytes, value: bytes | None, *, headers: Sequence[tuple[str, bytes]]) -> None:
        self._queue.append((key, (value, dict(headers))))

    def flush(self) -> None:
        if self._queue and not self.broker.takes_rejects:
            raise Undeliverable("the rejected topic is full")
        if self._queue:
            self.broker.journal.append("rejected")
        self.broker.rejected |= dict(self._queue)
        self._queue = []


class Store:
    """A fake `HBase`, with the methods that the drain uses."""

    retries = 0

    def __init__(self, journal: list[str]) -> None:
        self.journal = journal
        self.now_ms = NOON
        self.clicks: dict[bytes, bytes] = {}
        self.batches: list[int] = []
        """Rows of each call that stored some."""
        self.cells: dict[str, dict[bytes, dict[bytes, bytes]]] = {
            table: {} for table in ("ingest_offsets", "click_hours", "suppressed_users")
        }

    def server_time_ms(self, table: str, prefix: bytes, column: bytes) -> int:  # noqa: ARG002
        return self.now_ms

    def require_table(self, table: str) -> None:
        """Every table exists."""

    def put_rows(self, table: str, encoded: Sequence[bytes]) -> None:
        assert table == "clicks"
        if any(POISON.encode() in row for row in encoded):
            raise RowRefused("KeyValue size too large")
        self.journal.append("rows")
        self.batches.append(len(encoded))
        self.clicks |= {row[7 : 7 + int.from_bytes(row[3:7], "big")]: row for row in encoded}

    def rows(self, table: str, keys: Sequence[bytes], columns: object = None) -> dict[bytes, dict[bytes, bytes]]:  # noqa: ARG002
        if table == "clicks":
            return {key: {} for key in keys if key in self.clicks}
        return {key: dict(self.cells[table][key]) for key in keys if key in self.cells[table]}

    def scan(
        self, table: str, start: bytes | None = None, stop: bytes | None = None, **_: object
    ) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        rows = ((key, dict(cells)) for key, cells in self.cells.get(table, {}).items())
        return iter(sorted(row for row in rows if (start or b"") <= row[0] and (stop is None or row[0] < stop)))

    def delete_rows(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        assert table == "clicks"
        return {key for key in keys if self.clicks.pop(key, None)}

    def put_if(
        self, table: str, key: bytes, column: bytes, *, expected: bytes | None, value: bytes, **_: object
    ) -> bool:
        if table == "ingest_offsets":
            self.journal.append("offsets")
        row = self.cells[table].setdefault(key, {})
        if row.get(column) != expected:
            return False
        row[column] = value
        return True

    def increment(self, table: str, column: bytes, amounts: Mapping[bytes, int]) -> None:
        self.journal.append("hours")
        for key, amount in amounts.items():
            row = self.cells[table].setdefault(key, {})
            row[column] = (int.from_bytes(row.get(column, b""), "big") + amount).to_bytes(8, "big")

    def offsets(self) -> dict[int, int]:
        """Next offset by partition, from the ledger."""
        return {
            int(key.rpartition(b"/")[2]): int(cells[b"o:next"].split()[1])
            for key, cells in self.cells["ingest_offsets"].items()
            if b"#" not in key
        }

    def dirty(self) -> set[int]:
        return {hour_from_key(k.decode()) for k, cells in self.cells["click_hours"].items() if b"h:dirty" in cells}


class World:
    """A broker and a store, and a method that drains the one into the other."""

    def __init__(self, *partitions: Sequence[bytes]) -> None:
        self.journal: list[str] = []
        self.broker = Broker(partitions, self.journal)
        self.store = Store(self.journal)

    def drain(self, on_step: Callable[[Step], None] = lambda _: None, **policy: Any) -> DrainResult:
        Admin.broker = Consumer.broker = Producer.broker = self.broker
        chosen = DrainPolicy(
            **{
                "max_clicks": 1_000_000,
                "checkpoint_clicks": 100,
                "connections": 2,
                "max_rejected_share": 0.5,
                "earliest_ms": NOON - 24 * HOUR_MS,
            }
            | policy
        )
        hbase = cast("HBase", self.store)
        with Drain(Settings.load(), hbase, chosen, brokers=Brokers("nowhere:1"), on_step=on_step) as drain:
            return drain.run()

    def state(self) -> tuple[object, ...]:
        """The state that must be the same in the end, whatever happened; dirty counters may differ."""
        return self.store.clicks, self.broker.rejected, self.store.offsets(), self.store.dirty(), self.broker.committed

    def check_nothing_ran_ahead(self) -> None:
        """Every offset before the ledger's is durable: its row, or its rejected record, and its hours."""
        stored = b"".join(self.store.clicks.values())
        for partition, position in self.store.offsets().items():
            for message in filter(None, self.broker.log[partition][:position]):
                value = cast("bytes", message.value())
                if value == BAD:
                    assert f"clicks/{partition}/{message.offset()}".encode() in self.broker.rejected
                else:
                    click = json.loads(value)
                    assert click["event_id"].encode() in stored
                    assert certainly_touched([click["timestamp"]]) <= self.store.dirty()
        for partition, offset in self.broker.committed.items():
            assert offset <= self.store.offsets()[partition]


def click(name: str, timestamp: int = NOON, user: str = "u") -> bytes:
    return json.dumps(
        {
            "event_id": f"<{name}>",
            "user_id": user,
            "timestamp": timestamp,
            "url": "https://example.org/",
            "ip_address": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
        }
    ).encode()


def mixed(start: int, count: int, every: int = 5) -> list[bytes]:
    """Clicks over several hours, one in `every` not a click."""
    return [
        BAD if n % every == 0 else click(str(n), NOON - n * 613_000 % (9 * HOUR_MS))
        for n in range(start, start + count)
    ]


def certainly_touched(timestamps: Iterable[int]) -> set[int]:
    """Hours that must be dirty in any case; the hour after is one of them only if it has clicks."""
    return {hour for timestamp in timestamps for hour in touched_hours(timestamp) if hour <= hour_of(timestamp)}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes drains use the fake broker."""
    monkeypatch.setattr(drain_module, "KafkaAdmin", Admin)
    monkeypatch.setattr(drain_module, "RangeConsumer", Consumer)
    monkeypatch.setattr(drain_module, "AckedProducer", Producer)
