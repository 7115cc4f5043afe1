"""Tests `dataco rejected …` on real Kafka and HBase: rejected clicks are listed, repaired, sent back and stored."""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import Message, Producer
from typer.testing import CliRunner, Result

from dataco_assets.cli import app
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import TopicMissing
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.rejected import contents
from dataco_assets.rejected.contents import RecordGone, read_rejected, read_value
from dataco_assets.rejected.records import Fate, Mark, send_mark
from dataco_assets.rejected.replay import ReplayStopped, erase_from_rejected, replay
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform, read_topic
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
HOUR = 3_600_000


@pytest.fixture
def platform(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform with its own tables."""
    made = make_platform(stack.env()).create()
    monkeypatch.setattr("dataco_assets.cli.rejected.settings", lambda: made.settings)
    yield made
    made.drop()


@pytest.fixture(scope="module")
def shared_tables(stack: Stack) -> Iterator[str]:
    """Prefix of HBase tables that tests share which do not read them, because creating tables takes seconds."""
    owner = make_platform(stack.env())
    yield owner.settings.hbase_table_prefix
    owner.drop()


@pytest.fixture
def topics(stack: Stack, shared_tables: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform with its own topics."""
    made = make_platform(stack.env(), hbase_table_prefix=shared_tables).create()
    monkeypatch.setattr("dataco_assets.cli.rejected.settings", lambda: made.settings)
    yield made
    made.admin.delete_topic(made.settings.clicks_topic)
    made.admin.delete_topic(made.settings.rejected_topic)
    made.hbase.close()


def run(*arguments: str, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["rejected", *arguments], input=stdin)


def run_well(*arguments: str, stdin: bytes | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def produce(
    platform: Platform,
    value: bytes | None,
    *,
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes]] = (),
    time_ms: int = 0,
) -> str:
    """Sends one message with the plain client; returns the id it has when it is rejected."""
    taken: list[Message] = []
    producer = Producer({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
    producer.produce(
        platform.settings.clicks_topic,
        value,
        key,
        headers=list(headers),
        timestamp=time_ms,
        on_delivery=lambda error, message: taken.append(message) if error is None else pytest.fail(str(error)),
    )
    assert producer.flush(30) == 0
    return f"{platform.settings.clicks_topic}/{taken[0].partition()}/{taken[0].offset()}"


def latest_rejection(platform: Platform) -> Message:
    return next(m for m in reversed(platform.rejected()) if "dataco.reason" in headers_of(m))


def test_empty_and_missing_topic_are_said(topics: Platform, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"Topic {topics.settings.rejected_topic} holds no rejected clicks" in run_well("list")
    assert "Nothing to send" in run_well("replay", "--yes")
    nowhere = make_platform(stack.env(), hbase_table_prefix=topics.settings.hbase_table_prefix)
    monkeypatch.setattr("dataco_assets.cli.rejected.settings", lambda: nowhere.settings)
    missing = run("list").exception
    assert isinstance(missing, TopicMissing)
    assert nowhere.settings.rejected_topic in str(missing)
    assert "dataco setup" in str(missing)


def test_a_repaired_click_is_stored_and_its_hours_become_dirty(platform: Platform, tmp_path: Path) -> None:
    record_id = produce(
        platform, click("e1", at=NOON, url="ftp://shop.example/"), key=b"u\xff1", headers=[("trace", b"\x00\x01")]
    )
    platform.drain()
    assert (platform.rows(), platform.hour_states()) == ({}, {})
    listed = run_well("list", "--reason", "invalid_url")
    assert record_id in listed
    assert "1 rejected click: 1 invalid_url" in listed

    raw = run("show", record_id, "--raw").stdout_bytes
    assert raw == click("e1", at=NOON, url="ftp://shop.example/")
    repaired = tmp_path / "click.json"
    repaired.write_bytes(raw.replace(b"ftp://", b"https://"))
    before_ms = time.time_ns() // 1_000_000
    assert "1 click sent back" in run_well("replay", record_id, "--with", str(repaired), "--yes")
    result = platform.drain()

    assert (result.stored, result.rejected.total()) == (1, 0)
    (row,) = platform.rows().values()
    assert row[b"click_data:event_id"] == b"e1"
    assert row[b"click_data:url"] == b"https://shop.example/"
    states = platform.hour_states()
    assert set(states) == {NOON - HOUR, NOON}
    assert all(state.is_dirty for state in states.values())
    (sent,) = [message for message in clicks(platform) if "dataco.replay_of" in headers_of(message)]
    assert sent.key() == b"u\xff1"
    headers = headers_of(sent)
    assert headers["trace"] == b"\x00\x01"
    assert headers["dataco.replay_of"] == record_id.encode()
    assert headers["dataco.replay_attempt"] == b"1"
    assert before_ms <= int(headers["dataco.replayed_at"]) <= time.time_ns() // 1_000_000
    assert sent.timestamp()[1] == int(headers["dataco.replayed_at"]), "Kafka takes it as of now"


def test_replaying_twice_ends_in_the_same_rows(platform: Platform) -> None:
    # Rejected for their time against Kafka's, so the same bytes pass now. One has no event id: it is derived from them.
    anonymous = json.loads(click("x", at=NOON, user="u2"))
    del anonymous["event_id"]
    for value in (click("e1", at=NOON), json.dumps(anonymous).encode()):
        produce(platform, value, time_ms=NOON - HOUR)
    platform.drain()
    assert run_well("list").count("timestamp_in_future: ") == 0
    assert "2 rejected clicks: 2 timestamp_in_future" in run_well("list")

    assert "2 clicks sent back" in run_well("replay", "--reason", "timestamp_in_future", "--yes")
    platform.drain()
    rows = platform.rows()
    assert len(rows) == 2

    assert "2 left out, sent back before" in run_well("replay", "--reason", "timestamp_in_future", "--yes")
    assert platform.drain().seen == 0
    assert run_well("list").count("replayed") == 2

    assert "2 clicks sent back" in run_well("replay", "--reason", "timestamp_in_future", "--yes", "--again")
    assert platform.drain().stored == 2
    assert platform.rows() == rows
    assert run_well("list").count("replayed 2x") == 2


def test_a_click_rejected_again_keeps_its_chain(topics: Platform) -> None:
    first = produce(topics, b"not json", headers=[("trace", b"1")])
    topics.drain()
    held_back = run("replay", first, "--yes")
    assert held_back.exit_code == 1
    assert topics.drain().seen == 0

    run_well("replay", first, "--yes", "--anyway")
    topics.drain()
    second = (latest_rejection(topics).key() or b"").decode()
    assert second != first
    # The new record has not been sent back yet, although it has the headers of a replay.
    run_well("replay", second, "--yes", "--anyway")
    topics.drain()
    third = (latest_rejection(topics).key() or b"").decode()

    assert headers_of(latest_rejection(topics))["dataco.replay_attempt"] == b"2"
    shown = run_well("show", third)
    assert [line.split()[-1] for line in shown.splitlines() if line.startswith("replay of")] == [second, first]
    assert "header       trace: 1" in shown
    assert f"and rejected again as {second}" in run_well("show", first)
    assert "3 rejected clicks: 3 malformed_json" in run_well("list")


def test_a_run_that_repeats_itself_after_a_replay_brings_nothing_back(topics: Platform) -> None:
    produce(topics, click("e1", at=NOON), time_ms=NOON - HOUR)
    topics.drain()
    run_well("replay", "--yes")
    original = next(m for m in topics.rejected() if m.value())
    with AckedProducer(Brokers.of(topics.settings), topics.settings.rejected_topic) as again:
        again.send(original.key(), original.value(), headers=list(headers_of(original).items()))
    assert "1 rejected click: 1 timestamp_in_future" in run_well("list")
    assert "1 left out, sent back before" in run_well("replay", "--yes")


def test_large_clicks_and_tombstones_are_shown_whole(topics: Platform) -> None:
    large = click("large", padding="x" * (3 * 1024 * 1024))
    topics.produce([large, None], partition=0)
    topics.drain()
    topic = topics.settings.clicks_topic
    assert run("show", f"{topic}/0/0", "--raw").stdout_bytes == large
    assert "none (a tombstone)" in run_well("show", f"{topic}/0/1")


def test_a_message_that_the_rejected_topic_cannot_hold_holds_nothing_up(topics: Platform, tmp_path: Path) -> None:
    # Random, because brokers check the compressed size. The last one unpacks to more than any record may have.
    large, unpacking = secrets.token_hex(200_000).encode(), b"0" * (17 * 1024 * 1024)
    topics.produce([large], partition=0)
    topics.produce([unpacking], partition=1, **{"compression.type": "lz4", "message.max.bytes": 100_000_000})
    topics.produce([b"small"], partition=0)
    topics.configure_topic("max.message.bytes", 100_000, topic=topics.settings.rejected_topic)
    result = topics.drain(max_rejected_share=1.0)
    assert result.rejected.total() == 3
    assert topics.positions() == {0: 2, 1: 1}
    topic = topics.settings.clicks_topic
    assert f"{len(large):,} bytes" in run_well("show", f"{topic}/0/0")
    assert run("show", f"{topic}/0/0", "--raw").stdout_bytes == large
    assert run("show", f"{topic}/1/0", "--raw").stdout_bytes == unpacking
    (tmp_path / "click.json").write_bytes(click("repaired"))
    run_well("replay", f"{topic}/0/0", "--with", str(tmp_path / "click.json"), "--yes")
    assert topics.drain().stored == 1
    topics.delete_records({0: 1}, topic=topic)
    gone = run("show", f"{topic}/0/0", "--raw").exception
    assert isinstance(gone, RecordGone)
    assert "only a reference" in str(gone)


def test_commands_read_no_more_of_the_topic_than_they_need(topics: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "_FIRST_WINDOW", 4)
    topics.produce([b"old%d" % number for number in range(20)], partition=0)
    topics.drain(max_rejected_share=1.0)
    boundary = topics.rejected()[-1].timestamp()[1] + 1
    wait_until(lambda: time.time() * 1000 > boundary, seconds=5, what="the next record has a later time")
    topics.produce([b"new%d" % number for number in range(3)], partition=0)
    topics.drain(max_rejected_share=1.0)
    read: list[int] = []
    honest = contents.ContentsBuilder.take
    monkeypatch.setattr(contents.ContentsBuilder, "take", lambda self, m: (read.append(m.offset()), honest(self, m)))
    topic = topics.settings.clicks_topic

    run_well("show", f"{topic}/0/22")
    assert read == [19, 20, 21, 22]
    read.clear()
    run_well("show", f"{topic}/0/15")
    assert read == [19, 20, 21, 22, *range(11, 19)]
    read.clear()
    since = datetime.fromtimestamp(boundary / 1000, UTC).isoformat(timespec="milliseconds")
    assert "3 rejected clicks" in run_well("list", "--since", since)
    assert read == [20, 21, 22]
    read.clear()
    assert isinstance(run("show", f"{topic}/0/23").exception, RecordGone)
    assert sorted(read) == list(range(23))


def test_many_clicks_go_back_in_portions_and_each_once(topics: Platform) -> None:
    count = 1_300
    topics.produce([b"x%d" % number for number in range(count)])
    topics.drain(max_rejected_share=1.0)
    entries = read_rejected(topics.settings, topics.hbase).entries

    assert replay(topics.settings, entries) == count

    values = [message.value() or b"" for message in clicks(topics) if message.headers()]
    assert sorted(values) == sorted(b"x%d" % number for number in range(count))
    assert all(entry.replays == 1 for entry in read_rejected(topics.settings, topics.hbase).entries)


def test_what_kafka_does_not_take_is_not_marked(topics: Platform) -> None:
    topics.produce([b"bad"], partition=0)
    # Random, because brokers check the compressed size.
    topics.produce([click("large", padding=secrets.token_hex(1024 * 1024))], partition=1)
    topics.drain()
    topics.configure_topic("max.message.bytes", 100_000)
    entries = read_rejected(topics.settings, topics.hbase).entries

    with pytest.raises(ReplayStopped, match=r"0 of 2 clicks.*max\.message\.bytes"):
        replay(topics.settings, entries)

    assert [entry.replays for entry in read_rejected(topics.settings, topics.hbase).entries] == [0, 0]


def test_a_recreated_rejected_topic_is_noticed(topics: Platform) -> None:
    topics.produce([b"one", b"two"], partition=0)
    topics.drain()
    one, two = read_rejected(topics.settings, topics.hbase).entries
    swapped = [type(one)(type(one.record)(**{**one.record.__dict__, "offset": two.record.offset}), one.verdict)]
    with pytest.raises(RecordGone, match="created anew"):
        replay(topics.settings, swapped)
    assert not [message for message in clicks(topics) if message.headers()]


def test_an_erased_users_clicks_are_neither_shown_nor_sent(platform: Platform) -> None:
    mine = produce(platform, click("e1", at=NOON, user="me"), time_ms=NOON - HOUR)
    produce(platform, click("e2", at=NOON, user="you"), time_ms=NOON - HOUR)
    produce(platform, b'{"user_id": "me", broken')
    platform.drain()

    assert erase_from_rejected(platform.settings, ["me"]) == 2

    assert "users were erased: 2" in run_well("list")
    assert mine not in run_well("list")
    for command in (("show", mine), ("show", mine, "--raw"), ("replay", mine, "--yes", "--again", "--anyway")):
        assert "was erased" in str(run(*command).exception)
    run_well("replay", "--yes", "--again", "--anyway")
    platform.drain()
    assert platform.event_ids() == ["e2"]


def test_dry_run_and_show_leave_no_trace(topics: Platform) -> None:
    record_id = produce(topics, click("e1", at=NOON), time_ms=NOON - HOUR)
    topics.drain()
    before = len(topics.rejected()), len(clicks(topics))
    assert f"would send {record_id}" in run_well("replay", "--dry-run")
    run_well("show", record_id)
    assert (len(topics.rejected()), len(clicks(topics))) == before
    (entry,) = read_rejected(topics.settings, topics.hbase).entries
    assert read_value(topics.settings, entry) == click("e1", at=NOON)


def test_marks_count_only_for_the_click_they_were_written_for(topics: Platform) -> None:
    record_id = produce(topics, click("e1", at=NOON), time_ms=NOON - HOUR)
    topics.drain()
    with AckedProducer(Brokers.of(topics.settings), topics.settings.rejected_topic) as marks:
        send_mark(marks, Mark(record_id, NOON - 2 * HOUR, Fate.REPLAYED, NOON, 1))
    assert "1 click sent back" in run_well("replay", "--yes")


def headers_of(message: Message) -> dict[str, bytes]:
    """Headers with a value, the last of each name."""
    return {name: value for name, value in dict(message.headers() or []).items() if isinstance(value, bytes)}


def clicks(platform: Platform) -> list[Message]:
    """Every message of the clicks topic."""
    return list(read_topic(platform.settings.kafka_bootstrap_servers, platform.settings.clicks_topic))
