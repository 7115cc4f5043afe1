"""Tests that the oracle of live's Java code is right: its differences keep sums equal to a computation from scratch.

`codecs/test_live_state.py` holds the Java code against the oracle.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.live_sums import MEASURES, TIME_SPENT_MS, Group, Sums, added
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_of
from dataco_assets_tests import oracle
from dataco_assets_tests.hour_vectors import BOTS, NOON, HourVector, read_vectors
from dataco_assets_tests.live_oracle import Arrival, UserClick, UserState, advanced, answer, contributions
from dataco_assets_tests.oracle import OracleClick
from spark_resources.live.exactness import exact_from, watermark_delay_ms

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "live.json").read_text())
NEVER = -1
MONTH_END = 1_769_900_400_000
"""2026-01-31 23:00 UTC: the hours around the end of an hour, a day and a month."""
USERS = ("ann", "bob")


# Gaps at the limit of a visit and the ends of hours are what goes wrong: most times are near one of them.
EDGES = [MONTH_END + step * VISIT_GAP_MS for step in range(-3, 7)]
TIMES = st.builds(
    lambda edge, shift: edge + shift, st.sampled_from(EDGES), st.sampled_from([-1_000, -1, 0, 1, 999, 1_500, 61_000])
)
SENT = st.builds(
    lambda user, time, event, page, country, delay, by_bot: (
        user,
        Arrival(0, 0, UserClick(time, b"%02d" % event, time + delay, (page, country), by_bot)),
    ),
    st.sampled_from(USERS),
    TIMES,
    st.integers(0, 2),
    st.sampled_from(["https://a.example/", "https://b.example/"]),
    st.sampled_from(["DE", "ZZ"]),
    st.sampled_from([-MAX_AHEAD_MS, 0, HOUR_MS]),
    st.booleans(),
)
RULE = oracle.Bots(["robot"], 2)
advance = partial(advanced, clicks_per_minute=RULE.clicks_per_minute)
BATCHES = st.lists(st.lists(SENT, max_size=6), max_size=6)


def numbered(batches: Sequence[Sequence[tuple[str, Arrival]]]) -> list[list[tuple[str, Arrival]]]:
    """The batches with offsets, in the order in which they came."""
    offsets = iter(range(1_000))
    return [[(user, arrival._replace(offset=next(offsets))) for user, arrival in batch] for batch in batches]


def as_oracle(user: str, click: UserClick) -> OracleClick:
    page, country = click.group
    key = f"{user}-{click.timestamp:013d}-{click.key.decode()}"
    return OracleClick(key, user, click.timestamp, page, country, browser="robot" if click.by_bot else None)


def expected(clicks: Iterable[OracleClick], from_hour: int = 0) -> dict[Group, dict[str, Any]]:
    rows = list(clicks)
    hours = {hour_of(click.timestamp) for click in rows}
    found = oracle.aggregate(rows, [hour for hour in hours if hour >= from_hour], bots=RULE)
    return {key: asdict(row) for key, row in found.items()}


def as_rows(sums: Mapping[Group, Sums]) -> dict[Group, dict[str, Any]]:
    """Sums as the oracle's rows."""
    rows: dict[Group, dict[str, Any]] = {}
    for group, numbers in sums.items():
        named = dict(zip(MEASURES, numbers, strict=True))
        seconds = named.pop(TIME_SPENT_MS) / 1000
        buckets = {
            name.partition(".")[2]: named.pop(name) for name in list(named) if name.startswith("time_spent_buckets.")
        }
        samples = named["time_spent_samples"]
        rows[group] = {
            **named,
            "time_spent_seconds_sum": seconds,
            "average_time_spent_seconds": seconds / samples if samples else None,
            "time_spent_buckets": {name: number for name, number in buckets.items() if number},
        }
    return rows


def test_the_measures_are_all_that_documents_add_up() -> None:
    added_up = {number.name for column in PAGES.measures if column.in_index for number in column.numbers}
    made_of_others = {"time_spent_seconds_sum", "average_time_spent_seconds"}
    assert set(MEASURES) - {TIME_SPENT_MS} == added_up - made_of_others


@given(BATCHES)
def test_differences_add_up_to_a_computation_from_scratch(batches: list[list[tuple[str, Arrival]]]) -> None:
    """Early, late, twice, or with the row key of an earlier one: after each batch all sums are right."""
    states = dict.fromkeys(USERS, UserState())
    sums: dict[Group, Sums] = {}
    stored: dict[str, OracleClick] = {}
    for batch in numbered(batches):
        for user in USERS:
            # The order within a micro-batch is any.
            arrivals = [arrival for owner, arrival in reversed(batch) if owner == user]
            states[user], change = advance(
                states[user], arrivals, NEVER, watermark_ms=0, first_hour=0, clicks_per_minute=RULE.clicks_per_minute
            )
            sums = added([sums, change])
        for user, arrival in batch:
            click = as_oracle(user, arrival.click)
            stored[click.row_key] = click
        assert as_rows(sums) == expected(stored.values())


