"""Hours written by Spark are read back equal; a run's hours are replaced in one commit, or none of them."""

import re
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from datasketches import HLL_8, hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.columns import PAGES, SKETCH_LG_K
from dataco_assets.aggregates.contents import StoredHours
from dataco_assets.aggregates.failures import AggregatesUnavailable, AggregatesUnreadable
from dataco_assets.aggregates.reading import (
    HourAggregates,
    StoredHour,
    arrow_schema,
    ensure_table,
    read_hour,
    read_hours,
    stored_hours,
    table_state,
)
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets_tests.stored_aggregates import data_files, iceberg_table
from spark_resources import aggregates_table
from spark_resources.aggregates_table import AggregatesNotWritten, register, stored_aggregates, write_hours, writing

HOUR = 3_600_000
NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
COMPUTED_AT = 1_773_600_000_123
BROKEN = {
    "empty": b"",
    "text": b"not parquet at all",
    "torn": b"PAR1" + b"\0" * 40 + b"PAR1",
    "corrupt footer": b"PAR1" + b"\xff" * 40 + (40).to_bytes(4, "little") + b"PAR1",
}


FILLED = dict.fromkeys(BUCKETS, 0) | {"from_2000_ms": 1}
BUCKETS_FILLED = "named_struct(" + ", ".join(f"'{bucket}', {held}L" for bucket, held in FILLED.items()) + ")"


def sketch(users: int) -> bytes:
    """A sketch of that many users, the same ones in every sketch."""
    made = hll_sketch(SKETCH_LG_K, HLL_8)
    for user in range(users):
        made.update(f"user-{user}")
    return made.serialize_compact()


def aggregates(spark: SparkSession, counts: dict[int, list[int]], generation: int = 1) -> DataFrame:
    """Rows with the given click counts, by hour; page number n has the n-th count."""
    rows = [
        f"({hour}L, 'https://a.example/{n}', 'FR', {count}L, 1L, 1L, 2.5D, 1L, 2.5D, 1L, {count - 1}L, 0L, "
        f"{BUCKETS_FILLED}, X'{sketch(count).hex()}', 2L, {generation}L, {COMPUTED_AT}L)"
        for hour, of_hour in counts.items()
        for n, count in enumerate(of_hour)
    ] or [f"(0L, '', '', 0L, 0L, 0L, 0D, 0L, 0D, 0L, 0L, 0L, {BUCKETS_FILLED}, X'', 0L, 0L, 0L)"]
    names = ", ".join(column.name for column in PAGES.columns)
    frame = spark.sql(f"SELECT * FROM VALUES {', '.join(rows)} AS t({names})")  # noqa: S608  # numbers of this test
    times = {name: f"timestamp_millis({name}) AS {name}" for name in ("hour", "computed_at")}
    frame = frame.selectExpr(*[times.get(column.name, column.name) for column in PAGES.columns])
    return frame if any(counts.values()) else frame.where("false")


def write(
    spark: SparkSession,
    place: TablePlace,
    given: dict[int, list[int]],
    generation: int = 1,
    *,
    hours: list[int] | None = None,
    computed_at_ms: int = COMPUTED_AT,
) -> dict[int, aggregates_table.WrittenHour]:
    """Writes hours as a run does."""
    asked = hours or list(given)
    frame = aggregates(spark, given, generation)
    return write_hours(
        frame, asked, dict.fromkeys(asked, generation), place, "run", dict.fromkeys(asked, computed_at_ms)
    )


def stored(place: TablePlace, hour: int) -> HourAggregates:
    found = read_hour(place, hour)
    assert found is not None
    return found


def counts(place: TablePlace, hour: int) -> list[int]:
    return sorted(stored(place, hour).table["click_count"].to_pylist())


def snapshots(place: TablePlace) -> int:
    return len(iceberg_table(place).snapshots())


