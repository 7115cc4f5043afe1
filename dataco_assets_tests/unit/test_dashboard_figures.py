"""Tests what the dashboard computes of the answers of Elasticsearch, with numbers added up by hand."""

from typing import Any

import pytest

from dataco_assets.aggregates.columns import TIME_SPENT
from dataco_assets.clicks.finality import Finality, HeldHours
from dataco_assets.dashboard import queries, texts
from dataco_assets.dashboard.export import safe
from dataco_assets.dashboard.figures import (
    EMPTY,
    Comparison,
    Held,
    HourFigures,
    Lacking,
    Period,
    Sums,
    compare,
    held_of,
    period_of,
    ranking_of,
    trend,
)
from dataco_assets.dashboard.queries import RANKED, TOP_PAGES
from dataco_assets.dashboard.view import Measure, view_of

HOUR, MINUTE, DAY = 3_600_000, 60_000, 86_400_000
NOON = 1_769_860_800_000
"""2026-01-31 12:00 UTC."""
NOW = NOON + 20 * MINUTE
HOURS = HeldHours(restated=frozenset({NOON - 2 * HOUR}))


def hours(**sums: float) -> HourFigures:
    return HourFigures(Sums(**sums), users=1)  # pyright: ignore[reportArgumentType]  # whole numbers


def test_rates_are_of_sums_and_no_means_of_means() -> None:
    period = Period({0: hours(views=10, exits=1, seconds=90.0), HOUR: hours(views=1, exits=10, seconds=10.0)})
    assert period.figure(Measure.VIEWS_PER_VISIT) == 1.0, "the mean of 10 and 0.1 is 5.05"
    assert period.figure(Measure.VISIT_DURATION) == pytest.approx(100 / 11)


def test_users_of_hours_are_not_added_up() -> None:
    period = Period({0: HourFigures(Sums(views=5), 3), HOUR: HourFigures(Sums(views=5), 4)})
    assert period.figure(Measure.USERS) == 4


def test_nothing_is_divided_by_nothing() -> None:
    for measure in Measure:
        assert EMPTY.figure(measure) in (0, None)
    assert EMPTY.seconds(50) is None


def test_what_needs_visits_is_not_known_where_hours_lack_them() -> None:
    period = Period({0: hours(views=10, exits=1, samples=2, seconds=4.0)}, lacking=Lacking(1, 0, 0))
    known = {measure for measure in Measure if period.figure(measure) is not None}
    assert known == {Measure.USERS, Measure.VIEWS, Measure.TIME_ON_PAGE}


def answer(buckets: list[dict[str, Any]], lacking: int = 0) -> dict[str, Any]:
    none = {bucket: {"value": 0.0} for bucket in TIME_SPENT.buckets}
    span = {"hours": {"value": lacking}, "first": {"value": float(NOON)}, "last": {"value": float(NOON)}}
    found = {"hours": {"buckets": buckets}, "lacking": {"doc_count": lacking, **span}, **none}
    return {"aggregations": {**found, "from_1000_ms": {"value": 3.0}}}


def test_an_answer_is_read_hour_by_hour() -> None:
    bucket = {"key": NOON, "click_count": {"value": 7.0}, "exits": {"value": None}, "users": {"value": 2.0}}
    period = period_of(answer([bucket]))
    assert period.hours == {NOON: HourFigures(Sums(views=7), 2)}
    assert period.time_spent == {"from_1000_ms": 3}
    assert period.lacking is None
    assert period_of(answer([bucket], lacking=1)).lacking == Lacking(1, NOON, NOON)


def test_an_empty_index_holds_nothing() -> None:
    empty = {name: {"value": None} for name in ("first", "last", "changed")}
    assert held_of({"aggregations": empty}) is None


