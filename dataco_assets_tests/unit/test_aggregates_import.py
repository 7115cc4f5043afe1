"""The hourly Parquet files of earlier versions are taken over into the table."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.reading import StoredHour, arrow_schema, read_hour, table_state
from dataco_assets.aggregates.table import TablePlace
from spark_resources.aggregates_import import Imported, ImportRefused, import_hours

HOUR = 3_600_000
NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
COMPUTED_AT = 1_773_600_000_123


SCHEMA = arrow_schema(PAGES)
NEVER_IN_FILES = frozenset(column.name for column in PAGES.columns if column.since_layout > 3)


def old_hour(folder: Path, hour: int, rows: int, generation: int, *, without: frozenset[str] = NEVER_IN_FILES) -> None:
    """Writes an hour's file as earlier versions did."""
    values = {"string": "x", "double": 1.0, "int64": 1}
    row = {field.name: values.get(str(field.type), 0) for field in SCHEMA}
    row |= dict.fromkeys(NEVER_IN_FILES) | {
        "hour": datetime.fromtimestamp(hour / 1000, UTC),
        "generation": generation,
        "computed_at": datetime.fromtimestamp(COMPUTED_AT / 1000, UTC),
    }
    table = pa.Table.from_pylist(
        [row | {"page": f"https://a.example/{n}"} for n in range(rows)], schema=arrow_schema(PAGES)
    )
    metadata = {} if rows else {"dataco.generation": str(generation), "dataco.computed_at_ms": str(COMPUTED_AT)}
    path = folder / datetime.fromtimestamp(hour / 1000, UTC).strftime("%Y-%m-%dT%H") / "url_country.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(table.drop_columns(sorted(without)).replace_schema_metadata(metadata), path)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return tmp_path / "work [2026]"


@pytest.fixture
def place(old: Path) -> TablePlace:
    # As after an upgrade whose settings stay as they are: the table is made in the folder of the old files.
    return TablePlace(old.as_uri(), catalog_name=f"t{uuid.uuid4().hex[:12]}")


def test_hours_are_taken_over_and_columns_that_did_not_exist_are_null(
    spark: SparkSession, old: Path, place: TablePlace
) -> None:
    old_hour(old, NOON, 3, 7)
    old_hour(old, NOON + HOUR, 0, 8)
    old_hour(old, NOON + 30 * HOUR, 2, 9, without=PAGES.later)
    before = {path: path.read_bytes() for path in old.rglob("*.parquet")}

    assert import_hours(spark, place, old) == Imported(taken=3, kept=0)

    hours = [
        StoredHour(NOON, 3, 7, COMPUTED_AT),
        StoredHour(NOON + HOUR, 0, 8, COMPUTED_AT),
        StoredHour(NOON + 30 * HOUR, 2, 9, COMPUTED_AT),
    ]
    assert list(table_state(place).hours.values()) == hours
    empty, earlier = read_hour(place, NOON + HOUR), read_hour(place, NOON + 30 * HOUR)
    assert empty is not None
    assert earlier is not None
    assert (empty.generation, empty.computed_at_ms) == (8, COMPUTED_AT)
    assert (earlier.generation, earlier.computed_at_ms) == (9, COMPUTED_AT)
    for row in earlier.table.to_pylist():
        assert (row["click_count"], {row[name] for name in PAGES.later}) == (1, {None})
    assert {path: path.read_bytes() for path in before} == before
    assert import_hours(spark, place, old) == Imported(taken=3, kept=0)  # again: the same
    assert list(table_state(place).hours.values()) == hours


def test_an_hour_computed_since_is_left(spark: SparkSession, old: Path, place: TablePlace) -> None:
    old_hour(old / "newer", NOON, 5, 12)
    old_hour(old / "older", NOON, 1, 11)
    old_hour(old / "older", NOON + HOUR, 1, 11)
    import_hours(spark, place, old / "newer")
    assert import_hours(spark, place, old / "older") == Imported(taken=1, kept=1)
    assert table_state(place).hours[NOON] == StoredHour(NOON, 5, 12, COMPUTED_AT)


def test_a_folder_without_such_files_is_refused(spark: SparkSession, old: Path, place: TablePlace) -> None:
    with pytest.raises(ImportRefused, match=r"holds no aggregates"):
        import_hours(spark, place, old)


def test_a_file_that_is_none_is_named_and_nothing_is_imported(
    spark: SparkSession, old: Path, place: TablePlace
) -> None:
    old_hour(old, NOON, 1, 1)
    old_hour(old, NOON + HOUR, 1, 1, without=frozenset({"entering_users"}))
    with pytest.raises(ImportRefused, match=r"2026-03-15T13.*lacks entering_users.*Nothing was imported"):
        import_hours(spark, place, old)
    assert table_state(place).hours == {}
