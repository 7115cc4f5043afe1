"""Tests the account of the clicks: drains over a fake broker, killed and overlapping, against a count by hand."""

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.ingest.account import (
    Account,
    FoundRejected,
    Recount,
    add_up,
    compared_with_recounts,
    compared_with_rejected,
)
from dataco_assets.ingest.drain import Step
from dataco_assets.ledgers.offsets import OffsetLedger, Owner, Progress
from dataco_assets.ledgers.tallies import Counts, PassedOffsets, TalliedRange, Tally, TallyUnreadable
from dataco_assets_tests.drained_worlds import BAD, HOLE, NOON, POISON, TOPIC_ID, Killed, World, click, install

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase

MANY = hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LATER = NOON + 10_000 * HOUR_MS
KEPT_MS = NOON - 90 * 24 * HOUR_MS
TOPIC = TopicState("clicks", TOPIC_ID, (0, 1))


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def progress_of(world: World) -> Progress:
    return OffsetLedger(cast("HBase", world.store), "ingest_offsets").progress("clicks")


def account_of(world: World) -> Account:
    """The account of all, compared with the records that are in the rejected topic."""
    records: dict[int, dict[int, int]] = {}
    for key in world.broker.rejected:
        _, partition, offset = key.decode().split("/")
        records.setdefault(int(partition), {})[int(offset)] = LATER
    return compared_with_rejected(add_up(progress_of(world), kept_since_ms=KEPT_MS), FoundRejected(records, 0))


def message(kind: str, number: int) -> bytes:
    """A message that is to become what its kind says."""
    return {
        "stored": click(f"e{number}"),
        "sent twice": click(f"twice{number % 3}"),
        "rejected": BAD,
        "refused": click(f"{POISON}{number}"),
        "suppressed": click(f"e{number}", user="gone"),
        "hole": HOLE,
    }[kind]


KINDS = ["stored", "sent twice", "rejected", "refused", "suppressed", "hole"]
TOPICS = st.lists(st.lists(st.sampled_from(KINDS), max_size=60), min_size=1, max_size=3)


def counted(kinds: Sequence[str]) -> tuple[int, int, int, int]:
    """By hand: messages with a row, rejected, suppressed, and offsets without a message."""
    found = Counter(kinds)
    return (
        found["stored"] + found["sent twice"],
        found["rejected"] + found["refused"],
        found["suppressed"],
        found["hole"],
    )


def as_counted(counts: Counts) -> tuple[int, int, int, int]:
    assert counts.lost == 0
    return counts.stored + counts.repeated, counts.rejected, counts.suppressed, counts.empty


