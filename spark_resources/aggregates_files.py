"""Writing hours of aggregates: staged by Spark, split by hour, then each hour's one file replaced by an atomic rename.

Belongs here: staging, replacing, cleaning up, in a folder that every Spark worker and every run sees under the same
path. Does not belong here: where an hour's file lies and how it is read (`dataco_assets/aggregates/files.py`).

A newer generation of an hour is never replaced by an older one: of two runs of the same hour, the one that started from
the later state of the hour ledger wins, whatever the order in which they end.

A run that dies leaves a staging folder, never half an hour: an hour shows its old file or its new one. Folders left
behind for more than a day are removed by a later run.
"""

import logging
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.columns import COLUMNS
from dataco_assets.aggregates.files import empty_hour, hour_path, row_count, split_by_hour, stored_generation
from dataco_assets.errors import DatacoError

logger = logging.getLogger(__name__)

STAGING = "_staging"
STALE_SECONDS = 24 * 3600
_RUN_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class AggregatesNotWritten(DatacoError):
    """What Spark staged is not one file per asked hour; no hour was replaced."""


@dataclass(frozen=True)
class HourFile:
    """An hour's file as it is now: its URI, rows, generation; `kept` when it was there and newer than ours."""

    hour_ms: int
    uri: str
    rows: int
    generation: int
    kept: bool = False


def write_hours(
    aggregates: DataFrame,
    hours: Sequence[int],
    generations: Mapping[int, int],
    uri: str,
    run_id: str,
    computed_at_ms: int,
) -> dict[int, HourFile]:
    """Runs the aggregation and replaces the file of every given hour; an hour without rows gets a file without rows.

    An hour's file of a newer generation stays: another run, which saw more clicks, was faster.

    Args:
        aggregates: Rows of these hours only, as `spark_resources.aggregation.aggregate` gives them.
        hours: Starts of the hours, epoch ms.
        generations: The generation of each hour.
        uri: Root of the aggregates.
        run_id: Name of this attempt, unique; it names the staging folder.
        computed_at_ms: When the aggregation ran, epoch ms; for hours without rows.

    Returns:
        What there is now, by hour.

    Raises:
        ValueError: the run id could not name a folder.
        AggregatesNotWritten: the aggregates hold an hour that was not asked for.
    """
    if not _RUN_ID.fullmatch(run_id):
        raise ValueError(f"{run_id[:100]!r} cannot name a staging folder")
    wanted = sorted(set(hours))
    store = _store(uri)
    store.remove_children_older_than(STAGING, STALE_SECONDS)
    staging = f"{STAGING}/{run_id}"
    store.remove(staging)  # left by an attempt of the same run that was killed
    try:
        _stage(aggregates, len(wanted), store.spark_path(f"{staging}/rows"))
        rows = _split(store, staging, wanted)
        for hour in wanted:
            if hour not in rows:
                store.write(_staged(staging, hour), empty_hour(generations[hour], computed_at_ms))
        return {
            hour: _replace(
                store,
                _staged(staging, hour),
                HourFile(hour, hour_path(uri, hour), rows.get(hour, 0), generations[hour]),
            )
            for hour in wanted
        }
    finally:
        store.remove(staging)


def stored_aggregates(spark: SparkSession, uri: str, hours: Sequence[int]) -> DataFrame:
    """The stored aggregates of hours, all of which must have been computed, as a DataFrame."""
    store = _store(uri)
    types = {"long": "bigint"}
    schema = ", ".join(f"{column.name} {types.get(column.type, column.type)}" for column in COLUMNS)
    # By default Spark takes a path for a pattern: `[2026]` would be one of four digits.
    literally = spark.read.schema(schema).option("__globPaths__", "false")
    return literally.parquet(*[store.spark_path(_place(hour)) for hour in sorted(set(hours))])


