"""Tests `dataco account` on real servers: it adds up whatever becomes of messages, and names what does not."""

import json
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest
from confluent_kafka import Producer
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clock import now_ms
from dataco_assets.ingest.account import Account
from dataco_assets.ingest.drain import Step, policy_from
from dataco_assets.ledgers.tallies import Counts, TallyUnreadable
from dataco_assets.settings import settings
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import Stack

pytestmark = pytest.mark.stack


class Killed(BaseException):
    """Simulates kill -9: nothing catches it."""


@pytest.fixture
def platform(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    made = make_platform(stack.env()).create()
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    yield made
    settings.cache_clear()
    made.drop()


def dataco(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def account(*arguments: str) -> tuple[int, dict[str, Any]]:
    code, printed = dataco("account", "--json", *arguments)
    return code, json.loads(printed)


def told(found: Account) -> list[str]:
    return [str(problem) for problem in found.problems]


def cell_of(platform: Platform, partition: int) -> tuple[bytes, bytes]:
    key = f"{platform.settings.clicks_topic}/{partition:05d}".encode()
    return key, platform.hbase.rows(platform.settings.offsets_table, [key])[key][b"o:next"]


def test_everything_that_can_become_of_a_message_adds_up(platform: Platform) -> None:
    """Stored, sent twice, rejected, of an erased user, rolled back, lost; with a crash between rows and offsets."""
    platform.suppression.suppress("gone", now_ms() + HOUR_MS)
    platform.produce([click(f"a{n}", at=NOON + n) for n in range(700)], partition=0)
    platform.produce([click(f"a{n}", at=NOON + n) for n in range(90)], partition=0)
    platform.produce([b"{", click("x", url="ftp://a/"), None], partition=0)
    platform.produce([click(f"g{n}", user="gone") for n in range(20)], partition=1)
    producer = _transactional(platform)
    for number, commit in enumerate([True, False, True]):
        producer.begin_transaction()
        producer.produce(platform.settings.clicks_topic, click(f"t{number}"), partition=1)
        producer.flush(30)
        producer.commit_transaction(30) if commit else producer.abort_transaction(30)
    topic = platform.admin.topic(platform.settings.clicks_topic)
    wait_until(lambda: platform.admin.stable_end(topic)[1] == 26, seconds=30, what="the markers are in the log")

    def die(step: Step) -> None:
        if step is Step.HOURS_MARKED:
            raise Killed

    with pytest.raises(Killed):
        platform.drain_with(policy_from(platform.settings), on_step=die)
    assert len(platform.rows()) == 702, "the rows of the attempt are there"
    assert platform.account().ranges == ()
    platform.drain()

    platform.produce([click(f"lost{n}") for n in range(30)], partition=0)
    platform.delete_records({0: 823})
    platform.produce([click("after")], partition=0)
    platform.drain(on_data_loss="skip")

    found = platform.account()
    assert told(found) == []
    assert found.notes == ()
    assert found.produced == 793 + 22 + 30 + 1
    assert found.counts == Counts(stored=700 + 2 + 1, repeated=90, rejected=3, suppressed=20, lost=30, empty=4)
    assert found.rejected is not None
    assert (found.rejected.found, found.rejected.left_out) == (3, 0)
    assert found.counts.stored == len(platform.rows())

    code, document = account("--recount")
    assert (code, document["adds_up"], document["problems"]) == (0, True, [])
    assert (document["produced"], document["lost"], document["rejected_topic"]["found"]) == (846, 30, 3)
    code, printed = dataco("account")
    assert code == 0
    lines = [line.split("\t") for line in printed.splitlines()]
    assert lines[0] == ["partition", "offsets", "produced", *(field.name for field in fields(Counts))]
    assert lines[1] == ["0", "[0, 824)", "824", "701", "90", "3", "0", "30", "0"]
    assert lines[2] == ["1", "[0, 26)", "22", "2", "0", "0", "20", "0", "4"]
    assert "Everything adds up. The rejected topic has 3 of 3 counted as rejected." in printed


def test_an_altered_tally_a_missing_row_and_a_missing_rejected_record_are_named(platform: Platform) -> None:
    platform.produce([*[click(f"e{n}", at=NOON + n) for n in range(50)], b"bad", b"worse"], partition=1)
    platform.drain()
    assert dataco("account", "--recount")[0] == 0
    table = platform.settings.offsets_table
    key, sound = cell_of(platform, 1)
    hour = hour_key(hour_of(now_ms()))[:10]

    platform.put(table, key, {b"o:next": sound.replace(b" 50 0 2 ", b" 49 0 2 ")})
    code, document = account()
    assert code == 1
    (problem,) = document["problems"]
    assert (problem["partition"], problem["start"], problem["end"]) == (1, 0, 52)
    assert problem["what"].startswith("1 message not accounted for: 52 were produced, 51 are counted (49 stored")
    assert problem["hour"].startswith(hour)

    platform.put(table, key, {b"o:next": sound.replace(b" 50 0 2 ", b" 49 0 3 ")})
    code, printed = dataco("account")
    assert code == 1
    assert "3 messages counted as rejected, but the rejected topic has 2 of them." in printed

    platform.put(table, key, {b"o:next": sound})
    gone = sorted(platform.rows())[7]
    platform.hbase.delete_rows(platform.settings.clicks_table, [gone])
    assert dataco("account")[0] == 0, "the ledger does not know"
    code, document = account("--recount")
    assert code == 1
    assert document["problems"][0]["what"].startswith("1 click has no row in HBase, the first at offset ")

    platform.put(table, key, {b"o:next": sound.replace(b" 52 ", b" 54 ", 1)})
    assert "2 messages not accounted for" in told(platform.account())[0]


def test_a_closed_tally_that_is_deleted_is_named_and_expires_with_the_clicks(platform: Platform) -> None:
    table, topic = platform.settings.offsets_table, platform.settings.clicks_topic
    platform.produce([click(f"e{n}", at=NOON + n) for n in range(10)], partition=0)
    platform.drain()
    key, cell = cell_of(platform, 0)
    now = hour_of(now_ms())
    for ago in (3, 2, 1):  # as if each batch had been ingested an hour after the other
        hour = hour_key(now - ago * HOUR_MS).encode()
        position, tally = cell.split(b" 0 ", 1)
        platform.put(table, key, {b"o:next": position + b" 0 " + hour + tally[len(hour) :]})
        platform.produce([click(f"e{ago}-{n}", at=NOON + n) for n in range(10)], partition=0)
        platform.drain()
        cell = cell_of(platform, 0)[1]
    rows = dict(platform.hbase.scan(table, f"{topic}#tally/".encode(), f"{topic}#tally0".encode()))
    assert len(rows) == 3
    assert [(each.start, each.end) for each in platform.account().ranges] == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert told(platform.account()) == []
    two_hours_ago = hour_key(now - 2 * HOUR_MS)
    assert [each["start"] for each in account(two_hours_ago, two_hours_ago)[1]["ranges"]] == [10]
    assert [each["start"] for each in account(two_hours_ago)[1]["ranges"]] == [10, 20, 30]

    platform.hbase.delete_rows(table, [sorted(rows)[1]])
    (problem,) = platform.account().problems
    assert (problem.start, problem.end) == (10, 20)
    assert "no tally covers them" in problem.what
    assert dataco("account")[0] == 1


def test_a_ledger_of_an_earlier_version_is_told_and_continued(platform: Platform) -> None:
    platform.produce([click(f"e{n}", at=NOON + n) for n in range(10)], partition=0)
    platform.drain()
    key, cell = cell_of(platform, 0)
    platform.put(platform.settings.offsets_table, key, {b"o:next": b" ".join(cell.split()[:2])})
    code, printed = dataco("account")
    assert code == 0
    assert "Note: Partition 0, offsets [0, 10): no tallies: a version passed them that keeps none." in printed
    platform.produce([click(f"f{n}", at=NOON + n) for n in range(5)], partition=0)
    platform.drain()
    found = platform.account()
    assert (told(found), found.counts) == ([], Counts(stored=5))
    assert [(note.start, note.end) for note in found.notes] == [(0, 10)]


def test_a_tally_that_is_none_is_said_and_does_not_stop_ingest(platform: Platform) -> None:
    platform.produce([click("a")], partition=0)
    platform.drain()
    key, cell = cell_of(platform, 0)
    platform.put(platform.settings.offsets_table, key, {b"o:next": b" ".join([*cell.split()[:3], b"\x1b[31mwords"])})
    with pytest.raises(TallyUnreadable, match=r"holds '\\x1b\[31mwords', which is no tally of this version"):
        dataco("account")
    platform.produce([click("b")], partition=0)
    platform.drain()
    assert platform.account().counts == Counts(stored=1)


def _transactional(platform: Platform) -> Producer:
    settings = platform.settings
    producer = Producer(
        {"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": f"{settings.clicks_topic}-account"}
    )
    producer.init_transactions(30)
    return producer
