"""The aggregates' table where it can be in production: Spark writes it and Python reads it, on the real servers.

S3, PostgreSQL and the REST catalog are servers of this module's own; HDFS is the stack's.
"""

import os
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.aggregates import storage
from dataco_assets.aggregates.columns import PAGES, Column
from dataco_assets.aggregates.failures import AggregatesRefused, AggregatesUnavailable
from dataco_assets.aggregates.reading import TableState, ensure_table, read_hour, stored_hours, table_state
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.errors import ErrorKind
from dataco_assets_tests import rest_catalog
from dataco_assets_tests.postgres import PASSWORD, USER, Postgres, needs_postgres, running_postgres
from dataco_assets_tests.rest_catalog import RestCatalog, running_rest_catalog
from dataco_assets_tests.s3 import S3, running_s3, use_credentials
from dataco_assets_tests.stored_aggregates import iceberg_table
from local_stack.ports import LOOPBACK, choose
from local_stack.stack import Stack
from spark_resources import aggregates_table
from spark_resources.aggregates_maintenance import maintain
from spark_resources.aggregates_table import WrittenHour, write_hours

HOUR = 3_600_000
NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
NOW = NOON + 1000 * HOUR
PATIENCE_SECONDS = 40.0
"""More than any of the time limits that are set; without them, each of these clients waits for minutes or for ever."""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with running_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def rest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestCatalog]:
    with running_rest_catalog(tmp_path_factory.mktemp("rest catalog")) as server:
        yield server


