"""Imports the aggregates of earlier versions, which wrote one Parquet file per hour, into the table.

The files are named `<folder>/<YYYY-MM-DDTHH>/url_country.parquet`.

The file of an hour without clicks has no rows; its metadata holds what the rows would hold: generation and time
of computing. Columns that did not exist when an hour was computed are null.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.errors import DatacoError
from spark_resources.aggregates_table import write_hours

_FILES: Final = "*/url_country.parquet"
_DIRECTORY_FORMAT: Final = "%Y-%m-%dT%H"
_GENERATION, _COMPUTED_AT = b"dataco.generation", b"dataco.computed_at_ms"
_HOURS_AT_ONCE: Final = 2_000


class ImportRefused(DatacoError):
    """The folder, or a file in it, is not what an earlier version of this platform wrote; nothing was imported."""


@dataclass(frozen=True)
class Imported:
    """How many hours of a folder were imported, and how many were not because the table has a newer generation."""

    taken: int
    kept: int


@dataclass(frozen=True)
class _File:
    path: Path
    hour_ms: int
    generation: int
    computed_at_ms: int


def import_hours(spark: SparkSession, place: TablePlace, folder: Path) -> Imported:
    """Imports the hours of a folder into the table; running it again gives the same result.

    Hours of which the table has a newer generation are left as they are. The folder is not changed.

    Raises:
        ImportRefused: there are no such files, or one of them cannot be read.
        AggregatesUnavailable, AggregatesUnreadable, AggregatesNotWritten: the table cannot be written to.
    """
    files = [_look(path) for path in sorted(folder.glob(_FILES))]
    if not files:
        raise ImportRefused(
            f"{ascii(str(folder))[:300]} holds no aggregates of an earlier version (no "
            "YYYY-MM-DDTHH/url_country.parquet)."
        )
    kept = 0
    for start in range(0, len(files), _HOURS_AT_ONCE):
        kept += _import(spark, place, files[start : start + _HOURS_AT_ONCE])
    return Imported(len(files) - kept, kept)


def _import(spark: SparkSession, place: TablePlace, files: Sequence[_File]) -> int:
    """Imports some hours in one commit; the number of those that were left."""
    schema = ", ".join(f"{column.name} {column.sql_type}" for column in PAGES.columns)
    # By default Spark takes a path for a pattern, and folders named a=b for columns.
    reader = spark.read.schema(schema).option("__globPaths__", "false").option("recursiveFileLookup", "true")
    written = write_hours(
        reader.parquet(*[f"file://{file.path}" for file in files]),
        [file.hour_ms for file in files],
        {file.hour_ms: file.generation for file in files},
        place,
        "import",
        {file.hour_ms: file.computed_at_ms for file in files},
    )
    return sum(hour.kept for hour in written.values())


def _look(path: Path) -> _File:
    try:
        hour = datetime.strptime(path.parent.name, _DIRECTORY_FORMAT).replace(tzinfo=UTC)
        file = pq.ParquetFile(path)
        if missing := {column.name for column in PAGES.columns} - PAGES.later - set(file.schema_arrow.names):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        generation, computed_at_ms = _stamp(file)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ImportRefused(
            f"{ascii(str(path))[:300]} is not an hour's aggregates of an earlier version ({type(error).__name__}: "
            f"{str(error)[:200]}). Nothing was imported. Move it away and import the others, then compute its hour "
            "again with `dataco backfill`."
        ) from error
    return _File(path.resolve(), int(hour.timestamp()) * 1000, generation, computed_at_ms)


def _stamp(file: pq.ParquetFile) -> tuple[int, int]:
    """Generation and time of computing (epoch ms), which are the same for all rows of an hour."""
    if not file.metadata.num_rows:
        metadata = file.metadata.metadata or {}
        return int(metadata[_GENERATION]), int(metadata[_COMPUTED_AT])
    first = file.read_row_group(0, columns=["generation", "computed_at"]).slice(0, 1)
    computed_at = first["computed_at"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())[0].as_py()
    return int(first["generation"][0].as_py()), int(computed_at) // 1000
