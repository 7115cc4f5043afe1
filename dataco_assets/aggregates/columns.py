"""The columns of an hour's aggregates: one place for names, types, units and meaning.

Read by the Spark aggregation, the Parquet reader, the pandera schema, the index mapping and the Dagster column schema.
Does not belong here: how any of them is computed or stored.
"""

from dataclasses import dataclass
from typing import Literal

ColumnType = Literal["timestamp", "string", "long", "double"]


@dataclass(frozen=True)
class Column:
    """One column: its name, logical type, whether it may be null, and what a newcomer should know (with unit)."""

    name: str
    type: ColumnType
    nullable: bool
    description: str


COLUMNS: tuple[Column, ...] = (
    Column("hour", "timestamp", False, "Start of the hour, UTC."),
    Column("page", "string", False, "Page: the URL without fragment, default port and tracking parameters."),
    Column("country", "string", False, "ISO 3166-1 alpha-2 country of the visitor; ZZ when unknown."),
    Column("click_count", "long", False, "Clicks on the page from the country in the hour."),
    Column("unique_users", "long", False, "Distinct user ids among those clicks, exact."),
    Column(
        "entering_users",
        "long",
        False,
        "Users whose first click of the hour was on this page from this country; summed over an hour, its unique "
        "users, exact.",
    ),
    Column("time_spent_seconds_sum", "double", False, "Seconds spent, summed over the clicks whose duration is known."),
    Column(
        "time_spent_samples", "long", False, "Clicks whose duration is known: the user clicked again within 30 min."
    ),
    Column(
        "average_time_spent_seconds",
        "double",
        True,
        "Mean seconds spent per click of known duration; null without one.",
    ),
    Column("generation", "long", False, "State of the hour ledger this row was computed from; newer is larger."),
    Column(
        "computed_at",
        "timestamp",
        False,
        "When the aggregation began, UTC, by HBase's clock; the same for all rows of one run.",
    ),
)
