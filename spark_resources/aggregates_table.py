"""Writing hours of an aggregate to its Iceberg table, and reading them, with Spark.

Belongs here: one commit per run, and what happens when two runs meet. Does not belong here: where the table is and how
it is read without Spark (`dataco_assets/aggregates/`).

A commit replaces exactly the run's hours, or none of them. A newer generation of an hour is never replaced by an older
one: of two runs of the same hour, the one that started from the later state of the hour ledger wins, whatever the order
in which they end. The generations are read together with the snapshot they belong to, and Iceberg refuses a commit when
another one has touched the same hours since that snapshot; the generations are then read again.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.failures import failure
from dataco_assets.aggregates.reading import StoredHour, TableState, ensure_table, table_state
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_key
from dataco_assets.errors import DatacoError, ErrorKind
from spark_resources.jvm_errors import reported

logger = logging.getLogger(__name__)

MOST_ATTEMPTS = 20
MOST_OPEN_FILES = 24
"""Files that one task keeps open. Each takes about 3 MB: a buffer per column, and there are about forty columns."""
_CONFLICT = re.compile(
    r"\bFound (?:new )?conflicting (?:delete )?files\b|\biceberg\.exceptions\.CommitFailedException\b"
    r"|\bCannot determine history between starting snapshot\b"
)
_OF_CATALOG = re.compile(
    r"\borg\.apache\.iceberg\.(?:jdbc\.Unchecked\w+|exceptions\.(?:CommitStateUnknown|ServiceUnavailable"
    r"|ServiceFailure|RESTException|NotAuthorized|Forbidden)\w*)|\borg\.sqlite\.\w+|\borg\.postgresql\.\w+"
    # Spark takes a catalog that fails to start for none, and its first part for a namespace.
    r"|\[REQUIRES_SINGLE_PART_NAMESPACE\] spark_catalog"
)
_OF_STORAGE = re.compile(
    r"\borg\.apache\.iceberg\.exceptions\.RuntimeIOException\b|\bsoftware\.amazon\.awssdk\.\S+Exception\b"
    # Hadoop's client, which HBase's does not use: HBase has its own.
    r"|\borg\.apache\.hadoop\.(?:hdfs|ipc|security)\.\S+Exception\b"
    r"|\bjava\.[\w.]+Exception: Call From \S+ to \S+ failed on\b"
)


class AggregatesNotWritten(DatacoError):
    """Other runs replaced the same hours again and again; none of this run's hours was replaced."""

    kind = ErrorKind.PASSING


class CommitConflict(DatacoError):
    """Another commit changed the same files of the table since they were read."""

    kind = ErrorKind.PASSING


@dataclass(frozen=True)
class WrittenHour:
    """An hour as the table holds it now; `kept` if the table had a newer generation, which was left in place."""

    hour_ms: int
    rows: int
    generation: int
    kept: bool = False


def register(spark: SparkSession, place: TablePlace) -> None:
    """Makes the table's catalog known to a session.

    Raises:
        ValueError: the session knows another catalog by this name.
    """
    for name, value in place.spark_properties().items():
        if spark.conf.get(name, value) != value:
            raise ValueError(f"the session has another catalog named {place.catalog_name!r}: {name} differs")
        spark.conf.set(name, value)


def write_hours(
    aggregates: DataFrame,
    hours: Sequence[int],
    generations: Mapping[int, int],
    place: TablePlace,
    run_id: str,
    computed_at_ms: Mapping[int, int],
) -> dict[int, WrittenHour]:
    """Runs the aggregation and replaces the given hours in one commit; an hour without rows counts as computed.

    An hour of which the table has a newer generation is left: another run, which saw more clicks, was faster.

    Args:
        aggregates: Rows of these hours only, as `spark_resources.aggregation.aggregate` gives them.
        hours: Starts of the hours, epoch ms.
        generations: The generation of each hour.
        place: The table; it is created if it is not there.
        run_id: Name of this attempt, kept with the commit.
        computed_at_ms: When each hour was aggregated, epoch ms.

    Returns:
        What there is now, by hour.

    Raises:
        AggregatesNotWritten: the hours were replaced by others as often as this run tried.
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata cannot be read.
    """
    register(aggregates.sparkSession, place)
    ensure_table(place)
    wanted = sorted(set(hours))
    for _ in range(MOST_ATTEMPTS):
        state = table_state(place, wanted)
        kept = _newer(state, wanted, generations)
        ours = [hour for hour in wanted if hour not in kept]
        if not ours:
            break
        rows = aggregates.where(_within(ours)) if kept else aggregates
        marked = rows.unionByName(_markers(aggregates.sparkSession, place.aggregate, ours, generations, computed_at_ms))
        try:
            _overwrite(marked, ours, place, state.snapshot_id, run_id)
        except CommitConflict:
            logger.warning("Another run has replaced hours of this one meanwhile; their generations are read again.")
        else:
            break
    else:
        raise AggregatesNotWritten(
            f"Other runs replaced hours of this one {MOST_ATTEMPTS} times while it computed them, so none of its "
            f"{len(wanted)} hours was replaced. Run it again when fewer runs compute the same hours."
        )
    now = table_state(place, wanted).hours
    return {hour: WrittenHour(hour, now[hour].rows, now[hour].generation, kept=hour in kept) for hour in wanted}


