"""Tests that Spark writes documents with the right ids, fields and versions to a real Elasticsearch."""

import contextlib
import socket
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from elasticsearch import Elasticsearch
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from dataco_assets.aggregates import columns
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.elasticsearch_errors import (
    ElasticsearchRefused,
    ElasticsearchUnavailable,
    IndexBlocked,
    IndexClosed,
    IndexMissing,
    VersionConflict,
)
from dataco_assets.index.differences import Held
from dataco_assets.index.layout import document_id, host_and_path, mappings, month_of, time_of
from local_stack.stack import Stack
from spark_resources import index_documents, publication
from spark_resources.publication import Server, documents, publish

pytestmark = pytest.mark.stack

LAST_OF_JANUARY = int(datetime(2026, 1, 31, 23, tzinfo=UTC).timestamp()) * 1000
FIRST_OF_FEBRUARY = LAST_OF_JANUARY + HOUR_MS
HOURS = [LAST_OF_JANUARY, FIRST_OF_FEBRUARY]
COMPUTED_AT = 1_770_000_000_123
PAGES = [
    "https://a.example/",
    "http://bücher.example:8080/straße/é?q=a/b&x=1",
    "http://[2001:db8::1]:9000/x?y=https://other.example/z",
]

BUCKETS_HELD = dict.fromkeys(BUCKETS, 0) | {"from_0_ms": 2, "from_1000_ms": 1}
BUCKETS_FILLED = "named_struct(" + ", ".join(f"'{bucket}', {held}L" for bucket, held in BUCKETS_HELD.items()) + ")"


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return stack.env()["DATACO_ELASTICSEARCH_URL"]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(url) as elasticsearch:
        yield elasticsearch


@pytest.fixture
def indices(client: Elasticsearch) -> Iterator[dict[str, str]]:
    """Two strict indices for one test, by month."""
    mark = uuid.uuid4().hex[:8]
    made = {month: f"publication-{mark}-{month}" for month in ("2026.01", "2026.02")}
    for index in made.values():
        client.indices.create(index=index, mappings=mappings(columns.PAGES), settings={"number_of_replicas": 0})
    yield made
    for index in made.values():
        client.options(ignore_status=404).indices.delete(index=index)


def aggregates(spark: SparkSession, generation: int, clicks: int = 5) -> DataFrame:
    """Every page occurs once in each of two hours; the second hour has no known durations."""
    rows = [(hour, page, hour == HOURS[0]) for hour in HOURS for page in PAGES]
    return spark.createDataFrame(rows, "hour_ms long, page string, known boolean").selectExpr(
        "timestamp_millis(hour_ms) hour",
        "page",
        "'FR' country",
        f"{clicks}L click_count",
        "2L unique_users",
        "1L entering_users",
        "IF(known, 1.5D, 0D) time_spent_seconds_sum",
        "IF(known, 3L, 0L) time_spent_samples",
        "IF(known, 0.5D, NULL) average_time_spent_seconds",
        *("IF(known, 2L, NULL) entries", "IF(known, 4L, NULL) exits", "IF(known, 1L, NULL) bounces"),
        f"IF(known, {BUCKETS_FILLED}, NULL) time_spent_buckets",
        "X'00' users_sketch",
        "IF(known, 1L, NULL) bot_clicks",
        f"{generation}L generation",
        f"timestamp_millis({COMPUTED_AT}L) computed_at",
    )


def stored(client: Elasticsearch, indices: dict[str, str]) -> dict[str, dict[str, Any]]:
    """All documents by id, with their index and version."""
    names = list(indices.values())
    client.indices.refresh(index=names)
    hits = client.search(index=names, size=100, version=True)["hits"]["hits"]
    return {hit["_id"]: hit["_source"] | {"_index": hit["_index"], "_version": hit["_version"]} for hit in hits}


def test_document_ids_are_the_same_in_python_and_on_spark(spark: SparkSession) -> None:
    made = documents(columns.PAGES, aggregates(spark, 1))
    row = made.where(f"hour = '2026-01-31T23:00:00.000Z' AND page = '{PAGES[0]}'").collect()[0]
    # A literal, so that neither side can change unnoticed.
    assert row["_document_id"] == "c3997003ecde8f6dc2eea208d054da7c"
    for row in made.collect():
        assert row["_document_id"] == document_id(columns.PAGES, time_of(row["hour"]), row["page"], "FR")
        assert (row["host"], row["path"]) == host_and_path(row["page"])


def test_every_field_of_every_document(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    publish(columns.PAGES, aggregates(spark, 7), HOURS, indices, server=Server(url))
    expected: dict[str, dict[str, Any]] = {}
    parts = [("a.example", "/"), ("bücher.example", "/straße/é"), ("[2001:db8::1]", "/x")]
    for hour in HOURS:
        for page, (host, path) in zip(PAGES, parts, strict=True):
            known = {"time_spent_seconds_sum": 1.5, "time_spent_samples": 3, "average_time_spent_seconds": 0.5}
            known |= {"entries": 2, "exits": 4, "bounces": 1, "bot_clicks": 1}
            known |= {"time_spent_buckets": {"from_0_ms": 2, "from_1000_ms": 1}}  # none without clicks, and no sketch
            expected[document_id(columns.PAGES, hour, page, "FR")] = {
                "hour": "2026-01-31T23:00:00.000Z" if hour == LAST_OF_JANUARY else "2026-02-01T00:00:00.000Z",
                "page": page,
                "country": "FR",
                "host": host,
                "path": path,
                "click_count": 5,
                "unique_users": 2,
                "entering_users": 1,
                # A null has no field.
                **(known if hour == HOURS[0] else {"time_spent_seconds_sum": 0.0, "time_spent_samples": 0}),
                "generation": 7,
                "computed_at": "2026-02-02T02:40:00.123Z",
                "_index": indices[month_of(hour)],
                "_version": 7,
            }
    assert stored(client, indices) == expected


def test_publishing_again_changes_nothing_and_a_newer_generation_replaces(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))
    once = stored(client, indices)
    publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))
    assert stored(client, indices) == once
    publish(columns.PAGES, aggregates(spark, 2, clicks=6), HOURS, indices, server=Server(url))
    found = stored(client, indices)
    assert found.keys() == once.keys()
    assert {(document["click_count"], document["_version"]) for document in found.values()} == {(6, 2)}


