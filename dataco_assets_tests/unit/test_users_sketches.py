"""Tests how many users rows of the aggregates stand for: exact where a row says so, merged, never added up."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from datasketches import HLL_8, hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from typer.testing import CliRunner

from dataco_assets.aggregates.columns import PAGES, SKETCH_LG_K
from dataco_assets.aggregates.reading import USERS_COLUMNS, arrow_schema
from dataco_assets.aggregates.users import Users, users_of
from dataco_assets.cli import app
from dataco_assets.cli.top import CountryUnclear
from dataco_assets.cli.users import PageUnclear

NOON = 1_773_576_000_000
HOUR = 3_600_000
SCHEMA = pa.schema([arrow_schema(PAGES).field(name) for name in USERS_COLUMNS])


def row(users: Iterable[int], *, hour: int = NOON, entering: int = 0, sketched: bool = True) -> dict[str, Any]:
    sketch = hll_sketch(SKETCH_LG_K, HLL_8)
    distinct = set(users)
    for user in distinct:
        sketch.update(f"user-{user}")
    return {
        "hour": datetime.fromtimestamp(hour / 1000, UTC),
        "unique_users": len(distinct),
        "entering_users": entering,
        "users_sketch": sketch.serialize_compact() if sketched else None,
    }


def users(*rows: dict[str, Any], is_whole_hour: bool = False) -> Users:
    """Of rows that come one by one, as the table may give them."""
    batches = [pa.RecordBatch.from_pylist([each], SCHEMA) for each in rows]
    return users_of(batches, is_whole_hour=is_whole_hour)


def test_the_same_users_in_two_hours_are_counted_once() -> None:
    found = users(*[row(range(20_000), hour=NOON + n * HOUR) for n in range(3)])
    assert found.number == pytest.approx(20_000, rel=0.05)
    assert found.lower < 20_000 < found.upper
    assert not found.is_exact
    again = users(*[row(range(20_000))] * 6)
    assert (again.number, again.lower, again.upper) == (found.number, found.lower, found.upper)


def test_other_users_are_added() -> None:
    found = users(row(range(20_000)), row(range(15_000, 40_000)), row(range(5)))
    assert found.number == pytest.approx(40_000, rel=0.05)


def test_few_users_are_counted_as_if_exactly() -> None:
    assert users(row(range(50)), row(range(25, 100)), row([3, 4])).number == 100


def test_the_true_number_is_within_the_bounds_as_often_as_they_say() -> None:
    within = 0
    for seed in range(200):
        first = seed * 100_000
        found = users(row(range(first, first + 2_000)), row(range(first + 1_000, first + 3_000)))
        within += found.lower <= 3_000 <= found.upper
    assert within >= 185


@pytest.mark.parametrize("rows", [[], [row(range(7), entering=3)]], ids=["no row", "one row"])
def test_a_single_row_has_the_number_itself(rows: list[dict[str, Any]]) -> None:
    found = users(*rows)
    assert (found.number, found.is_exact) == (7 * len(rows), True)


def test_a_whole_hour_has_the_number_itself() -> None:
    found = users(row(range(5_000), entering=4_000), row(range(6_000), entering=2_000), is_whole_hour=True)
    assert (found.number, found.is_exact) == (6_000, True)
    without = users(row([1], entering=1, sketched=False), row([2], entering=1, sketched=False), is_whole_hour=True)
    assert (without.number, without.hours_without_sketch) == (2, frozenset())


def test_hours_without_a_sketch_are_named() -> None:
    found = users(row([1, 2]), row([3], hour=NOON + HOUR, sketched=False), row([4], hour=NOON + HOUR, sketched=False))
    assert (found.number, found.hours_without_sketch) == (2, {NOON + HOUR})


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (["--page", "/cart"], PageUnclear),
        (["--page", "ftp://a.example/"], PageUnclear),
        (["--country", "x"], CountryUnclear),
    ],
)
def test_what_is_no_page_or_country_is_refused(options: list[str], refused: type[Exception]) -> None:
    result = CliRunner().invoke(app, ["users", "2026-01-31", "2026-01-31", *options])
    assert isinstance(result.exception, refused)
    assert options[1] in str(result.exception)
