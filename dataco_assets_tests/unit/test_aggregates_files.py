"""Hours written by Spark are read back equal; each is replaced whole, or not at all."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates import files
from dataco_assets.aggregates.columns import COLUMNS, LATER_COLUMNS
from spark_resources import aggregates_files
from spark_resources.aggregates_files import AggregatesNotWritten, stored_aggregates, write_hours

HOUR = 3_600_000
NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
COMPUTED_AT = 1_773_600_000_123
BROKEN = {
    "empty": b"",
    "text": b"not parquet at all",
    "torn": b"PAR1" + b"\0" * 40 + b"PAR1",
    "corrupt footer": b"PAR1" + b"\xff" * 40 + (40).to_bytes(4, "little") + b"PAR1",
}


def aggregates(spark: SparkSession, counts: dict[int, list[int]], generation: int = 1) -> DataFrame:
    """Rows with the given click counts, by hour; page number n has the n-th count."""
    rows = [
        f"({hour}L, 'https://a.example/{n}', 'FR', {count}L, 1L, 1L, 2.5D, 1L, 2.5D, 1L, {count - 1}L, 0L, "
        f"{generation}L, {COMPUTED_AT}L)"
        for hour, of_hour in counts.items()
        for n, count in enumerate(of_hour)
    ] or ["(0L, '', '', 0L, 0L, 0L, 0D, 0L, 0D, 0L, 0L, 0L, 0L, 0L)"]
    names = ", ".join(column.name for column in COLUMNS)
    frame = spark.sql(f"SELECT * FROM VALUES {', '.join(rows)} AS t({names})")  # noqa: S608  # numbers of this test
    times = {name: f"timestamp_millis({name}) AS {name}" for name in ("hour", "computed_at")}
    frame = frame.selectExpr(*[times.get(column.name, column.name) for column in COLUMNS])
    return frame if any(counts.values()) else frame.where("false")


def counts(uri: str, hour: int) -> list[int]:
    stored = files.read_hour(uri, hour)
    assert stored is not None
    return stored.table["click_count"].to_pylist()


def names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def set_age(folder: Path, seconds: float) -> None:
    changed = time.time() - seconds
    os.utime(folder, (changed, changed))


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return (tmp_path / "a folder" / "aggregates").as_uri()  # with a space: %20 in the URI, not on disk


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "a folder" / "aggregates"


def test_hours_come_back_as_they_were_written(spark: SparkSession, uri: str, root: Path) -> None:
    hours = [NOON, NOON + HOUR, NOON + 36 * HOUR]
    written = write_hours(
        aggregates(spark, {NOON: [3, 4], NOON + 36 * HOUR: [5]}, generation=9),
        hours,
        dict.fromkeys(hours, 9),
        uri,
        "run-1",
        computed_at_ms=COMPUTED_AT,
    )
    assert {hour: (file.rows, file.generation) for hour, file in written.items()} == {
        NOON: (2, 9),
        NOON + HOUR: (0, 9),
        NOON + 36 * HOUR: (1, 9),
    }
    assert written[NOON].uri == f"{uri}/2026-03-15T12/url_country.parquet"
    # Exactly these files: no checksum files, no staging, nothing of Spark's own.
    assert names(root) == {f"2026-03-{day}/url_country.parquet" for day in ("15T12", "15T13", "17T00")}
    assert files.stored_hours(uri) == hours
    first = files.read_hour(uri, NOON)
    assert first is not None
    assert (first.hour_ms, first.generation, first.computed_at_ms) == (NOON, 9, COMPUTED_AT)
    assert first.table.schema.equals(files.ARROW_SCHEMA)
    assert first.table.to_pylist()[1] == {
        "hour": datetime(2026, 3, 15, 12, tzinfo=UTC),
        "page": "https://a.example/1",
        "country": "FR",
        "click_count": 4,
        "unique_users": 1,
        "entering_users": 1,
        "time_spent_seconds_sum": 2.5,
        "time_spent_samples": 1,
        "average_time_spent_seconds": 2.5,
        "entries": 1,
        "exits": 3,
        "bounces": 0,
        "generation": 9,
        "computed_at": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=COMPUTED_AT),
    }


def test_spark_reads_back_what_is_stored(spark: SparkSession, uri: str) -> None:
    hours = [NOON, NOON + HOUR, NOON + 2 * HOUR]
    frame = aggregates(spark, {NOON: [3, 4], NOON + 2 * HOUR: [5]})
    write_hours(frame, hours, dict.fromkeys(hours, 1), uri, "run-1", COMPUTED_AT)
    stored = stored_aggregates(spark, uri, hours)
    assert sorted(stored.collect()) == sorted(frame.collect())
    assert stored_aggregates(spark, uri, [NOON + HOUR]).count() == 0


@pytest.mark.parametrize(
    "name",
    ["work [2026]", "a{b,c}", "every*", "what?", "50%20off", "back\\slash", "#1", "später"],
)
def test_a_folder_of_any_name_is_read_as_it_was_written(spark: SparkSession, tmp_path: Path, name: str) -> None:
    """To Hadoop, many a character of a path is part of a pattern or of a URI."""
    uri = (tmp_path / name / "aggregates").as_uri()
    frame = aggregates(spark, {NOON: [3, 4]})
    write_hours(frame, [NOON], {NOON: 1}, uri, "run-1", COMPUTED_AT)
    assert sorted(stored_aggregates(spark, uri, [NOON]).collect()) == sorted(frame.collect())
    assert counts(uri, NOON) == [3, 4]
    assert names(tmp_path) == {f"{name}/aggregates/2026-03-15T12/url_country.parquet"}


def test_staging_that_its_own_run_removes_meanwhile_is_no_error(
    spark: SparkSession, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between listing the staging folders and looking at one, the run it belongs to can end."""
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 1}, uri, "run-1", COMPUTED_AT)
    store = aggregates_files._store(uri)
    monkeypatch.setattr(store, "children", lambda _: ["gone"])
    store.remove_children_older_than(aggregates_files.STAGING, 0)
    assert counts(uri, NOON) == [1]


