"""Tests that a measure or a dimension is one entry in the registry: made here, it arrives wherever a column does."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, PAGES, Aggregate, Column, dimensions_of
from dataco_assets.aggregates.reading import arrow_schema, ensure_table, read_hour
from dataco_assets.aggregates.schema import hour_schema, problems
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.aggregates.totals import table_totals
from dataco_assets.assets.es_click_index import index_metadata
from dataco_assets.assets.url_country_aggregates import table_metadata
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.index.contents import NO_DOCUMENTS
from dataco_assets.index.layout import document_id, mappings
from dataco_assets.index.publication import PublishedHour, compare
from dataco_assets.verification.compare import HourVerdict, compare_table
from dataco_assets.verification.recompute import Figures, Group
from spark_resources.aggregates_table import write_hours
from spark_resources.aggregation import aggregate, measured
from spark_resources.publication import DOCUMENT_ID, documents

NOON = 1_773_576_000_000
QUICK = Column(
    "quick_clicks",
    "long",
    False,
    "Clicks that the user stayed on for less than a second.",
    ("click_data:timestamp", "click_data:user_id"),
    total="quick clicks",
    of_clicks="count_if(spent_ms < 1000)",
)
AGENT = Column(
    "user_agent", "string", False, "User agent as sent; empty when unknown.", ("click_data:user_agent",), unknown=""
)
EXTENDED = replace(
    AUDIENCE,
    name="extended",
    dimensions=(*AUDIENCE.dimensions, AGENT.since(3)),
    measures=(*AUDIENCE.measures, QUICK.since(3)),
    layout=3,
)
CLICKS = [
    ("1", "ann", NOON, "FR", "curl"),
    ("2", "ann", NOON + 400, "FR", "curl"),
    ("3", "ann", NOON + 9_000, "FR", "curl"),
    ("4", "bob", NOON + 500, "FR", None),
]


def rows(spark: SparkSession, to: Aggregate = EXTENDED) -> Any:
    frame = spark.createDataFrame(
        CLICKS, "row_key string, user_id string, timestamp long, country string, user_agent string"
    )
    unknown = (name for name in AUDIENCE.group if name != "country")
    clicks = frame.selectExpr("*", *(f"CAST(NULL AS string) AS {name}" for name in unknown))
    return aggregate(to, measured(clicks, [NOON], (to,), bots=BotRule.of((), 0)), [NOON], {NOON: 1}, 5_000)


@pytest.fixture
def place(tmp_path: Path) -> TablePlace:
    return TablePlace(tmp_path.as_uri(), catalog_name=f"r{tmp_path.name.replace('-', '_').lower()}", aggregate=EXTENDED)


def test_it_is_computed_stored_and_added_up(spark: SparkSession, place: TablePlace) -> None:
    write_hours(rows(spark), [NOON], {NOON: 1}, place, "run", {NOON: 5_000})

    stored = read_hour(place, NOON)

    assert stored is not None
    found = {row["user_agent"]: row["quick_clicks"] for row in stored.table.to_pylist()}
    assert found == {"curl": 1, "": 0}
    assert table_totals(EXTENDED, stored.table).sums["quick_clicks"] == 1
    assert problems(EXTENDED, stored.table, NOON) == []


def test_it_is_in_the_schemas_the_mapping_and_the_lineage() -> None:
    assert arrow_schema(EXTENDED).field("user_agent").nullable
    assert {"quick_clicks", "user_agent"} <= hour_schema(EXTENDED, NOON).columns.keys()
    fields = mappings(EXTENDED)
    assert fields["_meta"] == {"layout": 3}
    assert (fields["properties"]["quick_clicks"], fields["properties"]["user_agent"]) == (
        {"type": "long"},
        {"type": "keyword"},
    )
    lineage = table_metadata(EXTENDED)["dagster/column_lineage"].deps_by_column
    assert [dep.column_name for dep in lineage["user_agent"]] == ["click_data:user_agent"]
    shown = [column.name for column in index_metadata(EXTENDED, "extended")["dagster/column_schema"].columns]
    assert {"quick_clicks", "user_agent"} <= set(shown)
    assert "users_sketch" not in shown


def test_it_is_in_the_scan() -> None:
    assert {column.name: column.cell for column in dimensions_of([PAGES, EXTENDED])}["user_agent"] == (
        "click_data",
        "user_agent",
    )


def test_it_is_in_the_documents_and_their_ids(spark: SparkSession) -> None:
    for row in documents(EXTENDED, rows(spark)).collect():
        group = [row[name] for name in EXTENDED.group]
        assert row[DOCUMENT_ID] == document_id(EXTENDED, NOON, *group)
        assert row["quick_clicks"] == (1 if row["user_agent"] else 0)


def test_it_is_compared_after_publication(spark: SparkSession, place: TablePlace) -> None:
    write_hours(rows(spark), [NOON], {NOON: 1}, place, "run", {NOON: 5_000})
    stored = read_hour(place, NOON)
    assert stored is not None
    published = PublishedHour(NOON, 1, 5_000, table_totals(EXTENDED, stored.table))
    sums = dict(published.totals.sums)
    content = replace(NO_DOCUMENTS, documents=2, sums=sums, newest_generation=1, newest_computed_at_ms=5_000)
    assert compare(EXTENDED, published, content) is None
    mismatch = compare(EXTENDED, published, replace(content, sums=sums | {"quick_clicks": 0}))
    assert mismatch is not None
    assert mismatch.problems == ("quick clicks: 0 in place of 1",)


def test_hours_from_before_lack_it_and_are_compared_without(spark: SparkSession, place: TablePlace) -> None:
    """The dimension is null in their rows, their documents keep their ids, and the recount is grouped without it."""
    before = replace(place, aggregate=replace(AUDIENCE, name="extended"))
    write_hours(rows(spark, AUDIENCE), [NOON], {NOON: 1}, before, "run", {NOON: 5_000})
    assert ensure_table(place) is False
    stored = read_hour(place, NOON)
    assert stored is not None
    (row,) = stored.table.to_pylist()
    assert (row["click_count"], row["user_agent"], row["quick_clicks"]) == (4, None, None)
    group = [row[name] for name in EXTENDED.group]
    assert document_id(EXTENDED, NOON, *group) == document_id(AUDIENCE, NOON, *group[:-1])
    assert problems(EXTENDED, stored.table, NOON) == []

    unknown = ("",) * (len(AUDIENCE.group) - 1)
    of_ann, of_bob = ("FR", *unknown, "curl"), ("FR", *unknown, "")
    expected: dict[Group, Figures] = {
        of_ann: Figures(3, {"ann"}, 1, spent_ms=9_000, known=2, begun=1, gone_on=1),
        of_bob: Figures(1, {"bob"}, 1, begun=1),
    }
    expected[of_ann].spent_in.update({"from_0_ms": 1, "from_8000_ms": 1})
    verdict = HourVerdict(NOON)
    lacking = compare_table(verdict, EXTENDED, expected, stored)
    assert lacking == {"user_agent", "quick_clicks"}
    assert [(each.field, each.expected, each.found) for each in verdict.differences] == []


@pytest.mark.parametrize("each", AGGREGATES, ids=lambda each: each.name)
def test_every_measure_has_a_formula_and_a_second_one_in_the_verification(each: Aggregate) -> None:
    for column in each.measures:
        assert column.of_clicks or column.of_buckets or column.of_users or column.of_row, column.name
    assert Figures().fields.keys() == {column.name for column in each.measures}


@pytest.mark.parametrize("each", AGGREGATES, ids=lambda each: each.name)
def test_no_two_groups_have_one_document(each: Aggregate) -> None:
    """Whatever their texts hold, but control characters, which no click has."""
    groups = {("a|b", "c"), ("a", "b|c"), ("a|b|c", ""), ("", "a|b|c")}
    if each is PAGES:  # the country, which is last, is two letters
        groups = {("a|b", "FR"), ("a", "FR"), ("a|FR", "DE")}
    blank = [""] * (len(each.group) - 2)
    ids = [document_id(each, hour, *group, *blank) for group in groups for hour in (NOON, NOON + HOUR_MS)]
    assert len(set(ids)) == 2 * len(groups)
