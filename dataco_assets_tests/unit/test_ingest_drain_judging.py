"""Tests the drain with a fake broker and a fake HBase: its order, what it refuses, and being killed at any step.

Plan, parser, writer, offset ledger and hour ledger are the real ones. What needs real servers (transactions,
retention, outages) is in the integration and fault tests.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, cast

import pytest
from confluent_kafka import Message
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataco_assets.clicks.event import Reason
from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key, hour_of, touched_hours
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.hbase import HBase, RowRefused
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import KafkaUnavailable, Undeliverable
from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.clients.schema_registry import RegistryFailure, RegistryMissing, RegistryUnavailable
from dataco_assets.errors import ErrorKind
from dataco_assets.ingest import drain as drain_module
from dataco_assets.ingest.drain import SHARE_CHECKED_FROM, Drain, DrainPolicy, DrainResult, Step, TooManyRejected
from dataco_assets.ledgers.offsets import OffsetGap
from dataco_assets.settings import Settings
from dataco_assets.sources.avro import AvroEncoder

NOON = 1_767_268_800_000  # 2026-01-01T12:00Z
BAD = b"{"
POISON = "refused-by-hbase"


class Killed(BaseException):
    """Simulates kill -9: nothing catches it."""


class Broker:
    """A fake Kafka: a clicks topic, the rejected topic and a consumer group."""

    def __init__(self, partitions: Sequence[Sequence[bytes]], journal: list[str]) -> None:
        self.topic_id = "id-1"
        self.journal = journal
        self.batch = 50
        self.log = {
            partition: [
                Message(topic="clicks", partition=partition, offset=offset, value=value, timestamp=(1, NOON + HOUR_MS))
                for offset, value in enumerate(values)
            ]
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
                yield self.broker.log[partition][start:end]
                self.positions[partition] = end

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
        self.clicks: dict[bytes, bytes] = {}
        self.cells: dict[str, dict[bytes, dict[bytes, bytes]]] = {
            table: {} for table in ("ingest_offsets", "click_hours", "suppressed_users")
        }

    def server_time_ms(self, table: str, prefix: bytes, column: bytes) -> int:  # noqa: ARG002
        return NOON

    def require_table(self, table: str) -> None:
        """Every table exists."""

    def put_rows(self, table: str, encoded: Sequence[bytes]) -> None:
        assert table == "clicks"
        if any(POISON.encode() in row for row in encoded):
            raise RowRefused("KeyValue size too large")
        self.journal.append("rows")
        self.clicks |= {row[7 : 7 + int.from_bytes(row[3:7], "big")]: row for row in encoded}

    def rows(self, table: str, keys: Sequence[bytes], columns: object = None) -> dict[bytes, dict[bytes, bytes]]:  # noqa: ARG002
        if table == "clicks":
            return {key: {} for key in keys if key in self.clicks}
        return {key: dict(self.cells[table][key]) for key in keys if key in self.cells[table]}

    def scan(self, table: str, *_: object, **__: object) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        return iter(sorted((key, dict(cells)) for key, cells in self.cells.get(table, {}).items()))

    def delete_rows(self, table: str, keys: Sequence[bytes]) -> set[bytes]:
        assert table == "clicks"
        return {key for key in keys if self.clicks.pop(key, None)}

    def put_if(self, table: str, key: bytes, column: bytes, *, expected: bytes | None, value: bytes) -> bool:
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
            int(k.rpartition(b"/")[2]): int(c[b"o:next"].split()[1]) for k, c in self.cells["ingest_offsets"].items()
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
            for message in self.broker.log[partition][:position]:
                value = cast("bytes", message.value())
                if value == BAD:
                    assert f"clicks/{partition}/{message.offset()}".encode() in self.broker.rejected
                else:
                    click = json.loads(value)
                    assert click["event_id"].encode() in stored
                    assert certainly_touched([click["timestamp"]]) <= self.store.dirty()
        for partition, offset in self.broker.committed.items():
            assert offset <= self.store.offsets()[partition]


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain_module, "KafkaAdmin", Admin)
    monkeypatch.setattr(drain_module, "RangeConsumer", Consumer)
    monkeypatch.setattr(drain_module, "AckedProducer", Producer)


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


# Order


def test_each_checkpoint_is_made_in_the_designed_order() -> None:
    world = World(mixed(0, 250))
    world.drain()
    effects = [e for i, e in enumerate(world.journal) if i == 0 or world.journal[i - 1] != e]
    assert effects == ["rows", "rejected", "hours", "offsets", "group"] * 3
    world.check_nothing_ran_ahead()


def test_a_drain_of_two_partitions_stores_everything_once_and_accounts_for_it() -> None:
    world = World(mixed(0, 230), [*mixed(1_000, 120), mixed(1_000, 120)[1]])
    result = world.drain()
    assert result.seen == 351
    assert result.stored == len(world.store.clicks) + 1  # one was sent twice
    assert result.rejected == Counter({Reason.MALFORMED_JSON: len(world.broker.rejected)})
    assert {p: (r.start, r.end) for p, r in result.ranges.items()} == {0: (0, 230), 1: (0, 121)}
    assert result.lag_left == 0


def in_avro(payload: bytes) -> bytes:
    encoded = AvroEncoder().encode(payload)
    assert encoded is not None
    assert encoded != payload
    return encoded


def test_clicks_in_avro_have_the_rows_of_json_and_an_erased_users_are_dropped_valid_or_not() -> None:
    values = [click(str(n), user=user) for n, user in enumerate(["u", "gone", "u", "gone"])]
    values[2:] = [value.replace(b"https", b"ftp") for value in values[2:]]
    worlds = World(values), World([in_avro(value) for value in values])
    for world in worlds:
        world.store.cells["suppressed_users"][user_hash("gone")] = {b"s:erased_at": str(NOON + 2 * HOUR_MS).encode()}
        result = world.drain(max_rejected_share=1.0)
        assert (result.stored, result.rejected, result.suppressed) == (1, {Reason.INVALID_URL: 1}, 2)
    assert worlds[0].store.clicks == worlds[1].store.clicks
    assert [value for value, _ in worlds[1].broker.rejected.values()] == [in_avro(values[2])]


@pytest.mark.parametrize(
    ("environment", "error"),
    [({}, RegistryMissing), ({"URL": "http://127.0.0.1:1", "RETRY_SECONDS": "0"}, RegistryUnavailable)],
)
def test_a_schema_that_cannot_be_asked_for_stops_the_run_before_anything_moves(
    environment: Mapping[str, str], error: type[RegistryFailure], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(f"DATACO_SCHEMA_REGISTRY_{name}", value)
    world = World([click("1"), b"\0\0\0\0\1" + in_avro(click("2"))[10:], BAD])
    with pytest.raises(error):
        world.drain()
    assert (world.store.offsets(), world.broker.rejected, world.broker.committed) == ({}, {}, {})
    if error is RegistryMissing:
        result = world.drain(without_registry="reject")
        assert result.rejected == {Reason.UNKNOWN_SCHEMA: 1, Reason.MALFORMED_JSON: 1}


def test_nothing_new_is_a_run_without_effect() -> None:
    world = World(mixed(0, 120))
    world.drain()
    world.journal.clear()
    assert world.drain().seen == 0
    assert world.journal == []


def test_a_bounded_run_stops_and_the_next_goes_on() -> None:
    world = World(mixed(0, 300))
    assert world.drain(max_clicks=130).lag_left == 170
    assert world.store.offsets() == {0: 130}
    world.drain()
    assert world.store.offsets() == {0: 300}
    world.check_nothing_ran_ahead()


# Being killed, and repeating the work


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("step", Step)
def test_killed_at_any_step_and_repeated_the_end_is_the_same(step: Step, times: int) -> None:
    undisturbed = World(mixed(0, 160), mixed(500, 90))
    undisturbed.drain()
    world = World(mixed(0, 160), mixed(500, 90))
    seen: Counter[Step] = Counter()

    def die(now: Step) -> None:
        seen[now] += 1
        if seen[step] == times and now == step:
            raise Killed

    killed = False
    try:
        world.drain(die)
    except Killed:
        killed = True
    assert killed or times > seen[step]
    world.check_nothing_ran_ahead()
    world.drain()
    assert world.state() == undisturbed.state()


@pytest.mark.parametrize("step", Step)
def test_two_overlapping_runs_end_like_one(step: Step) -> None:
    undisturbed = World(mixed(0, 160), mixed(500, 90))
    undisturbed.drain()
    world = World(mixed(0, 160), mixed(500, 90))
    others: list[DrainResult] = []

    def other_run(now: Step) -> None:
        if now == step and not others:
            others.append(world.drain())

    world.drain(other_run)
    assert len(others) == 1
    assert world.state() == undisturbed.state()


def test_a_rejected_topic_that_takes_nothing_stops_the_offsets() -> None:
    world = World(mixed(0, 150))
    world.broker.takes_rejects = False
    with pytest.raises(Undeliverable):
        world.drain()
    assert world.store.offsets() == {}
    assert world.broker.committed == {}
    world.broker.takes_rejects = True
    world.drain()
    world.check_nothing_ran_ahead()


def test_a_topic_re_created_while_it_is_read_moves_no_offset() -> None:
    world = World(mixed(0, 150))

    def recreate(now: Step) -> None:
        if now == Step.ROWS_STORED:
            world.broker.topic_id = "id-2"

    with pytest.raises(OffsetGap, match=r"id-1 is now id-2"):
        world.drain(recreate)
    assert world.store.offsets() == {}


# The share of rejected messages


@pytest.mark.parametrize(
    ("bad", "good", "fails"),
    [
        (SHARE_CHECKED_FROM, 0, True),
        (SHARE_CHECKED_FROM - 1, 0, False),  # too few to check
        (SHARE_CHECKED_FROM // 2, SHARE_CHECKED_FROM // 2, False),  # exactly the share allowed
        (SHARE_CHECKED_FROM // 2 + 1, SHARE_CHECKED_FROM // 2 - 1, True),
        (SHARE_CHECKED_FROM // 2 + 1, SHARE_CHECKED_FROM // 2 - 2, False),  # one too few to check
    ],
)
def test_a_run_that_refuses_too_much_fails_and_commits_nothing(bad: int, good: int, fails: bool) -> None:
    world = World([*[BAD] * bad, *[click(str(n)) for n in range(good)]])
    if not fails:
        assert world.drain(checkpoint_clicks=50_000).rejected.total() == bad
        return
    with pytest.raises(TooManyRejected, match=rf"{bad:,} of {bad + good:,} messages.*malformed_json"):
        world.drain(checkpoint_clicks=50_000)
    assert TooManyRejected.kind is ErrorKind.PERMANENT
    assert (world.broker.rejected, world.store.offsets(), world.broker.committed) == ({}, {}, {})
    # The valid ones are stored, so their hours must be computed.
    assert len(world.store.clicks) == good
    assert world.store.dirty() == ({NOON, NOON - HOUR_MS} if good else set())


def test_one_window_of_nonsense_fails_however_much_good_came_before_and_keeps_what_was_reached() -> None:
    world = World([*[click(str(n)) for n in range(3_000)], *[BAD] * 1_000])
    world.broker.batch = 1_000
    with pytest.raises(TooManyRejected, match="1,000 of 1,000"):
        world.drain(checkpoint_clicks=1_000)
    assert world.store.offsets() == {0: 3_000}
    assert world.broker.rejected == {}


def test_small_windows_are_judged_together() -> None:
    world = World([BAD] * 3_000)
    with pytest.raises(TooManyRejected):
        world.drain(checkpoint_clicks=100)
    assert len(world.broker.rejected) < SHARE_CHECKED_FROM
    world.check_nothing_ran_ahead()


def test_everything_passes_to_the_rejected_topic_when_asked() -> None:
    world = World([BAD] * 3_000)
    assert world.drain(max_rejected_share=1.0).rejected.total() == 3_000
    assert world.store.offsets() == {0: 3_000}
    assert len(world.broker.rejected) == 3_000


def test_a_row_hbase_refuses_goes_to_the_rejected_topic_and_its_neighbours_are_stored() -> None:
    world = World([click("a"), click(POISON), click("b")])
    result = world.drain()
    assert (result.stored, result.rejected) == (2, Counter({Reason.REFUSED_BY_STORE: 1}))
    assert len(world.store.clicks) == 2
    ((value, headers),) = world.broker.rejected.values()
    assert value == click(POISON)
    assert headers["dataco.reason"] == b"refused_by_store"
    assert headers["dataco.offset"] == b"1"
    assert b"KeyValue size too large" in headers["dataco.detail"]


def test_a_row_hbase_refuses_counts_in_no_hour_and_makes_none_dirty() -> None:
    world = World([click("a"), click(POISON), click(POISON + "2", NOON - 5 * HOUR_MS)])
    result = world.drain()
    assert result.hours == {NOON: 1}
    assert world.store.dirty() == {NOON, NOON - HOUR_MS}


def test_a_lag_that_cannot_be_measured_does_not_fail_what_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World([click("a")])

    def stop_answering(now: Step) -> None:
        if now == Step.GROUP_COMMITTED:
            monkeypatch.setattr(Admin, "stable_end", unavailable)

    def unavailable(*_: object) -> dict[int, int]:
        raise KafkaUnavailable("no broker answers")

    result = world.drain(stop_answering)
    assert (result.stored, result.lag_left) == (1, None)
    assert world.store.offsets() == {0: 1}


# Hours


@given(st.lists(st.integers(NOON - 3 * HOUR_MS, NOON + HOUR_MS), min_size=1, max_size=30))
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exactly_the_touched_hours_become_dirty(timestamps: list[int]) -> None:
    world = World([click(str(n), timestamp) for n, timestamp in enumerate(timestamps)])
    result = world.drain()
    assert world.store.dirty() == certainly_touched(timestamps)
    assert result.hours == Counter(map(hour_of, timestamps))
    holding = {k for k, cells in world.store.cells["click_hours"].items() if b"h:first_stored_at" in cells}
    assert {hour_from_key(key.decode()) for key in holding} == set(result.hours)


def certainly_touched(timestamps: Iterable[int]) -> set[int]:
    """Hours that must be dirty in any case; the hour after is one of them only if it has clicks."""
    return {hour for timestamp in timestamps for hour in touched_hours(timestamp) if hour <= hour_of(timestamp)}


def test_an_hour_after_is_marked_once_it_holds_clicks() -> None:
    """Otherwise each running hour would mark one that has not begun."""
    late, next_hour = NOON + HOUR_MS - 1, hour_key(NOON + HOUR_MS).encode()
    world = World([click("a", late), click("b", NOON + HOUR_MS), click("c", late)])
    dirty: list[bytes | None] = []
    for _ in range(3):
        world.drain(max_clicks=1)
        dirty.append(world.store.cells["click_hours"].get(next_hour, {}).get(b"h:dirty"))
    assert dirty == [None, (1).to_bytes(8, "big"), (2).to_bytes(8, "big")]


def test_hours_before_the_first_partition_are_not_marked() -> None:
    world = World([click("a"), click("b", NOON + HOUR_MS)])
    world.drain(earliest_ms=NOON)
    assert world.store.dirty() == {NOON, NOON + HOUR_MS}


def test_the_first_partition_itself_is_marked() -> None:
    world = World([click("a")])
    world.drain(earliest_ms=NOON - HOUR_MS)
    assert world.store.dirty() == {NOON, NOON - HOUR_MS}


def test_a_checkpoint_reads_the_positions_of_all_partitions_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(*[[click(f"{partition}-{n}") for n in range(3)] for partition in range(20)])
    reads: list[int] = []
    read = world.store.rows

    def counting(table: str, keys: Sequence[bytes], columns: object = None) -> dict[bytes, dict[bytes, bytes]]:
        if table == "ingest_offsets" and b"#" not in keys[0]:  # the row of the topic's owner
            reads.append(len(keys))
        return read(table, keys, columns)

    monkeypatch.setattr(world.store, "rows", counting)
    world.drain(checkpoint_clicks=1_000)
    assert reads == [20]
    assert world.store.offsets() == dict.fromkeys(range(20), 3)


def test_a_user_erased_while_rows_are_stored_leaves_none_and_their_hours_are_computed_again() -> None:
    """The erasure ends just before the drain reads the suppression list again, so it finds no row."""
    world = World([click("a1", user="ann"), click("b1", user="bob"), BAD, click("a2", NOON + HOUR_MS // 2, user="ann")])

    def erase(step: Step) -> None:
        if step is Step.ROWS_STORED:
            world.store.cells["suppressed_users"][user_hash("ann")] = {b"s:erased_at": b"%d" % (NOON + HOUR_MS)}

    result = world.drain(erase)

    assert (result.stored, result.suppressed, result.rejected.total()) == (1, 2, 1)
    assert len(world.store.clicks) == 1
    assert b"ann" not in b"".join(world.store.clicks.values())
    assert world.store.dirty() == {NOON, NOON - HOUR_MS}
    assert world.store.offsets() == {0: 4}
    assert world.journal.index("hours") < world.journal.index("offsets")
