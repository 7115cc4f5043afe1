"""The registry of aggregates: which there are, and one place for each column's name, type, meaning and formula.

What follows from a column alone is derived from here: the scan's cells, Spark's aggregation, the table's types, the
pandera schema's types, the index's fields, Dagster's schema and lineage, and the sums that publication compares. How to
add a measure or a dimension: `docs/measures.md`. Does not belong here: how rows are stored or published.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal, Self

from dataco_assets.clicks.hour import VISIT_GAP_MS
from dataco_assets.clicks.time_spent import BUCKETS, LOWER_LIMITS_MS

ColumnType = Literal["timestamp", "string", "long", "double", "histogram", "sketch"]
"""Logical types. A histogram is a count (long) in each of named buckets: a struct in the table, an object in the index.
A sketch is the bytes of an HLL sketch (Apache DataSketches)."""

SEPARATOR: Final = "\x1f"
"""Between the values of a group: a control character, which no field of a click can hold."""

_TIME, _USER = "click_data:timestamp", "click_data:user_id"


@dataclass(frozen=True)
class Column:
    """One column: its name, logical type, whether it may be null, and what a newcomer should know (with unit).

    A measure has one of the formulas, in Spark's SQL; or `of_clicks` and, applied to its sum, `of_row`.

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
        conserved: Whether its sum over an hour is the same however the clicks are grouped.
        unknown: Of a dimension, the value of a click without one; None: the column is no dimension.
        of_clicks: Aggregate over the clicks that a user has in the group, which is then added up over users. It sees
            `spent_ms` (null when unknown), `enters` (the user's first click of the hour), `begins` (a visit) and
            `is_bot` (by the rule of `clicks/bots.py`), and all dimensions.
        of_buckets: Of a histogram, for each bucket the condition on which a click counts in it, likewise.
        of_users: Aggregate over the users of the group, one row each: `user_id`, and the sums of `of_clicks`.
        of_row: Expression over what the other formulas give for the group.
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
    conserved: bool = True
    unknown: str | None = None
    of_clicks: str = ""
    of_buckets: tuple[str, ...] = ()
    of_users: str = ""
    of_row: str = ""

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
            Column(
                f"{self.name}.{bucket}",
                "long",
                self.nullable,
                "",
                total=f"{self.total} {bucket}",
                of_clicks=f"count_if({condition})",
            )
            for bucket, condition in zip(self.buckets, self.of_buckets, strict=True)
        )

    @property
    def cell(self) -> tuple[str, str]:
        """Of a dimension, family and qualifier of the cell that holds its value."""
        family, _, qualifier = self.read_from[0].partition(":")
        return family, qualifier

    def since(self, layout: int) -> Self:
        """The column in an aggregate that got it with a later layout: null in hours that were computed before."""
        return replace(
            self,
            nullable=True,
            since_layout=layout,
            description=f"{self.description} Null in hours computed before version {layout} of the index; "
            "`dataco backfill FROM TO` fills it.",
        )


@dataclass(frozen=True)
class Aggregate:
    """Measures of each hour by some dimensions: a table, an index behind an alias of its own, and an asset of each.

    Attributes:
        name: Of the table, and of its asset.
        title: What a group is by, in words.
        dimensions: What the clicks of an hour are grouped by. One that is added later comes last.
        measures: What is computed of each group.
        layout: Version of its documents; raised when they change (`dataco_assets.index.layout`).
        separator: Between the values from which a document's id is made.
        came_later: Whether hours computed by an earlier version lack it altogether.
    """

    name: str
    title: str
    dimensions: tuple[Column, ...]
    measures: tuple[Column, ...]
    layout: int
    separator: str = SEPARATOR
    came_later: bool = False

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in order."""
        return (HOUR, *self.dimensions, *self.measures, GENERATION, COMPUTED_AT)

    @cached_property
    def group(self) -> tuple[str, ...]:
        """Names of the dimensions."""
        return tuple(column.name for column in self.dimensions)

    @property
    def always_set(self) -> str:
        """A dimension that every group has: null in the row that only says that the hour was computed."""
        return self.group[0]

    @cached_property
    def indexed(self) -> tuple[Column, ...]:
        """Columns that are fields of the index's documents."""
        return tuple(column for column in self.columns if column.in_index)

    @cached_property
    def totalled(self) -> tuple[Column, ...]:
        """Numbers that are added up over an hour, and compared with the index once it is published."""
        return tuple(number for column in self.measures if column.total for number in column.numbers)

    @cached_property
    def conserved(self) -> tuple[Column, ...]:
        """Numbers whose sum over an hour is the same in every aggregate that has them."""
        return tuple(
            number for column in self.measures if column.total and column.conserved for number in column.numbers
        )

    @cached_property
    def later(self) -> frozenset[str]:
        """Columns that hours computed by an earlier version lack."""
        return frozenset(column.name for column in self.columns if column.since_layout > 1)

    @cached_property
    def histograms(self) -> tuple[Column, ...]:
        """Columns that are histograms."""
        return tuple(column for column in self.columns if column.type == "histogram")


