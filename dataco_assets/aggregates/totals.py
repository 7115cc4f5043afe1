"""What an hour's aggregates add up to, and its busiest pages: small numbers for people and for comparisons.

Belongs here: sums over the rows of an hour. Does not belong here: how they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from dataco_assets.aggregates.columns import TIME_SPENT, Aggregate
from dataco_assets.aggregates.reading import HourAggregates
from dataco_assets.clicks.time_spent import percentile

_COUNTED: Final = ["page", "country", "click_count"]
_ROWS_WAITING = 100_000


@dataclass(frozen=True)
class HourTotals:
    """Sums over an hour's aggregates.

    Attributes:
        groups: Rows, one per group.
        sums: Sum of each number that is added up (`Aggregate.totalled`), by its name.
    """

    groups: int
    sums: Mapping[str, int | float]

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


def totals(hour: HourAggregates) -> HourTotals:
    """What one hour adds up to; zeros for an empty hour, and for a column that it was computed without."""
    return table_totals(hour.aggregate, hour.table)


def table_totals(aggregate: Aggregate, rows: pa.Table) -> HourTotals:
    """What rows of an hour add up to."""
    table = rows.flatten()  # a histogram's buckets become columns, `name.bucket`

    def total(column: str) -> int | float:
        return pc.sum(table[column]).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]  # made at import

    return HourTotals(table.num_rows, {column.name: total(column.name) for column in aggregate.totalled})


class PageCounts:
    """Clicks by page and country, added up over hours; held as Arrow, a few bytes beside the text itself."""

    def __init__(self) -> None:
        self._counts: pa.Table | None = None
        self._waiting: list[pa.Table] = []

    def add(self, aggregates: pa.Table) -> None:
        """Adds an hour's aggregates."""
        self._waiting.append(aggregates.select(_COUNTED))
        if sum(table.num_rows for table in self._waiting) > _ROWS_WAITING:
            self._add_up()

    def busiest(self, limit: int = 10) -> list[tuple[str, str, int]]:
        """Page, country and clicks of the groups with most clicks, busiest first."""
        counts = self._add_up()
        if counts is None:
            return []
        order = [("click_count", "descending"), ("page", "ascending"), ("country", "ascending")]
        first = counts.sort_by(order).slice(0, limit)
        return list(zip(*(first[name].to_pylist() for name in _COUNTED), strict=True))

    def _add_up(self) -> pa.Table | None:
        if self._waiting:
            held = [] if self._counts is None else [self._counts]
            grouped = pa.concat_tables([*held, *self._waiting]).group_by(["page", "country"])
            sums = grouped.aggregate([("click_count", "sum")])
            self._counts = sums.rename_columns({"click_count_sum": "click_count"}).select(_COUNTED)
            self._waiting = []
        return self._counts
