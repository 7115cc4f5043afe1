"""Tests how final an hour is: a table of cases written by hand, and the hour ledger's own rule of what has expired."""

import pytest

from dataco_assets.clicks.finality import Finality, HeldHours, finality, in_words
from dataco_assets.ledgers.hours import HourState, expired_hours

HOUR, MINUTE, DAY = 3_600_000, 60_000, 86_400_000
NOON = 1_769_860_800_000
"""2026-01-31 12:00 UTC."""
WEEK = 7 * DAY

CASES = [
    # milliseconds since the hour began, restated, retention, and what the hour is
    (-1, False, WEEK, "running"),  # ahead of the clock
    (0, False, WEEK, "running"),
    (60 * MINUTE - 1, False, WEEK, "running"),
    (60 * MINUTE, False, WEEK, "provisional"),
    (90 * MINUTE - 1, False, WEEK, "provisional"),
    (90 * MINUTE, False, WEEK, "final"),
    (90 * MINUTE, True, WEEK, "restated"),
    (3 * DAY, False, WEEK, "final"),
    (3 * DAY, True, WEEK, "restated"),
    # The first click of the hour before is two hours older than the limit, one of which is a margin.
    (WEEK - 2 * HOUR, False, WEEK, "final"),
    (WEEK - 2 * HOUR, True, WEEK, "restated"),
    (WEEK - 2 * HOUR + 1, False, WEEK, "expired"),
    (WEEK - 2 * HOUR + 1, True, WEEK, "expired"),
    (1_000 * DAY, True, WEEK, "expired"),
    (1_000 * DAY, False, None, "final"),
    (1_000 * DAY, True, None, "restated"),
    # A restatement that another clock recorded early does not make an hour settled.
    (30 * MINUTE, True, WEEK, "running"),
    (70 * MINUTE, True, WEEK, "provisional"),
]


@pytest.mark.parametrize(("age", "is_restated", "retention", "expected"), CASES)
def test_the_clock_the_retention_and_restatements_tell_how_final_an_hour_is(
    age: int, is_restated: bool, retention: int | None, expected: str
) -> None:
    assert finality(NOON, NOON + age, is_restated=is_restated, retention_ms=retention) == expected
    held = HeldHours((NOON,), frozenset({NOON} if is_restated else ()), retention)
    assert held.finality(NOON, NOON + age) == expected


def test_every_finality_has_a_case() -> None:
    assert {expected for *_, expected in CASES} == set(Finality)


def test_what_was_stored_when_it_happened_expires_as_in_the_hour_ledger() -> None:
    hours = range(NOON - 10 * DAY, NOON, HOUR)
    states = [HourState(hour, dirty=1, done=1, first_stored_at=hour) for hour in hours]
    held = HeldHours(tuple(hours), retention_ms=WEEK)
    for now in (NOON, NOON + 1, NOON + 59 * MINUTE):
        found = {hour for hour in hours if held.finality(hour, now) is Finality.EXPIRED}
        assert found == expired_hours(states, ttl_days=7, now_ms=now) & set(hours)
        assert found


def test_hours_are_counted_in_the_order_of_their_life() -> None:
    hours = tuple(NOON + step * HOUR for step in (-400, -4, -3, -2, -1, 0))
    held = HeldHours(hours, frozenset({NOON - 3 * HOUR, NOON - 400 * HOUR, NOON - 50 * HOUR}), WEEK)
    now = NOON + 20 * MINUTE
    assert list(held.counted(now).items()) == [
        ("running", 1),
        ("provisional", 1),
        ("final", 2),
        ("restated", 1),
        ("expired", 1),
    ]
    assert in_words(held.counted(now)) == "6 hours: 1 running, 1 provisional, 2 final, 1 restated, 1 expired"
    assert in_words(held.counted(now, since_ms=NOON)) == "1 hour: 1 running"
    assert in_words(HeldHours().counted(now)) == "0 hours"
