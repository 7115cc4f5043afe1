"""Tests the drain on real Kafka and HBase: what is stored, what is rejected, and when offsets move."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from confluent_kafka import Producer

from dataco_assets.clicks.event import Click, parse
from dataco_assets.clients.hbase import HBaseRefused, connect
from dataco_assets.clients.kafka.failures import TopicMissing
from dataco_assets.ingest.click_bytes import encode_click
from dataco_assets.ingest.drain import Step, TooManyRejected, policy_from
from dataco_assets.ingest.log import has_waited_since, measure_lag
from dataco_assets.ingest.plan import DataLost
from dataco_assets.ledgers.offsets import Mode, OffsetGap, OtherOwner, Owner
from dataco_assets.ledgers.tallies import PassedOffsets
from dataco_assets_tests.platforms import NOON, Platform, click, headers_of, make_platform
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
HOUR = 3_600_000


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    made = make_platform(stack.env()).create()
    yield made
    made.drop()


def test_stores_each_click_once_with_its_cells(platform: Platform) -> None:
    clicks = [click(f"e{n}", at=NOON + n, user=f"u{n % 7}") for n in range(5_000)]
    platform.produce(clicks + clicks[:1_000])

    result = platform.drain()

    assert sorted(platform.event_ids()) == sorted(f"e{n}" for n in range(5_000))
    assert result.stored == 6_000
    assert sum(platform.positions().values()) == 6_000
    assert result.lag_left == 0
    row = next(cells for cells in platform.rows().values() if cells[b"click_data:event_id"] == b"e17")
    assert row[b"click_data:timestamp"] == str(NOON + 17).encode()
    assert row[b"click_data:page"] == b"https://shop.example/"
    assert row[b"geo_data:country"] == b"DE"


def test_event_ids_that_each_user_counts_for_themselves_are_stored_once_per_user(platform: Platform) -> None:
    """48 users, who all number their events 1, 2, 3, at the same seconds; many share a salt."""
    users = [f"user-{number}" for number in range(48)]
    for n in (1, 2, 3):
        at = NOON + n * 60_000
        platform.produce(click(str(n), at=at, user=user, url=f"https://{user}.example/{n}") for user in users)

    assert platform.drain().stored == 144

    found = sorted((row[b"click_data:user_id"], row[b"click_data:url"]) for row in platform.rows().values())
    assert found == sorted((u.encode(), f"https://{u}.example/{n}".encode()) for u in users for n in (1, 2, 3))


OPTIONAL: list[dict[str, Any]] = [
    {},
    {"city": "Ulm"},
    {"browser": "b", "device": "d"},
    {"operating_system": "os", "city": ""},
]
"""What messages with the same key may say and leave out."""


def optional_cells(given: dict[str, Any]) -> dict[bytes, bytes]:
    """The optional cells of a row, which must all come from one of these messages."""
    families = {"city": "geo_data", "browser": "user_agent_data", "operating_system": "user_agent_data"}
    families["device"] = "user_agent_data"
    return {f"{family}:{name}".encode(): given.get(name, "").encode() for name, family in families.items()}


def test_of_messages_with_the_same_key_in_one_batch_the_last_is_the_row(platform: Platform) -> None:
    pairs = [(first, last) for first in OPTIONAL for last in OPTIONAL]
    keyed = [(f"e{n}-{k}", first, last) for n in range(30) for k, (first, last) in enumerate(pairs)]
    platform.produce([click(event, **first) for event, first, _ in keyed], partition=0)
    platform.produce([click(event, **last) for event, _, last in keyed], partition=0)

    assert platform.drain().stored == 2 * len(keyed)

    rows = {row[b"click_data:event_id"].decode(): row for row in platform.rows().values()}
    assert len(rows) == len(keyed)
    for event, _, last in keyed:
        assert {column: rows[event][column] for column in optional_cells({})} == optional_cells(last)


def test_of_messages_with_the_same_key_on_two_connections_one_is_the_row_as_a_whole(platform: Platform) -> None:
    """Two clients repeatedly write the same keys at the same time; whichever wins, no row is a mixture."""
    messages: list[dict[str, Any]] = [{"city": "Ulm", "device": "d"}, {"browser": "b", "operating_system": "os"}]
    winners: Counter[int] = Counter()
    with ThreadPoolExecutor(2) as pool, connect(platform.settings) as hbase:
        start = Barrier(2)

        def write(rows: list[bytes]) -> None:
            start.wait(30)
            hbase.put_rows(platform.settings.clicks_table, rows)

        for _ in range(40):
            made = [[encode_click(parsed(click(f"e{n}", **given)))[1] for n in range(50)] for given in messages]
            list(pool.map(write, made))
            for row in platform.rows().values():
                found = {column: row[column] for column in optional_cells({})}
                winners[[optional_cells(given) for given in messages].index(found)] += 1
    assert set(winners) == {0, 1}, f"one of the two always won, so this showed nothing: {winners}"


def parsed(payload: bytes) -> Click:
    made = parse(payload, record_time_ms=NOON, earliest_ms=0)
    assert isinstance(made, Click)
    return made


def test_nothing_left_is_a_no_op(platform: Platform) -> None:
    platform.produce([click("a"), click("b")])
    platform.drain()
    before = platform.hour_states(), platform.positions()

    result = platform.drain()

    assert (result.stored, result.rejected.total()) == (0, 0)
    assert (platform.hour_states(), platform.positions()) == before


def test_rejected_clicks_keep_their_bytes_and_say_why(platform: Platform) -> None:
    bad = {
        b"not json": "malformed_json",
        b"[1]": "not_an_object",
        b'{"user_id":"u"}': "missing_field",
        click("x", url="ftp://a/"): "invalid_url",
        click("y", at=NOON - 20 * 366 * 24 * HOUR): "before_first_partition",
        b"\xff\xfe": "malformed_json",
    }
    platform.produce([*bad, None, click("good")], partition=1)

    result = platform.drain()

    records = platform.rejected()
    assert {record.value(): headers_of(record)["dataco.reason"].decode() for record in records} == {
        **bad,
        None: "tombstone",
    }
    assert platform.event_ids() == ["good"]
    assert result.rejected.total() == len(bad) + 1
    by_offset = sorted(records, key=lambda r: int(headers_of(r)["dataco.offset"]))
    for offset, record in enumerate(by_offset):
        headers = headers_of(record)
        assert record.key() == f"{platform.settings.clicks_topic}/1/{offset}".encode()
        assert headers["dataco.partition"] == b"1"
        assert int(headers["dataco.record_time"]) > NOON


@pytest.mark.parametrize("mebibytes", [1, 3, 12])
def test_large_messages_are_rejected_whole(platform: Platform, mebibytes: int) -> None:
    large = click("large", padding="x" * (mebibytes * 1024 * 1024))
    platform.produce([large, click("small")])

    platform.drain()

    (record,) = platform.rejected()
    assert record.value() == large
    assert headers_of(record)["dataco.reason"] == b"too_large"
    assert platform.event_ids() == ["small"]


def test_marks_the_hours_clicks_touch(platform: Platform) -> None:
    half = 30 * 60_000
    platform.produce(
        [
            click("early", at=NOON),
            click("last that spills", at=NOON + 2 * HOUR + half - 1),
            click("first that does not", at=NOON + 5 * HOUR + half),
        ]
    )

    platform.drain()

    states = platform.hour_states()
    assert set(states) == {NOON - HOUR, NOON, NOON + HOUR, NOON + 2 * HOUR, NOON + 5 * HOUR}
    assert all(state.is_dirty for state in states.values())
    holding = {NOON, NOON + 2 * HOUR, NOON + 5 * HOUR}
    assert {hour for hour, state in states.items() if state.first_stored_at is not None} == holding


def test_several_checkpoints_drain_everything(platform: Platform) -> None:
    platform.produce([click(f"e{n}", at=NOON + n) for n in range(30_000)])

    result = platform.drain(checkpoint_clicks=4_000)

    assert len(set(platform.event_ids())) == 30_000
    assert result.stored == 30_000
    assert sum(platform.positions().values()) == 30_000


def test_max_clicks_bounds_a_run_and_the_next_one_continues(platform: Platform) -> None:
    platform.produce([click(f"e{n}") for n in range(1_000)])

    first = platform.drain(max_clicks=300)
    second = platform.drain()

    assert first.seen == 300
    assert first.lag_left == 700
    assert second.seen == 700
    assert len(platform.event_ids()) == 1_000


def test_all_poison_fails_and_commits_nothing(platform: Platform) -> None:
    platform.produce([b'{"new": "schema"}'] * 1_500)

    with pytest.raises(TooManyRejected, match=r"1,500 of 1,500 .*missing_field"):
        platform.drain()

    assert platform.positions() == {}
    assert platform.rejected() == []


def test_poison_lets_pass_when_asked(platform: Platform) -> None:
    platform.produce([b"x"] * 1_500)

    platform.drain(max_rejected_share=1.0)

    assert len(platform.rejected()) == 1_500


def test_missing_rejected_topic_fails_and_commits_nothing(platform: Platform) -> None:
    platform.admin.delete_topic(platform.settings.rejected_topic)
    platform.produce([click("good"), b"bad"])

    with pytest.raises(TopicMissing, match=platform.settings.rejected_topic):
        platform.drain()

    assert platform.positions() == {}


def test_missing_topic_and_missing_table_are_named(stack: Stack) -> None:
    platform = make_platform(stack.env())
    platform.offsets.create()
    with pytest.raises(TopicMissing, match=platform.settings.clicks_topic):
        platform.drain()
    platform.create(clicks_table=False)
    platform.produce([click("a")])
    with pytest.raises(HBaseRefused, match=rf"no table {platform.settings.clicks_table}.*dataco setup"):
        platform.drain()
    assert platform.positions() == {}


def test_reads_committed_transactions_only(platform: Platform) -> None:
    producer = _transactional(platform, "t1")
    for number, (event_id, commit) in enumerate([("kept", True), ("aborted", False), ("kept too", True)]):
        producer.begin_transaction()
        producer.produce(platform.settings.clicks_topic, click(event_id, at=NOON + number), partition=0)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    _wait_for_stable_end(platform, 6)

    result = platform.drain()

    assert sorted(platform.event_ids()) == ["kept", "kept too"]
    assert platform.positions()[0] == 6, "three messages and three transaction markers"
    assert result.lag_left == 0


def test_open_transaction_is_neither_lag_nor_drained(platform: Platform) -> None:
    platform.produce([click("before")], partition=0)
    producer = _transactional(platform, "t2")
    producer.begin_transaction()
    producer.produce(platform.settings.clicks_topic, click("open"), partition=0)
    producer.flush(30)

    platform.drain()
    lag = measure_lag(platform.admin, platform.offsets, platform.settings.clicks_topic, platform.settings.kafka_group)
    assert lag.total == 0
    assert platform.event_ids() == ["before"]

    producer.commit_transaction(30)
    _wait_for_stable_end(platform, 3)
    platform.drain()
    assert sorted(platform.event_ids()) == ["before", "open"]


def test_lag_counts_what_waits_and_knows_its_age(platform: Platform) -> None:
    platform.produce([click(f"e{n}") for n in range(10)], partition=0)
    lag = measure_lag(platform.admin, platform.offsets, platform.settings.clicks_topic, platform.settings.kafka_group)

    assert lag.total == 10
    far_future = 4_000_000_000_000
    assert has_waited_since(platform.admin, lag, far_future)
    assert not has_waited_since(platform.admin, lag, NOON)


def test_recreated_topic_is_a_loud_loss(platform: Platform) -> None:
    platform.produce([click("old")], partition=0)
    platform.drain()
    topic = platform.settings.clicks_topic
    platform.admin.delete_topic(topic)
    _recreate(platform, topic)
    platform.produce([click("new")], partition=0)

    with pytest.raises(DataLost, match=rf"{topic}[\s\S]*partition 0: .*deleted and created again"):
        platform.drain()
    assert sorted(platform.event_ids()) == ["old"]

    result = platform.drain(on_data_loss="skip")
    assert sorted(platform.event_ids()) == ["new", "old"]
    assert result.skipped
    assert platform.drain().skipped == (), "a loss once accepted is not reported again"


def test_retention_that_overtakes_is_a_loud_loss(platform: Platform) -> None:
    platform.produce([click("a")], partition=0)
    platform.drain()
    platform.produce([click(f"lost{n}") for n in range(3)] + [click("kept")], partition=0)
    platform.delete_records({0: 4})

    with pytest.raises(DataLost, match=r"partition 0: offsets \[1, 4\) were removed by retention"):
        platform.drain()

    platform.drain(on_data_loss="skip")
    assert sorted(platform.event_ids()) == ["a", "kept"]


def test_new_partitions_are_picked_up(platform: Platform) -> None:
    from confluent_kafka.admin import AdminClient, NewPartitions  # pyright: ignore[reportPrivateImportUsage]

    platform.produce([click("a")])
    platform.drain()
    admin = AdminClient({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
    admin.create_partitions([NewPartitions(platform.settings.clicks_topic, 3)])[platform.settings.clicks_topic].result(
        10
    )
    _wait_for_partitions(platform, 3)
    platform.produce([click("b")], partition=2)

    platform.drain()

    assert sorted(platform.event_ids()) == ["a", "b"]


def test_offsets_never_move_backwards_nor_over_a_gap(platform: Platform) -> None:
    topic = platform.admin.topic(platform.settings.clicks_topic)
    platform.offsets.advance(topic, PassedOffsets(0, 0, 100, 100), owner=Owner(), at_ms=NOON)
    platform.offsets.advance(topic, PassedOffsets(0, 0, 50, 50), owner=Owner(), at_ms=NOON)
    assert platform.positions() == {0: 100}
    with pytest.raises(OffsetGap, match=r"at 100 .*\[150, 200\)"):
        platform.offsets.advance(topic, PassedOffsets(0, 150, 200, 50), owner=Owner(), at_ms=NOON)
    assert platform.positions() == {0: 100}


def test_a_drain_refuses_a_topic_that_kafka_connect_ingests(platform: Platform) -> None:
    topic = platform.settings.clicks_topic
    platform.produce([click("a")])
    assert platform.offsets.change_owner(topic, Mode.CONNECT) == Owner(Mode.CONNECT, 1)

    with pytest.raises(OtherOwner, match=r"ingested by Kafka Connect, .*`dataco ingest use drain` changes it"):
        platform.drain()
    assert platform.rows() == {}

    assert platform.offsets.change_owner(topic, Mode.DRAIN) == Owner(Mode.DRAIN, 2)
    assert platform.offsets.change_owner(topic, Mode.DRAIN) == Owner(Mode.DRAIN, 2)
    platform.drain()
    assert platform.event_ids() == ["a"]
    assert platform.offsets.owner(topic) == Owner(Mode.DRAIN, 2)


@pytest.mark.parametrize("back", [False, True], ids=["given away", "given away and back"])
@pytest.mark.parametrize("known", [False, True], ids=["first run", "later run"])
def test_a_drain_that_was_overtaken_by_another_owner_moves_no_offset(
    platform: Platform, *, known: bool, back: bool
) -> None:
    topic = platform.settings.clicks_topic
    if known:
        platform.produce([click("before")], partition=0)
        platform.drain()
    positions = platform.positions()
    platform.produce([click("a")], partition=0)

    def overtake(step: Step) -> None:
        if step is Step.HOURS_MARKED:
            owner = platform.offsets.change_owner(topic, Mode.CONNECT)
            platform.offsets.claim(topic, [0, 1], owner)  # as a task does, which has read no position yet
            if back:
                platform.offsets.change_owner(topic, Mode.DRAIN)

    with pytest.raises(OtherOwner, match="given away and back" if back else "ingested by Kafka Connect"):
        platform.drain_with(policy_from(platform.settings), on_step=overtake)
    assert platform.positions() == positions

    platform.offsets.change_owner(topic, Mode.DRAIN)
    platform.drain()
    assert sorted(platform.event_ids()) == (["a", "before"] if known else ["a"])
    assert platform.positions()[0] == (2 if known else 1)


def test_a_claim_of_a_former_owner_is_refused(platform: Platform) -> None:
    topic = platform.settings.clicks_topic
    former = platform.offsets.owner(topic)
    later = platform.offsets.change_owner(topic, Mode.CONNECT)
    platform.offsets.claim(topic, [0], later)
    with pytest.raises(OtherOwner):
        platform.offsets.claim(topic, [0], former)
    assert platform.positions() == {}


def test_group_follows_the_ledger_for_other_tools(platform: Platform) -> None:
    platform.produce([click("a"), click("b")], partition=1)
    platform.drain()
    topic = platform.admin.topic(platform.settings.clicks_topic)
    assert platform.admin.committed(platform.settings.kafka_group, topic)[1] == 2


def test_takes_over_from_a_group_that_has_committed(platform: Platform) -> None:
    from confluent_kafka import Consumer, TopicPartition

    platform.produce([click("done elsewhere"), click("ours")], partition=0)
    consumer = Consumer(
        {"bootstrap.servers": platform.settings.kafka_bootstrap_servers, "group.id": platform.settings.kafka_group}
    )
    consumer.commit(offsets=[TopicPartition(platform.settings.clicks_topic, 0, 1)], asynchronous=False)
    consumer.close()

    platform.drain()

    assert platform.event_ids() == ["ours"]


def test_unknown_fields_are_ignored_and_not_stored(platform: Platform) -> None:
    platform.produce([click("a", surprise={"deep": [1, 2]})])
    platform.drain()
    (row,) = platform.rows().values()
    assert not any(b"surprise" in column for column in row)
    assert "surprise" not in json.dumps({k.decode(): v.decode() for k, v in row.items()})


def _transactional(platform: Platform, name: str) -> Producer:
    producer = Producer(
        {
            "bootstrap.servers": platform.settings.kafka_bootstrap_servers,
            "transactional.id": f"{platform.settings.clicks_topic}-{name}",
        }
    )
    producer.init_transactions(30)
    return producer


def _recreate(platform: Platform, topic: str) -> None:
    """Creates a topic anew; deletion goes on in the background, so until then it is still "there"."""
    wait_until(
        lambda: platform.admin.create_topic(topic, partitions=2, replication=1, config={}),
        seconds=30,
        what=f"topic {topic} can be created again",
    )


def _wait_for_partitions(platform: Platform, count: int) -> None:
    wait_until(
        lambda: len(platform.admin.topic(platform.settings.clicks_topic).partitions) == count,
        seconds=30,
        what=f"{count} partitions are there",
    )


def _wait_for_stable_end(platform: Platform, end: int) -> None:
    """A transaction ends for its producer a moment before its marker is in the partition."""
    topic = platform.admin.topic(platform.settings.clicks_topic)
    wait_until(
        lambda: platform.admin.stable_end(topic)[0] == end,
        seconds=30,
        what=f"offset {end} is the last stable one of partition 0",
    )
