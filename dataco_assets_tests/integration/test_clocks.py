"""Tests wrong clocks: cells of a region server whose clock was ahead, and an ingest machine whose clock is wrong.

A cell written with an explicit time equals one of a region server whose clock showed that time.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.clicks.row import cells, row_key
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.hbase import HBase
from dataco_assets.clients.kafka.topics import TopicState
from dataco_assets.clients.mutations import encode_row
from dataco_assets.clock import now_ms
from dataco_assets.ledgers.hours import HourLedger, HourState
from dataco_assets.ledgers.offsets import Owner
from dataco_assets.ledgers.tallies import PassedOffsets
from dataco_assets.privacy.erasure import erase
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
DAY = 24 * HOUR_MS
AHEAD = 2 * HOUR_MS
SLACK_MS = 60_000


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    made = make_platform(stack.env(), hbase_retry_seconds=20.0).create(partitions=1)
    yield made
    made.drop()


def test_the_server_time_is_the_clock_of_now_also_after_it_was_set_back(platform: Platform) -> None:
    first = platform.hours.server_time_ms()
    for key, _ in list(platform.hbase.scan(platform.settings.hours_table)):
        platform.put(platform.settings.hours_table, key, {b"h:clock": b""}, time_ms=now_ms() + AHEAD)
    platform.put(platform.settings.hours_table, b"clock", {b"h:clock": b""}, time_ms=now_ms() + AHEAD)

    second = platform.hours.server_time_ms()

    assert abs(first - now_ms()) < SLACK_MS
    assert first <= second < now_ms() + SLACK_MS
    assert platform.hours.all() == []


def test_rows_from_the_future_are_deleted(platform: Platform) -> None:
    table = platform.settings.hours_table
    platform.put(table, b"k1", {b"h:a": b"1", b"h:b": b"2"}, time_ms=now_ms() + AHEAD)
    platform.put(table, b"k1", {b"h:a": b"0"}, time_ms=now_ms() - AHEAD)
    platform.put(table, b"k2", {b"h:a": b"1"})

    assert platform.hbase.delete_rows(table, [b"k1", b"k2", b"absent"]) == {b"k1", b"k2"}
    assert platform.hbase.rows(table, [b"k1", b"k2"]) == {}
    assert platform.hbase.delete_rows(table, [b"k1"]) == set()


def test_the_ledgers_of_hours_and_offsets_move_on_behind_cells_from_the_future(platform: Platform) -> None:
    key, table = hour_key(NOON).encode(), platform.settings.hours_table
    one = (1).to_bytes(8, "big")
    platform.put(table, key, {b"h:dirty": one, b"h:done": one}, time_ms=now_ms() + AHEAD)
    platform.hours.mark_dirty([NOON], holding_clicks=[NOON], stored_since_ms=platform.hours.server_time_ms())
    assert (platform.hour_states()[NOON].dirty, platform.hour_states()[NOON].done) == (2, 1)
    platform.hours.set_done({NOON: 2})
    assert not platform.hour_states()[NOON].is_dirty

    topic = TopicState("clicks", "id", (0,))
    platform.put(platform.settings.offsets_table, b"clicks/00000", {b"o:next": b"id 5"}, time_ms=now_ms() + AHEAD)
    platform.offsets.advance(topic, PassedOffsets(0, 5, 9, 4), owner=Owner(), at_ms=NOON)
    assert platform.offsets.read("clicks")[0].next_offset == 9
    platform.offsets.forget("clicks", 0, owner=Owner())
    assert platform.offsets.read("clicks") == {}
    platform.offsets.advance(topic, PassedOffsets(0, 0, 3, 3), owner=Owner(), at_ms=NOON)
    assert platform.offsets.read("clicks")[0].next_offset == 3


def test_the_dirty_hours_are_found_without_reading_those_finished_long_ago(platform: Platform) -> None:
    ledger, start = platform.hours, NOON - 500 * HOUR_MS
    unmarked = NOON - 400 * HOUR_MS

    def waiting() -> list[int]:
        return ledger.unfinished(earliest_ms=start, ttl_days=90).waiting

    def mark(*hours: int) -> None:
        ledger.mark_dirty(hours, holding_clicks=hours, stored_since_ms=ledger.server_time_ms())

    assert waiting() == []
    mark(NOON, NOON - 300 * HOUR_MS, start - HOUR_MS)
    assert waiting() == [NOON - 300 * HOUR_MS, NOON]
    ledger.set_done({NOON - 300 * HOUR_MS: 1})
    assert waiting() == [NOON]
    platform.put(platform.settings.hours_table, hour_key(unmarked).encode(), {b"h:dirty": (1).to_bytes(8, "big")})
    assert waiting() == [NOON], "the ledger is read from the oldest hour that waits"
    mark(unmarked + HOUR_MS)
    assert waiting() == [unmarked + HOUR_MS, NOON], "older clicks came"
    ledger.set_done({unmarked + HOUR_MS: 1, NOON: 1})
    assert waiting() == []
    mark(NOON - 200 * HOUR_MS)
    assert waiting() == [NOON - 200 * HOUR_MS]


def test_a_ledger_of_years_is_read_in_few_calls_and_of_a_span_only_that_is_read(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = [NOON + number * HOUR_MS for number in range(20_000)]
    cells = [(b"h:dirty", (1).to_bytes(8, "big")), (b"h:parked", b"{}")]
    for start in range(0, len(hours), 5_000):
        keys = [hour_key(hour).encode() for hour in hours[start : start + 5_000]]
        platform.hbase.put_rows(platform.settings.hours_table, [encode_row(key, cells) for key in keys])
    honest, calls = HBase._attempt, list[object]()

    def counted(self: HBase, *arguments: Any) -> Any:
        calls.append(arguments)
        return honest(self, *arguments)

    monkeypatch.setattr(HBase, "_attempt", counted)
    assert [state.hour for state in platform.hours.all()] == hours
    assert len(calls) <= 3

    calls.clear()
    assert [state.hour for state in platform.hours.all(hours[100], hours[103])] == hours[100:103]
    assert len(calls) == 1


def test_an_hour_marked_while_the_ledger_is_read_is_found_the_next_time(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies before the hours already read, so the reader must not raise the low-water mark above it."""
    ledger, old = platform.hours, NOON - 300 * HOUR_MS
    ledger.mark_dirty([old, NOON], holding_clicks=[], stored_since_ms=0)
    ledger.set_done({old: 1})
    honest = HourLedger.all

    def marked_meanwhile(self: HourLedger, start_ms: int) -> list[HourState]:
        states = honest(self, start_ms)
        ledger.mark_dirty([old], holding_clicks=[], stored_since_ms=0)
        return states

    with monkeypatch.context() as patch:
        patch.setattr(HourLedger, "all", marked_meanwhile)
        assert ledger.unfinished(earliest_ms=0, ttl_days=90).waiting == [NOON]
    assert ledger.unfinished(earliest_ms=0, ttl_days=90).waiting == [old, NOON]