@pytest.fixture(autouse=True)
def credentials(spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> None:
    use_credentials(spark, monkeypatch)


def on_s3(server: S3, folder: Path, scheme: str = "s3", bucket: str | None = None) -> TablePlace:
    if bucket is None:
        bucket = f"aggregates-{uuid.uuid4().hex[:8]}"
        server.create_bucket(bucket)
    return TablePlace(
        f"{scheme}://{bucket}/a folder",
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        catalog_name=f"t{uuid.uuid4().hex[:8]}",
        s3_endpoint=server.endpoint,
    )


def on_hdfs(stack: Stack, folder: Path) -> TablePlace:

    return TablePlace(
        f"hdfs://{LOOPBACK}:{stack.port('namenode.rpc')}/{uuid.uuid4().hex[:8]}/a folder",
        catalog_uri=f"sqlite:///{folder}/catalog.db",
        catalog_name=f"t{uuid.uuid4().hex[:8]}",
        webhdfs_url=f"http://{LOOPBACK}:{stack.port('namenode.http')}",
    )


def in_postgres(server: Postgres, folder: Path, password: str = PASSWORD) -> TablePlace:
    return TablePlace(
        (folder / "aggregates").as_uri(),
        catalog_uri=server.address,
        catalog_name=f"t{uuid.uuid4().hex[:8]}",
        username=USER,
        password=password,
    )


def in_rest(server: RestCatalog, folder: Path, user: str = rest_catalog.USER) -> TablePlace:
    """The one table of that name that a REST catalog has: all tests of this module share it."""
    return TablePlace(
        (folder / "aggregates").as_uri(),
        catalog_uri=server.address,
        catalog_name=f"t{uuid.uuid4().hex[:8]}",
        username=user,
        password=rest_catalog.PASSWORD,
    )


@pytest.fixture(params=["s3", "s3a", "hdfs", "rest", pytest.param("postgres", marks=needs_postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path, stack: Stack) -> TablePlace:
    """A table that is not there yet, in each of the places."""
    if request.param == "hdfs":
        return on_hdfs(stack, tmp_path)
    if request.param == "rest":
        return in_rest(request.getfixturevalue("rest"), tmp_path)
    if request.param == "postgres":
        return in_postgres(request.getfixturevalue("postgres"), tmp_path)
    return on_s3(request.getfixturevalue("s3"), tmp_path, request.param)


def rows(spark: SparkSession, clicks: dict[int, list[int]], generation: int) -> DataFrame:
    """Aggregates with these clicks, by hour; of page number n the n-th."""
    values = {"hour": "timestamp_millis(hour) AS hour", "computed_at": f"timestamp_millis({NOW}L) AS computed_at"}
    values |= {"page": "page", "country": "'FR' AS country", "click_count": "click_count"}
    values |= {"generation": f"{generation}L AS generation"}
    made = [(hour, f"https://a.example/{n}", count) for hour, each in clicks.items() for n, count in enumerate(each)]
    frame = spark.createDataFrame(made, "hour bigint, page string, click_count bigint")
    return frame.selectExpr(*[values.get(each.name, f"{one(each)} AS {each.name}") for each in PAGES.columns])


def one(column: Column) -> str:
    """SQL of a value of a column, 1 wherever it can be."""
    if column.type == "histogram":
        return "named_struct(" + ", ".join(f"'{bucket}', 1L" for bucket in column.buckets) + ")"
    return "X'01'" if column.type == "sketch" else f"CAST(1 AS {column.sql_type})"


def write(
    spark: SparkSession, place: TablePlace, clicks: dict[int, list[int]], generation: int
) -> dict[int, WrittenHour]:
    frame = rows(spark, clicks, generation)
    return write_hours(frame, list(clicks), dict.fromkeys(clicks, generation), place, "run", dict.fromkeys(clicks, NOW))


def clicks(place: TablePlace, hour: int) -> list[int]:
    found = read_hour(place, hour)
    assert found is not None
    return sorted(found.table["click_count"].to_pylist())


def within_patience(use: Callable[[], object], error: type[Exception]) -> Exception:
    """The error that a use ends with, soon enough."""
    started = time.monotonic()
    with pytest.raises(error) as raised:
        use()
    assert time.monotonic() - started < PATIENCE_SECONDS
    return raised.value


def test_hours_that_spark_writes_are_read_by_python_and_maintained(spark: SparkSession, place: TablePlace) -> None:
    assert stored_hours(place) == []
    write(spark, place, {NOON: [3, 4], NOON + HOUR: [5]}, 1)
    assert stored_hours(place) == [NOON, NOON + HOUR]
    assert clicks(place, NOON) == [3, 4]
    write(spark, place, {NOON: [6]}, 3)
    (kept,) = write(spark, place, {NOON: [7]}, 2).values()
    assert (kept.kept, kept.generation) == (True, 3)
    done = maintain(
        spark,
        place,
        now_ms=int(time.time() * 1000) + 1000,
        snapshot_retention=timedelta(0),
        orphan_retention=timedelta(days=2),
    )
    assert done.removed_data_files == 1
    assert (clicks(place, NOON), clicks(place, NOON + HOUR)) == ([6], [5])


def test_the_files_are_on_s3(spark: SparkSession, s3: S3, tmp_path: Path) -> None:
    place = on_s3(s3, tmp_path)
    write(spark, place, {NOON: [3]}, 1)
    bucket = place.warehouse.split("/")[2]
    assert re.search(r"<Key>a folder/clickstream/\S+/data/\S+\.parquet</Key>", s3.keys(bucket))
    assert not (tmp_path / "aggregates").exists()


def test_the_files_are_on_hdfs(spark: SparkSession, stack: Stack, tmp_path: Path) -> None:
    place = on_hdfs(stack, tmp_path)
    write(spark, place, {NOON: [3]}, 1)
    folder = place.table_location.partition(f":{stack.port('namenode.rpc')}")[2]
    url = f"{place.webhdfs_url}/webhdfs/v1{folder}/data?op=LISTSTATUS"
    listed = requests.get(url, timeout=10).json()["FileStatuses"]["FileStatus"]
    assert [each["pathSuffix"] for each in listed] == ["hour_hour=2026-03-15-12"]


@needs_postgres
def test_the_catalog_is_in_postgres(spark: SparkSession, postgres: Postgres, tmp_path: Path) -> None:
    place = in_postgres(postgres, tmp_path)
    write(spark, place, {NOON: [3]}, 1)
    query = f"SELECT table_namespace, table_name FROM iceberg_tables WHERE catalog_name = '{place.catalog_name}'"  # noqa: S608  # a name of this test
    assert postgres.query(query).strip() == "clickstream|url_country_aggregates"


def test_a_rest_catalog_that_is_away_is_an_outage(
    spark: SparkSession, rest: RestCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = in_rest(rest, tmp_path)
    write(spark, place, {NOON + 9 * HOUR: [3]}, 1)

    def away_afterwards(place: TablePlace, hours: list[int]) -> TableState:
        found = table_state(place, hours)
        rest.stop()
        return found

    try:
        with monkeypatch.context() as patch:
            patch.setattr(aggregates_table, "table_state", away_afterwards)
            of_spark = within_patience(lambda: write(spark, place, {NOON + 9 * HOUR: [4]}, 2), AggregatesUnavailable)
        of_python = within_patience(lambda: stored_hours(place), AggregatesUnavailable)
    finally:
        rest.start()
    assert clicks(place, NOON + 9 * HOUR) == [3]
    for error in (of_spark, of_python):
        assert rest.address in str(error)
    assert rest_catalog.PASSWORD not in f"{of_spark} {of_python} {place!r} {place}"


def test_a_rest_catalog_that_takes_a_request_and_does_not_answer_is_an_outage(
    rest: RestCatalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = in_rest(rest, tmp_path)
    monkeypatch.setattr(storage, "ANSWER_SECONDS", 1)
    with rest.suspended():
        error = within_patience(lambda: stored_hours(place), AggregatesUnavailable)
    assert rest.address in str(error)


def test_a_user_whom_a_rest_catalog_refuses_needs_a_person(
    spark: SparkSession, rest: RestCatalog, tmp_path: Path
) -> None:
    place = in_rest(rest, tmp_path, user="stranger")
    assert rest.address in str(within_patience(lambda: stored_hours(place), AggregatesRefused))
    aggregates_table.register(spark, place)
    with pytest.raises(AggregatesRefused), aggregates_table.writing(place):
        spark.read.table(place.name_in_spark).collect()


@pytest.mark.parametrize("use", [stored_hours, ensure_table])
def test_s3_that_is_away_is_an_outage(use: Callable[[TablePlace], object], spark: SparkSession, tmp_path: Path) -> None:
    with running_s3(tmp_path) as server:
        place = on_s3(server, tmp_path)
        write(spark, place, {NOON: [3]}, 1)
        server.stop()
        error = within_patience(lambda: use(place), AggregatesUnavailable)
    assert f"DATACO_S3_ENDPOINT={server.endpoint}" in str(error)


def test_s3_that_goes_away_while_spark_writes_is_an_outage(spark: SparkSession, tmp_path: Path) -> None:
    with running_s3(tmp_path) as server:
        place = on_s3(server, tmp_path)
        ensure_table(place)
        frame = rows(spark, {NOON: [3]}, 1).withColumn("country", _killing(server.pid)(F.col("country")))
        write_it = lambda: write_hours(frame, [NOON], {NOON: 1}, place, "run", {NOON: NOW})  # noqa: E731
        error = within_patience(write_it, AggregatesUnavailable)
    assert f"DATACO_S3_ENDPOINT={server.endpoint}" in str(error)


def _killing(pid: int) -> Callable[..., F.Column]:  # type: ignore[name-defined]
    def kill(value: str) -> str:
        os.kill(pid, signal.SIGKILL)
        return value

    return F.udf(kill, "string").asNondeterministic()


def test_a_bucket_that_is_not_there_needs_a_person(s3: S3, tmp_path: Path) -> None:
    place = on_s3(s3, tmp_path, bucket="no-such-bucket")
    error = within_patience(lambda: ensure_table(place), AggregatesRefused)
    assert "s3://no-such-bucket/a folder" in str(error)
    assert AggregatesRefused.kind is ErrorKind.PERMANENT


def test_hdfs_that_is_away_is_an_outage_for_python(tmp_path: Path) -> None:
    port = choose(["namenode"])["namenode"]
    place = TablePlace(
        f"hdfs://{LOOPBACK}:{port}/folder",
        catalog_uri=f"sqlite:///{tmp_path}/catalog.db",
        webhdfs_url=f"http://{LOOPBACK}:{port}",
    )
    error = within_patience(lambda: ensure_table(place), AggregatesUnavailable)
    assert f"DATACO_WEBHDFS_URL=http://{LOOPBACK}:{port}" in str(error)


def test_hdfs_that_is_away_is_an_outage_for_spark(spark: SparkSession, stack: Stack, tmp_path: Path) -> None:
    """The table is on the stack's HDFS, but its data files would go to one that is not there."""
    place = on_hdfs(stack, tmp_path)
    ensure_table(place)
    port = choose(["namenode"])["namenode"]
    with iceberg_table(place).transaction() as change:
        change.set_properties({"write.data.path": f"hdfs://{LOOPBACK}:{port}/data"})
    error = within_patience(lambda: write(spark, place, {NOON: [3]}, 1), AggregatesUnavailable)
    assert place.warehouse in str(error)
    assert f"localhost:{port}" in str(error), "as Hadoop's client calls it"


@needs_postgres
def test_postgres_that_is_away_is_an_outage(
    spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with running_postgres() as server:
        place = in_postgres(server, tmp_path)
        write(spark, place, {NOON: [3]}, 1)

        def away_afterwards(place: TablePlace, hours: list[int]) -> TableState:
            found = table_state(place, hours)
            server.stop()
            return found

        with monkeypatch.context() as patch:
            patch.setattr(aggregates_table, "table_state", away_afterwards)
            of_spark = within_patience(lambda: write(spark, place, {NOON: [4]}, 2), AggregatesUnavailable)
        of_python = within_patience(lambda: stored_hours(place), AggregatesUnavailable)
        server.start()
        assert clicks(place, NOON) == [3]
        write(spark, place, {NOON: [4]}, 2)
        assert clicks(place, NOON) == [4]
    for error in (of_spark, of_python):
        assert server.address in str(error)
    assert PASSWORD not in f"{of_spark} {of_python} {place!r} {place} {caplog.text}"


@needs_postgres
def test_a_wrong_password_needs_a_person_and_is_not_shown(
    spark: SparkSession, postgres: Postgres, tmp_path: Path
) -> None:
    ensure_table(in_postgres(postgres, tmp_path))
    wrong = "a-wrong-passw0rd"
    place = in_postgres(postgres, tmp_path, password=wrong)
    error = within_patience(lambda: stored_hours(place), AggregatesRefused)
    assert "password authentication failed" in str(error)
    assert wrong not in f"{error}"
    aggregates_table.register(spark, place)
    with pytest.raises(AggregatesRefused) as raised, aggregates_table.writing(place):
        spark.read.table(place.name_in_spark).collect()
    assert wrong not in str(raised.value)


@needs_postgres
def test_spark_shows_no_password_among_its_settings(spark: SparkSession, postgres: Postgres, tmp_path: Path) -> None:
    place = in_postgres(postgres, tmp_path)
    aggregates_table.register(spark, place)
    shown = [" ".join(map(str, row)) for row in spark.sql("SET").collect() if place.catalog_name in row[0]]
    assert any("jdbc.password" in line for line in shown)
    assert not [line for line in shown if PASSWORD in line]
