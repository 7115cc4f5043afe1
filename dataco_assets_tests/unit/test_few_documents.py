"""Tests that documents and changes are the same in plain Python, for hours of few rows, and on Spark, for many."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.columns import AUDIENCE, PAGES, Aggregate
from dataco_assets.aggregates.reading import arrow_schema
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.index.documents import Document, Stored, changes, documents, hour_differences
from dataco_assets.index.layout import document_id
from spark_resources import index_documents, publication

NOON = 1_773_576_000_000  # 2026-03-15T12:00Z
COMPUTED_AT = datetime(2026, 3, 15, 13, 1, 2, 345_000, tzinfo=UTC)
GROUPS: Mapping[str, list[tuple[str | None, ...]]] = {
    PAGES.name: [
        ("https://bücher.example:8080/straße/é?q=1", "DE"),
        ("https://[2001:db8::1]/x", "ZZ"),
        ("http://a/", "FR"),
    ],
    AUDIENCE.name: [("DE", "Köln", "Firefox", "", "Spider", "b.example"), ("FR", "", "", "", "", ""), ("ZZ",) * 6],
}


def row(aggregate: Aggregate, group: tuple[str | None, ...], **more: Any) -> dict[str, Any]:
    numbers = {
        "click_count": 5,
        "unique_users": 2,
        "entering_users": 1,
        "time_spent_seconds_sum": 0.1 + 0.2,
        "time_spent_samples": 3,
        "average_time_spent_seconds": (0.1 + 0.2) / 3,
        "entries": 2,
        "exits": 2,
        "bounces": 1,
        "time_spent_buckets": dict.fromkeys(BUCKETS, 0) | {BUCKETS[0]: 2, BUCKETS[-1]: 1},
        "users_sketch": b"sketch",
        "bot_clicks": 0,
        "generation": 7,
        "computed_at": COMPUTED_AT,
        "hour": datetime.fromtimestamp(NOON / 1000, UTC),
    }
    return dict(zip(aggregate.group, group, strict=True)) | numbers | more


def rows(aggregate: Aggregate) -> list[dict[str, Any]]:
    first, second, third = GROUPS[aggregate.name]
    without_sample = {"time_spent_samples": 0, "time_spent_seconds_sum": 0.0, "average_time_spent_seconds": None}
    before = dict.fromkeys(("entries", "exits", "bounces", "time_spent_buckets", "users_sketch", "bot_clicks"))
    return [
        row(aggregate, first),
        row(aggregate, second, **without_sample, time_spent_buckets=dict.fromkeys(BUCKETS, 0)),
        row(aggregate, third, **before, time_spent_seconds_sum=1e-9),
    ]


def on_spark(spark: SparkSession, aggregate: Aggregate, given: list[dict[str, Any]]) -> DataFrame:
    schema = ", ".join(f"{column.name} {column.sql_type}" for column in aggregate.columns)
    ordered = [tuple(each[column.name] for column in aggregate.columns) for each in given]
    return publication.documents(aggregate, spark.createDataFrame(ordered, schema))


def plain(aggregate: Aggregate, given: list[dict[str, Any]]) -> dict[str, Document]:
    return documents(aggregate, [pa.Table.from_pylist(given, arrow_schema(aggregate))])


@pytest.mark.parametrize("aggregate", [PAGES, AUDIENCE], ids=lambda each: each.name)
def test_documents_are_those_of_spark(spark: SparkSession, aggregate: Aggregate) -> None:
    found = plain(aggregate, rows(aggregate))
    texts = on_spark(spark, aggregate, rows(aggregate)).toJSON().collect()
    expected = {each.pop("_document_id"): each for each in map(json.loads, texts)}
    assert found == expected
    assert json.loads(json.dumps(found)) == expected, "nothing that JSON would change"
    assert document_id(aggregate, NOON, *GROUPS[aggregate.name][0]) in found


STORED: Mapping[str, tuple[dict[str, Any], int]] = {
    "as it is": ({}, 7),
    "of an older run": ({"generation": 3, "computed_at": "2026-03-15T12:10:00.000Z"}, 3),
    "of a newer run": ({"generation": 9}, 9),
    "computed later": ({"computed_at": "2026-03-15T13:01:02.346Z"}, 7),
    "of another version": ({}, 8),
    "of no run": ({"generation": None, "computed_at": None}, 1),
    "with other clicks": ({"click_count": 6}, 7),
    "with a number as text": ({"click_count": "5"}, 7),
    "with a rounded sum": ({"time_spent_seconds_sum": 0.3}, 7),
    "with another bucket": ({"time_spent_buckets": {BUCKETS[0]: 3}}, 7),
    "without buckets": ({"time_spent_buckets": None}, 7),
    "with an empty bucket": ({"time_spent_buckets": {BUCKETS[0]: 2, BUCKETS[-1]: 1, BUCKETS[1]: 0}}, 7),
    "without a field": ({"bot_clicks": None}, 7),
    "with another path": ({"path": "/"}, 7),
}


@pytest.mark.parametrize("rewritten", [(), (NOON,)], ids=["", "all written"])
@pytest.mark.parametrize("case", [*STORED, "missing", "too many"])
def test_changes_are_those_of_spark(spark: SparkSession, case: str, rewritten: tuple[int, ...]) -> None:
    wanted = plain(PAGES, rows(PAGES))
    first = next(iter(wanted))
    stored = {key: Stored(each, 7) for key, each in wanted.items()}
    if case in STORED:
        fields, version = STORED[case]
        merged = {name: value for name, value in {**wanted[first], **fields}.items() if value is not None}
        stored[first] = Stored(merged, version)
    elif case == "missing":
        del stored[first]
    else:
        gone = {**wanted[first], "page": "https://gone.example/", "click_count": 99}
        stored["gone"] = Stored(gone, 7)

    found = changes(PAGES, wanted, stored, rewritten)

    texts = [
        (key, json.dumps({**each.document, "_metadata": {"_version": str(each.version)}}))
        for key, each in stored.items()
    ]
    held = spark.createDataFrame(texts, "_stored_id string, _stored string")
    on_executors = index_documents.changes(on_spark(spark, PAGES, rows(PAGES)), held, rewritten, with_former=True)
    collected = on_executors.select("_document_id", "_write").collect()
    assert sorted(found.write) == sorted(each["_document_id"] for each in collected if each["_write"])
    assert sorted(found.delete) == sorted(each["_document_id"] for each in collected if not each["_write"])
    assert hour_differences(found, [NOON]) == index_documents.hour_differences(on_executors, [NOON])


def test_of_many_changed_rows_the_same_few_are_named(spark: SparkSession) -> None:
    given = [row(PAGES, (f"https://a.example/{n}", "DE"), click_count=5 + n % 3) for n in range(9)]
    found = changes(PAGES, plain(PAGES, given), {}, ())
    told = hour_differences(found, [NOON])
    assert told == index_documents.hour_differences(index_documents.added(on_spark(spark, PAGES, given)), [NOON])
    assert [each.clicks for each in told[0].rows] == [7, 7, 7, 6, 6]
    assert hour_differences(found, [NOON + 3_600_000]) == []
