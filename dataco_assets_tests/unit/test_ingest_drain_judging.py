"""Tests the drain on a fake broker and a fake HBase: its order, what it refuses, and being killed at any step.

What needs real servers (transactions, retention, outages) is in the integration and fault tests.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataco_assets.clicks.event import Reason
from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key, hour_of
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.kafka.failures import KafkaUnavailable, Undeliverable
from dataco_assets.clients.schema_registry import RegistryFailure, RegistryMissing, RegistryUnavailable
from dataco_assets.errors import ErrorKind
from dataco_assets.ingest.drain import SHARE_CHECKED_FROM, DrainResult, Step, TooManyRejected
from dataco_assets.ingest.writer import BATCH_ORIGIN_BYTES
from dataco_assets.ledgers.offsets import OffsetGap
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.drained_worlds import (
    BAD,
    NOON,
    POISON,
    TOPIC_ID,
    Admin,
    Killed,
    World,
    certainly_touched,
    click,
    install,
    message,
    mixed,
)


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


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


@pytest.mark.parametrize("large", [{"key": b"k" * 999_000}, {"headers": [("trace", b"t" * 999_000)]}])
def test_messages_with_large_keys_or_headers_bound_a_batch_as_large_values_do(large: dict[str, Any]) -> None:
    world = World([click(str(n)) for n in range(40)])
    world.broker.log[0] = [message(0, n, click(str(n)), **large) for n in range(40)]
    world.drain()
    assert len(world.store.clicks) == 40
    assert max(world.store.batches) <= BATCH_ORIGIN_BYTES // 999_000


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

    with pytest.raises(OffsetGap, match=rf"{re.escape(TOPIC_ID)} is now id-2"):
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


def test_hours_that_replayed_clicks_touch_are_noted_so_and_no_others() -> None:
    """A click that was sent back and that HBase refuses changes no hour."""
    late, refused = NOON - 5 * HOUR_MS, NOON - 10 * HOUR_MS
    world = World([click("late", late), click("back"), click(POISON, refused), click("other", refused), click("more")])
    for offset in (1, 2):
        message = world.broker.log[0][offset]
        assert message is not None
        message.set_headers([("dataco.replay_of", b"clicks/0/7")])
    world.drain()
    assert world.store.dirty() == {each - step for each in (NOON, late, refused) for step in (0, HOUR_MS)}
    rows = world.store.cells["click_hours"].items()
    noted = {hour_from_key(key.decode()): cells[b"h:cause_replay"] for key, cells in rows if b"h:cause_replay" in cells}
    assert noted == {NOON: b"1 1", NOON - HOUR_MS: b"1 1"}


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
