"""The columns of an hour's aggregates: one place for names, types, units, meaning and what is done with them.

Everything that follows from a column alone is derived from here: the table's types, the pandera schema's types, the
index's fields, Dagster's schema and lineage, and the sums that publication compares. A new measure is an entry here,
its formula in `spark_resources/aggregation.py`, its rules in `rules.py`, and its formula once more in
`verification/recompute.py`. Does not belong here: how a column is computed or stored.
"""

from dataclasses import dataclass
from typing import Final, Literal

from dataco_assets.clicks.time_spent import BUCKETS

ColumnType = Literal["timestamp", "string", "long", "double", "histogram", "sketch"]
"""Logical types. A histogram is a count (long) in each of named buckets: a struct in the table, an object in the index.
A sketch is the bytes of an HLL sketch (Apache DataSketches)."""

_TIME, _USER, _PAGE = "click_data:timestamp", "click_data:user_id", "click_data:page"


@dataclass(frozen=True)
class Column:
    """One column: its name, logical type, whether it may be null, and what a newcomer should know (with unit).

    Attributes:
        name: In the table and in the index.
        type: Logical type.
        nullable: Whether it may be null.
        description: Meaning and unit.
        read_from: Columns of `raw_clicks` it is computed from; empty for what says how the row came about.
        total: What its sum over an hour is called in messages; empty when nobody adds it up.
        since_layout: Layout of the index in which it first appeared, for one that hours computed before lack.
        buckets: Of a histogram, the names of its buckets in order.
        counts: Of a histogram, the column that its buckets add up to.
        in_index: Whether documents have it.
    """

    name: str
    type: ColumnType
    nullable: bool
    description: str
    read_from: tuple[str, ...] = ()
    total: str = ""
    since_layout: int = 1
    buckets: tuple[str, ...] = ()
    counts: str = ""
    in_index: bool = True

    @property
    def sql_type(self) -> str:
        """The type in Spark's SQL."""
        if self.type == "histogram":
            return f"struct<{','.join(f'{bucket}:bigint' for bucket in self.buckets)}>"
        return {"long": "bigint", "sketch": "binary"}.get(self.type, self.type)

    @property
    def numbers(self) -> "tuple[Column, ...]":
        """What can be added up in it: the column itself or, of a histogram, each of its buckets, `name.bucket`."""
        if self.type != "histogram":
            return (self,)
        return tuple(
            Column(f"{self.name}.{bucket}", "long", self.nullable, "", total=f"{self.total} {bucket}")
            for bucket in self.buckets
        )


def _earlier(layout: int) -> str:
    return f"Null in hours computed before version {layout} of the index; `dataco backfill FROM TO` fills it."


TIME_SPENT: Final = Column(
    "time_spent_buckets",
    "histogram",
    True,
    "Clicks of known duration by seconds spent, in fixed logarithmic buckets, each named by its least time; "
    f"`clicks/time_spent.py` gives percentiles of them. {_earlier(4)}",
    ("click_data:timestamp", "click_data:user_id"),
    total="clicks of known duration",
    since_layout=4,
    buckets=BUCKETS,
    counts="time_spent_samples",
)
SKETCH_LG_K: Final = 12
"""Binary logarithm of a sketch's registers: at most 4 KB, and a standard error of 1.6 % (docs/hours.md)."""

USERS_SKETCH: Final = Column(
    "users_sketch",
    "sketch",
    True,
    "HLL sketch of the user ids (Apache DataSketches, HLL_8): sketches of any rows can be merged, and `dataco users` "
    f"does. {_earlier(4)}",
    ("click_data:user_id",),
    since_layout=4,
    in_index=False,
)

COLUMNS: tuple[Column, ...] = (
    Column("hour", "timestamp", False, "Start of the hour, UTC.", (_TIME,)),
    Column("page", "string", False, "Page: the URL without fragment, default port and tracking parameters.", (_PAGE,)),
    Column(
        "country", "string", False, "ISO 3166-1 alpha-2 country of the visitor; ZZ when unknown.", ("geo_data:country",)
    ),
    Column(
        "click_count",
        "long",
        False,
        "Clicks on the page from the country in the hour.",
        ("click_data:event_id",),
        total="clicks",
    ),
    Column(
        "unique_users",
        "long",
        False,
        "Distinct user ids among those clicks, exact.",
        (_USER,),
        total="unique users, summed over groups",
    ),
    Column(
        "entering_users",
        "long",
        False,
        "Users whose first click of the hour was on this page from this country; summed over an hour, its unique "
        "users, exact.",
        (_TIME, _USER),
        total="unique users",
    ),
    Column(
        "time_spent_seconds_sum",
        "double",
        False,
        "Seconds spent, summed over the clicks whose duration is known.",
        (_TIME, _USER),
        total="seconds spent",
    ),
    Column(
        "time_spent_samples",
        "long",
        False,
        "Clicks whose duration is known: the user clicked again within 30 min.",
        (_TIME, _USER),
        total="clicks of known duration",
    ),
    Column(
        "average_time_spent_seconds",
        "double",
        True,
        "Mean seconds spent per click of known duration; null without one.",
        (_TIME, _USER),
    ),
    Column(
        "entries",
        "long",
        True,
        f"Clicks that begin a visit: the user had not clicked for 30 min. {_earlier(3)}",
        (_TIME, _USER),
        total="entries",
        since_layout=3,
    ),
    Column(
        "exits",
        "long",
        True,
        f"Clicks that end a visit: the user did not click again within 30 min. Summed over any hours, the visits that "
        f"ended there. {_earlier(3)}",
        (_TIME, _USER),
        total="exits",
        since_layout=3,
    ),
    Column(
        "bounces",
        "long",
        True,
        f"Clicks that are a whole visit: both an entry and an exit. {_earlier(3)}",
        (_TIME, _USER),
        total="bounces",
        since_layout=3,
    ),
    TIME_SPENT,
    USERS_SKETCH,
    Column("generation", "long", False, "State of the hour ledger this row was computed from; newer is larger."),
    Column(
        "computed_at",
        "timestamp",
        False,
        "When the aggregation began, UTC, by HBase's clock; the same for all rows of one run.",
    ),
)

INDEXED: tuple[Column, ...] = tuple(column for column in COLUMNS if column.in_index)
"""Columns that are fields of the index's documents."""

TOTALLED: tuple[Column, ...] = tuple(number for column in COLUMNS if column.total for number in column.numbers)
"""Numbers that are added up over an hour, and compared with the index once it is published."""

LATER_COLUMNS: frozenset[str] = frozenset(column.name for column in COLUMNS if column.since_layout > 1)
"""Columns that hours computed by an earlier version lack."""
