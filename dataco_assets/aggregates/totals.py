"""What an hour's aggregates add up to, and its busiest pages: small numbers for people and for comparisons.

Belongs here: sums over the Parquet of an hour. Does not belong here: how they are shown.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow.compute as pc

from dataco_assets.aggregates.files import HourAggregates


@dataclass(frozen=True)
class HourTotals:
    """Sums over an hour's aggregates.

    Attributes:
        groups: Rows, one per page and country.
        clicks: Sum of click_count.
        unique_users: Sum of unique_users over the groups (a user of two pages counts twice).
        entering_users: Sum of entering_users: the hour's unique users, exact.
        samples: Clicks of known duration.
        time_spent_seconds: Their seconds.
    """

    groups: int
    clicks: int
    unique_users: int
    entering_users: int
    samples: int
    time_spent_seconds: float


def totals(hour: HourAggregates) -> HourTotals:
    """What one hour adds up to; zeros for an empty hour."""
    table = hour.table

    def total(column: str) -> int | float:
        return pc.sum(table[column]).as_py() or 0  # pyright: ignore[reportAttributeAccessIssue]  # made at import

    return HourTotals(
        groups=table.num_rows,
        clicks=int(total("click_count")),
        unique_users=int(total("unique_users")),
        entering_users=int(total("entering_users")),
        samples=int(total("time_spent_samples")),
        time_spent_seconds=float(total("time_spent_seconds_sum")),
    )


def busiest_pages(hours: Iterable[HourAggregates], limit: int = 10) -> list[tuple[str, str, int]]:
    """Page, country and clicks of the groups with most clicks over the hours, busiest first."""
    clicks: Counter[tuple[str, str]] = Counter()
    for hour in hours:
        columns = (hour.table[name].to_pylist() for name in ("page", "country", "click_count"))
        for page, country, count in zip(*columns, strict=True):
            clicks[page, country] += count
    return [(page, country, count) for (page, country), count in clicks.most_common(limit)]
