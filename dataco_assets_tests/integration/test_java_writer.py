"""Clicks that the Java code writes to a real HBase: their rows are those of the Python code; the table is checked."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, cast

import happybase
import pytest
from pyspark.sql import SparkSession

from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.row import cells, row_key
from dataco_assets_tests.codecs.payloads import FIRST, NOW, Record, records
from dataco_assets_tests.java_harness import SINK, answered, compiled
from local_stack.stack import Stack
from spark_resources.clicks_admin import clicks_admin
from spark_resources.hbase_client import jvm

pytestmark = pytest.mark.stack

DAYS = 90
_SECONDS = 180
_MESSAGE = (
    b'{"user_id":"%s","timestamp":1431857103000,"url":"https://a.example/","ip_address":"::1","user_agent":"%s"%s}'
)


@pytest.fixture(scope="module")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    return compiled(SINK, tmp_path_factory.mktemp("java"))


@pytest.fixture
def table(spark: SparkSession) -> Iterator[str]:
    """A clicks table as `dataco setup` creates it."""
    name = f"clicks-{uuid.uuid4().hex[:8]}"
    with clicks_admin(spark) as admin:
        assert admin.create(name, ttl_seconds=DAYS * 86_400)
    yield name
    with clicks_admin(spark) as admin:
        admin.delete(name)


@contextmanager
def described(spark: SparkSession, table: str) -> Iterator[Any]:
    """The builder of the table's descriptor, which is put into force at the end."""
    hbase = jvm(spark).org.apache.hadoop.hbase
    with clicks_admin(spark) as admin:
        builder = hbase.client.TableDescriptorBuilder.newBuilder(
            admin._admin.getDescriptor(hbase.TableName.valueOf(table))
        )
        yield builder
        admin._admin.modifyTable(builder.build())


def written(class_path: str, stack: Stack, table: str, batch: list[Record], folder: Path) -> list[str]:
    """Has the Java code write the clicks among the records; returns what it says."""
    quorum = stack.env()["DATACO_HBASE_ZOOKEEPER_QUORUM"]
    harness = ["dataco.hbase.WriterHarness", quorum, table, str(DAYS)]
    return answered(class_path, harness, batch, folder, seconds=_SECONDS).read_text().splitlines()


def stored(stack: Stack, table: str) -> dict[bytes, dict[bytes, bytes]]:
    env = stack.env()
    connection = happybase.Connection(
        env["DATACO_HBASE_THRIFT_HOST"], int(env["DATACO_HBASE_THRIFT_PORT"]), timeout=60_000
    )
    try:
        return cast("dict[bytes, dict[bytes, bytes]]", dict(connection.table(table).scan(batch_size=1_000)))
    finally:
        connection.close()


def expected(batch: list[Record]) -> dict[bytes, dict[bytes, bytes]]:
    """The rows that the Python code makes of the records; of two with the same key the later one."""
    rows: dict[bytes, dict[bytes, bytes]] = {}
    for record in batch:
        parsed = parse(record.payload, record_time_ms=record.record_time_ms, earliest_ms=record.earliest_ms)
        if isinstance(parsed, Click):
            rows[row_key(parsed.user_id, parsed.timestamp, parsed.event_id)] = dict(cells(parsed))
    return rows


def message(user: str, *, event: str, agent: str = "", device: str = "") -> Record:
    more = f',"event_id":"{event}","device":"{device}"'.encode()
    return Record(_MESSAGE % (user.encode(), agent.encode(), more), NOW, FIRST)


def test_rows_are_those_of_python(class_path: str, stack: Stack, table: str, tmp_path: Path) -> None:
    generated = (record for record in records(Random(20260315), 40_000) if record.payload is not None)
    # The same click in several batches, and several times in one: the last one is stored.
    same = [message("twice", event="e", device=f"device {number}") for number in range(21)]
    batch = [same.pop(), *islice(generated, 16_000), *same]

    said = written(class_path, stack, table, batch, tmp_path)

    assert said == [f"read {len(batch)}"]
    rows = expected(batch)
    assert len(rows) > 5_000  # more than a batch
    assert stored(stack, table) == rows


def test_a_refused_click_is_named_and_its_neighbours_are_stored(
    class_path: str, stack: Stack, spark: SparkSession, table: str, tmp_path: Path
) -> None:
    with described(spark, table) as builder:
        builder.setValue("hbase.server.keyvalue.maxsize", "1000")
    batch = [message(f"user-{number}", event="e") for number in range(50)]
    for number in (7, 8, 31):
        batch[number] = message(f"user-{number}", event="e", agent="x" * 1_500)
    # The latest of three with the same key is refused, so the one before it counts.
    batch += [message("twice", event="e", device=device) for device in ("first", "second")]
    batch += [message("twice", event="e", agent="x" * 1_500)]
    # Those of the first batch and of the last one are told.
    batch += [message(f"later-{number}", event="e") for number in range(5_000)]
    batch += [message("last", event="e", agent="x" * 1_500)]
    too_large = [7, 8, 31, 52, 5_053]

    *refused, read = written(class_path, stack, table, batch, tmp_path)

    assert read == "read 5054"
    assert sorted(int(line.split()[1]) for line in refused) == too_large
    assert all("exceeds limit of 1000 bytes" in line for line in refused)
    assert stored(stack, table) == expected([r for number, r in enumerate(batch) if number not in too_large])


def test_a_table_that_refuses_every_click_is_a_failure_of_the_table(
    class_path: str, stack: Stack, spark: SparkSession, table: str, tmp_path: Path
) -> None:
    with described(spark, table) as builder:
        builder.setValue("hbase.server.keyvalue.maxsize", "10")
    batch = [message(f"user-{number}", event="e") for number in range(100)]

    (said,) = written(class_path, stack, table, batch, tmp_path)

    assert said.startswith(f"permanent HBase refuses each of 100 clicks for the table {table}")
    assert stored(stack, table) == {}


def test_a_disabled_table_is_an_outage(
    class_path: str, stack: Stack, spark: SparkSession, table: str, tmp_path: Path
) -> None:
    hbase = jvm(spark).org.apache.hadoop.hbase
    with clicks_admin(spark) as admin:
        admin._admin.disableTable(hbase.TableName.valueOf(table))
        (said,) = written(class_path, stack, table, [message("u", event="e")], tmp_path)
        admin._admin.enableTable(hbase.TableName.valueOf(table))
    assert said.startswith(f"passing HBase does not serve the table {table}")

    assert written(class_path, stack, table, [message("u", event="e")], tmp_path) == ["read 1"]
    assert len(stored(stack, table)) == 1


def test_a_table_with_other_rules_is_refused_before_anything_is_written(
    class_path: str, stack: Stack, spark: SparkSession, table: str, tmp_path: Path
) -> None:
    with described(spark, table) as builder:
        builder.setValue("dataco.key_version", "1")
    (said,) = written(class_path, stack, table, [message("u", event="e")], tmp_path)
    assert said.startswith(f"permanent The HBase table {table} is not as clicks need it: row keys are of version 1")
    assert stored(stack, table) == {}


def test_a_name_that_no_table_can_have_is_refused(class_path: str, stack: Stack, tmp_path: Path) -> None:
    (said,) = written(class_path, stack, "clicks!", [message("u", event="e")], tmp_path)
    assert said.startswith("permanent No HBase table can have the name clicks!")


def test_a_missing_table_is_refused(class_path: str, stack: Stack, tmp_path: Path) -> None:
    (said,) = written(class_path, stack, "no-such-table", [message("u", event="e")], tmp_path)
    assert said.startswith("permanent HBase refuses the table no-such-table (TableNotFoundException)")
