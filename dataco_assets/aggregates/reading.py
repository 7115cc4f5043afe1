"""Reading an aggregate's table without Spark, and making it.

Belongs here: what is stored of which hour, an hour's rows, and the table's schema. Does not belong here: where the
table is (`table.py`) and writing hours (`spark_resources/aggregates_table.py`).

Which hours were computed, and of which generation, stands in the statistics that Iceberg keeps of each data file: no
data file is opened for that. Every hour that was computed has one row without dimensions, which tells an hour
without clicks from one that was never computed; readers leave that row out.

pyiceberg takes a second to import, so it is imported when a table is opened.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa
import pyarrow.compute as pc

from dataco_assets.aggregates.columns import PAGES, USERS_SKETCH, Aggregate, Column, ColumnType
from dataco_assets.aggregates.failures import AggregatesRefused, AggregatesUnreadable, failure
from dataco_assets.aggregates.table import NAMESPACE, PARTITION, TablePlace
from dataco_assets.clicks.hour import HOUR_MS

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import FileScanTask, Table
    from pyiceberg.types import IcebergType

_ARROW_TYPES: Final[dict[ColumnType, pa.DataType]] = {
    "timestamp": pa.timestamp("us", tz="UTC"),
    "string": pa.string(),
    "long": pa.int64(),
    "double": pa.float64(),
    "sketch": pa.binary(),
}


def _arrow_type(column: Column) -> pa.DataType:
    if column.type == "histogram":
        return pa.struct([pa.field(bucket, pa.int64()) for bucket in column.buckets])
    return _ARROW_TYPES[column.type]


@cache
def arrow_schema(aggregate: Aggregate) -> pa.Schema:
    """The columns of an aggregate as Arrow types."""
    return pa.schema([pa.field(column.name, _arrow_type(column), column.nullable) for column in aggregate.columns])


USERS_COLUMNS: Final = ("hour", "unique_users", "entering_users", USERS_SKETCH.name)
"""What `read_users` reads of a row."""


@dataclass(frozen=True)
class HourAggregates:
    """One hour's aggregates; a table without rows means that the hour has no clicks."""

    hour_ms: int
    table: pa.Table
    generation: int
    computed_at_ms: int


@dataclass(frozen=True)
class StoredHour:
    """What the statistics say of an hour: the number of its rows, its generation, and when it was computed."""

    hour_ms: int
    rows: int
    generation: int
    computed_at_ms: int


@dataclass(frozen=True)
class HourRows:
    """One hour's aggregates, of which a piece at a time is read: however many rows there are, few are held.

    Attributes:
        hour_ms: Start of the hour.
        generation: Of the computation that the rows are of.
        computed_at_ms: When that was.
        pieces: Tables with the columns of the aggregate, none of them empty; no table means that the hour has no
            clicks. To be read once; raises `AggregatesUnavailable` or `AggregatesUnreadable`.
    """

    hour_ms: int
    generation: int
    computed_at_ms: int
    pieces: Iterator[pa.Table]

    @property
    def origin(self) -> tuple[int, int]:
        """Generation and time of computing (epoch ms): what tells which computation the rows are of."""
        return self.generation, self.computed_at_ms


@dataclass(frozen=True)
class TableState:
    """What the table held at one moment.

    Attributes:
        snapshot_id: Iceberg's snapshot; None before the first commit.
        hours: Hours that were computed, by start (epoch ms).
    """

    snapshot_id: int | None = None
    hours: dict[int, StoredHour] = field(default_factory=dict)


def ensure_table(place: TablePlace) -> bool:
    """Creates the table, or adds the columns that an earlier version did not have.

    Returns:
        Whether it was created.

    Raises:
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata cannot be read.
    """
    from pyiceberg.exceptions import NoSuchTableError

    with _explained(place):
        if place.sqlite_file is not None:
            Path(place.sqlite_file).parent.mkdir(parents=True, exist_ok=True)
        catalog = _catalog(place)
        catalog.create_namespace_if_not_exists(NAMESPACE)
        try:
            table, created = catalog.load_table(place.identifier), False
        except NoSuchTableError:
            table, created = _create(catalog, place)
        _add_missing_columns(table, place)
    return created


def table_state(place: TablePlace, hours: Sequence[int] = ()) -> TableState:
    """Returns which hours are stored, from the statistics of one snapshot; without any before the table is there.

    Args:
        place: Where the table is.
        hours: The hours to look at, epoch ms; none given: all.

    Raises:
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata cannot be read.
    """
    with _explained(place):
        table = _load(place)
        snapshot = None if table is None else table.current_snapshot()
        if table is None or snapshot is None:
            return TableState()
        ids = _field_ids(table)
        wanted = set(hours)
        found = {
            hour: _stored_hour(place, hour, [task.file for task in tasks], ids)
            for hour, tasks in _tasks_by_hour(table, hours).items()
            if hour in wanted or not wanted
        }
    return TableState(snapshot.snapshot_id, dict(sorted(found.items())))