def test_the_suppression_list_moves_on_behind_cells_from_the_future(platform: Platform) -> None:
    key, table, now = user_hash("ann"), platform.settings.suppressed_table, now_ms()
    old = f"p:{hour_key(NOON - HOUR_MS)}".encode()  # as versions before noted an hour
    platform.put(table, key, {b"s:erased_at": b"1", old: b""}, time_ms=now + AHEAD)

    platform.suppression.suppress("ann", now)
    platform.suppression.begin("ann", [NOON, NOON + HOUR_MS])
    assert platform.suppression.unfinished("ann") == {NOON - HOUR_MS, NOON, NOON + HOUR_MS}
    platform.suppression.finish("ann", [NOON - HOUR_MS, NOON])
    assert platform.suppression.unfinished("ann") == {NOON + HOUR_MS}
    platform.suppression.begin("ann", [NOON])
    assert platform.suppression.unfinished("ann") == {NOON, NOON + HOUR_MS}

    assert platform.suppression.read() == {key: now}
    platform.suppression.suppress("ann", now - DAY)
    assert platform.suppression.read() == {key: now}, "an erasure by a clock that was set back takes nothing back"


def test_a_user_whose_rows_come_from_the_future_is_erased(platform: Platform) -> None:
    table = platform.settings.clicks_table
    made = parse(click("a1", user="ann"), record_time_ms=NOON, earliest_ms=0)
    assert isinstance(made, Click)
    key = row_key(made.user_id, made.timestamp, made.event_id)
    platform.put(table, key, dict(cells(made)), time_ms=now_ms() + AHEAD)

    erased = erase(platform.settings, platform.hbase, ["ann"])

    assert erased.clicks == 1
    with platform.gateway() as connection:
        assert list(connection.table(table).scan()) == []


_SHIFTED = """
import runpy, sys, time
shift = int(sys.argv[1])
honest, honest_ns = time.time, time.time_ns
time.time = lambda: honest() + shift
time.time_ns = lambda: honest_ns() + shift * 10**9
sys.argv = ["worker", "--once"]
runpy.run_module("dataco_assets_tests.faults.worker", run_name="__main__")
"""


@pytest.mark.parametrize("days", [-100, 100])
def test_what_a_machine_with_a_wrong_clock_ingests_expires_by_the_clock_of_hbase(platform: Platform, days: int) -> None:
    platform.produce([click("a1")])
    seconds = str(days * 24 * 3600)
    environment = {**os.environ, **platform.environment()}
    before = platform.hours.server_time_ms()

    subprocess.run(
        [sys.executable, "-c", _SHIFTED, seconds], env=environment, check=True, timeout=120, capture_output=True
    )

    state = platform.hour_states()[NOON]
    assert state.dirty == 1
    assert before <= (state.first_stored_at or 0) <= platform.hours.server_time_ms()
    assert platform.hours.expired([NOON], ttl_days=90) == set()