def test_the_trend_has_every_hour_and_nothing_behind_the_newest() -> None:
    view = view_of("?from=2026-01-31T09:00&to=2026-01-31T14:00", NOW)
    period = Period({NOON - 3 * HOUR: hours(views=5), NOON - HOUR: hours(views=2), NOON: hours(views=1)})
    steps = trend(period, view, Held(0, NOON, NOW), HOURS, now_ms=NOW)
    assert [step.figure for step in steps] == [5, 0, 2, 1, None, None]
    assert [step.state for step in steps[:4]] == ["final", "restated", "provisional", "running"]
    assert [step.start_ms for step in steps] == [view.since_ms + number * HOUR for number in range(6)]


def test_a_day_is_running_until_its_end() -> None:
    view = view_of("?range=28d", NOW)
    midnight = NOON - 12 * HOUR
    period = Period({midnight - HOUR: hours(views=3), midnight: hours(views=1), NOON: hours(views=1)})
    steps = trend(period, view, Held(0, NOON, NOW), HOURS, now_ms=NOW)
    assert len(steps) == 28
    assert [(step.figure, step.state) for step in steps[-2:]] == [(3, Finality.FINAL), (2, Finality.RUNNING)]
    just_after = trend(period, view, Held(0, NOON, NOW), HOURS, now_ms=midnight + 10 * MINUTE)
    assert just_after[-2].state is Finality.PROVISIONAL


def test_a_day_with_a_restated_hour_is_restated_once_it_is_over() -> None:
    view = view_of("?range=28d", NOW)
    midnight = NOON - 12 * HOUR
    hours_known = HeldHours(restated=frozenset({midnight - 20 * HOUR, NOON - 5 * HOUR}))
    steps = trend(Period({}), view, Held(0, NOON, NOW), hours_known, now_ms=NOW)
    assert [step.state for step in steps[-3:]] == ["final", "restated", "running"]
    just_after = trend(Period({}), view, Held(0, NOON, NOW), hours_known, now_ms=midnight + 10 * MINUTE)
    assert just_after[-2].state is Finality.PROVISIONAL


def test_a_day_that_the_newest_hour_is_in_is_drawn_and_the_next_is_not() -> None:
    view = view_of("?from=2026-01-20&to=2026-02-02", NOW)
    steps = trend(Period({NOON: hours(views=1)}), view, Held(0, NOON, NOW), HOURS, now_ms=NOW)
    assert [step.figure for step in steps[-4:]] == [0, 1, None, None]


def test_nothing_is_drawn_before_the_index_begins() -> None:
    view = view_of("?from=2026-01-31T09:00&to=2026-01-31T12:00", NOW)
    steps = trend(Period({NOON: hours(views=1)}), view, Held(NOON - HOUR, NOON, NOW), HOURS, now_ms=NOW)
    assert [step.figure for step in steps] == [None, None, 0, 1]
    month = view_of("?range=28d", NOW)
    days = trend(Period({NOON: hours(views=1)}), month, Held(NOON - DAY, NOON, NOW), HOURS, now_ms=NOW)
    assert [step.figure for step in days[-3:]] == [None, 0, 1], "the day in which it begins is drawn"


def test_a_comparison_leaves_out_the_running_hour_and_the_same_hour_before() -> None:
    view = view_of("?range=24h", NOW)
    now = Period({NOON: hours(views=1), NOON - HOUR: hours(views=30)})
    before = Period({NOON - DAY: hours(views=1000), NOON - DAY - HOUR: hours(views=20)})
    found = compare(Measure.VIEWS, view, now, before, NOW)
    assert found == Comparison(30, 20)
    assert texts.change(Measure.VIEWS, found) == "+50 %"