def make_place(folder: Path) -> TablePlace:
    # A Spark session holds one catalog of each name, and the tests share a session.
    return TablePlace(folder.as_uri(), catalog_name=f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture
def place(tmp_path: Path) -> TablePlace:
    return make_place(tmp_path / "a folder" / "aggregates")  # with a space: %20 in the URI, not on disk


def test_hours_come_back_as_they_were_written(spark: SparkSession, place: TablePlace, tmp_path: Path) -> None:
    hours = [NOON, NOON + HOUR, NOON + 36 * HOUR]
    written = write(spark, place, {NOON: [3, 4], NOON + 36 * HOUR: [5]}, 9, hours=hours)
    assert {hour: (each.rows, each.generation, each.kept) for hour, each in written.items()} == {
        NOON: (2, 9, False),
        NOON + HOUR: (0, 9, False),
        NOON + 36 * HOUR: (1, 9, False),
    }
    assert snapshots(place) == 1
    assert (tmp_path / "a folder" / "aggregates" / "catalog.db").is_file()
    assert stored_hours(place) == hours
    first = stored(place, NOON)
    assert (first.hour_ms, first.generation, first.computed_at_ms) == (NOON, 9, COMPUTED_AT)
    assert first.table.schema.equals(arrow_schema(PAGES))
    assert sorted(first.table.to_pylist(), key=lambda row: row["page"])[1] == {
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
        "time_spent_buckets": FILLED,
        "users_sketch": sketch(4),
        "bot_clicks": 2,
        "generation": 9,
        "computed_at": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=COMPUTED_AT),
    }


def test_spark_reads_back_what_is_stored(spark: SparkSession, place: TablePlace) -> None:
    hours = [NOON, NOON + HOUR, NOON + 2 * HOUR]
    given = {NOON: [3, 4], NOON + 2 * HOUR: [5]}
    write(spark, place, given, hours=hours)
    assert sorted(stored_aggregates(spark, place, hours).collect()) == sorted(aggregates(spark, given).collect())
    assert stored_aggregates(spark, place, [NOON + HOUR]).count() == 0


@pytest.mark.parametrize("name", ["work [2026]", "a{b,c}", "every*", "50%20off", "back\\slash", "später"])
def test_a_folder_of_any_name_is_read_as_it_was_written(spark: SparkSession, tmp_path: Path, name: str) -> None:
    """To Hadoop, many a character of a path is part of a pattern or of a URI."""
    place = make_place(tmp_path / name / "aggregates")
    write(spark, place, {NOON: [3, 4]})
    assert stored_aggregates(spark, place, [NOON]).count() == 2
    assert counts(place, NOON) == [3, 4]
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert {path.name for path in (tmp_path / name / "aggregates").iterdir()} == {"catalog.db", "clickstream"}


def test_the_queries_of_the_documentation_read_a_day_and_merge_sketches(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [3, 4], NOON + 36 * HOUR: [5]}, hours=[NOON, NOON + HOUR, NOON + 36 * HOUR])
    merging, query = re.findall(
        r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "hours.md").read_text(), re.DOTALL
    )
    for theirs, ours in {
        "/var/lib/dataco/aggregates": place.location.removeprefix("file://"),
        '"dataco"': repr(place.catalog_name),
        "2026-01-31": "2026-03-15",
        "2026-02-01": "2026-03-16",
    }.items():
        assert theirs in query
        query = query.replace(theirs, ours)
    found: dict[str, Any] = {}
    exec(query, found)  # noqa: S102  # the project's own documentation
    assert sorted(found["rows"]["click_count"].to_pylist()) == [3, 4]
    exec(merging, found)  # noqa: S102  # as above
    assert round(found["union"].get_estimate()) == 5


def test_an_hour_that_became_empty_remembers_its_generation(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]}, 4)
    write(spark, place, {}, 5, hours=[NOON], computed_at_ms=COMPUTED_AT + 1)
    found = stored(place, NOON)
    assert (found.table.num_rows, found.generation, found.computed_at_ms) == (0, 5, COMPUTED_AT + 1)
    assert found.table.schema.equals(arrow_schema(PAGES))


