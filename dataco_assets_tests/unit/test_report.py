"""Tests the metadata of a run: event text is shown, and only ever as text."""

import pytest

from dataco_assets.aggregates.columns import PAGES, TIME_SPENT
from dataco_assets.aggregates.totals import HourTotals
from dataco_assets.assets.report import hour_metadata, pages_markdown

HOSTILE = [
    "https://a.example/|b|",
    "https://a.example/`code`",
    "https://a.example/[x](javascript:alert(1))",
    "https://a.example/<script>alert(1)</script>",
    "https://a.example/\u202egpj.exe",
    "https://a.example/\nnew row | US | 9",
    "https://a.example/" + "x" * 10_000,
]


@pytest.mark.parametrize("page", HOSTILE)
def test_a_hostile_page_stays_in_its_cell(page: str) -> None:
    _, _, row = pages_markdown([(page, "DE", 1234)]).split("\n")
    cells = row.replace(r"\|", "").split("|")
    assert len(cells) == 5, "three cells between four bars"
    assert cells[1].strip().startswith("`")
    assert cells[1].strip().endswith("`")
    assert cells[1].count("`") == 2, "nothing inside can end the code span"
    assert cells[3].strip() == "1,234"
    assert row.isprintable()
    assert len(row) < 200


def test_a_user_of_two_pages_is_one_of_the_unique_users() -> None:
    sums = {"click_count": 3, "unique_users": 2, "entering_users": 1, "time_spent_samples": 0}
    sums |= {"time_spent_seconds_sum": 0, "entries": 2, "exits": 3, "bounces": 1}
    sums |= dict.fromkeys((number.name for number in TIME_SPENT.numbers), 0)
    shown = hour_metadata(HourTotals(2, sums), generation=4)
    assert (shown["clicks"], shown["unique users"]) == (3, 1)
    assert (shown["visits"], shown["clicks per visit"], shown["bounce rate"]) == (3, 1.0, 0.5)


def test_an_hour_has_percentiles_of_time_beside_the_mean_where_it_has_buckets() -> None:
    sums = dict.fromkeys((column.name for column in PAGES.totalled), 0.0)
    sums |= {"time_spent_seconds_sum": 90.0, "time_spent_samples": 10}
    assert not {"p50 seconds", "p90 seconds"} & hour_metadata(HourTotals(1, sums), generation=4).keys()
    sums |= {"time_spent_buckets.from_1000_ms": 8, "time_spent_buckets.from_32000_ms": 2}
    shown = hour_metadata(HourTotals(1, sums), generation=4)
    assert (shown["average seconds"], shown["p50 seconds"], shown["p90 seconds"]) == (9.0, 1.3125, 40.0)


def test_no_clicks_say_so() -> None:
    assert pages_markdown([]) == "No clicks."