def test_the_files_hold_utc_timestamps(spark: SparkSession, uri: str, root: Path) -> None:
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 1}, uri, "run-1", computed_at_ms=COMPUTED_AT)
    schema = pq.read_schema(root / "2026-03-15T12" / files.FILE_NAME)
    assert str(schema.field("hour").type) == "timestamp[us, tz=UTC]"


def test_an_empty_hour_remembers_its_generation(spark: SparkSession, uri: str) -> None:
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 4}, uri, "run-1", computed_at_ms=COMPUTED_AT)
    write_hours(aggregates(spark, {}), [NOON], {NOON: 5}, uri, "run-2", computed_at_ms=COMPUTED_AT + 1)
    stored = files.read_hour(uri, NOON)
    assert stored is not None
    assert (stored.table.num_rows, stored.generation, stored.computed_at_ms) == (0, 5, COMPUTED_AT + 1)
    assert stored.table.schema.equals(files.ARROW_SCHEMA)


def test_an_hour_never_computed_is_none(uri: str) -> None:
    assert files.read_hour(uri, NOON) is None
    assert files.stored_hours(uri) == []
    assert list(files.read_hours(uri, [NOON, NOON + HOUR])) == [(NOON, None), (NOON + HOUR, None)]


def test_other_hours_are_left_alone(spark: SparkSession, uri: str) -> None:
    both = {NOON: [1], NOON + HOUR: [2]}
    write_hours(aggregates(spark, both), list(both), dict.fromkeys(both, 1), uri, "run-1", computed_at_ms=COMPUTED_AT)
    write_hours(aggregates(spark, {NOON: [7, 8]}), [NOON], {NOON: 2}, uri, "run-2", computed_at_ms=COMPUTED_AT)
    assert (counts(uri, NOON), counts(uri, NOON + HOUR)) == ([7, 8], [2])


def test_many_hours_have_one_file_each(spark: SparkSession, uri: str, root: Path) -> None:
    hours = [NOON + n * HOUR for n in range(50)]
    frame = aggregates(spark, {hour: [n + 1] * 3 for n, hour in enumerate(hours)}).repartition(7)
    written = write_hours(frame, hours, dict.fromkeys(hours, 1), uri, "run-1", computed_at_ms=COMPUTED_AT)
    assert {file.rows for file in written.values()} == {3}
    assert len(names(root)) == 50
    assert [counts(uri, hour) for hour in hours] == [[n + 1] * 3 for n in range(50)]


