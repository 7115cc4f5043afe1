"""Tests the comparison itself: it finds each planted bug, and a run without messages does not pass."""

import signal
import time

import pytest

from dataco_assets_tests.faults.conftest import World
from dataco_assets_tests.faults.judge import Found, StoredRow, Tallied, problems
from dataco_assets_tests.faults.truth import Logged, Truth, row_key
from dataco_assets_tests.platforms import NOON, click

HOUR = 3_600_000
A, B = StoredRow("a", NOON, b"key of a"), StoredRow("b", NOON + HOUR // 2 + 1, b"key of b")
TALLIES = [Tallied(0, "id/0", 0, 2, 1, 0, 1, 0, 0, 0), Tallied(0, "id/0", 2, 3, 1, 0, 0, 0, 0, 0)]
LOG = [Logged(0, 0, click("a")), Logged(0, 1, b"bad"), Logged(0, 2, click("b", at=NOON + HOUR // 2 + 1))]


def truth() -> Truth:
    made = Truth(times={"a": A.time_ms, "b": B.time_ms}, keys={"a": A.key, "b": B.key}, messages=3)
    made.broken[b"bad"] += 1
    return made


def found(**differs: object) -> Found:
    values: dict[str, object] = {
        "rows": [A, B],
        "rejected": {b"clicks/0/1": b"bad"},
        "altered": frozenset(),
        "ledger": {0: 3},
        "ends": {0: 3},
        "dirty": frozenset({NOON, NOON - HOUR}),
        "known_since": frozenset({NOON}),
        "tallies": [TALLIES[0], TALLIES[1]],
    }
    return Found(**{**values, **differs})  # pyright: ignore[reportArgumentType]  # names and types as above


def test_the_judge_is_content_with_the_truth() -> None:
    assert problems("clicks", truth(), found(), LOG, at_least=3) == []


@pytest.mark.parametrize(
    ("differs", "message"),
    [
        ({"rows": [A]}, "1 valid clicks are not in HBase: b"),
        ({"rows": [A, B, A]}, "1 clicks are in HBase more than once: a"),
        ({"rows": [A, B, StoredRow("c", NOON, b"key of c")]}, "1 clicks are in HBase that nobody produced: c"),
        ({"rows": [A._replace(time_ms=NOON + 1), B]}, "1 clicks have another time in HBase: a"),
        ({"rows": [A, B._replace(key=b"key of a")]}, "1 clicks are in HBase under another row key: b"),
        ({"rejected": {}}, "1 invalid messages the ledger has passed are not, unchanged, in the rejected topic"),
        ({"rejected": {b"clicks/0/1": b"Bad"}}, "1 invalid messages the ledger has passed are not, unchanged"),
        ({"rejected": {b"clicks/0/1": b"bad", b"clicks/0/2": b"x"}}, "1 rejected records belong to no invalid"),
        ({"altered": frozenset({b"clicks/0/1"})}, "1 rejected records were written with different bytes"),
        ({"ledger": {0: 2}}, "1 partitions whose ledger is not the last stable offset: 0: 2 of 3"),
        ({"dirty": frozenset({NOON})}, "1 hours touched by clicks the ledger has passed are not dirty"),
        ({"known_since": frozenset()}, "1 hours with clicks lack the time of their first one"),
        ({"tallies": [TALLIES[0]]}, "the tallies count (1, 1, 0) stored, rejected and suppressed, not (2, 1, 0)"),
        ({"tallies": [TALLIES[0]]}, "1 partitions whose position has no tally before it: 0"),
        ({"tallies": [TALLIES[0]._replace(end=1), TALLIES[1]]}, "1 tallies do not follow each other"),
        ({"tallies": [TALLIES[0]._replace(empty=1), TALLIES[1]]}, "1 tallies do not count all of their offsets"),
        (
            {"tallies": [TALLIES[0]._replace(rejected=0, stored=2), TALLIES[1]._replace(rejected=1, stored=0)]},
            "2 tallies count something else than the log has between their offsets",
        ),
    ],
)
def test_the_judge_names_what_differs(differs: dict[str, object], message: str) -> None:
    assert any(line.startswith(message) for line in problems("clicks", truth(), found(**differs), LOG, at_least=3))


def test_a_run_in_which_too_little_went_through_is_no_pass() -> None:
    assert "a pass would mean nothing" in problems("clicks", truth(), found(), LOG, at_least=4)[0]


def test_the_truth_knows_the_row_key_of_a_click() -> None:
    minimal = click("e-1", user="u-1", at=1_431_857_103_000)
    assert row_key(minimal) == b"0c-1431857103000-6b366216e5486b5ecab7cf5d6077e43c"  # as in vectors/clicks.json


@pytest.mark.stack
@pytest.mark.faults
def test_finds_offsets_committed_before_the_rows_are_written(world: World) -> None:
    world.traffic.send(6_000)
    world.worker("--once", "--plant", "commit-before-write", "--at", "offsets_moved").wait()
    with pytest.raises(AssertionError, match="valid clicks the ledger has passed are not in HBase"):
        world.judge_progress()
    world.drain()
    with pytest.raises(AssertionError, match="valid clicks are not in HBase"):
        world.judge(at_least=6_000)
    account = world.platform.account()
    assert any("no row in HBase" in problem.what for problem in account.problems), "nor does the account add up"


@pytest.mark.stack
@pytest.mark.faults
def test_finds_rejected_records_nobody_acknowledged(world: World) -> None:
    settings = world.platform.settings
    world.traffic.send(6_000)
    world.platform.admin.delete_topic(settings.rejected_topic)
    world.drain("--plant", "unacknowledged-rejects")
    world.platform.create_rejected_topic()
    world.drain()
    with pytest.raises(AssertionError, match="are not, unchanged, in the rejected topic"):
        world.judge(at_least=6_000)
    account = world.platform.account()
    assert any("but the rejected topic has 0 of them" in problem.what for problem in account.problems)


@pytest.mark.stack
@pytest.mark.faults
@pytest.mark.parametrize(
    ("bug", "message"),
    [
        ("random-row-key", "clicks are in HBase more than once"),
        ("forgotten-hours", "hours touched by clicks the ledger has passed are not dirty"),
    ],
)
def test_finds_rows_doubled_and_hours_forgotten(world: World, bug: str, message: str) -> None:
    # From one full hour to another: the first clicks touch an hour that holds none, whatever time it is now.
    world.traffic.send(6_000, hours=2.0, until_ms=time.time_ns() // 1_000_000 // HOUR * HOUR)
    died = world.worker("--once", "--plant", bug, "--at", "hours_marked")
    assert died.wait() == -signal.SIGKILL
    world.drain("--plant", bug)
    with pytest.raises(AssertionError, match=message):
        world.judge(at_least=6_000)
