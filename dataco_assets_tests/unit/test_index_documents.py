"""Tests that a document is left in the index exactly if it is the one to be written, whatever its fields are."""

import json
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812

from spark_resources.index_documents import DOCUMENT_ID, WRITE, changes

FIELDS = "hour string, page string, n long, seconds double, entries long, buckets array<long>, users binary, "
FIELDS += "times struct<values: array<double>, counts: array<long>>, generation long, computed_at string"
NOON, LATER = "2026-03-15T12:00:00.000Z", "2026-03-15T13:00:00.000Z"
NOON_MS = 1_773_576_000_000
AGAIN = "2026-03-15T14:00:00.000Z"
DOCUMENT: dict[str, Any] = {
    "hour": NOON,
    "page": 'https://a.example/é"{}\\',
    "n": 3,
    "seconds": 0.1 + 0.2,
    "entries": None,
    "buckets": [1, 0, 2],
    "users": bytearray(b"\x00\xffsketch"),
    "times": {"values": [0.5, 1.5], "counts": [1, 2]},
    "generation": 7,
    "computed_at": LATER,
}


def wanted(spark: SparkSession, *documents: dict[str, Any]) -> DataFrame:
    rows = [(f"id-{each['page']}", *each.values()) for each in documents]
    return spark.createDataFrame(rows, f"{DOCUMENT_ID} string, {FIELDS}")


def stored(spark: SparkSession, *documents: dict[str, Any], version: int = 5) -> DataFrame:
    """As Elasticsearch has them, written by generation 5: without nulls, binary as Base64."""
    of_generation = [{"generation": 5, "computed_at": NOON} | each for each in documents]
    frame = wanted(spark, *[DOCUMENT | each for each in of_generation])
    metadata = F.struct(F.lit(version).alias("_version"))
    fields = [name for name in frame.columns if name != DOCUMENT_ID]
    made = frame.select(DOCUMENT_ID, F.to_json(F.struct(*fields, metadata.alias("_metadata"))))
    return made.toDF("_stored_id", "_stored")


def found(documents: DataFrame, held: DataFrame, rewritten: tuple[int, ...] = ()) -> list[tuple[str, bool]]:
    return sorted((row[DOCUMENT_ID], row[WRITE]) for row in changes(documents, held, rewritten).collect())


ID = f"id-{DOCUMENT['page']}"


def test_a_document_that_did_not_change_is_left(spark: SparkSession) -> None:
    assert found(wanted(spark, DOCUMENT), stored(spark, {})) == []
    assert "null" not in stored(spark, {}).collect()[0]["_stored"]


@pytest.mark.parametrize(
    "change",
    [
        {"hour": LATER},
        {"n": 4},
        {"n": None},
        {"seconds": 0.3},
        {"entries": 0},
        {"buckets": [1, 0]},
        {"buckets": [1, 2, 0]},
        {"users": bytearray(b"\x00\xffsketcH")},
        {"times": {"values": [0.5, 1.5], "counts": [1, 3]}},
    ],
    ids=str,
)
def test_a_change_of_any_field_is_written(spark: SparkSession, change: dict[str, Any]) -> None:
    assert found(wanted(spark, DOCUMENT), stored(spark, change)) == [(ID, True)]


@pytest.mark.parametrize(
    ("origin", "version"),
    [
        pytest.param({}, 6, id="written by hand since"),
        pytest.param({"generation": 8}, 8, id="newer than this run"),
        pytest.param({"generation": None}, 5, id="no generation"),
        pytest.param({"computed_at": AGAIN}, 5, id="computed later"),
        pytest.param({"computed_at": None}, 5, id="no time of computing"),
    ],
)
def test_a_document_that_no_run_up_to_this_one_wrote_is_written(
    spark: SparkSession, origin: dict[str, Any], version: int
) -> None:
    assert found(wanted(spark, DOCUMENT), stored(spark, origin, version=version)) == [(ID, True)]


def test_new_documents_are_written_and_surplus_ones_deleted(spark: SparkSession) -> None:
    new = DOCUMENT | {"page": "new"}
    held = stored(spark, {}, {"page": "gone"})
    assert found(wanted(spark, DOCUMENT, new), held) == [("id-gone", False), ("id-new", True)]


def test_text_that_is_no_document_is_replaced(spark: SparkSession) -> None:
    broken = json.dumps({"n": "many", "_metadata": {"_version": 5}})
    held = spark.createDataFrame([(ID, broken)], "_stored_id string, _stored string")
    assert found(wanted(spark, DOCUMENT), held) == [(ID, True)]


def test_all_documents_of_an_hour_to_rewrite_are_written(spark: SparkSession) -> None:
    other = {"hour": LATER, "page": "other"}
    both = wanted(spark, DOCUMENT, DOCUMENT | other)
    assert found(both, stored(spark, {}, other), (NOON_MS,)) == [(ID, True)]