def test_an_hour_never_computed_is_told_from_an_empty_one(spark: SparkSession, place: TablePlace) -> None:
    assert read_hour(place, NOON) is None
    assert stored_hours(place) == []
    assert not Path(place.location.removeprefix("file://")).exists()  # reading makes nothing
    write(spark, place, {}, hours=[NOON])
    (first, empty), (second, never) = read_hours(place, [NOON, NOON + HOUR])
    assert (first, second) == (NOON, NOON + HOUR)
    assert (empty is not None, never is None) == (True, True)
    assert empty is not None
    assert list(empty.pieces) == []
    assert stored_hours(place) == [NOON]


def test_the_state_comes_from_statistics_alone(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1, 2, 3], NOON + 5 * HOUR: [4]}, 7)
    write(spark, place, {}, 8, hours=[NOON + HOUR])
    for hour in (NOON, NOON + HOUR, NOON + 5 * HOUR):
        for path in data_files(place, hour):
            path.unlink()
    assert table_state(place).hours == {
        NOON: StoredHour(NOON, 3, 7, COMPUTED_AT),
        NOON + HOUR: StoredHour(NOON + HOUR, 0, 8, COMPUTED_AT),
        NOON + 5 * HOUR: StoredHour(NOON + 5 * HOUR, 1, 7, COMPUTED_AT),
    }
    assert list(table_state(place, [NOON, NOON + 2 * HOUR]).hours) == [NOON]


def test_a_large_hour_is_read_in_pieces(spark: SparkSession, place: TablePlace) -> None:
    """So that whoever checks it holds a part of it at a time."""
    rows = 132_000
    hour = aggregates(spark, {NOON: [1]}).crossJoin(spark.range(rows).selectExpr("concat('p', id) AS numbered"))
    hour = hour.withColumn("page", hour["numbered"]).drop("numbered")
    write_hours(hour, [NOON], {NOON: 3}, place, "run", {NOON: COMPUTED_AT})
    ((_, found),) = read_hours(place, [NOON])
    assert found is not None
    assert found.origin == (3, COMPUTED_AT)
    pieces = [piece.num_rows for piece in found.pieces]
    assert sum(pieces) == rows
    assert max(pieces) <= 131_072
    stored = StoredHours(place, [NOON, NOON + HOUR]).read()
    assert (stored.totals[NOON].groups, stored.totals[NOON].clicks) == (rows, rows)
    assert (stored.origins, stored.missing) == ({NOON: (3, COMPUTED_AT)}, [NOON + HOUR])


def test_other_hours_are_left_alone(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1], NOON + HOUR: [2], NOON + 2 * HOUR: [3]})
    write(spark, place, {NOON: [7, 8], NOON + 2 * HOUR: [9]}, 2)
    assert [counts(place, NOON + n * HOUR) for n in range(3)] == [[7, 8], [2], [9]]


def test_many_hours_are_one_commit(spark: SparkSession, place: TablePlace) -> None:
    given = {NOON + n * HOUR: [n + 1] * 3 for n in range(50)}
    written = write(spark, place, given)
    assert {each.rows for each in written.values()} == {3}
    assert snapshots(place) == 1
    assert [counts(place, hour) for hour in given] == list(given.values())
    assert {len(data_files(place, hour)) for hour in given} == {1}


def test_a_run_of_many_hours_does_not_keep_a_file_open_for_each(spark: SparkSession, place: TablePlace) -> None:
    """With all of them open, the test's heap of 1 GB does not suffice."""
    hours = [NOON + number * HOUR for number in range(500)]

    written = write(spark, place, {NOON: [3]}, hours=hours)

    assert {hour: found.rows for hour, found in written.items()} == {hour: int(hour == NOON) for hour in hours}


def test_a_failing_aggregation_replaces_nothing(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]})
    hours = [NOON, NOON + HOUR]
    broken = aggregates(spark, {NOON: [2], NOON + HOUR: [3]}).selectExpr(
        "hour",
        "page",
        "country",
        "IF(click_count = 3, CAST(raise_error('boom') AS BIGINT), click_count) AS click_count",
        *[column.name for column in PAGES.columns[4:]],
    )
    with pytest.raises(Exception, match="boom"):
        write_hours(broken, hours, dict.fromkeys(hours, 2), place, "run-2", dict.fromkeys(hours, COMPUTED_AT))
    assert counts(place, NOON) == [1]
    assert stored_hours(place) == [NOON]