def test_only_documents_that_changed_are_written(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(index_documents._READING, "es.input.max.docs.per.partition", "2")  # several tasks read
    publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))
    once = stored(client, indices)

    again = publish(columns.PAGES, aggregates(spark, 2), HOURS, indices, held=Held(HOURS), server=Server(url))

    assert (again.documents, list(again.stale)) == (0, [])
    assert stored(client, indices) == once

    gone, more = PAGES[0], "https://b.example/"
    changed = aggregates(spark, 3).withColumn("page", F.expr(f"IF(page = '{gone}', '{more}', page)"))
    changed = changed.withColumn("unique_users", F.expr(f"IF(page = '{PAGES[1]}', 3L, unique_users)"))
    third = publish(columns.PAGES, changed, HOURS, indices, held=Held(HOURS), server=Server(url))

    assert third.documents == 4
    assert sorted(third.stale) == sorted(document_id(columns.PAGES, hour, gone, "FR") for hour in HOURS)
    found = stored(client, indices)
    versions = {page: {each["_version"] for each in found.values() if each["page"] == page} for page in (*PAGES, more)}
    assert versions == {gone: {1}, PAGES[1]: {3}, PAGES[2]: {1}, more: {3}}

    assert (
        publish(columns.PAGES, changed, HOURS, indices, held=Held(HOURS, HOURS[:1]), server=Server(url)).documents == 3
    )


def test_an_older_generation_never_wins(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    publish(columns.PAGES, aggregates(spark, 3), HOURS, indices, server=Server(url))
    newer = stored(client, indices)
    with pytest.raises(VersionConflict, match=r"newer version"):
        publish(columns.PAGES, aggregates(spark, 2, clicks=9), HOURS, indices, server=Server(url))
    assert stored(client, indices) == newer


def test_only_the_hours_named_are_written(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    publish(columns.PAGES, aggregates(spark, 1), [FIRST_OF_FEBRUARY], indices, server=Server(url))
    assert {document["hour"] for document in stored(client, indices).values()} == {"2026-02-01T00:00:00.000Z"}


def test_a_document_the_mapping_does_not_know_is_refused(
    spark: SparkSession, url: str, indices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        publication, "documents", lambda aggregate, rows: documents(aggregate, rows).selectExpr("*", "1 AS surprise")
    )
    with pytest.raises(ElasticsearchRefused, match=r"dynamic introduction of \[surprise\]"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))


def test_a_missing_index_is_refused_and_not_made(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    index = f"{indices['2026.01']}-missing"
    with pytest.raises(IndexMissing, match=r"does not exist"):
        publish(columns.PAGES, aggregates(spark, 1), [LAST_OF_JANUARY], {"2026.01": index}, server=Server(url))
    assert not client.indices.exists(index=index)
    with pytest.raises(IndexMissing, match=r"2026\.02"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, {"2026.01": indices["2026.01"]}, server=Server(url))


def test_a_blocked_index_is_full_or_closed_for_writing(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Elasticsearch does to the indices of a node whose disk fills up."""
    monkeypatch.setitem(publication._CONNECTOR, "es.batch.write.retry.wait", "100ms")
    client.indices.put_settings(index=indices["2026.01"], settings={"index.blocks.read_only_allow_delete": True})
    with pytest.raises(IndexBlocked, match=r"disk"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))
    client.indices.put_settings(index=indices["2026.01"], settings={"index.blocks.read_only_allow_delete": None})
    client.indices.put_settings(index=indices["2026.01"], settings={"index.blocks.write": True})
    with pytest.raises(IndexBlocked, match=r"writes are blocked"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))


def test_a_closed_index_is_closed(
    spark: SparkSession, client: Elasticsearch, url: str, indices: dict[str, str]
) -> None:
    client.indices.close(index=indices["2026.01"])
    with pytest.raises(IndexClosed, match=r"_open"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(url))


def test_a_dead_elasticsearch_is_unreachable(spark: SparkSession, indices: dict[str, str]) -> None:
    with pytest.raises(ElasticsearchUnavailable, match=r"DATACO_ELASTICSEARCH_URL"):
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server("http://127.0.0.1:1"))


def test_a_silent_elasticsearch_is_unreachable(
    spark: SparkSession, indices: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that accepts connections and never answers; the timeout is shorter than in production."""
    monkeypatch.setitem(publication._CONNECTOR, "es.http.timeout", "2s")
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(ElasticsearchUnavailable, match=r"DATACO_ELASTICSEARCH_URL"):
            publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server(f"http://127.0.0.1:{port}"))


def test_a_password_is_in_no_plan_and_no_message(
    spark: SparkSession, indices: dict[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    word = uuid.uuid4().hex
    with pytest.raises(ElasticsearchUnavailable) as error:
        publish(columns.PAGES, aggregates(spark, 1), HOURS, indices, server=Server("http://127.0.0.1:1", "ann", word))
    assert word not in str(error.value)
    assert word not in "".join(capfd.readouterr())
