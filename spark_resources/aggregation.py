"""The aggregation of clicks by hour and dimensions: pure functions from DataFrame to DataFrame.

The measures of single clicks, which depend on the clicks before and behind each, are the same for every aggregate
(`measured`), and so are found once. What is added up then, and by what, comes from the registry
(`dataco_assets.aggregates.columns`).

The plan of an aggregate has two shuffles, whatever the number of hours: one by user, to find each click's neighbours,
and one by hour and dimensions. Between them the clicks of each user in a group are added up, so that the second step
counts every user once, and gives the sketch every user once. Everything runs in the JVM, without user-defined
functions, and spills to disk when memory is short.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pyspark import StorageLevel
from pyspark.sql import Column as SparkColumn
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.aggregates.columns import AGGREGATES, SEEN_BY_THE_BOT_RULE, Aggregate, Column, dimensions_of
from dataco_assets.clicks.bots import MINUTE_MS, BotRule
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS

# The minutes are in the order of the times, so the order is that of times and row keys. One sort serves both windows.
_OF_USER = "OVER (PARTITION BY user_id ORDER BY minute, timestamp, row_key)"
_OF_MINUTE = (
    "OVER (PARTITION BY user_id, minute ORDER BY timestamp, row_key "
    "ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"
)
_HOUR = f"timestamp - timestamp % {HOUR_MS}L"


def measured(
    clicks: DataFrame, hours: Sequence[int], aggregates: Iterable[Aggregate] = AGGREGATES, *, bots: BotRule
) -> DataFrame:
    """The clicks of the given hours, each with what its neighbours make of it.

    The time spent on a click is the gap to the same user's next click on any page (in the order of timestamp, then row
    key) if it is at most 30 minutes, and unknown otherwise. A user enters an hour with the first of their clicks in it,
    in the same order. A visit is a run of a user's clicks with gaps of at most 30 minutes, in the same order: its first
    click is an entry, its last one an exit, and the only one of a visit is both, a bounce. A click is of a bot by the
    rule of `dataco_assets.clicks.bots`.

    Args:
        clicks: One row per click: row_key (string), user_id (string), timestamp (long, epoch ms), and what is `scanned`
            for the aggregates (string or null). It must hold all clicks of the hours and of the 30 minutes before and
            after each (`clicks.hour.scan_span`); further clicks make no difference.
        hours: Starts of the hours, epoch ms; they need not be adjacent.
        aggregates: What the clicks will be aggregated to.
        bots: Which clicks are of bots.

    Returns:
        user_id, hour_ms, spent_ms (null when unknown), enters, begins, is_bot, and the dimensions.

    Raises:
        ValueError: no hour is given, or one is not the start of an hour.
    """
    if not hours:
        raise ValueError("no hour to aggregate")
    for hour in hours:
        if hour % HOUR_MS:
            raise ValueError(f"{hour} ms is not the start of an hour")
    # SQL text throughout: a call to the JVM for each part would take longer than a small hour. No previous click (null)
    # means the same as one before the hour, so it does not matter how many of those were read.
    beside = clicks.selectExpr("*", f"timestamp - timestamp % {MINUTE_MS}L AS minute").selectExpr(
        "*",
        f"lag(timestamp) {_OF_USER} AS previous",
        f"lead(timestamp) {_OF_USER} - timestamp AS gap",
        f"{_is_bot(bots)} AS is_bot",
    )
    return beside.selectExpr(
        "user_id",
        f"{_HOUR} AS hour_ms",
        f"CASE WHEN gap <= {VISIT_GAP_MS}L THEN gap END AS spent_ms",
        f"coalesce(previous < {_HOUR}, true) AS enters",
        f"coalesce(timestamp - previous > {VISIT_GAP_MS}L, true) AS begins",
        "is_bot",
        *(f"coalesce({column.name}, '{column.unknown}') AS {column.name}" for column in dimensions_of(aggregates)),
    ).where(_is_one_of(hours))


@contextmanager
def held(clicks: DataFrame) -> Iterator[DataFrame]:
    """Keeps measured clicks on the executors' disks for as long as the context lasts, so that they are found once.

    On disk, because the clicks of a large hour would take the memory that sorting them needs.
    """
    kept = clicks.persist(StorageLevel.DISK_ONLY)
    try:
        yield kept
    finally:
        kept.unpersist()


def aggregate(
    to: Aggregate, clicks: DataFrame, hours: Sequence[int], generations: Mapping[int, int], computed_at_ms: int
) -> DataFrame:
    """Aggregates measured clicks; exactly the aggregate's columns, in order. An hour without clicks has no rows.

    Args:
        to: What to compute.
        clicks: Clicks of these hours (`measured`).
        hours: Starts of the hours, epoch ms.
        generations: The generation of each of the hours.
        computed_at_ms: When the aggregation runs, epoch ms.

    Raises:
        ValueError: an hour has no generation.
    """
    for hour in hours:
        if hour not in generations:
            raise ValueError(f"the hour at {hour} ms has no generation")
    group = ("hour_ms", *to.group)
    sums = [number for column in to.measures for number in column.numbers if number.of_clicks]
    of_users = clicks.groupBy(*group, "user_id").agg(*_named((number, number.of_clicks) for number in sums))
    grouped = of_users.groupBy(*group).agg(
        *_named((number, f"sum(`{number.name}`)") for number in sums),
        *_named((column, column.of_users) for column in to.measures if column.of_users),
    )
    made = {
        "hour": "timestamp_millis(hour_ms)",
        "generation": _generation(hours, generations),
        "computed_at": f"timestamp_millis({computed_at_ms}L)",
        **{column.name: _struct(column) for column in to.histograms},
        **{column.name: column.of_row for column in to.measures if column.of_row},
    }
    return grouped.selectExpr(*[f"{made.get(column.name, column.name)} AS {column.name}" for column in to.columns])


def _is_bot(rule: BotRule) -> str:
    conditions = [f"count(*) {_OF_MINUTE} >= {rule.clicks_per_minute}"] if rule.clicks_per_minute else []
    if rule.agents:
        agents = ", ".join(map(_quoted, sorted(rule.agents)))
        conditions += [f"coalesce({column.name}, '') IN ({agents})" for column in SEEN_BY_THE_BOT_RULE]
    return " OR ".join(conditions) or "false"


def _quoted(text: str) -> str:
    """The text as a SQL literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _named(formulas: Iterable[tuple[Column, str]]) -> list[SparkColumn]:
    return [F.expr(sql).alias(column.name) for column, sql in formulas]


def _struct(histogram: Column) -> str:
    buckets = zip(histogram.buckets, histogram.numbers, strict=True)
    parts = ", ".join(f"'{bucket}', `{number.name}`" for bucket, number in buckets)
    return f"named_struct({parts})"


def _is_one_of(hours: Sequence[int]) -> str:
    # As IN, which becomes a hash lookup: hundreds of range comparisons become more code than the JVM compiles.
    return f"hour_ms IN ({', '.join(f'{hour}L' for hour in sorted(set(hours)))})"


def _generation(hours: Sequence[int], generations: Mapping[int, int]) -> str:
    wanted = sorted(set(hours))
    keys = ", ".join(f"{hour}L" for hour in wanted)
    values = ", ".join(f"{generations[hour]}L" for hour in wanted)
    return f"element_at(map_from_arrays(array({keys}), array({values})), hour_ms)"
