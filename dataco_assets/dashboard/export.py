"""The figures of a panel as a CSV file. Pure.

A text of an event that a spreadsheet would take for a formula has an apostrophe before it.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from dataco_assets.aggregates.columns import TIME_SPENT
from dataco_assets.clicks.finality import HeldHours
from dataco_assets.dashboard.figures import Period, Ranked, TimeOnPage
from dataco_assets.dashboard.queries import Order
from dataco_assets.dashboard.view import written

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_SUMS: Final = {
    "click_count": "views",
    "entries": "entries",
    "exits": "exits",
    "bounces": "bounces",
    "time_spent_samples": "samples",
    "time_spent_seconds_sum": "seconds",
}


def hours(period: Period, held: HeldHours, now_ms: int) -> str:
    """Every hour with clicks, with its sums, its users and how final it is."""
    header = ["hour", "state", "users", *_SUMS]
    rows = [
        [written(hour, "%Y-%m-%dT%H:%MZ"), held.finality(hour, now_ms), figures.users, *_numbers(figures.sums, _SUMS)]
        for hour, figures in sorted(period.hours.items())
    ]
    return _table(header, rows)


def ranking(order: Order, rows: Iterable[Ranked]) -> str:
    """The values of a dimension with the sums that were asked for."""
    names = [column.name for column in (order.by, *order.shown)]
    return _table([order.dimension, *names], [[safe(row.value), *_numbers(row.sums, names)] for row in rows])


def times(rows: Iterable[TimeOnPage]) -> str:
    """Pages with their clicks of known duration, as sums, percentiles and distribution."""
    header = ["page", "click_count", "time_spent_samples", "time_spent_seconds_sum", "p50_seconds", "p90_seconds"]
    return _table(
        [*header, *TIME_SPENT.buckets],
        [
            [
                safe(row.page),
                *_numbers(row.sums, header[1:4]),
                row.seconds(50),
                row.seconds(90),
                *(row.time_spent.get(bucket, 0) for bucket in TIME_SPENT.buckets),
            ]
            for row in rows
        ],
    )


def safe(text: str) -> str:
    """A text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _numbers(sums: object, names: Iterable[str]) -> list[float]:
    return [getattr(sums, _SUMS[name]) for name in names]


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([header, *rows])
    return text.getvalue()