@MANY
@given(topic=TOPICS, seed=st.integers(0, 2**32), kills=st.lists(st.sampled_from(Step), max_size=4))
def test_whatever_happens_to_the_runs_each_range_counts_what_it_holds(
    topic: list[list[str]], seed: int, kills: list[Step]
) -> None:
    """Runs are killed at random steps and resumed, others begin amid them, hours pass, and users are erased."""
    chance = random.Random(seed)  # no secret
    world = World(*[[message(kind, 1_000 * p + n) for n, kind in enumerate(kinds)] for p, kinds in enumerate(topic)])
    world.broker.batch = chance.randint(1, 20)
    world.store.cells["suppressed_users"][user_hash("gone")] = {b"s:erased_at": b"%d" % (NOON + 2 * HOUR_MS)}
    checkpoint = chance.randint(1, 40)

    def drain(on_step: Callable[[Step], None] = lambda _: None) -> None:
        world.drain(on_step, checkpoint_clicks=checkpoint, max_clicks=chance.randint(30, 200))

    def disturb(deadly: Step) -> Callable[[Step], None]:
        def happen(now: Step) -> None:
            world.store.now_ms += chance.choice([0, 0, HOUR_MS // 3, 5 * HOUR_MS, -HOUR_MS])
            if chance.random() < 0.2:
                drain()
            if now is deadly and chance.random() < 0.5:
                raise Killed

        return happen

    for deadly in kills:
        with contextlib.suppress(Killed):
            drain(disturb(deadly))
    while world.store.offsets() != {p: len(kinds) for p, kinds in enumerate(topic) if kinds}:
        drain()

    account = account_of(world)
    assert [str(problem) for problem in account.problems] == []
    assert account.notes == ()
    for each in account.ranges:
        assert as_counted(each.tally.counts) == counted(topic[each.partition][each.start : each.end])
    assert as_counted(account.counts) == counted([kind for kinds in topic for kind in kinds])
    assert account.produced == sum(kind != "hole" for kinds in topic for kind in kinds)
    assert account.counts.stored >= len(world.store.clicks)
    covered = [offset for each in account.ranges for offset in range(each.start, each.end)]
    assert len(covered) == sum(map(len, topic))


@MANY
@given(topic=TOPICS)
def test_of_one_checkpoint_as_many_are_stored_as_there_are_rows(topic: list[list[str]]) -> None:
    world = World(*[[message(kind, 1_000 * p + n) for n, kind in enumerate(kinds)] for p, kinds in enumerate(topic)])
    world.store.cells["suppressed_users"][user_hash("gone")] = {b"s:erased_at": b"%d" % (NOON + 2 * HOUR_MS)}
    result = world.drain(checkpoint_clicks=100_000)
    counts = account_of(world).counts
    assert counts.stored == len(world.store.clicks)
    assert counts.stored + counts.repeated == result.stored


def test_of_two_messages_of_a_row_the_second_is_repeated_and_the_first_again_if_hbase_refuses_the_other() -> None:
    world = World([click("a"), click("a"), click("a", user="v"), click("a")])
    world.drain()
    assert account_of(world).counts == Counts(stored=2, repeated=2)


def test_a_crash_between_rows_and_offsets_invents_no_repetition() -> None:
    world = World([click(str(n)) for n in range(30)])

    def die(now: Step) -> None:
        if now is Step.HOURS_MARKED:
            raise Killed

    with pytest.raises(Killed):
        world.drain(die)
    assert len(world.store.clicks) == 30
    assert account_of(world).ranges == ()
    world.drain()
    assert account_of(world).counts == Counts(stored=30)


def test_of_overlapping_runs_each_counts_the_offsets_that_it_moved_the_position_over() -> None:
    """The other run passes half of the window before this one commits it."""
    kinds = ["stored", "rejected", "hole", "suppressed", "stored", "sent twice"] * 20
    world = World([message(kind, n % 40) for n, kind in enumerate(kinds)])
    world.store.cells["suppressed_users"][user_hash("gone")] = {b"s:erased_at": b"%d" % (NOON + 2 * HOUR_MS)}
    overtaken: list[Step] = []

    def overtake(now: Step) -> None:
        if now is Step.HOURS_MARKED and not overtaken:
            overtaken.append(now)
            world.drain(max_clicks=67)

    world.drain(overtake, checkpoint_clicks=10_000)

    account = account_of(world)
    assert account.adds_up
    assert as_counted(account.counts) == counted(kinds)


def test_an_hour_of_ingestion_is_a_range_and_a_clock_set_back_begins_none() -> None:
    world = World([click(str(n)) for n in range(40)])
    for at_ms in (NOON, NOON + HOUR_MS // 2, NOON + HOUR_MS, NOON - 9 * HOUR_MS):
        world.store.now_ms = at_ms
        world.drain(max_clicks=10)
    found = account_of(world).ranges
    assert [(each.start, each.end, each.tally.hour) for each in found] == [
        (0, 20, NOON),
        (20, 40, NOON + HOUR_MS),
    ]
    ledger = OffsetLedger(cast("HBase", world.store), "ingest_offsets")
    earlier = ledger.progress("clicks", until_ms=NOON + HOUR_MS).ranges
    later = ledger.progress("clicks", since_ms=NOON + HOUR_MS).ranges
    assert ([each.end for each in earlier], [each.start for each in later]) == ([20], [20])


def test_closed_tallies_expire_with_the_clicks_and_positions_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACO_CLICKS_TTL_DAYS", "12")
    world = World([click(str(n)) for n in range(30)])
    put_if = world.store.put_if
    kept: set[tuple[bytes, object]] = set()

    def noting(table: str, key: bytes, column: bytes, **values: Any) -> bool:
        if table == "ingest_offsets":
            kept.add((column, values.get("ttl_ms")))
        return put_if(table, key, column, **values)

    monkeypatch.setattr(world.store, "put_if", noting)
    for hours in range(3):
        world.store.now_ms = NOON + hours * HOUR_MS
        world.drain(max_clicks=10)
    assert sum(b"#tally" in key for key in world.store.cells["ingest_offsets"]) == 2
    assert kept == {(b"o:tally", 12 * 24 * HOUR_MS), (b"o:next", None)}


def test_a_tally_closed_in_vain_goes_on_and_is_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run dies between closing the tally and moving the position; the next has a clock that is behind."""
    world = World([])
    ledger_with(world, PassedOffsets(0, 0, 100, 100))
    put_if = world.store.put_if

    def die(table: str, key: bytes, column: bytes, **given: Any) -> bool:
        if column == b"o:next":
            raise Killed
        return put_if(table, key, column, **given)

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "put_if", die)
        with pytest.raises(Killed):
            ledger_with(world, PassedOffsets(0, 100, 150, 50), at_ms=NOON + HOUR_MS)
    assert any(b"#tally" in key for key in world.store.cells["ingest_offsets"])
    assert (account_of(world).problems, account_of(world).counts) == ((), Counts(stored=100))

    ledger_with(world, PassedOffsets(0, 100, 150, 50), at_ms=NOON)
    assert (account_of(world).problems, account_of(world).counts) == ((), Counts(stored=150))
    ledger_with(world, PassedOffsets(0, 150, 160, 10), at_ms=NOON + HOUR_MS)
    assert [(each.start, each.end) for each in account_of(world).ranges] == [(0, 150), (150, 160)]


def test_a_run_that_closes_a_tally_late_does_not_shorten_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is about to write the row, another extends the tally, closes it and goes on."""
    world = World([])
    ledger_with(world, PassedOffsets(0, 0, 100, 100))
    put_if, overtaken = world.store.put_if, list[bytes]()

    def be_overtaken(table: str, key: bytes, column: bytes, **given: Any) -> bool:
        if column == b"o:tally" and not overtaken:
            overtaken.append(key)
            ledger_with(world, PassedOffsets(0, 100, 150, 50), at_ms=NOON)
            ledger_with(world, PassedOffsets(0, 150, 160, 10), at_ms=NOON + HOUR_MS)
        return put_if(table, key, column, **given)

    monkeypatch.setattr(world.store, "put_if", be_overtaken)
    ledger_with(world, PassedOffsets(0, 100, 170, 70), at_ms=NOON + HOUR_MS)
    account = account_of(world)
    assert (account.problems, account.counts) == ((), Counts(stored=170))
    assert [(each.start, each.end) for each in account.ranges] == [(0, 150), (150, 170)]


# Losses


def ledger_with(world: World, *passed: PassedOffsets, at_ms: int = NOON) -> OffsetLedger:
    ledger = OffsetLedger(cast("HBase", world.store), "ingest_offsets")
    ledger.advance(TOPIC, *passed, owner=Owner(), at_ms=at_ms)
    return ledger


def test_an_accepted_loss_is_a_range_of_its_own() -> None:
    world = World([])
    ledger = ledger_with(world, PassedOffsets(0, 0, 100, 100))
    ledger.reset(TOPIC, OffsetRange(0, 100, 160), owner=Owner(), at_ms=NOON)
    ledger.advance(TOPIC, PassedOffsets(0, 160, 170, 10), owner=Owner(), at_ms=NOON)

    account = account_of(world)
    assert (account.problems, account.notes) == ((), ())
    assert [(each.start, each.end, each.tally.counts) for each in account.ranges] == [
        (0, 100, Counts(stored=100)),
        (100, 160, Counts(lost=60)),
        (160, 170, Counts(stored=10)),
    ]
    assert account.produced == 170


def test_a_topic_created_anew_begins_a_log_and_its_predecessor_is_told() -> None:
    world = World([])
    ledger = ledger_with(world, PassedOffsets(0, 0, 100, 100))
    anew = replace(TOPIC, topic_id="id-2")
    ledger.reset(anew, OffsetRange(0, 0, 7), owner=Owner(), at_ms=NOON)
    ledger.advance(anew, PassedOffsets(0, 7, 50, 43), owner=Owner(), at_ms=NOON)

    account = account_of(world)
    assert account.adds_up
    assert [(log.topic_id, log.start, log.end, log.counts) for log in account.logs] == [
        (TOPIC_ID, 0, 100, Counts(stored=100)),
        ("id-2", 0, 50, Counts(stored=43, lost=7)),
    ]
    assert [str(note) for note in account.notes] == [
        "Partition 0, offsets [0, 100), ingested in hour 2026-01-01-12:00: the topic was created anew; what it held "
        "behind them was lost, uncounted, as was accepted."
    ]


def test_a_log_that_was_cut_back_gives_out_its_offsets_a_second_time() -> None:
    world = World([])
    ledger = ledger_with(world, PassedOffsets(0, 0, 100, 100))
    ledger.reset(TOPIC, OffsetRange(0, 0, 0), owner=Owner(), at_ms=NOON)
    ledger.advance(TOPIC, PassedOffsets(0, 0, 80, 80), owner=Owner(), at_ms=NOON)
    account = account_of(world)
    assert account.adds_up
    assert [(log.start, log.end, log.counts.stored) for log in account.logs] == [(0, 100, 100), (0, 80, 80)]
    assert "the log was cut back" in account.notes[0].what


# Earlier versions


def test_a_ledger_without_tallies_is_told_and_continued() -> None:
    world = World([])
    world.store.cells["ingest_offsets"][b"clicks/00000"] = {b"o:next": f"{TOPIC_ID} 500".encode()}
    before = account_of(world)
    ledger_with(world, PassedOffsets(0, 500, 600, 100))
    after = account_of(world)
    assert (before.problems, after.problems) == ((), ())
    assert [(note.start, note.end) for note in before.notes] == [(0, 500)]
    assert [(note.start, note.end) for note in after.notes] == [(0, 500)]
    assert after.counts == Counts(stored=100)


def test_offsets_passed_by_an_earlier_version_in_between_are_told() -> None:
    world = World([])
    ledger_with(world, PassedOffsets(0, 0, 100, 100))
    ledger_with(world, PassedOffsets(0, 100, 200, 100), at_ms=NOON + HOUR_MS)
    world.store.cells["ingest_offsets"][b"clicks/00000"] = {b"o:next": f"{TOPIC_ID} 300 0".encode()}  # as it writes
    assert [(note.start, note.end) for note in account_of(world).notes] == [(100, 300)]
    ledger_with(world, PassedOffsets(0, 300, 400, 100), at_ms=NOON + 2 * HOUR_MS)
    account = account_of(world)
    assert account.adds_up
    assert [(note.start, note.end) for note in account.notes] == [(100, 300)]


def test_a_claim_keeps_the_tally() -> None:
    world = World([])
    ledger = ledger_with(world, PassedOffsets(0, 0, 100, 100))
    ledger.claim("clicks", [0, 1], Owner(epoch=1))
    ledger.advance(TOPIC, PassedOffsets(0, 100, 150, 50), owner=Owner(epoch=1), at_ms=NOON)
    account = account_of(world)
    assert (account.notes, account.counts) == ((), Counts(stored=150))


def test_a_cell_has_the_form_that_the_connector_reads() -> None:
    world = World([])
    ledger = ledger_with(world, PassedOffsets(0, 3, 100, 80, (5, 6), (7,), (8, 9, 10), (OffsetRange(0, 20, 31),)))
    row = world.store.cells["ingest_offsets"][b"clicks/00000"]
    assert row == {b"o:next": f"{TOPIC_ID} 100 0 2026-01-01-12:00 0 3 1 80 2 1 3 0 11".encode()}
    ledger.advance(TOPIC, PassedOffsets(0, 100, 101, 1), owner=Owner(), at_ms=NOON + HOUR_MS)
    key = f"clicks#tally/2026-01-01-12:00/00000/{TOPIC_ID}/00000/0000000000000000003".encode()
    assert world.store.cells["ingest_offsets"][key] == {b"o:tally": b"100 1 80 2 1 3 0 11"}
    assert row == {b"o:next": f"{TOPIC_ID} 101 0 2026-01-01-13:00 0 100 0 1 0 0 0 0 0".encode()}


# What does not add up


def ranges(*sizes: int, partition: int = 0) -> list[TalliedRange]:
    """Ranges that follow each other, an hour each, some of whose messages are rejected."""
    made, start = [], 0
    for n, size in enumerate(sizes):
        counts = Counts(stored=size - size // 4, rejected=size // 4)
        tally = Tally(NOON + n * HOUR_MS, 0, start, n == 0, counts)
        made.append(TalliedRange(partition, TOPIC_ID, start + size, tally))
        start += size
    return made


SIZES = st.lists(st.integers(1, 1_000), min_size=3, max_size=12)


@given(sizes=SIZES, chance=st.randoms(use_true_random=False), by=st.integers(-50, 50).filter(bool))
def test_a_count_that_was_changed_names_its_range(sizes: list[int], chance: random.Random, by: int) -> None:
    made = [*ranges(*sizes), *ranges(*sizes, partition=1)]
    at = chance.randrange(len(made))
    name = chance.choice(["stored", "repeated", "rejected", "suppressed", "lost", "empty"])
    counts = made[at].tally.counts
    wrong = replace(counts, **{name: getattr(counts, name) + by})
    made[at] = replace(made[at], tally=replace(made[at].tally, counts=wrong))
    (problem,) = add_up(Progress({}, tuple(made)), kept_since_ms=KEPT_MS).problems
    assert (problem.partition, problem.start, problem.end) == (made[at].partition, made[at].start, made[at].end)
    assert problem.hour == made[at].tally.hour


@given(sizes=SIZES, chance=st.randoms(use_true_random=False))
def test_a_tally_that_is_gone_names_its_offsets(sizes: list[int], chance: random.Random) -> None:
    made = ranges(*sizes)
    gone = made.pop(chance.randrange(len(made) - 1))
    (problem,) = add_up(Progress({}, tuple(made)), kept_since_ms=KEPT_MS).problems
    assert (problem.start, problem.end) == (gone.start, gone.end)


def test_expired_tallies_are_told() -> None:
    made = ranges(10, 10, 10)[1:]
    account = add_up(Progress({}, tuple(made)), kept_since_ms=made[0].tally.hour)
    assert account.problems == ()
    assert [str(note) for note in account.notes] == ["Partition 0, offsets [0, 10): their tallies have expired."]


def test_a_position_moved_by_hand_names_the_range() -> None:
    world = World([click(str(n)) for n in range(30)])
    world.drain()
    row = world.store.cells["ingest_offsets"][b"clicks/00000"]
    row[b"o:next"] = row[b"o:next"].replace(f"{TOPIC_ID} 30".encode(), f"{TOPIC_ID} 33".encode())
    assert [str(problem) for problem in account_of(world).problems] == [
        "Partition 0, offsets [0, 33), ingested in hour 2026-01-01-12:00: 3 messages not accounted for: 33 were "
        "produced, 30 are counted (30 stored, 0 repeated, 0 rejected, 0 suppressed, 0 lost)."
    ]


def test_offsets_counted_twice_are_named() -> None:
    first, second = ranges(100, 100)
    second = replace(second, tally=replace(second.tally, start=90, counts=Counts(stored=110)))
    (problem,) = add_up(Progress({}, (first, second)), kept_since_ms=KEPT_MS).problems
    assert (problem.start, problem.end) == (90, 100)
    assert "counted twice" in problem.what


@pytest.mark.parametrize("change", [-1, 1])
def test_rejected_records_that_differ_from_the_tally_name_the_range(change: int) -> None:
    made = ranges(8, 8, 8)
    found = dict.fromkeys((0, 1, 8, 9, 16, 17), NOON)
    found = {offset: made[offset // 8].tally.hour for offset in found}
    if change > 0:
        found[10] = made[1].tally.hour
    else:
        del found[9]
    account = add_up(Progress({}, tuple(made)), kept_since_ms=KEPT_MS)
    assert compared_with_rejected(account, FoundRejected({0: found}, 0)).problems[0].start == 8
    later = compared_with_rejected(account, FoundRejected({0: found}, made[2].tally.hour))
    assert later.problems == ()
    assert later.rejected is not None
    assert (later.rejected.ranges, later.rejected.left_out) == (1, 2)


def test_rejected_records_of_an_earlier_log_are_not_taken_for_those_of_the_present_one() -> None:
    old = [replace(each, topic_id="id-0") for each in ranges(8, 8)]
    new = replace(ranges(16)[0], tally=Tally(NOON + 9 * HOUR_MS, 0, 0, is_first=True, counts=Counts(stored=16)))
    account = add_up(Progress({}, (*old, new)), kept_since_ms=KEPT_MS)
    records = {0: {offset: NOON + HOUR_MS * (offset // 8) for offset in (0, 1, 8, 9)}}
    compared = compared_with_rejected(account, FoundRejected(records, 0))
    assert compared.adds_up
    assert compared.rejected is not None
    assert (compared.rejected.ranges, compared.rejected.left_out) == (1, 2)
    records[0][3] = NOON + 9 * HOUR_MS
    assert [problem.start for problem in compared_with_rejected(account, FoundRejected(records, 0)).problems] == [0]


def test_a_recount_that_differs_names_the_range() -> None:
    made = ranges(8, 8, 8)
    account = add_up(Progress({}, tuple(made)), kept_since_ms=KEPT_MS)
    same = [Recount(each, 8) for each in made]
    assert compared_with_recounts(account, same).adds_up
    lacking = compared_with_recounts(account, [same[0], Recount(made[1], 8, (11, 13)), Recount(made[2], 7)])
    assert [(problem.start, problem.what) for problem in lacking.problems] == [
        (8, "2 clicks have no row in HBase, the first at offset 11."),
        (16, "8 messages counted, but the topic has 7 of them."),
    ]


def test_what_is_no_tally_is_refused_by_the_account_and_does_not_stop_ingest() -> None:
    world = World([click(str(n)) for n in range(30)])
    cell = f"{TOPIC_ID} 10 0 some words of a person".encode()
    world.store.cells["ingest_offsets"][b"clicks/00000"] = {b"o:next": cell}
    with pytest.raises(TallyUnreadable, match="some words of a person"):
        progress_of(world)
    world.drain()
    account = account_of(world)
    assert (account.counts, [(note.start, note.end) for note in account.notes]) == (Counts(stored=20), [(0, 10)])
