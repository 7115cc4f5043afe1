"""What the aggregates' table holds, changed behind its back: damage, errors of another program, an older state.

Belongs here: finding an hour's data files, and rewriting them. Does not belong here: what a single test expects.
"""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.catalog import load_catalog
from pyiceberg.table import Table

from dataco_assets.aggregates.table import TablePlace


def iceberg_table(place: TablePlace) -> Table:
    """The table as pyiceberg sees it."""
    return load_catalog(place.catalog_name, **place.python_properties()).load_table(place.identifier)


def data_files(place: TablePlace, hour_ms: int) -> list[Path]:
    """The Parquet files that hold an hour now."""
    hour = datetime.fromtimestamp(hour_ms / 1000, UTC).isoformat()
    tasks = iceberg_table(place).scan(row_filter=f"hour = '{hour}'").plan_files()
    return [Path("/" + task.file.file_path.removeprefix("file:").lstrip("/")) for task in tasks]


def damage(place: TablePlace, hour_ms: int, content: bytes | None) -> Path:
    """Gives the hour's one data file another content, or none; returns which file it is."""
    (path,) = data_files(place, hour_ms)
    with suppress(FileNotFoundError):
        path.with_name(f".{path.name}.crc").unlink()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    return path


def tamper(place: TablePlace, hour_ms: int, column: str, value: object) -> None:
    """Gives all rows of an hour the same value in a column."""

    def changed(table: pa.Table) -> pa.Table:
        position = table.schema.get_field_index(column)
        field = table.schema.field(position)
        values = [None if held is None else value for held in table[column].to_pylist()]
        return table.set_column(position, field, pa.array(values, field.type))

    _rewrite(place, hour_ms, changed)


def drop_rows(place: TablePlace, hour_ms: int, column: str, value: str) -> None:
    """Takes the rows with a value away from an hour."""
    _rewrite(place, hour_ms, lambda table: table.filter(pc.fill_null(pc.not_equal(table[column], value), True)))  # pyright: ignore[reportAttributeAccessIssue]  # made at import


def drop_column(place: TablePlace, hour_ms: int, column: str) -> None:
    """Takes a column away from an hour's rows."""
    _rewrite(place, hour_ms, lambda table: table.drop_columns([column]))


def _rewrite(place: TablePlace, hour_ms: int, change: Callable[[pa.Table], pa.Table]) -> None:
    (path,) = data_files(place, hour_ms)
    sink = pa.BufferOutputStream()
    pq.write_table(change(pq.ParquetFile(path).read()), sink)
    damage(place, hour_ms, sink.getvalue().to_pybytes())


def snapshot_id(place: TablePlace) -> int:
    """The current snapshot."""
    snapshot = iceberg_table(place).current_snapshot()
    assert snapshot is not None
    return snapshot.snapshot_id


def show_snapshot(place: TablePlace, snapshot: int) -> None:
    """Makes readers see the table as it was."""
    iceberg_table(place).manage_snapshots().set_current_snapshot(snapshot).commit()