@pytest.mark.parametrize("newer_has_rows", [True, False])
@pytest.mark.parametrize("older_has_rows", [True, False])
def test_an_older_generation_never_replaces_a_newer_one(
    spark: SparkSession, place: TablePlace, newer_has_rows: bool, older_has_rows: bool
) -> None:
    write(spark, place, {NOON: [7, 8]} if newer_has_rows else {}, 12, hours=[NOON])
    before = read_hour(place, NOON)

    older = {NOON: [3], NOON + HOUR: [4]} if older_has_rows else {NOON + HOUR: [4]}
    written = write(spark, place, older, 9, hours=[NOON, NOON + HOUR], computed_at_ms=COMPUTED_AT + 1)

    assert read_hour(place, NOON) == before
    assert (written[NOON].generation, written[NOON].kept, written[NOON].rows) == (12, True, 2 if newer_has_rows else 0)
    assert (written[NOON + HOUR].generation, written[NOON + HOUR].kept) == (9, False)
    assert counts(place, NOON + HOUR) == [4]


@pytest.mark.parametrize("there_before", [True, False])
@pytest.mark.parametrize(("ours", "theirs", "winner"), [(5, 6, 6), (6, 5, 6), (5, 5, 5)])
def test_of_two_runs_that_meet_the_newer_generation_wins(
    spark: SparkSession,
    place: TablePlace,
    monkeypatch: pytest.MonkeyPatch,
    ours: int,
    theirs: int,
    winner: int,
    there_before: bool,
) -> None:
    """The other run commits when ours has read the generations and not yet written."""
    if there_before:
        write(spark, place, {NOON: [1], NOON + HOUR: [1]}, 1)
    once = _meet(monkeypatch, lambda: write(spark, place, {NOON: [theirs * 10]}, theirs))

    written = write(spark, place, {NOON: [ours * 10], NOON + HOUR: [3]}, ours)

    assert once == []
    assert (stored(place, NOON).generation, counts(place, NOON)) == (winner, [winner * 10])
    assert (written[NOON].generation, written[NOON].kept) == (winner, theirs > ours)
    assert (stored(place, NOON + HOUR).generation, counts(place, NOON + HOUR)) == (ours, [3])