HOUR: Final = Column("hour", "timestamp", False, "Start of the hour, UTC.", (_TIME,))
GENERATION: Final = Column(
    "generation", "long", False, "State of the hour ledger this row was computed from; newer is larger."
)
COMPUTED_AT: Final = Column(
    "computed_at",
    "timestamp",
    False,
    "When the aggregation began, UTC, by HBase's clock; the same for all rows of one run.",
)


def _dimension(name: str, cell: str, description: str, unknown: str = "") -> Column:
    return Column(name, "string", False, description, (cell,), unknown=unknown)


PAGE: Final = _dimension(
    "page", "click_data:page", "Page: the URL without fragment, default port and tracking parameters."
)
COUNTRY: Final = _dimension(
    "country", "geo_data:country", "ISO 3166-1 alpha-2 country of the visitor; ZZ when unknown.", unknown="ZZ"
)
CITY: Final = _dimension("city", "geo_data:city", "City of the visitor; empty when unknown.")
BROWSER: Final = _dimension("browser", "user_agent_data:browser", "Browser; empty when unknown.")
OPERATING_SYSTEM: Final = _dimension(
    "operating_system", "user_agent_data:operating_system", "Operating system; empty when unknown."
)
DEVICE: Final = _dimension("device", "user_agent_data:device", "Kind of device; empty when unknown.")
REFERRER_HOST: Final = _dimension(
    "referrer_host", "click_data:referrer_host", "Host of the other site that led to the page; empty when none did."
)

SKETCH_LG_K: Final = 12
"""Binary logarithm of a sketch's registers: at most 4 KB, and a standard error of 1.6 % (docs/hours.md)."""

CLICK_COUNT: Final = Column(
    "click_count",
    "long",
    False,
    "Clicks of the group.",
    ("click_data:event_id",),
    total="clicks",
    of_clicks="count(*)",
)
UNIQUE_USERS: Final = Column(
    "unique_users",
    "long",
    False,
    "Distinct user ids among those clicks, exact.",
    (_USER,),
    total="unique users, summed over groups",
    conserved=False,
    of_users="count(*)",
)
ENTERING_USERS: Final = Column(
    "entering_users",
    "long",
    False,
    "Users whose first click of the hour was in this group; summed over an hour, its unique users, exact.",
    (_TIME, _USER),
    total="unique users",
    of_clicks="count_if(enters)",
)
TIME_SPENT_SECONDS: Final = Column(
    "time_spent_seconds_sum",
    "double",
    False,
    "Seconds spent, summed over the clicks whose duration is known.",
    (_TIME, _USER),
    total="seconds spent",
    of_clicks="coalesce(sum(spent_ms), 0L)",  # whole milliseconds: their sum does not depend on the order
    of_row="time_spent_seconds_sum / 1000",
)
TIME_SPENT_SAMPLES: Final = Column(
    "time_spent_samples",
    "long",
    False,
    "Clicks whose duration is known: the user clicked again within 30 min.",
    (_TIME, _USER),
    total="clicks of known duration",
    of_clicks="count(spent_ms)",
)
AVERAGE_TIME_SPENT: Final = Column(
    "average_time_spent_seconds",
    "double",
    True,
    "Mean seconds spent per click of known duration; null without one.",
    (_TIME, _USER),
    of_row="try_divide(time_spent_seconds_sum / 1000, time_spent_samples)",
)
ENTRIES: Final = Column(
    "entries",
    "long",
    False,
    "Clicks that begin a visit: the user had not clicked for 30 min.",
    (_TIME, _USER),
    total="entries",
    of_clicks="count_if(begins)",
)
EXITS: Final = Column(
    "exits",
    "long",
    False,
    "Clicks that end a visit: the user did not click again within 30 min. Summed over any hours, the visits that ended "
    "there.",
    (_TIME, _USER),
    total="exits",
    of_clicks="count_if(spent_ms IS NULL)",
)
BOUNCES: Final = Column(
    "bounces",
    "long",
    False,
    "Clicks that are a whole visit: both an entry and an exit.",
    (_TIME, _USER),
    total="bounces",
    of_clicks="count_if(begins AND spent_ms IS NULL)",
)
BOT_CLICKS: Final = Column(
    "bot_clicks",
    "long",
    False,
    "Those of the clicks that are of bots by the rule in force when the hour was computed (`dataco rules show`). They "
    "count in all other columns as well.",
    (BROWSER.read_from[0], DEVICE.read_from[0], _TIME, _USER),
    total="clicks of bots",
    of_clicks="count_if(is_bot)",
)
TIME_SPENT: Final = Column(
    "time_spent_buckets",
    "histogram",
    False,
    "Clicks of known duration by seconds spent, in fixed logarithmic buckets, each named by its least time; "
    "`clicks/time_spent.py` gives percentiles of them.",
    (_TIME, _USER),
    total="clicks of known duration",
    buckets=BUCKETS,
    counts="time_spent_samples",
    of_buckets=tuple(
        f"spent_ms >= {lower}L AND spent_ms < {upper}L"
        for lower, upper in pairwise((*LOWER_LIMITS_MS, VISIT_GAP_MS + 1))
    ),
)
USERS_SKETCH: Final = Column(
    "users_sketch",
    "sketch",
    False,
    "HLL sketch of the user ids (Apache DataSketches, HLL_8): sketches of any rows can be merged, and `dataco users` "
    "does.",
    (_USER,),
    in_index=False,
    of_users=f"hll_sketch_agg(user_id, {SKETCH_LG_K})",
)