def test_hours_larger_than_what_is_read_at_once_stay_whole(
    spark: SparkSession, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SPLIT_ROWS", 3)
    monkeypatch.setattr(aggregates_files, "_tasks", lambda _: 1)  # all of them in one staged file
    given = {NOON: [1, 2, 3, 4, 5, 6, 7], NOON + HOUR: [8], NOON + 2 * HOUR: [9, 10], NOON + 3 * HOUR: [11, 12, 13, 14]}

    written = write_hours(aggregates(spark, given), list(given), dict.fromkeys(given, 1), uri, "run-1", COMPUTED_AT)

    assert {hour: file.rows for hour, file in written.items()} == {hour: len(of) for hour, of in given.items()}
    assert {hour: counts(uri, hour) for hour in given} == given


def test_a_failing_aggregation_replaces_nothing(spark: SparkSession, uri: str, root: Path) -> None:
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 1}, uri, "run-1", computed_at_ms=COMPUTED_AT)
    hours = [NOON, NOON + HOUR]
    broken = aggregates(spark, {NOON: [2], NOON + HOUR: [3]}).selectExpr(
        "hour",
        "page",
        "country",
        "IF(click_count = 3, CAST(raise_error('boom') AS BIGINT), click_count) AS click_count",
        *[column.name for column in COLUMNS[4:]],
    )
    with pytest.raises(Exception, match="boom"):
        write_hours(broken, hours, dict.fromkeys(hours, 2), uri, "run-2", computed_at_ms=COMPUTED_AT)
    assert counts(uri, NOON) == [1]
    assert names(root) == {"2026-03-15T12/url_country.parquet"}


def test_an_hour_not_asked_for_replaces_nothing(spark: SparkSession, uri: str) -> None:
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 1}, uri, "run-1", computed_at_ms=COMPUTED_AT)
    with pytest.raises(AggregatesNotWritten, match=r"Nothing was replaced"):
        write_hours(
            aggregates(spark, {NOON: [2], NOON + HOUR: [3]}), [NOON], {NOON: 2}, uri, "r2", computed_at_ms=COMPUTED_AT
        )
    assert counts(uri, NOON) == [1]