def stored_aggregates(spark: SparkSession, place: TablePlace, hours: Sequence[int]) -> DataFrame:
    """The stored aggregates of hours, all of which must have been computed, as a DataFrame."""
    register(spark, place)
    stored = (
        spark.read.table(place.name_in_spark).where(_within(hours)).where(f"{place.aggregate.always_set} IS NOT NULL")
    )
    return stored.select(*[column.name for column in place.aggregate.columns])


def _newer(state: TableState, wanted: Sequence[int], generations: Mapping[int, int]) -> dict[int, StoredHour]:
    newer = {
        hour: state.hours[hour]
        for hour in wanted
        if hour in state.hours and state.hours[hour].generation > generations[hour]
    }
    for hour, stored in newer.items():
        logger.warning(
            "The hour %s stays: it is of generation %d, this run's is %d. A run that saw more clicks was faster.",
            hour_key(hour),
            stored.generation,
            generations[hour],
        )
    return newer


def _overwrite(rows: DataFrame, hours: Sequence[int], place: TablePlace, snapshot_id: int | None, run_id: str) -> None:
    """Replaces the hours by these rows in one commit.

    Raises:
        CommitConflict: another commit has touched one of the hours since the snapshot.
    """
    writer = (
        rows.writeTo(place.name_in_spark)
        .option("isolation-level", "serializable")
        .option("snapshot-property.dataco.run", run_id)
        # If false, rows are sorted by hour and a task writes one file after another.
        .option("fanout-enabled", str(len(hours) <= MOST_OPEN_FILES).lower())
    )
    if snapshot_id is not None:  # without one, Iceberg validates against all commits
        writer = writer.option("validate-from-snapshot-id", str(snapshot_id))
    with writing(place):
        writer.overwrite(F.expr(_within(hours)))


@contextmanager
def writing(place: TablePlace) -> Iterator[None]:
    """Turns failures of Iceberg, its catalog and its storage during a commit into the table's errors.

    The commit also runs the scan of the clicks; failures that are not the table's are raised unchanged.
    """
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        text = reported(error)
        if _CONFLICT.search(text):
            raise CommitConflict(
                f"Another commit changed the same files of {place} at the same moment. Nothing was lost; try again."
            ) from error
        for server, pattern in ((place.catalog_server, _OF_CATALOG), (place.storage_server, _OF_STORAGE)):
            if about := pattern.search(text):
                raise failure(server, text[about.start() :]) from error
        raise


def _within(hours: Sequence[int]) -> str:
    """A SQL condition for the rows of the hours, which Iceberg recognises as whole partitions."""
    runs = contiguous_runs(hours)
    return " OR ".join(
        f"(hour >= timestamp_millis({run[0]}L) AND hour < timestamp_millis({run[-1] + HOUR_MS}L))" for run in runs
    )


def _markers(
    spark: SparkSession,
    aggregate: Aggregate,
    hours: Sequence[int],
    generations: Mapping[int, int],
    computed_at_ms: Mapping[int, int],
) -> DataFrame:
    """One row per hour without dimensions and measures; it says that the hour was computed, even without clicks."""
    known = {
        "hour": "timestamp_millis(start) AS hour",
        "generation": "generation",
        "computed_at": "timestamp_millis(computed_at) AS computed_at",
    }
    columns = [
        known.get(column.name, f"CAST(NULL AS {column.sql_type}) AS {column.name}") for column in aggregate.columns
    ]
    # Written as text, as in `aggregation`: creating each literal by a call to the JVM would take seconds.
    arrays = (hours, [generations[hour] for hour in hours], [computed_at_ms[hour] for hour in hours])
    texts = ", ".join(f"array({', '.join(f'{value}L' for value in values)})" for values in arrays)
    each = spark.sql(f"SELECT inline(arrays_zip({texts}))")
    return each.toDF("start", "generation", "computed_at").selectExpr(*columns)
