"""Where an hour's aggregates lie, and reading them back.

Belongs here: the layout `<uri>/<YYYY-MM-DDTHH>/url_country.parquet`, one file per hour, what such a file holds, and its
reading with pyarrow. Does not belong here: Spark, and putting files in place
(`spark_resources/aggregates_files.py`).

A file is only ever replaced whole, so a reader sees an hour as one run left it. An hour without clicks is a file
without rows, whose metadata carries what rows would have told: generation and time of computing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from dataco_assets.aggregates.columns import COLUMNS, LATER_COLUMNS, ColumnType
from dataco_assets.errors import DatacoError

FILE_NAME = "url_country.parquet"
_DIRECTORY_FORMAT = "%Y-%m-%dT%H"
_GENERATION = b"dataco.generation"
_COMPUTED_AT = b"dataco.computed_at_ms"
_SPLIT_ROWS = 64 * 1024
_ARROW_TYPES: Final[dict[ColumnType, pa.DataType]] = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "string": pa.string(),
    "long": pa.int64(),
    "double": pa.float64(),
}
ARROW_SCHEMA: Final = pa.schema(
    [pa.field(column.name, _ARROW_TYPES[column.type], column.nullable) for column in COLUMNS]
)
"""The columns of the aggregates as Arrow types."""


class AggregatesUnreadable(DatacoError):
    """An hour's file is there, but it is not the Parquet this platform writes."""


@dataclass(frozen=True)
class HourAggregates:
    """One hour's aggregates; a table without rows means that the hour has no clicks."""

    hour_ms: int
    table: pa.Table
    generation: int
    computed_at_ms: int


def hour_directory(hour_ms: int) -> str:
    """Name of an hour's directory, `YYYY-MM-DDTHH` in UTC."""
    return datetime.fromtimestamp(hour_ms / 1000, UTC).strftime(_DIRECTORY_FORMAT)


def hour_path(uri: str, hour_ms: int) -> str:
    """URI of an hour's file."""
    return f"{uri.rstrip('/')}/{hour_directory(hour_ms)}/{FILE_NAME}"


def stored_hours(uri: str) -> list[int]:
    """Starts (epoch ms) of the hours that were ever computed, oldest first."""
    system, root = fs.FileSystem.from_uri(uri)
    entries = system.get_file_info(fs.FileSelector(root, allow_not_found=True))
    hours = [_hour_of_directory(entry.base_name) for entry in entries if entry.type == fs.FileType.Directory]
    return sorted(hour for hour in hours if hour is not None)


def read_hour(uri: str, hour_ms: int) -> HourAggregates | None:
    """An hour's aggregates; None when it was never computed.

    Raises:
        AggregatesUnreadable: there is a file, but not one this platform wrote.
    """
    path = hour_path(uri, hour_ms)
    system, place = fs.FileSystem.from_uri(path)
    try:
        with system.open_input_file(place) as file:
            content = file.read_buffer()  # read apart, so that an error of the storage is not taken for a broken file
    except FileNotFoundError:
        return None
    try:
        stored = pq.ParquetFile(content).read()
    except (pa.ArrowInvalid, OSError) as error:
        raise AggregatesUnreadable(_unreadable(path, str(error))) from error
    metadata = stored.schema.metadata or {}
    try:
        table = _with_later_columns(stored).select(ARROW_SCHEMA.names).cast(ARROW_SCHEMA)
        if table.num_rows:
            generation = table["generation"][0].as_py()
            computed_at_ms = table["computed_at"][0].cast(pa.int64()).as_py() // 1000
        else:
            generation, computed_at_ms = int(metadata[_GENERATION]), int(metadata[_COMPUTED_AT])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, KeyError, ValueError) as error:
        raise AggregatesUnreadable(_unreadable(path, f"{type(error).__name__}: {error}")) from error
    return HourAggregates(hour_ms, table, generation, computed_at_ms)


