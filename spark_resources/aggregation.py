"""The aggregation of clicks by hour, page and country: a pure function from DataFrame to DataFrame.

The plan has two shuffles, whatever the number of hours: one by user, to find each click's neighbours, and one by hour,
page and country. Between them the clicks of each user in a group are added up, so that the second step counts every
user once, and gives the sketch every user once. Everything runs in the JVM, without user-defined functions, and spills
to disk when memory is short.
"""

from collections.abc import Mapping, Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.aggregates.columns import COLUMNS, SKETCH_LG_K, TIME_SPENT, USERS_SKETCH
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS
from dataco_assets.clicks.time_spent import BUCKETS, LOWER_LIMITS_MS

UNKNOWN_COUNTRY = "ZZ"
_GROUP = ("hour_ms", "page", "country")


def aggregate(
    clicks: DataFrame, hours: Sequence[int], generations: Mapping[int, int], computed_at_ms: int
) -> DataFrame:
    """Aggregates the clicks of the given hours; exactly the columns of `dataco_assets.aggregates.columns`, in order.

    The time spent on a click is the gap to the same user's next click on any page (in the order of timestamp, then row
    key) if it is at most 30 minutes, and unknown otherwise. A user enters an hour with the first of their clicks in it,
    in the same order. A visit is a run of a user's clicks with gaps of at most 30 minutes, in the same order: its first
    click is an entry, its last one an exit, and the only one of a visit is both, a bounce. An hour without clicks has
    no rows.

    Args:
        clicks: One row per click: row_key (string), user_id (string), timestamp (long, epoch ms), page (string),
            country (string or null). It must hold all clicks of the hours and of the 30 minutes before and
            after each (`clicks.hour.scan_span`); further clicks make no difference.
        hours: Starts of the hours to aggregate, epoch ms; they need not be adjacent.
        generations: The generation of each of the hours.
        computed_at_ms: When the aggregation runs, epoch ms.

    Raises:
        ValueError: no hour is given, one is not the start of an hour, or one has no generation.
    """
    _check(hours, generations)
    hour_ms = F.expr(f"timestamp - timestamp % {HOUR_MS}L")
    of_user = Window.partitionBy("user_id").orderBy("timestamp", "row_key")
    gap = F.lead("timestamp").over(of_user) - F.col("timestamp")
    spent_ms = F.when(gap <= VISIT_GAP_MS, gap)
    # No previous click (null) means the same as one before the hour, so it does not matter how many of those were read.
    previous = F.lag("timestamp").over(of_user)
    enters = F.coalesce(previous < hour_ms, F.lit(True))
    begins = F.coalesce(F.col("timestamp") - previous > VISIT_GAP_MS, F.lit(True))
    known = clicks.select(
        "user_id",
        hour_ms.alias("hour_ms"),
        "page",
        F.coalesce("country", F.lit(UNKNOWN_COUNTRY)).alias("country"),
        spent_ms.alias("spent_ms"),
        enters.alias("enters"),
        begins.alias("begins"),
    ).where(_is_one_of(hours))
    sums = _sums()
    of_users = known.groupBy(*_GROUP, "user_id").agg(*[total.alias(name) for name, total in sums.items()])
    grouped = of_users.groupBy(*_GROUP).agg(
        *[F.sum(name).alias(name) for name in sums],
        F.count("*").alias("unique_users"),
        F.hll_sketch_agg("user_id", SKETCH_LG_K).alias(USERS_SKETCH.name),
    )
    seconds = F.col("spent_ms_sum") / 1000
    return (
        grouped.withColumn("hour", F.timestamp_millis("hour_ms"))
        .withColumn(TIME_SPENT.name, F.struct(*BUCKETS))
        .withColumn("time_spent_seconds_sum", seconds)
        .withColumn("average_time_spent_seconds", F.expr("try_divide(time_spent_seconds_sum, time_spent_samples)"))
        .withColumn("generation", _generation(hours, generations))
        .withColumn("computed_at", F.expr(f"timestamp_millis({computed_at_ms}L)"))
        .select(*[column.name for column in COLUMNS])
    )


def _sums() -> dict[str, Column]:
    """What is added up over clicks, by name; none of it depends on the order of the clicks."""
    limits = zip(BUCKETS, LOWER_LIMITS_MS, (*LOWER_LIMITS_MS[1:], VISIT_GAP_MS + 1), strict=True)
    return {
        "click_count": F.count("*"),
        "entering_users": F.count_if("enters"),
        "spent_ms_sum": F.coalesce(F.sum("spent_ms"), F.expr("0L")),  # whole milliseconds
        "time_spent_samples": F.count("spent_ms"),
        "entries": F.count_if("begins"),
        "exits": F.count_if(F.isnull("spent_ms")),
        "bounces": F.count_if(F.col("begins") & F.isnull("spent_ms")),
        **{name: F.expr(f"count_if(spent_ms >= {lower}L AND spent_ms < {upper}L)") for name, lower, upper in limits},
    }


def _check(hours: Sequence[int], generations: Mapping[int, int]) -> None:
    if not hours:
        raise ValueError("no hour to aggregate")
    for hour in hours:
        if hour % HOUR_MS:
            raise ValueError(f"{hour} ms is not the start of an hour")
        if hour not in generations:
            raise ValueError(f"the hour at {hour} ms has no generation")


def _is_one_of(hours: Sequence[int]) -> Column:
    # Written as text: hundreds of literals, one call to the JVM each, cost more than the aggregation of an hour. And as
    # IN, which becomes a hash lookup: hundreds of range comparisons become more code than the JVM compiles.
    return F.expr(f"hour_ms IN ({', '.join(f'{hour}L' for hour in sorted(set(hours)))})")


def _generation(hours: Sequence[int], generations: Mapping[int, int]) -> Column:
    wanted = sorted(set(hours))
    keys = ", ".join(f"{hour}L" for hour in wanted)
    values = ", ".join(f"{generations[hour]}L" for hour in wanted)
    return F.expr(f"element_at(map_from_arrays(array({keys}), array({values})), hour_ms)")