@given(BATCHES, st.integers(1, 3))
def test_hours_stay_exact_while_their_clicks_leave_the_state(
    batches: list[list[tuple[str, Arrival]]], hours: int
) -> None:
    """With the watermark moving, hours from `exact_from` on are right, and the state holds no click behind it."""
    states = dict.fromkeys(USERS, UserState())
    sums: dict[Group, Sums] = {}
    stored: dict[str, OracleClick] = {}
    watermark = newest = 0
    for batch in numbered(batches):
        kept = [
            (user, arrival) for user, arrival in batch if arrival.click.timestamp > watermark
        ]  # as Spark drops late ones
        for user in USERS:
            arrivals = [arrival for owner, arrival in kept if owner == user]
            states[user], change = advance(
                states[user],
                arrivals,
                NEVER,
                watermark_ms=watermark,
                first_hour=0,
                clicks_per_minute=RULE.clicks_per_minute,
            )
            sums = added([sums, change])
            assert all(click.timestamp > watermark for click in states[user].clicks)
        for user, arrival in batch:  # HBase stores late ones, too
            click = as_oracle(user, arrival.click)
            stored[click.row_key] = click
        exact = exact_from(watermark)
        shown = {group: row for group, row in as_rows(sums).items() if group[0] >= exact}
        assert shown == expected(stored.values(), exact)
        newest = max([newest, *(arrival.click.timestamp for _, arrival in batch)])
        watermark = max(watermark, newest - watermark_delay_ms(hours))
        assert not newest or exact_from(watermark) == hour_of(newest) - (hours - 1) * HOUR_MS


@given(BATCHES, TIMES, st.integers(0, 6))
def test_an_erasure_takes_the_user_out_and_keeps_later_clicks(
    batches: list[list[tuple[str, Arrival]]], erased_at: int, known_after: int
) -> None:
    state, sums, rows = UserState(), dict[Group, Sums](), dict[str, UserClick]()
    for number, batch in enumerate([*numbered(batches), []]):
        arrivals = [arrival for owner, arrival in batch if owner == "ann"]
        erased = erased_at if number == known_after else NEVER
        state, change = advance(
            state, arrivals, erased, watermark_ms=0, first_hour=0, clicks_per_minute=RULE.clicks_per_minute
        )
        sums = added([sums, change])
        rows |= {as_oracle("ann", click).row_key: click for _, _, click in arrivals if number < known_after}
        if number >= known_after:
            known = [*rows.values(), *(click for _, _, click in arrivals)]
            is_later = [click for click in known if click.timestamp > erased_at and click.arrived > erased_at]
            rows = {as_oracle("ann", click).row_key: click for click in is_later}
        assert as_rows(sums) == expected(as_oracle("ann", click) for click in rows.values())


@given(BATCHES)
def test_a_state_is_needed_as_long_as_it_holds_a_click(batches: list[list[tuple[str, Arrival]]]) -> None:
    arrivals = [arrival for batch in numbered(batches) for _, arrival in batch]
    state, _ = advance(
        UserState(), arrivals, NEVER, watermark_ms=0, first_hour=0, clicks_per_minute=RULE.clicks_per_minute
    )
    assert state.needed_until == max((arrival.click.timestamp for arrival in arrivals), default=-1)
    left, _ = advance(
        state, [], NEVER, watermark_ms=state.needed_until, first_hour=0, clicks_per_minute=RULE.clicks_per_minute
    )
    assert not left.clicks


def test_an_erasure_is_kept_until_no_click_from_before_it_can_come() -> None:
    assert UserState([], MONTH_END).needed_until == MONTH_END + MAX_AHEAD_MS


def test_nothing_new_changes_nothing() -> None:
    arrival = Arrival(0, 1, UserClick(MONTH_END, b"1", MONTH_END, ("https://a.example/", "DE")))
    once, _ = advance(
        UserState(), [arrival], NEVER, watermark_ms=0, first_hour=0, clicks_per_minute=RULE.clicks_per_minute
    )
    assert advance(once, [arrival], NEVER, watermark_ms=0, first_hour=0) == (
        once,
        {},
    )


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_the_hand_written_steps(case: Mapping[str, Any]) -> None:
    assert VECTORS["measures"] == list(MEASURES)
    assert answer(case) == [step["expect"] for step in case["steps"]]


@pytest.mark.parametrize("example", read_vectors().values(), ids=read_vectors())
def test_the_hand_written_examples(example: HourVector) -> None:
    by_user: dict[str, list[UserClick]] = {}
    for click in example.clicks:
        group, by_bot = (click.page, click.country or "ZZ"), bool({click.browser, click.device} & {*BOTS.agents})
        found = UserClick(click.timestamp, click.row_key.encode(), 0, group, by_bot)
        by_user.setdefault(click.user_id, []).append(found)
    sums = added(contributions(sorted(clicks), {NOON}, BOTS.clicks_per_minute) for clicks in by_user.values())
    assert as_rows(sums) == {key: asdict(row) for key, row in example.rows.items()}