def _replace(store: "_Store", staged: str, file: HourFile) -> HourFile:
    """Puts an hour's file in its place unless a newer one is there.

    Looked at right before: two runs that meet between the look and the rename are as far apart as two system calls.
    """
    newer = stored_generation(store.uri(""), file.hour_ms)
    if newer is not None and newer > file.generation:
        logger.warning(
            "%s stays: it is of generation %d, this run's is %d. A run that saw more clicks was faster.",
            file.uri,
            newer,
            file.generation,
        )
        return replace(file, rows=row_count(store.uri(_place(file.hour_ms))), generation=newer, kept=True)
    store.replace(staged, _place(file.hour_ms))
    return file


def _place(hour_ms: int) -> str:
    return hour_path("", hour_ms).lstrip("/")


def _stage(aggregates: DataFrame, hours: int, path: str) -> None:
    """Some files, each with all rows of its hours, sorted by hour."""
    (
        aggregates.repartition(min(hours, _tasks(aggregates.sparkSession)), "hour")
        .sortWithinPartitions("hour", "page", "country")
        .write.option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "false")
        .option("maxRecordsPerFile", 0)
        .parquet(path)
    )


def _tasks(spark: SparkSession) -> int:
    return int(spark.conf.get("spark.sql.shuffle.partitions") or 1)


def _split(store: "_Store", staging: str, wanted: Sequence[int]) -> dict[int, int]:
    """Writes a file for each staged hour beside what Spark wrote; their rows, by hour."""
    rows: dict[int, int] = {}
    for name in store.children(f"{staging}/rows"):
        if not name.endswith(".parquet"):
            continue
        for hour, count, content in split_by_hour(store.uri(f"{staging}/rows/{name}")):
            if hour not in wanted or hour in rows:
                raise AggregatesNotWritten(
                    f"The aggregation gave the hour {hour} (epoch ms) {'twice' if hour in rows else 'unasked'}; "
                    f"{len(wanted)} hours were asked for from {wanted[0]} to {wanted[-1]}. Nothing was replaced; this "
                    "is a fault of the program."
                )
            store.write(_staged(staging, hour), content)
            rows[hour] = count
    return rows


def _staged(staging: str, hour_ms: int) -> str:
    return f"{staging}/hours/{hour_ms}.parquet"


class _Store:
    """The few file operations needed, below one folder; paths are relative to it, with `/`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def spark_path(self, path: str) -> str:
        """The path as Spark wants it."""
        return f"file://{self._root / path}"  # Hadoop takes it literally, not percent-encoded

    def uri(self, path: str) -> str:
        """The path as a URI for pyarrow."""
        return (self._root / path).as_uri()

    def children(self, path: str) -> list[str]:
        """Names in a folder; none when it is not there."""
        folder = self._root / path
        return [child.name for child in folder.iterdir()] if folder.is_dir() else []

    def write(self, path: str, content: bytes) -> None:
        """Writes a small file."""
        file = self._root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def replace(self, source: str, target: str) -> None:
        """Moves a file over another, in one step; makes the target's folder."""
        (self._root / target).parent.mkdir(parents=True, exist_ok=True)
        os.replace(self._root / source, self._root / target)  # noqa: PTH105  # names the atomic system call

    def remove(self, path: str) -> None:
        """Removes a folder with all it holds, if it is there."""
        shutil.rmtree(self._root / path, ignore_errors=True)

    def remove_children_older_than(self, path: str, seconds: float) -> None:
        """Removes what a folder holds that was last changed longer ago."""
        for name in self.children(path):
            child = f"{path}/{name}"
            with suppress(FileNotFoundError):  # another run, which has ended since, removed it itself
                if (self._root / child).stat().st_mtime < time.time() - seconds:
                    self.remove(child)


def _store(uri: str) -> _Store:
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise ValueError(f"aggregates can be stored at a file:// URI only, not at {uri[:200]!r}")
    return _Store(Path(unquote(parts.path)))