def _with_later_columns(stored: pa.Table) -> pa.Table:
    """The table with nulls in columns that an hour computed by an earlier version lacks."""
    for name in LATER_COLUMNS.difference(stored.column_names):
        field = ARROW_SCHEMA.field(name)
        stored = stored.append_column(field, pa.nulls(stored.num_rows, field.type))
    return stored


def stored_generation(uri: str, hour_ms: int) -> int | None:
    """The generation of an hour's file, from its footer; None when there is no file, or none that can be read."""
    system, place = fs.FileSystem.from_uri(hour_path(uri, hour_ms))
    try:
        with system.open_input_file(place) as file:
            content = file.read_buffer()  # read apart, so that an error of the storage is not taken for a broken file
    except FileNotFoundError:
        return None
    try:
        footer = pq.read_metadata(pa.BufferReader(content))
    except (pa.ArrowInvalid, OSError):  # pyarrow raises an OSError for a footer that is not Thrift
        return None
    if not footer.num_rows:
        text = (footer.metadata or {}).get(_GENERATION, b"")
        return int(text) if text.isdigit() else None
    column = footer.schema.names.index("generation") if "generation" in footer.schema.names else None
    if column is None:
        return None
    statistics = footer.row_group(0).column(column).statistics
    return int(statistics.max) if statistics is not None and statistics.has_min_max else None


def read_hours(uri: str, hours: Iterable[int]) -> Iterator[tuple[int, HourAggregates | None]]:
    """The aggregates of several hours, one at a time, so that a month does not fill the memory.

    Raises:
        AggregatesUnreadable: as `read_hour`.
    """
    for hour in hours:
        yield hour, read_hour(uri, hour)


def row_count(uri: str) -> int:
    """Rows of one Parquet file, from its footer."""
    system, place = fs.FileSystem.from_uri(uri)
    with system.open_input_file(place) as file:
        return pq.read_metadata(file).num_rows


def empty_hour(generation: int, computed_at_ms: int) -> bytes:
    """The content of the file of an hour without clicks."""
    metadata = {_GENERATION: str(generation), _COMPUTED_AT: str(computed_at_ms)}
    content = BytesIO()
    pq.write_table(ARROW_SCHEMA.with_metadata(metadata).empty_table(), content)
    return content.getvalue()


def split_by_hour(uri: str) -> Iterator[tuple[int, int, bytes]]:
    """Of a Parquet file whose rows are sorted by hour: each hour's start (epoch ms), rows, and its own file's content.

    pyarrow makes a small file in a tenth of the time that Spark's writer needs. One hour at a time is in memory.
    """
    system, place = fs.FileSystem.from_uri(uri)
    with system.open_input_file(place) as file:
        batches = pq.ParquetFile(file).iter_batches(_SPLIT_ROWS, columns=ARROW_SCHEMA.names)
        for hour_ms, tables in groupby(_runs_of_hours(batches), key=itemgetter(0)):
            content, rows = BytesIO(), 0
            with pq.ParquetWriter(content, ARROW_SCHEMA) as writer:
                for _, table in tables:
                    writer.write_table(table)
                    rows += table.num_rows
            yield hour_ms, rows, content.getvalue()


def _runs_of_hours(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.Table]]:
    for batch in batches:
        table = pa.Table.from_batches([batch]).cast(ARROW_SCHEMA)
        runs = pc.run_end_encode(table["hour"].combine_chunks().cast(pa.int64()))  # pyright: ignore[reportAttributeAccessIssue]  # made at import
        start = 0
        for micros, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
            yield micros // 1000, table.slice(start, end - start)
            start = end


def _hour_of_directory(name: str) -> int | None:
    try:
        start = datetime.strptime(name, _DIRECTORY_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(start.timestamp()) * 1000


def _unreadable(path: str, why: str) -> str:
    return (
        f"{path[:300]} is not an hour's aggregates as this platform writes them ({why[:200]}). Compute the hour again "
        "(materialise url_country_aggregates for it): that replaces the file."
    )
