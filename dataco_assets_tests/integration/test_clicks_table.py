"""Tests that Spark reads the clicks of the requested times from HBase, and no others."""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import happybase
import pytest
from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, scan_span
from dataco_assets.clicks.row import TABLE_FAMILIES, row_key, split_keys
from dataco_assets.errors import ErrorKind
from dataco_assets_tests import oracle
from dataco_assets_tests.oracle import OracleClick
from local_stack.stack import Stack
from spark_resources.aggregation import aggregate, measured
from spark_resources.clicks_admin import ClicksTable, ClicksTableMissing, clicks_admin
from spark_resources.clicks_table import counted, read_clicks
from spark_resources.hbase_client import ClicksTableError, ClicksTableUnavailable, scanning
from spark_resources.row_counts import count_rows

pytestmark = pytest.mark.stack

NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
HALF_HOUR = HOUR_MS // 2
TTL = 90 * 24 * 3600


@contextmanager
def gateway(stack: Stack) -> Iterator[happybase.Connection]:
    """A new connection for each use, because the gateway drops idle ones."""
    env = stack.env()
    connection = happybase.Connection(
        env["DATACO_HBASE_THRIFT_HOST"], int(env["DATACO_HBASE_THRIFT_PORT"]), timeout=30_000
    )
    try:
        yield connection
    finally:
        connection.close()


@pytest.fixture(scope="module")
def clicks() -> list[OracleClick]:
    """Clicks over twelve hours, some of them exactly on the edges of hours."""
    chance = random.Random(20260315)
    made: list[OracleClick] = []
    for number in range(6_000):
        user = f"user-{chance.randrange(300)}"
        edge = chance.random() < 0.05
        time = NOON + (chance.randrange(13) * HOUR_MS - chance.randrange(2) if edge else chance.randrange(12 * HOUR_MS))
        page = f"https://é.example/{chance.randrange(8)}"
        country = chance.choice(["FR", "DE", None])
        made.append(OracleClick(row_key(user, time, str(number)).decode(), user, time, page, country))
    return made


@pytest.fixture(scope="module")
def table(spark: SparkSession, stack: Stack, clicks: list[OracleClick]) -> Iterator[str]:
    """A clicks table with the clicks, including cells that are not read."""
    name = f"clicks-{uuid.uuid4().hex[:8]}"
    with clicks_admin(spark) as admin:
        assert admin.create(name, ttl_seconds=TTL)
    with gateway(stack) as connection, connection.table(name).batch(batch_size=2_000) as batch:
        for click in clicks:
            cells = {
                b"click_data:user_id": click.user_id.encode(),
                b"click_data:page": click.page.encode(),
                b"click_data:url": b"https://a.example/#" + b"x" * 200,
                b"user_agent_data:device": b"phone",
            }
            if click.country:
                cells[b"geo_data:country"] = click.country.encode()
            batch.put(click.row_key.encode(), cells)
    yield name
    with gateway(stack) as connection:
        connection.delete_table(name, disable=True)


def describe(spark: SparkSession, table: str) -> ClicksTable:
    with clicks_admin(spark) as admin:
        return admin.describe(table)


def expected(clicks: list[OracleClick], ranges: list[tuple[int, int]]) -> list[tuple[object, ...]]:
    return sorted(
        (c.row_key, c.user_id, c.timestamp, c.page, c.country)
        for c in clicks
        if any(start <= c.timestamp < end for start, end in ranges)
    )


def rows_scanned(frame: Any) -> int:
    """How many rows the connector returned to Spark, before Spark's own filter, in the last job."""
    node = frame._jdf.queryExecution().executedPlan()
    while node.children().size():
        node = node.children().apply(0)
    return int(node.metrics().apply("numOutputRows").value())


RANGES = [
    [(NOON + 3 * HOUR_MS, NOON + 4 * HOUR_MS)],
    [(NOON + HOUR_MS, NOON + 2 * HOUR_MS + HALF_HOUR), (NOON + 8 * HOUR_MS, NOON + 9 * HOUR_MS + HALF_HOUR)],
    [(NOON, NOON + HOUR_MS), (NOON + HOUR_MS, NOON + 2 * HOUR_MS)],
    [(NOON - 1000 * HOUR_MS, NOON + 1000 * HOUR_MS)],
    [(NOON + 500 * HOUR_MS, NOON + 501 * HOUR_MS)],
]


@pytest.mark.parametrize("ranges", RANGES, ids=["one hour", "two apart", "two adjacent", "all", "none"])
def test_exactly_the_clicks_of_the_ranges_are_scanned(
    spark: SparkSession, table: str, clicks: list[OracleClick], ranges: list[tuple[int, int]]
) -> None:
    frame = read_clicks(spark, table, ranges)
    found = sorted(tuple(row) for row in frame.collect())
    assert [(*row[:4], row[4] or "") for row in found] == [(*row[:4], row[4] or "") for row in expected(clicks, ranges)]
    # HBase did not return the other rows of the table at all.
    assert rows_scanned(frame) == len(found)