def test_a_run_of_other_hours_that_commits_meanwhile_is_no_conflict(
    spark: SparkSession, place: TablePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(spark, place, {NOON: [1]})
    once = _meet(monkeypatch, lambda: write(spark, place, {NOON + HOUR: [2]}))
    write(spark, place, {NOON: [3]}, 2)
    assert once == []
    assert [counts(place, NOON), counts(place, NOON + HOUR)] == [[3], [2]]
    assert snapshots(place) == 3  # no second attempt


def _meet(monkeypatch: pytest.MonkeyPatch, other: Callable[[], object]) -> list[Callable[[], object]]:
    """Lets another run commit once, right before ours does; empty when it has."""
    waiting = [other]
    honest = aggregates_table._overwrite

    def overwrite(*arguments: Any) -> None:
        if waiting:
            waiting.pop()()
        honest(*arguments)

    monkeypatch.setattr(aggregates_table, "_overwrite", overwrite)
    return waiting


def test_many_runs_at_once_leave_the_newest_of_each_hour(spark: SparkSession, place: TablePlace) -> None:
    hours = [NOON, NOON + HOUR]
    write(spark, place, {}, 0, hours=hours)
    failed: list[BaseException] = []

    def run(generation: int) -> None:
        try:
            write(spark, place, {hour: [generation] for hour in hours}, generation)
        except BaseException as error:  # noqa: BLE001  # shown by the assertion
            failed.append(error)

    threads = [threading.Thread(target=run, args=(generation,)) for generation in (3, 1, 4, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [(stored(place, hour).generation, counts(place, hour)) for hour in hours] == [(4, [4])] * 2


def test_a_run_that_never_comes_through_gives_up(
    spark: SparkSession, place: TablePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregates_table, "MOST_ATTEMPTS", 2)

    def conflict(*_: object) -> None:
        raise aggregates_table.CommitConflict("Another commit was faster.")

    monkeypatch.setattr(aggregates_table, "_overwrite", conflict)
    with pytest.raises(AggregatesNotWritten, match=r"2 times"):
        write(spark, place, {NOON: [1]})


def test_a_commit_that_others_overtake_is_a_passing_error_of_whoever_commits(place: TablePlace) -> None:
    """Maintenance commits, too, and has no generations to read again."""
    said = "org.apache.iceberg.exceptions.CommitFailedException: Metadata file has been replaced"
    with pytest.raises(DatacoError, match="Another commit changed the same files") as raised, writing(place):
        raise PySparkException(said)
    assert raised.value.kind is ErrorKind.PASSING


@pytest.mark.parametrize("content", [*BROKEN.values(), None], ids=[*BROKEN.keys(), "gone"])
def test_a_damaged_hour_is_named_and_can_be_computed_again(
    spark: SparkSession, place: TablePlace, content: bytes | None
) -> None:
    write(spark, place, {NOON: [1], NOON + HOUR: [2]})
    (path,) = data_files(place, NOON)
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(AggregatesUnreadable, match=r"(?s)2026-03-15T12:00Z.*Compute the hour again") as raised:
        read_hour(place, NOON)
    assert path.name in str(raised.value)
    assert counts(place, NOON + HOUR) == [2]
    write(spark, place, {NOON: [5]}, 2)
    assert counts(place, NOON) == [5]


def test_a_lost_metadata_file_is_named(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]})
    for path in Path(place.table_location.removeprefix("file://"), "metadata").glob("*.avro"):
        path.unlink()
    with pytest.raises(AggregatesUnreadable, match=r"A metadata file of the table"):
        stored_hours(place)


def test_a_catalog_that_does_not_answer_is_an_outage(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").mkdir()  # no file that SQLite can open
    place = make_place(tmp_path)
    for use in (stored_hours, ensure_table):
        with pytest.raises(AggregatesUnavailable, match=r"DATACO_CATALOG_URI"):
            use(place)


def test_the_table_is_made_once(place: TablePlace) -> None:
    assert ensure_table(place) is True
    assert ensure_table(place) is False
    assert table_state(place).snapshot_id is None


def test_a_column_of_a_later_version_is_added_and_null_in_earlier_hours(spark: SparkSession, place: TablePlace) -> None:
    earlier = replace(PAGES, measures=tuple(column for column in PAGES.measures if column.name not in PAGES.later))
    frame = aggregates(spark, {NOON: [3]}).select(*[column.name for column in earlier.columns])
    write_hours(frame, [NOON], {NOON: 1}, replace(place, aggregate=earlier), "run", {NOON: COMPUTED_AT})
    assert ensure_table(place) is False
    (row,) = stored(place, NOON).table.to_pylist()
    assert (row["click_count"], [row[name] for name in PAGES.later]) == (3, [None] * len(PAGES.later))
    assert stored_aggregates(spark, place, [NOON]).collect()[0].asDict() == row | {
        name: row[name].replace(tzinfo=None) for name in ("hour", "computed_at")
    }
    write(spark, place, {NOON + HOUR: [2]})
    assert stored(place, NOON + HOUR).table["exits"].to_pylist() == [1]


def test_a_session_is_not_given_two_catalogs_of_one_name(spark: SparkSession, tmp_path: Path) -> None:
    first = make_place(tmp_path / "first")
    register(spark, first)
    with pytest.raises(ValueError, match=r"another catalog named"):
        register(spark, TablePlace((tmp_path / "second").as_uri(), catalog_name=first.catalog_name))


def test_no_text_of_clicks_stands_in_the_metadata(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]})
    folder = Path(place.table_location.removeprefix("file://"), "metadata")
    assert not [path for path in folder.iterdir() if b"a.example" in path.read_bytes()]
