"""What an hour's aggregates add up to, and its busiest pages: small numbers for people and for comparisons.

Belongs here: sums over the rows of an hour. Does not belong here: how they are shown.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Self

import pyarrow as pa
import pyarrow.compute as pc

from dataco_assets.aggregates.columns import AUDIENCE, TIME_SPENT, Aggregate, Column
from dataco_assets.clicks.time_spent import percentile

_COUNTED: Final = ["page", "country", "click_count"]
_ROWS_WAITING = 100_000
_BUSIEST = 10
_DOUBLES_TOLERANCE = 1e-6


@dataclass(frozen=True)
class HourTotals:
    """Sums over an hour's aggregates.

    Attributes:
        groups: Rows, one per group.
        sums: Sum of each number that is added up (`Aggregate.totalled`), by its name.
    """

    groups: int
    sums: Mapping[str, int | float]

    def plus(self, other: Self) -> Self:
        """The sums over the rows of both."""
        sums = {name: value + other.sums[name] for name, value in self.sums.items()}
        return replace(self, groups=self.groups + other.groups, sums=sums)

    @property
    def clicks(self) -> int:
        """Clicks."""
        return int(self.sums["click_count"])

    @property
    def unique_users(self) -> int:
        """The hour's unique users, exact: every user enters it once."""
        return int(self.sums["entering_users"])

    def seconds_spent(self, percent: float) -> float | None:
        """A percentile of the seconds spent per click of known duration; None when no distribution is known."""
        counts = {number.name.partition(".")[2]: self.sums[number.name] for number in TIME_SPENT.numbers}
        return percentile(counts, percent)


Origin = tuple[int, int]
"""Generation, and time of computing (epoch ms): what tells which computation rows are of."""

Computed = tuple[Origin, HourTotals]
"""An hour's totals, and which computation they are of."""


def no_totals(aggregate: Aggregate) -> HourTotals:
    """What an hour without clicks adds up to."""
    return HourTotals(0, {column.name: 0 for column in aggregate.totalled})


def table_totals(aggregate: Aggregate, rows: pa.Table) -> HourTotals:
    """What rows of an hour add up to; zero for a column that the hour was computed without."""
    table = rows.flatten()  # a histogram's buckets become columns, `name.bucket`

    def total(column: str) -> int | float:
        return pc.sum(table[column]).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]  # made at import

    return HourTotals(table.num_rows, {column.name: total(column.name) for column in aggregate.totalled})


def sum_difference(column: Column, wanted: float, found: float) -> str:
    """How a sum of a column differs from the one that is wanted, in words; empty if it does not.

    Sums of doubles depend on the order of adding, so they are the same when they are close.
    """
    is_double = column.type == "double"
    if math.isclose(wanted, found, rel_tol=1e-9, abs_tol=_DOUBLES_TOLERANCE) if is_double else wanted == found:
        return ""
    shown = (f"{number:,.3f}" if is_double else f"{number:,.0f}" for number in (found, wanted))
    return f"{column.total}: {' in place of '.join(shown)}"


def audience_differences(audience: Mapping[int, Computed], pages: Mapping[int, Computed]) -> dict[int, list[str]]:
    """Hours (epoch ms) whose audience does not add up to the pages, and what differs.

    Hours that are not of one computation are not compared: a run is replacing them.
    """
    found: dict[int, list[str]] = {}
    for hour, (origin, totals) in audience.items():
        if hour not in pages or pages[hour][0] != origin:
            continue
        wanted = pages[hour][1].sums
        lines = (sum_difference(column, wanted[column.name], totals.sums[column.name]) for column in AUDIENCE.conserved)
        if differing := list(filter(None, lines)):
            found[hour] = [f"the audience does not add up to the pages: {'; '.join(differing)}"]
    return found


class PageCounts:
    """Clicks by page and country, added up over hours; held as Arrow, a few bytes beside the text itself.

    Args:
        hours: Number of hours. Of a single one, whose groups come once each, only the busiest are held.
    """

    def __init__(self, hours: int) -> None:
        self._is_single = hours == 1
        self._counts: pa.Table | None = None
        self._waiting: list[pa.Table] = []

    def add(self, aggregates: pa.Table) -> None:
        """Adds rows of an hour's aggregates."""
        self._waiting.append(aggregates.select(_COUNTED))
        if sum(table.num_rows for table in self._waiting) > _ROWS_WAITING:
            self._add_up()

    def busiest(self) -> list[tuple[str, str, int]]:
        """Page, country and clicks of the groups with most clicks, busiest first."""
        counts = self._add_up()
        if counts is None:
            return []
        first = _busiest(counts)
        return list(zip(*(first[name].to_pylist() for name in _COUNTED), strict=True))

    def _add_up(self) -> pa.Table | None:
        if self._waiting:
            held = [] if self._counts is None else [self._counts]
            grouped = pa.concat_tables([*held, *self._waiting]).group_by(["page", "country"])
            sums = grouped.aggregate([("click_count", "sum")])
            counts = sums.rename_columns({"click_count_sum": "click_count"}).select(_COUNTED)
            self._counts = _busiest(counts) if self._is_single else counts
            self._waiting = []
        return self._counts


def _busiest(counts: pa.Table) -> pa.Table:
    order = [("click_count", "descending"), ("page", "ascending"), ("country", "ascending")]
    return counts.sort_by(order).slice(0, _BUSIEST)