def stored_hours(place: TablePlace) -> list[int]:
    """Returns the starts (epoch ms) of the hours that were ever computed, oldest first.

    Raises:
        AggregatesUnavailable, AggregatesUnreadable: as `table_state`.
    """
    return list(table_state(place).hours)


def read_hour(place: TablePlace, hour_ms: int) -> HourAggregates | None:
    """Returns an hour's aggregates as a whole; None when it was never computed.

    Raises:
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata, or the hour's data file, cannot be read.
    """
    _, found = next(read_hours(place, [hour_ms]))
    if found is None:
        return None
    rows = pa.concat_tables([arrow_schema(place.aggregate).empty_table(), *found.pieces])
    return HourAggregates(hour_ms, rows, found.generation, found.computed_at_ms)


def read_hours(place: TablePlace, hours: Sequence[int]) -> Iterator[tuple[int, HourRows | None]]:
    """Yields the aggregates of hours as one snapshot has them, one at a time; None for one that was never computed.

    Raises:
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata cannot be read.
    """
    with _explained(place):
        table = _load(place)
        tasks = {} if table is None or not hours else _tasks_by_hour(table, hours)
        ids = {} if table is None else _field_ids(table)
    for hour in hours:
        if table is None or hour not in tasks:
            yield hour, None
        else:
            stored = _stored_hour(place, hour, [task.file for task in tasks[hour]], ids)
            pieces = _pieces(place, table, hour, tasks[hour])
            yield hour, HourRows(hour, stored.generation, stored.computed_at_ms, pieces)


def read_users(
    place: TablePlace, first_ms: int, last_ms: int, page: str | None = None, country: str | None = None
) -> Iterator[pa.RecordBatch]:
    """Streams what rows say of their users: hour, `unique_users`, `entering_users` and `users_sketch`.

    Args:
        place: Where the table is.
        first_ms: The first hour, epoch ms.
        last_ms: The last hour, included.
        page: Only rows of this page.
        country: Only rows of this country.

    Raises:
        AggregatesUnavailable: catalog or storage do not answer.
        AggregatesUnreadable: the table's metadata or a data file cannot be read.
    """
    from pyiceberg.expressions import EqualTo

    with _explained(place):
        table = _load(place)
        if table is None:
            return
        scan = table.scan(_between(first_ms, last_ms), selected_fields=USERS_COLUMNS).filter(
            f"{place.aggregate.always_set} IS NOT NULL"
        )
        for name, value in (("page", page), ("country", country)):
            if value is not None:  # not as text: it can be anything
                scan = scan.filter(EqualTo(name, value))  # pyright: ignore[reportCallIssue]  # its own __init__ is hidden
        yield from scan.to_arrow_batch_reader()


def _pieces(place: TablePlace, table: "Table", hour_ms: int, tasks: "Sequence[FileScanTask]") -> Iterator[pa.Table]:
    """The rows of an hour, a batch of a file after another."""
    from pyiceberg.expressions import AlwaysTrue
    from pyiceberg.io.pyarrow import ArrowScan

    schema = arrow_schema(place.aggregate)
    try:
        scan = ArrowScan(table.metadata, table.io, table.schema(), AlwaysTrue())
        for task in tasks:  # of several at once, it would hold all rows of all files
            for batch in scan.to_record_batches([task]):
                stored = pa.Table.from_batches([batch]).select(schema.names)
                rows = stored.filter(pc.field(place.aggregate.always_set).is_valid()).cast(schema)
                if rows.num_rows:
                    yield rows
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        with _explained(place):
            for task in tasks:
                _read_bytes(table, task.file.file_path)
        raise AggregatesUnreadable(_unreadable(hour_ms, tasks, error)) from error


def _read_bytes(table: "Table", path: str) -> None:
    """Reads a file without decoding it, which raises the error of an outage; a damaged file raises none."""
    try:
        with table.io.new_input(path).open() as file:
            file.read()
    except FileNotFoundError:
        return


def _unreadable(hour_ms: int, tasks: "Sequence[FileScanTask]", error: Exception) -> str:
    hour = datetime.fromtimestamp(hour_ms / 1000, UTC)
    return (
        f"The aggregates of {hour:%Y-%m-%dT%H:%MZ} are not as this platform writes them "
        f"({type(error).__name__}: {str(error)[:200]}; {tasks[0].file.file_path[:300]}). Compute the hour again "
        "(materialise url_country_aggregates for it, or `dataco backfill`): that replaces its files."
    )


def _catalog(place: TablePlace) -> "Catalog":
    return _loaded_catalog(replace(place, aggregate=PAGES))  # one for all tables


@cache  # keeps its connections, of which a database allows a limited number
def _loaded_catalog(place: TablePlace) -> "Catalog":
    from pyiceberg.catalog import load_catalog

    return load_catalog(place.catalog_name, **place.python_properties())


def _load(place: TablePlace) -> "Table | None":
    from pyiceberg.exceptions import NoSuchTableError

    if place.sqlite_file is not None and not Path(place.sqlite_file).exists():
        return None  # opening it would create it
    try:
        return _catalog(place).load_table(place.identifier)
    except NoSuchTableError:
        return None