PAGES: Final = Aggregate(
    "url_country_aggregates",
    "page and country",
    (PAGE, COUNTRY),
    (
        *(CLICK_COUNT, UNIQUE_USERS, ENTERING_USERS, TIME_SPENT_SECONDS, TIME_SPENT_SAMPLES, AVERAGE_TIME_SPENT),
        *(ENTRIES.since(3), EXITS.since(3), BOUNCES.since(3)),
        *(TIME_SPENT.since(4), USERS_SKETCH.since(4)),
        BOT_CLICKS.since(5),
    ),
    layout=5,
    separator="|",
)
"""What each page was clicked, from each country.

Layouts of its documents:
    1: the page was called `url`, and times were epoch milliseconds.
    2: `page`, as in the table; times as ISO 8601 text.
    3: with `entries`, `exits` and `bounces`, which documents of hours computed before do not have.
    4: with `time_spent_buckets`, which documents of hours computed before do not have.
    5: with `bot_clicks`, which documents of hours computed before do not have.
"""

AUDIENCE: Final = Aggregate(
    "audience_aggregates",
    "country, city, browser, operating system, device and referrer's host",
    (COUNTRY, CITY, BROWSER, OPERATING_SYSTEM, DEVICE, REFERRER_HOST),
    (
        *(CLICK_COUNT, UNIQUE_USERS, ENTERING_USERS, TIME_SPENT_SECONDS, TIME_SPENT_SAMPLES, AVERAGE_TIME_SPENT),
        *(ENTRIES, EXITS, BOUNCES, TIME_SPENT, USERS_SKETCH),
        BOT_CLICKS.since(2),
    ),
    layout=2,
    came_later=True,
)
"""Who clicked, whatever the page: the same measures by what is known of the visitor, and of where they came from.

Layouts of its documents:
    1: as it was released.
    2: with `bot_clicks`, which documents of hours computed before do not have.
"""

AGGREGATES: Final = (PAGES, AUDIENCE)
"""Every aggregate; all are computed from one scan of the clicks."""


def dimensions_of(aggregates: Iterable[Aggregate]) -> tuple[Column, ...]:
    """The dimensions of some aggregates, each once."""
    return tuple(dict.fromkeys(column for aggregate in aggregates for column in aggregate.dimensions))


SEEN_BY_THE_BOT_RULE: Final = (BROWSER, DEVICE)
"""What of a click the rule about bots looks at (`dataco_assets.clicks.bots`), beside its user and time."""


def scanned(aggregates: Iterable[Aggregate]) -> tuple[Column, ...]:
    """What a scan reads of the clicks beside users and times: the dimensions of some aggregates, and what rules see."""
    return tuple(dict.fromkeys((*dimensions_of(aggregates), *SEEN_BY_THE_BOT_RULE)))