def test_a_run_killed_between_two_hours_leaves_each_hour_whole(
    spark: SparkSession, uri: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = [NOON, NOON + HOUR]
    old, new = {hour: [1, 1] for hour in hours}, {hour: [2, 2, 2] for hour in hours}
    write_hours(aggregates(spark, old), hours, dict.fromkeys(hours, 1), uri, "run-1", computed_at_ms=COMPUTED_AT)
    replace = os.replace
    done: list[object] = []

    def killed_at_the_second(source: Any, target: Any) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(target)
        replace(source, target)

    monkeypatch.setattr(aggregates_files.os, "replace", killed_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        write_hours(aggregates(spark, new), hours, dict.fromkeys(hours, 2), uri, "run-2", computed_at_ms=COMPUTED_AT)
    assert (counts(uri, NOON), counts(uri, NOON + HOUR)) == ([2, 2, 2], [1, 1])
    assert len(names(root)) == 2


def test_only_stale_staging_of_other_runs_is_removed(spark: SparkSession, uri: str, root: Path) -> None:
    for name, age in (("crashed", 25 * 3600), ("running", 3600)):
        folder = root / "_staging" / name
        folder.mkdir(parents=True)
        set_age(folder, age)
    write_hours(aggregates(spark, {NOON: [1]}), [NOON], {NOON: 1}, uri, "run-1", computed_at_ms=COMPUTED_AT)
    assert {path.name for path in (root / "_staging").iterdir()} == {"running"}


def test_what_is_not_an_hour_is_not_listed(uri: str, root: Path) -> None:
    for name in ("_staging", "2026-03-15T12", "2026-13-15T12", "notes"):
        (root / name).mkdir(parents=True)
    assert files.stored_hours(uri) == [NOON]


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named(uri: str, root: Path, content: bytes) -> None:
    folder = root / "2026-03-15T12"
    folder.mkdir(parents=True)
    (folder / files.FILE_NAME).write_bytes(content)
    with pytest.raises(files.AggregatesUnreadable, match=r"2026-03-15T12/url_country\.parquet"):
        files.read_hour(uri, NOON)


def test_a_parquet_file_of_another_kind_is_named(uri: str, root: Path) -> None:
    folder = root / "2026-03-15T12"
    folder.mkdir(parents=True)
    pq.write_table(files.ARROW_SCHEMA.empty_table(), folder / files.FILE_NAME)  # without the metadata
    with pytest.raises(files.AggregatesUnreadable, match=r"generation"):
        files.read_hour(uri, NOON)


@pytest.mark.parametrize("rows", [1, 0], ids=["clicks", "no clicks"])
def test_a_file_of_an_older_layout_names_the_column_and_the_way_out(uri: str, root: Path, rows: int) -> None:
    row = {field.name: {"string": "x", "double": 0.0}.get(str(field.type), 0) for field in files.ARROW_SCHEMA}
    table = pa.Table.from_pylist([row] * rows, schema=files.ARROW_SCHEMA).drop_columns(["entering_users"])
    folder = root / "2026-03-15T12"
    folder.mkdir(parents=True)
    pq.write_table(table, folder / files.FILE_NAME)
    with pytest.raises(files.AggregatesUnreadable, match=r"entering_users.*Compute the hour again"):
        files.read_hour(uri, NOON)


def test_an_hour_computed_before_there_were_visits_is_read_without_them(
    spark: SparkSession, uri: str, root: Path
) -> None:
    write_hours(aggregates(spark, {NOON: [3]}), [NOON], {NOON: 1}, uri, "run", computed_at_ms=COMPUTED_AT)
    path = root / "2026-03-15T12" / files.FILE_NAME
    pq.write_table(pq.read_table(path).drop_columns(sorted(LATER_COLUMNS)), path)
    stored = files.read_hour(uri, NOON)
    assert stored is not None
    (row,) = stored.table.to_pylist()
    assert (row["click_count"], [row[name] for name in LATER_COLUMNS]) == (3, [None] * len(LATER_COLUMNS))
    assert stored_aggregates(spark, uri, [NOON]).collect()[0].asDict() == row | {
        name: row[name].replace(tzinfo=None) for name in ("hour", "computed_at")
    }


@pytest.mark.parametrize("run_id", ["", "..", "a/b", "../../x", "x" * 201])
def test_a_run_id_cannot_leave_the_staging_folder(spark: SparkSession, uri: str, run_id: str) -> None:
    with pytest.raises(ValueError, match=r"staging"):
        write_hours(aggregates(spark, {}), [NOON], {NOON: 1}, uri, run_id, computed_at_ms=COMPUTED_AT)


@pytest.mark.parametrize("newer_has_rows", [True, False])
@pytest.mark.parametrize("older_has_rows", [True, False])
def test_an_older_generation_never_replaces_a_newer_one(
    spark: SparkSession, uri: str, newer_has_rows: bool, older_has_rows: bool
) -> None:
    newer = {NOON: [7, 8]} if newer_has_rows else {}
    write_hours(aggregates(spark, newer, 12), [NOON], {NOON: 12}, uri, "newer", computed_at_ms=COMPUTED_AT)
    before = files.read_hour(uri, NOON)

    older = {NOON: [3], NOON + HOUR: [4]} if older_has_rows else {NOON + HOUR: [4]}
    hours = [NOON, NOON + HOUR]
    frame = aggregates(spark, older, 9)
    written = write_hours(frame, hours, dict.fromkeys(hours, 9), uri, "older", computed_at_ms=COMPUTED_AT + 1)

    assert files.read_hour(uri, NOON) == before
    assert (written[NOON].generation, written[NOON].kept, written[NOON].rows) == (12, True, 2 if newer_has_rows else 0)
    assert (written[NOON + HOUR].generation, written[NOON + HOUR].kept) == (9, False)
    assert counts(uri, NOON + HOUR) == [4], "the other hours of the run are replaced"


def test_the_same_generation_computed_again_replaces(spark: SparkSession, uri: str) -> None:
    for count in (3, 4):
        frame = aggregates(spark, {NOON: [count]}, 5)
        write_hours(frame, [NOON], {NOON: 5}, uri, f"run-{count}", computed_at_ms=COMPUTED_AT)
    assert counts(uri, NOON) == [4]
    assert files.stored_generation(uri, NOON) == 5


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_an_unreadable_file_has_no_generation_and_is_replaced(
    spark: SparkSession, uri: str, root: Path, content: bytes
) -> None:
    file = root / "2026-03-15T12" / files.FILE_NAME
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert files.stored_generation(uri, NOON) is None
    write_hours(aggregates(spark, {NOON: [3]}), [NOON], {NOON: 1}, uri, "run", computed_at_ms=COMPUTED_AT)
    assert counts(uri, NOON) == [3]