def _create(catalog: "Catalog", place: TablePlace) -> "tuple[Table, bool]":
    """The table, and whether this call created it: another process may do so at the same moment."""
    from pyiceberg.exceptions import TableAlreadyExistsError
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import HourTransform

    schema = _iceberg_schema(place.aggregate)
    by_hour = PartitionField(schema.find_field("hour").field_id, 1000, HourTransform(), PARTITION)
    try:
        made = catalog.create_table(
            place.identifier,
            schema,
            location=place.table_location,
            partition_spec=PartitionSpec(by_hour),
            properties=place.table_properties,
        )
    except TableAlreadyExistsError:
        return catalog.load_table(place.identifier), False
    return made, True


def _iceberg_schema(aggregate: Aggregate) -> "Schema":
    """The columns of the registry; all may be null, because an hour's row without dimensions has no measures."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import NestedField

    numbers = count(1)  # of fields and buckets; Iceberg gives them anew when it creates the table
    return Schema(
        *(
            NestedField(
                next(numbers), column.name, _iceberg_type(column, numbers), required=False, doc=column.description
            )
            for column in aggregate.columns
        )
    )


def _add_missing_columns(table: "Table", place: TablePlace) -> None:
    known = {column.name for column in table.schema().fields}
    missing = [column for column in place.aggregate.columns if column.name not in known]
    if missing:
        with table.transaction() as change:
            change.set_properties(place.table_properties)
            with change.update_schema() as update:
                for column in missing:
                    update.add_column(column.name, _iceberg_type(column, count(1)), doc=column.description)


def _iceberg_type(column: Column, numbers: Iterator[int]) -> "IcebergType":
    from pyiceberg.types import BinaryType, DoubleType, LongType, NestedField, StringType, StructType, TimestamptzType

    if column.type == "histogram":
        buckets = (NestedField(next(numbers), bucket, LongType(), required=False) for bucket in column.buckets)
        return StructType(*buckets)
    types: dict[ColumnType, IcebergType] = {
        "timestamp": TimestamptzType(),
        "string": StringType(),
        "long": LongType(),
        "double": DoubleType(),
        "sketch": BinaryType(),
    }
    return types[column.type]


def _tasks_by_hour(table: "Table", hours: Iterable[int]) -> "dict[int, list[FileScanTask]]":
    """The data files of each hour (epoch ms), including other hours between the first and the last."""
    span = sorted(hours)
    scan = table.scan()
    if span:
        scan = scan.filter(_between(span[0], span[-1]))
    found: dict[int, list[FileScanTask]] = {}
    for task in scan.plan_files():
        found.setdefault(int(task.file.partition[0]) * HOUR_MS, []).append(task)
    return found


def _between(first_ms: int, last_ms: int) -> str:
    """The filter for hours from the first to the last, both included."""
    return f"hour >= '{_text(first_ms)}' and hour < '{_text(last_ms + HOUR_MS)}'"


def _text(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()


def _field_ids(table: "Table") -> dict[str, int]:
    return {column.name: column.field_id for column in table.schema().fields}


def _stored_hour(place: TablePlace, hour_ms: int, files: "Sequence[DataFile]", ids: dict[str, int]) -> StoredHour:
    def greatest(column: str) -> int:
        # Iceberg stores a bound of a long, or of a time in microseconds, as eight bytes, little-endian.
        return max(int.from_bytes(file.upper_bounds[ids[column]], "little", signed=True) for file in files)

    rows = sum(file.record_count - file.null_value_counts[ids[place.aggregate.always_set]] for file in files)
    return StoredHour(hour_ms, rows, greatest("generation"), greatest("computed_at") // 1000)


@contextmanager
def _explained(place: TablePlace) -> Iterator[None]:
    """Turns errors of catalog and storage into the table's.

    Raises:
        AggregatesUnavailable, AggregatesRefused, AggregatesUnreadable
    """
    from pyiceberg.exceptions import RESTError
    from requests import RequestException
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except FileNotFoundError as error:
        raise AggregatesUnreadable(
            f"A metadata file of {place} is gone: {str(error)[:300]}. Restore it from a backup, or point the catalog "
            "at the folder that holds it."
        ) from error
    except DBAPIError as error:
        raise failure(place.catalog_server, str(error.orig)) from error  # without the statement
    except (SQLAlchemyError, RESTError) as error:
        raise failure(place.catalog_server, f"{type(error).__name__}: {error}") from error
    except PermissionError as error:
        raise AggregatesRefused(
            f"{place.storage_server} refuses: {str(error)[:300]!a}. Correct the user or their rights."
        ) from error
    except RequestException as error:  # of a REST catalog, or of HDFS
        url = "" if error.request is None else str(error.request.url)
        of_catalog = place.is_rest and url.startswith(place.catalog)
        raise failure(place.catalog_server if of_catalog else place.storage_server, str(error)) from error
    except OSError as error:
        raise failure(place.storage_server, str(error)) from error
