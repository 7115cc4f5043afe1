"""Tests the tests' interpreter of ES|QL by examples worked out by hand, above all where ES|QL is not as Python."""

import pytest

from dataco_assets_tests.esql import Query, Unknown

MAPPING = {
    "hour": {"type": "date"},
    "page": {"type": "keyword", "fields": {"words": {"type": "text"}}},
    "n": {"type": "long"},
    "seconds": {"type": "double"},
    "buckets": {"properties": {"short": {"type": "long"}}},
    "rows": {"type": "object", "enabled": False},
}
DOCUMENTS = [
    {"hour": "2026-01-31T10:00:00.000Z", "page": "/a", "n": 7, "seconds": 1.5, "buckets": {"short": 2}},
    {"hour": "2026-01-31T11:00:00.000Z", "page": "/a", "n": 2, "seconds": 0.5},
    {"hour": "2026-02-01T00:00:00.000Z", "page": "/b/c", "n": 4, "buckets": {"short": 3}},
]
ELEVEN = 1_769_857_200_000


def rows(text: str, now_ms: int = ELEVEN) -> list[dict[str, object]]:
    return Query(f"FROM somewhere\n{text}").evaluate(DOCUMENTS, MAPPING, now_ms)


def test_whole_numbers_are_divided_into_whole_numbers() -> None:
    text = "| STATS a = SUM(n), b = COUNT(*)\n| EVAL cut = b / a, exact = TO_DOUBLE(b) / a, none = a / 0"
    assert rows(text) == [{"a": 13, "b": 3, "cut": 0, "exact": 3 / 13, "none": None}]


def test_dates_are_compared_as_times_and_the_end_is_left_out() -> None:
    found = rows('| WHERE hour >= "2026-01-31" AND hour < "2026-02-01"\n| STATS n = SUM(n) BY hour\n| SORT hour DESC')
    assert found == [{"n": 2, "hour": ELEVEN}, {"n": 7, "hour": ELEVEN - 3_600_000}]


def test_a_missing_field_is_null_and_left_out_of_sums() -> None:
    found = rows("| STATS short = SUM(buckets.short), seconds = SUM(seconds) BY page\n| SORT page")
    assert found == [{"short": 2, "seconds": 2.0, "page": "/a"}, {"short": 3, "seconds": None, "page": "/b/c"}]
    assert len(rows("| WHERE seconds IS NOT NULL")) == 2


def test_texts_conditions_and_limits() -> None:
    assert [row["n"] for row in rows('| WHERE page LIKE "/b/*" OR n == 2\n| SORT n\n| LIMIT 1')] == [2]
    state = '| EVAL state = CASE(NOW() < hour + 1 hour, "running", NOW() < hour + 90 minutes, "provisional", "final")'
    assert [row["state"] for row in rows(state, ELEVEN + 4_000_000)] == ["final", "provisional", "running"]
    assert rows("| STATS most = MAX(n - 1)") == [{"most": 6}]


@pytest.mark.parametrize(
    "text",
    [
        "| STATS a = SUM(missing)",
        "| STATS a = SUM(n) BY missing",
        "| SORT missing",
        "| STATS a = SUM(n)\n| EVAL b = seconds",
        "| STATS a = AVERAGE(n)",
        "| EVAL a = ROUND(n)",
        "| WHERE n = 7",
        "| DISSECT page",
    ],
)
def test_what_is_not_known_is_an_error(text: str) -> None:
    with pytest.raises(Unknown):
        rows(text)
