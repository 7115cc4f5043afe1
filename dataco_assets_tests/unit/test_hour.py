"""Tests hours: which ones a click touches, by the definition of the aggregates, and their names."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.hour import (
    HOUR_MS,
    contiguous_runs,
    hour_from_key,
    hour_key,
    hour_of,
    scan_span,
    touched_hours,
)
from dataco_assets.ledgers.hours import HourState, dirty_hours
from dataco_assets_tests.hour_vectors import NOON, RULE, HourVector, read_vectors
from dataco_assets_tests.oracle import OracleClick, aggregate

HALF_HOUR_MS = HOUR_MS // 2
FIRST = 1_767_225_600_000  # 2026-01-01T00:00Z
HOURS = [FIRST + step * HOUR_MS for step in range(5)]

# Times near the edges of hours and half hours are frequent: off-by-one errors show there.
edges = st.builds(
    lambda hour, base, step: min(max(HOURS[hour] + base + step, HOURS[0]), HOURS[-1] + HOUR_MS - 1),
    st.integers(0, 4),
    st.sampled_from([0, HALF_HOUR_MS]),
    st.integers(-2, 2),
)
times = edges | st.integers(HOURS[0], HOURS[-1] + HOUR_MS - 1)


def changed_hours(clicks: list[OracleClick], extra: OracleClick) -> set[int]:
    """Hours whose aggregates change with one more click, by computing all of them with and without it."""
    hours = [HOURS[0] - HOUR_MS, *HOURS, HOURS[-1] + HOUR_MS]
    before, after = aggregate(clicks, hours), aggregate([*clicks, extra], hours)
    return {key[0] for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def click(number: int, timestamp: int, user: str = "u", page: str = "p") -> OracleClick:
    return OracleClick(f"{timestamp:013d}-{number:03d}", user, timestamp, page, "CH")


@given(
    others=st.lists(st.tuples(times, st.sampled_from("uv"), st.sampled_from("pq")), max_size=8),
    timestamp=times,
    number=st.integers(0, 20),
)
def test_no_click_changes_an_hour_it_does_not_touch(
    others: list[tuple[int, str, str]], timestamp: int, number: int
) -> None:
    clicks = [click(2 * i + 1, t, user, page) for i, (t, user, page) in enumerate(others)]
    assert changed_hours(clicks, click(2 * number, timestamp)) <= set(touched_hours(timestamp))


@given(timestamp=times)
def test_every_touched_hour_can_change(timestamp: int) -> None:
    # The nearest clicks of other hours: one in the last millisecond before, one in the first after.
    neighbours = [click(1, hour_of(timestamp) - 1), click(3, hour_of(timestamp) + HOUR_MS)]
    for neighbour in neighbours:
        assert changed_hours([neighbour], click(2, timestamp)) <= set(touched_hours(timestamp))
    assert changed_hours(neighbours, click(2, timestamp)) == set(touched_hours(timestamp))


@pytest.mark.parametrize("vector", read_vectors().values(), ids=read_vectors().keys())
def test_the_vectors(vector: HourVector) -> None:
    assert [touched_hours(each.timestamp) for each in vector.clicks] == list(vector.touches)
    assert aggregate(vector.clicks, [NOON], bots=RULE) == vector.rows


@pytest.mark.parametrize(
    ("into_hour", "before"),
    [(0, True), (1, True), (HALF_HOUR_MS - 1, True), (HALF_HOUR_MS, False), (HOUR_MS - 1, False)],
)
def test_a_click_touches_the_hour_it_is_nearer_to(into_hour: int, before: bool) -> None:
    assert touched_hours(FIRST + into_hour) == (FIRST, FIRST - HOUR_MS if before else FIRST + HOUR_MS)


@given(
    own=times,
    others=st.lists(st.tuples(times, st.sampled_from("uv"), st.sampled_from("pq")), max_size=8),
    first=st.integers(1, 3),
    count=st.integers(1, 2),
)
def test_a_scan_of_hours_reads_all_they_depend_on(
    own: int, others: list[tuple[int, str, str]], first: int, count: int
) -> None:
    hours = HOURS[first : first + count]
    clicks = [click(0, own), *(click(n, t, user, page) for n, (t, user, page) in enumerate(others, start=1))]
    start, end = scan_span(hours[0], hours[-1])
    assert aggregate([c for c in clicks if start <= c.timestamp < end], hours) == aggregate(clicks, hours)


@given(st.lists(st.tuples(times, st.sampled_from("uv"), st.sampled_from("pq")), max_size=12))
def test_of_all_hours_every_visit_has_one_entry_and_one_exit(made: list[tuple[int, str, str]]) -> None:
    rows = aggregate([click(n, t, user, page) for n, (t, user, page) in enumerate(made)], HOURS).values()
    assert sum(row.entries for row in rows) == sum(row.exits for row in rows)


@given(st.integers(0, 9_999_999_999_999))
def test_an_hours_name_leads_back_to_it(timestamp: int) -> None:
    hour = hour_of(timestamp)
    assert hour <= timestamp < hour + HOUR_MS
    assert hour_from_key(hour_key(hour)) == hour
    assert hour_key(hour) == datetime.fromtimestamp(hour // 1000, UTC).isoformat()[:16].replace("T", "-")


@given(st.lists(st.integers(0, 9_999_999_999), min_size=2, max_size=2))
def test_names_sort_as_time_does(timestamps: list[int]) -> None:
    first, second = (hour_of(timestamp * 1000) for timestamp in timestamps)
    assert (first < second) == (hour_key(first) < hour_key(second))


@pytest.mark.parametrize(
    "key", ["", "2026-01-01", "2026-01-01-00:30", "2026-1-1-0:00", "2026-13-01-00:00", "2026-02-29-00:00", "now"]
)
def test_what_is_not_an_hours_name_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        hour_from_key(key)


@given(st.lists(st.integers(-50, 50)))
def test_contiguous_runs_hold_every_hour_once_and_have_a_gap_between_them(steps: list[int]) -> None:
    runs = contiguous_runs(FIRST + step * HOUR_MS for step in steps)
    assert [hour for run in runs for hour in run] == sorted({FIRST + step * HOUR_MS for step in steps})
    assert all(b - a == HOUR_MS for run in runs for a, b in pairwise(run))
    assert all(b[0] - a[-1] > HOUR_MS for a, b in pairwise(runs))


def test_an_hour_next_to_one_that_lost_clicks_is_not_computed_again() -> None:
    """Without all clicks of the half hours around it, its visits would begin or end wrongly."""
    day = 24 * HOUR_MS
    now = FIRST + 10 * day
    stored = {HOURS[2]: now - 3 * day, HOURS[4] + HOUR_MS: now}
    states = [HourState(each, dirty=1, first_stored_at=stored.get(each)) for each in (*HOURS, HOURS[4] + HOUR_MS)]
    found = dirty_hours(states, earliest_ms=0, ttl_days=2, now_ms=now, from_ms=HOURS[1])
    assert (found.waiting, found.expired) == ([HOURS[4], HOURS[4] + HOUR_MS], HOURS[1:4])
    later = dirty_hours(states, earliest_ms=0, ttl_days=2, now_ms=now, from_ms=HOURS[3])
    assert (later.waiting, later.expired) == ([HOURS[4], HOURS[4] + HOUR_MS], [HOURS[3]])