def test_of_many_ranges_the_nearest_are_joined(spark: SparkSession, table: str, clicks: list[OracleClick]) -> None:
    """300 spans in three clusters: the two wide gaps between them are still not read."""
    step, width = 4 * HOUR_MS // 100, 1 * HOUR_MS // 100
    starts = [NOON + cluster * 4 * HOUR_MS + n * step // 2 for cluster in range(3) for n in range(100)]
    frame = read_clicks(spark, table, [(start, start + width) for start in starts])
    found = {row.row_key for row in frame.collect()}
    assert found >= {row[0] for row in expected(clicks, [(start, start + width) for start in starts])}
    assert rows_scanned(frame) == len(found)
    last = 99 * step // 2 + width
    clusters = [(NOON + cluster * 4 * HOUR_MS, NOON + cluster * 4 * HOUR_MS + last) for cluster in range(3)]
    assert found <= {row[0] for row in expected(clicks, clusters)}


def test_the_aggregates_of_stored_clicks_are_the_oracles(
    spark: SparkSession, table: str, clicks: list[OracleClick]
) -> None:
    hours = [NOON + n * HOUR_MS for n in (0, 1, 2, 5, 11)]
    ranges = [scan_span(run[0], run[-1]) for run in contiguous_runs(hours)]
    read, rows_read = counted(read_clicks(spark, table, ranges))
    made = aggregate(PAGES, measured(read, hours, bots=BotRule.of((), 60)), hours, dict.fromkeys(hours, 1), NOON)
    rows = made.selectExpr("unix_millis(hour) hour_ms", "*").collect()
    found = {
        (row.hour_ms, row.page, row.country): oracle.OracleRow(
            row.click_count,
            row.unique_users,
            row.entering_users,
            row.time_spent_seconds_sum,
            row.time_spent_samples,
            row.average_time_spent_seconds,
            row.entries,
            row.exits,
            row.bounces,
            {bucket: held for bucket, held in row.time_spent_buckets.asDict().items() if held},
            row.bot_clicks,
        )
        for row in rows
    }
    assert found == oracle.aggregate(clicks, hours)
    assert rows_read() == len(expected(clicks, ranges))
    absent = NOON + 900 * HOUR_MS
    by_hour = Counter(click.timestamp // HOUR_MS * HOUR_MS for click in clicks)
    assert count_rows(spark, table, [*hours, absent]) == {hour: by_hour[hour] for hour in [*hours, absent]}


def test_a_created_table_is_as_designed(spark: SparkSession, table: str) -> None:
    found = describe(spark, table)
    assert found.families == tuple(sorted(TABLE_FAMILIES))
    assert set(found.ttl_seconds.values()) == {TTL}
    assert set(found.max_versions.values()) == {1}
    assert found.split_points == tuple(split_keys())


def test_creating_it_again_leaves_it_alone(spark: SparkSession, table: str) -> None:
    with clicks_admin(spark) as admin:
        assert not admin.create(table, ttl_seconds=1)
    assert set(describe(spark, table).ttl_seconds.values()) == {TTL}


def test_a_missing_table_is_named(spark: SparkSession) -> None:
    with pytest.raises(ClicksTableMissing, match=r"nowhere"):
        describe(spark, "nowhere")


@pytest.mark.parametrize("ranges", [[], [(5, 5)], [(6, 5)]])
def test_no_time_at_all_is_refused(spark: SparkSession, ranges: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"no time"):
        read_clicks(spark, "clicks", ranges)


def test_another_session_of_the_process_may_name_another_cluster(spark: SparkSession) -> None:
    """A cluster that is down, with shorter timeouts than usual: the settings of the later session apply."""
    elsewhere = spark.newSession()
    elsewhere.conf.set("spark.hadoop.hbase.zookeeper.quorum", "127.0.0.1:1")
    for setting in ("hbase.client.operation.timeout", "hbase.client.meta.operation.timeout"):
        elsewhere.conf.set(f"spark.hadoop.{setting}", "3000")
    with pytest.raises(ClicksTableError, match=r"DATACO_HBASE_ZOOKEEPER_QUORUM"):
        describe(elsewhere, "clicks")


def test_a_table_that_goes_away_while_spark_reads_is_named(spark: SparkSession, stack: Stack) -> None:
    """The DataFrame is made while the table exists; only the action notices that it is gone."""
    name = f"t{uuid.uuid4().hex[:8]}_clicks"
    with clicks_admin(spark) as admin:
        assert admin.create(name, ttl_seconds=TTL)
    frame = read_clicks(spark, name, [(0, 1)])
    with gateway(stack) as connection:
        connection.disable_table(name)
        with pytest.raises(ClicksTableUnavailable, match=name) as away, scanning(name):
            frame.count()
        assert away.value.kind is ErrorKind.PASSING
        assert "\n" not in str(away.value), "no stack trace"
        connection.delete_table(name)
    with pytest.raises(ClicksTableError, match=name) as gone, scanning(name):
        frame.count()
    assert gone.value.kind is ErrorKind.PERMANENT


def test_what_is_not_of_hbase_is_left_as_it_is(spark: SparkSession) -> None:
    with pytest.raises(Py4JJavaError), scanning("clicks"):
        spark.sql("SELECT raise_error('not HBase')").collect()
