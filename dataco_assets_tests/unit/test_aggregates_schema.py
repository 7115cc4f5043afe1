"""Tests that each rule of an hour's aggregates reports its violation, and no other."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.reading import arrow_schema
from dataco_assets.aggregates.rules import Problem
from dataco_assets.aggregates.schema import problems, problems_by_hour
from dataco_assets.clicks.time_spent import BUCKETS

NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
EMPTY = dict.fromkeys(BUCKETS, 0)
SOUND: dict[str, Any] = {
    "hour": datetime(2026, 3, 15, 12, tzinfo=UTC),
    "page": "https://a.example/",
    "country": "FR",
    "click_count": 5,
    "unique_users": 2,
    "entering_users": 2,
    "time_spent_seconds_sum": 0.7,
    "time_spent_samples": 3,
    "average_time_spent_seconds": 0.7 / 3,
    "entries": 2,
    "exits": 2,
    "bounces": 1,
    "time_spent_buckets": EMPTY | {"from_0_ms": 3},
    "users_sketch": b"some sketch",
    "bot_clicks": 5,
    "generation": 1,
    "computed_at": datetime(2026, 3, 15, 13, 1, 2, 345000, tzinfo=UTC),
}
WITHOUT_SAMPLE = SOUND | {
    "country": "DE",
    "time_spent_seconds_sum": 0.0,
    "time_spent_samples": 0,
    "average_time_spent_seconds": None,
    "entries": 5,
    "exits": 5,
    "bounces": 5,
    "time_spent_buckets": EMPTY,
}
BEFORE_BOTS = {"bot_clicks": None}
BEFORE_BUCKETS = {"time_spent_buckets": None, "users_sketch": None} | BEFORE_BOTS
BEFORE_VISITS = {"entries": None, "exits": None, "bounces": None} | BEFORE_BUCKETS


def table(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=arrow_schema(PAGES))


def found(*rows: dict[str, Any]) -> set[tuple[str | None, str]]:
    return {(problem.column, problem.rule) for problem in problems(PAGES, table(*rows), NOON)}


def test_sound_rows_have_no_problem() -> None:
    longest = {"time_spent_seconds_sum": 5400.0, "average_time_spent_seconds": 1800.0}
    assert (
        problems(
            PAGES, table(SOUND, WITHOUT_SAMPLE, SOUND | {"page": "https://ü.example/" + "x" * 9000} | longest), NOON
        )
        == []
    )


def test_an_empty_hour_has_no_problem() -> None:
    assert problems(PAGES, arrow_schema(PAGES).empty_table(), NOON) == []


def test_an_hour_computed_before_there_were_visits_has_none_in_any_row() -> None:
    other = SOUND | {"page": "https://b.example/"}
    assert found(SOUND | BEFORE_VISITS, other | BEFORE_VISITS) == set()
    assert found(SOUND | BEFORE_VISITS, other) == {(None, ALL_OR_NONE)}
    assert found(SOUND, other | {"entries": None}) == {(None, ALL_OR_NONE)}
    assert found(SOUND | BEFORE_BUCKETS, other | BEFORE_BUCKETS) == set()
    for name in BEFORE_BUCKETS:
        assert found(SOUND, other | {name: None}) == {(None, ALL_OR_NONE)}
    assert found(SOUND, other | {"time_spent_buckets": {"from_0_ms": 3}}) == {(None, ALL_OR_NONE)}


LATER_COLUMNS = "bot_clicks, bounces, entries, exits, time_spent_buckets, users_sketch"
ALL_OR_NONE = f"{LATER_COLUMNS} must each be in all rows of an hour or in none"
BOTS = "bot_clicks must not exceed click_count"
BUCKETS_ADD_UP = "time_spent_buckets must add up to time_spent_samples"
EXITS = "exits must be click_count - time_spent_samples"
BOUNCES = "bounces must not exceed entries or exits"
VISITS = "entries + exits - bounces must not exceed click_count"
OPEN_VISITS = "the hour's entries and exits must differ by at most its users"
HOUR_USERS = "unique_users must not exceed the hour's sum of entering_users"
AVERAGE = "average_time_spent_seconds must be sum / samples, null without any"
RULES: list[tuple[dict[str, Any], set[tuple[str | None, str]]]] = [
    ({"hour": datetime(2026, 3, 15, 13, tzinfo=UTC)}, {("hour", "must be 2026-03-15T12:00Z")}),
    ({"hour": datetime(2026, 3, 15, 12, 0, 0, 1, tzinfo=UTC)}, {("hour", "must be 2026-03-15T12:00Z")}),
    ({"page": ""}, {("page", "must not be empty")}),
    ({"page": None}, {("page", "must not be null")}),
    ({"country": "fr"}, {("country", "must be two capital letters")}),
    ({"country": "FRA"}, {("country", "must be two capital letters")}),
    ({"country": "FR\n"}, {("country", "must be two capital letters")}),
    ({"country": None}, {("country", "must not be null")}),
    ({"unique_users": 0, "entering_users": 0}, {("unique_users", "must be at least 1")}),
    ({"unique_users": 6, "entering_users": 6}, {(None, "unique_users must not exceed click_count")}),
    ({"entering_users": 3}, {(None, "entering_users must not exceed unique_users")}),
    ({"entering_users": -1}, {("entering_users", "must not be negative"), (None, HOUR_USERS)}),
    ({"unique_users": 5, "entering_users": 2}, {(None, HOUR_USERS)}),
    (
        {"time_spent_samples": 6, "average_time_spent_seconds": 0.7 / 6},
        {(None, "time_spent_samples must not exceed click_count"), (None, EXITS), (None, BUCKETS_ADD_UP)},
    ),
    ({"average_time_spent_seconds": 0.24}, {(None, AVERAGE)}),
    ({"average_time_spent_seconds": None}, {(None, AVERAGE)}),
    (
        {"time_spent_samples": 0, "average_time_spent_seconds": None},
        {
            (None, "time_spent_seconds_sum must be 0 without a sample"),
            (None, EXITS),
            (None, BUCKETS_ADD_UP),
        },
    ),
    (
        {"time_spent_seconds_sum": 5400.3, "average_time_spent_seconds": 5400.3 / 3},
        {("average_time_spent_seconds", "must be from 0 to 1800 s")},
    ),
    (
        {"time_spent_seconds_sum": -3.0, "average_time_spent_seconds": -1.0},
        {
            ("time_spent_seconds_sum", "must not be negative"),
            ("average_time_spent_seconds", "must be from 0 to 1800 s"),
        },
    ),
    ({"exits": 3}, {(None, EXITS)}),
    (
        {"exits": 2, "time_spent_samples": 4, "average_time_spent_seconds": 0.7 / 4},
        {(None, EXITS), (None, BUCKETS_ADD_UP)},
    ),
    ({"time_spent_buckets": EMPTY | {"from_0_ms": 2}}, {(None, BUCKETS_ADD_UP)}),
    (
        {"time_spent_buckets": EMPTY | {"from_0_ms": 4, "from_1000_ms": -1}},
        {("time_spent_buckets.from_1000_ms", "must not be negative")},
    ),
    ({"bot_clicks": 6}, {(None, BOTS)}),
    ({"bot_clicks": -1}, {("bot_clicks", "must not be negative")}),
    ({"bounces": 3}, {(None, BOUNCES)}),
    ({"bounces": -1}, {("bounces", "must not be negative")}),
    ({"entries": 0, "bounces": 1}, {(None, BOUNCES)}),
    ({"entries": 5, "bounces": 1}, {(None, VISITS)}),
    (WITHOUT_SAMPLE | {"entries": 0, "bounces": 0, "entering_users": 0}, {(None, OPEN_VISITS)}),
    ({"generation": -1}, {("generation", "must not be negative"), ("generation", "must be the same in all rows")}),
    ({"generation": 2}, {("generation", "must be the same in all rows")}),
    ({"computed_at": datetime(2026, 3, 15, 14, tzinfo=UTC)}, {("computed_at", "must be the same in all rows")}),
]


@pytest.mark.parametrize(("change", "expected"), RULES, ids=[str(change)[:60] for change, _ in RULES])
def test_a_broken_rule_is_named_and_no_other(change: dict[str, Any], expected: set[tuple[str | None, str]]) -> None:
    other = SOUND | {"page": "https://b.example/"}
    assert found(other, SOUND | change) == expected


def test_somebody_enters_every_hour_with_clicks() -> None:
    assert found(SOUND | {"entering_users": 0}, WITHOUT_SAMPLE | {"entering_users": 0}) == {(None, HOUR_USERS)}
    assert found(SOUND, WITHOUT_SAMPLE | {"entering_users": 0}) == set()


def test_a_group_that_is_there_twice_is_named() -> None:
    assert found(SOUND, SOUND, WITHOUT_SAMPLE) == {(None, "hour, page and country must be unique together")}


def test_every_problem_is_listed_at_once_with_its_rows() -> None:
    broken = problems(
        PAGES, table(SOUND | {"country": "f"}, SOUND | {"country": "g", "page": ""}, SOUND | {"unique_users": 6}), NOON
    )
    assert {str(problem) for problem in broken} == {
        "country: must be two capital letters (2 rows), e.g. 'f', 'g'",
        "page: must not be empty (1 rows), e.g. ''",
        "unique_users must not exceed click_count (1 rows)",
    }


def test_text_out_of_a_click_is_shortened_and_escaped() -> None:
    bad = ["é\x1b[31m\n|" + "x" * 10_000, "b" * 300, "c" * 300, "d" * 300, "e" * 300]
    (problem,) = problems(PAGES, table(*[SOUND | {"country": text} for text in bad]), NOON)
    assert problem.rows == 5
    assert len(problem.examples) == 3
    assert len(str(problem)) < 500
    assert str(problem).isprintable()
    assert str(problem).isascii()


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (table(SOUND).drop_columns(["page"]), Problem("columns are missing", None, 0, ("'page'",))),
        (table(SOUND).append_column("x", pa.array([1])), Problem("columns are not known", None, 0, ("'x'",))),
        (
            table(SOUND).set_column(3, "click_count", pa.array([5.0])),
            Problem("must be of type 'int64'", "click_count", 0),
        ),
        (
            table(SOUND).set_column(3, "click_count", pa.array([None], pa.int64())),
            Problem("must not be null", "click_count", 1, ("'nan'",)),
        ),
    ],
    ids=["missing", "unknown", "type", "null count"],
)
def test_a_table_of_another_shape_is_a_problem_not_an_exception(broken: pa.Table, expected: Problem) -> None:
    assert expected in problems(PAGES, broken, NOON)


LATER = NOON + 3_600_000


def of_hour(hour_ms: int, *rows: dict[str, Any]) -> pa.Table:
    return table(*[row | {"hour": datetime.fromtimestamp(hour_ms / 1000, UTC)} for row in rows])


def test_several_sound_hours_have_no_problem() -> None:
    hours = [(NOON, of_hour(NOON, SOUND)), (LATER, of_hour(LATER, SOUND)), (LATER + 3_600_000, table())]
    assert problems_by_hour(PAGES, hours) == {}
    assert problems_by_hour(PAGES, []) == {}


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param([SOUND | {"click_count": 0}], id="a rule on a value"),
        pytest.param([SOUND | {"entering_users": 1}], id="too few users enter"),
        pytest.param([SOUND, SOUND], id="the same group twice"),
        pytest.param([SOUND, SOUND | {"country": "FR", "generation": 9}], id="two generations"),
    ],
)
def test_the_one_hour_that_is_not_sound_is_told_as_if_alone(broken: list[dict[str, Any]]) -> None:
    hours = [(NOON, of_hour(NOON, SOUND)), (LATER, of_hour(LATER, *broken))]
    assert problems_by_hour(PAGES, hours) == {LATER: problems(PAGES, hours[1][1], LATER)}
    assert problems(PAGES, hours[1][1], LATER)


def test_rows_in_the_file_of_another_hour_are_found() -> None:
    hours = [(NOON, of_hour(LATER, SOUND)), (LATER, of_hour(NOON, SOUND))]
    assert set(problems_by_hour(PAGES, hours)) == {NOON, LATER}


def test_hours_beyond_one_batch_are_looked_at_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dataco_assets.aggregates.schema._ROWS_AT_ONCE", 1)
    hours = [(NOON, of_hour(NOON, SOUND)), (LATER, of_hour(LATER, SOUND | {"country": "xx"}))]
    assert set(problems_by_hour(PAGES, hours)) == {LATER}


def test_an_hour_in_pieces_is_judged_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules about the whole hour hold over all its pieces, and a rule about rows is told once."""
    monkeypatch.setattr("dataco_assets.aggregates.schema._ROWS_AT_ONCE", 1)
    other = SOUND | {"page": "https://b.example/"}
    hours: list[list[dict[str, Any]]] = [
        [SOUND, other, WITHOUT_SAMPLE],
        [SOUND, other, SOUND],
        [SOUND, other | {"generation": 2}],
        [SOUND, other | {"entries": None}],
        [SOUND | {"country": "xx"}, other | {"country": "yy"}, WITHOUT_SAMPLE],
        [SOUND | {"unique_users": 5, "entering_users": 0}, other | {"unique_users": 5, "entering_users": 4}],
        [other, SOUND | BEFORE_BUCKETS, WITHOUT_SAMPLE | BEFORE_BUCKETS],
    ]
    for rows in hours:
        whole = {(each.column, each.rule): each for each in problems(PAGES, table(*rows), NOON)}
        pieces = problems_by_hour(PAGES, [(NOON, table(row)) for row in rows]).get(NOON, [])
        assert {(each.column, each.rule): each for each in pieces}.keys() == whole.keys()
        assert len(pieces) == len(whole), "one problem for each rule"
        assert all(each == whole[each.column, each.rule] for each in pieces if "unique together" not in each.rule)