def test_a_change_from_nothing_is_not_a_percentage() -> None:
    assert texts.change(Measure.VIEWS, Comparison(5, 0)) == ""
    assert texts.change(Measure.BOUNCE_RATE, Comparison(0.25, 0.5)) == "\N{MINUS SIGN}25.0 points"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?from=2026-01-30", "Fri 30 Jan 2026"),
        ("?from=2026-01-29&to=2026-01-30", "Thu 29 Jan 2026 \N{EN DASH} Fri 30 Jan 2026"),
        ("?from=2026-01-30T10:00&to=2026-01-30T12:00", "Fri 30 Jan 2026, 10:00 \N{EN DASH} 13:00"),
        ("?from=2026-01-30T10:00&to=2026-01-30T23:00", "Fri 30 Jan 2026, 10:00 \N{EN DASH} Sat 31 Jan 2026, 00:00"),
        ("?range=24h", "Fri 30 Jan 2026, 13:00 \N{EN DASH} Sat 31 Jan 2026, 13:00"),
    ],
)
def test_a_range_says_from_when_to_when(query: str, shown: str) -> None:
    assert texts.span(view_of(query, NOW)) == shown


@pytest.mark.parametrize(
    ("before", "shown"), [(1000, "±0 %"), (500, "+100 %"), (2000, "\N{MINUS SIGN}50 %"), (1, "+99,900 %")]
)
def test_a_change_has_its_sign(before: float, shown: str) -> None:
    assert texts.change(Measure.VIEWS, Comparison(1000, before)) == shown


def test_a_change_that_is_none_when_rounded_has_no_sign() -> None:
    assert texts.change(Measure.VIEWS, Comparison(999, 1000)) == "±0 %"


def test_a_ranking_leaves_out_zeros_and_knows_whether_it_is_exact() -> None:
    def found(values: int) -> dict[str, Any]:
        rows = [
            {"key": "a", "click_count": {"value": 3.0}, "exits": {"value": 1.0}},
            {"key": "b", "click_count": {"value": 0.0}},
        ]
        chosen = {TOP_PAGES.name: {"buckets": rows}, "values of page": {"value": values}}
        return {"aggregations": {"chosen": chosen}}

    ranking = ranking_of(found(RANKED), TOP_PAGES)
    assert [(row.value, row.sums) for row in ranking.rows] == [("a", Sums(views=3, exits=1))]
    assert ranking.is_exact
    assert not ranking_of(found(RANKED + 1), TOP_PAGES).is_exact


def test_users_of_an_hour_are_summed_over_groups_only_where_each_is_in_one() -> None:
    def asked(query: str) -> Any:
        return queries.period(view_of(query, NOW))["aggregations"]["hours"]["aggregations"]["users"]

    assert asked("") == {"sum": {"field": "entering_users"}}
    assert asked("?browser=Firefox") == {"sum": {"field": "entering_users"}}
    assert asked("?page=x") == {"max": {"field": "unique_users"}}


def test_values_are_terms_and_never_part_of_a_query_language() -> None:
    nasty = 'x" OR hour:* AND page:"'
    body = queries.period(view_of("", NOW).with_filter("browser", nasty))
    assert {"term": {"browser": {"value": nasty}}} in body["query"]["bool"]["filter"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "\N{EN DASH}"),
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3_900, "1 h 5 min"),
    ],
)
def test_lengths_of_time(seconds: float | None, shown: str) -> None:
    assert texts.duration(seconds) == shown


@pytest.mark.parametrize(
    ("page", "parts"),
    [
        ("https://shop.example/a?b=c", ("shop.example", "/a?b=c")),
        ("http://[::1]:80/", ("[::1]:80", "/")),
        ("no page", ("", "no page")),
        ("http://[broken/", ("", "http://[broken/")),
        ("https://x.example/" + "é" * 300, ("x.example", "/" + "é" * 119 + "…")),
        ("https://x.example/\u202egnp.exe", ("x.example", "/\\u202egnp.exe")),
    ],
)
def test_pages_are_escaped_and_shortened(page: str, parts: tuple[str, str]) -> None:
    assert texts.page_parts(page) == parts


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    assert safe(text) == f"'{text}"
    assert safe(f"a{text}") == f"a{text}"
