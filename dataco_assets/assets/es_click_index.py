"""`es_click_index`: the hours as readers search them, equal to the aggregates or not published at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import COLUMNS
from dataco_assets.assets.evaluations import INDEX_EQUALS_AGGREGATES, evaluations, latest_materializations
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS
from dataco_assets.assets.report import hour_metadata, report_hours, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.assets.url_country_aggregates import HOURS_FRESH, UnsoundAggregates, url_country_aggregates
from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from dataco_assets.index.publication import Mismatch, PublishedHour

_SHOWN = 10

INDEX_SCHEMA = dg.TableSchema(
    columns=[
        *(dg.TableColumn(c.name, c.type, c.description) for c in COLUMNS),
        dg.TableColumn("host", "string", "Host of the page."),
        dg.TableColumn("path", "string", "Path of the page."),
    ]
)
_LINEAGE = dg.TableColumnLineage(
    {
        **{c.name: [dg.TableColumnDep(url_country_aggregates.key, c.name)] for c in COLUMNS},
        "host": [dg.TableColumnDep(url_country_aggregates.key, "page")],
        "path": [dg.TableColumnDep(url_country_aggregates.key, "page")],
    }
)


class HoursNotComputed(DatacoError):
    """Hours are to be published that were never computed."""


class IndexDiffers(DatacoError):
    """After publication the index is not what the aggregates say.

    Attributes:
        problems: What differs, by hour (epoch ms). The other hours of the run are done.
    """

    kind = ErrorKind.PASSING

    def __init__(self, mismatches: "Sequence[Mismatch]") -> None:
        listed = "\n  ".join(map(str, mismatches[:_SHOWN]))
        super().__init__(
            f"The index differs from the aggregates in {len(mismatches)} hours, which stay to be done:\n  {listed}",
            hours=[each.hour for each in mismatches],
        )
        self.problems = {each.hour: list(each.problems) for each in mismatches}


@dg.asset(
    deps=[url_country_aggregates],
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    description="The hourly aggregates as Elasticsearch documents behind one alias (DATACO_INDEX_ALIAS), one index per "
    "month. Each hour is validated before it is published and compared with its Parquet afterwards; only then does the "
    "hour count as done. An older run never overwrites a newer one.",
    group_name="clickstream",
    kinds={"elasticsearch", "spark"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    pool="spark",
    freshness_policy=HOURS_FRESH,
    metadata={"dagster/column_schema": INDEX_SCHEMA, "dagster/column_lineage": _LINEAGE},
)
def es_click_index(
    context: dg.AssetExecutionContext,
    settings: dg.ResourceParam[Settings],
    spark: SparkResource,
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckEvaluation]:
    """Publishes the hours of this run, and reports that the index holds them."""
    stages = Stages(context.log)
    with explained():
        hours = hours_to_do(context.run.tags)
        try:
            done = publish_hours(
                hours, stages, settings=settings, spark=spark, hbase=hbase, elasticsearch=elasticsearch
            )
        except IndexDiffers as error:
            targets = latest_materializations(context.instance, "es_click_index", hours)
            yield from evaluations(INDEX_EQUALS_AGGREGATES, hours, error.problems, targets)
            raise
    yield report_hours(
        context,
        {each.hour: hour_metadata(each.totals, each.generation) for each in done.published},
        {
            **run_metadata({each.hour: each.totals for each in done.published}),
            "run: stale documents removed": done.removed,
            **stages.metadata(),
        },
    )
    targets = latest_materializations(context.instance, "es_click_index", hours)
    yield from evaluations(INDEX_EQUALS_AGGREGATES, hours, {}, targets)


@dataclass(frozen=True)
class Publication:
    """What a run published.

    Attributes:
        published: The hours.
        removed: Documents of older runs that were deleted.
    """

    published: "Sequence[PublishedHour]"
    removed: int


def publish_hours(
    hours: Sequence[int],
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> Publication:
    """Writes hours' aggregates to the index, compares the two, and marks the hours as done.

    Args:
        hours: Starts of the hours, epoch ms.
        stages: Times what is done.
        settings: The index, and where the Parquet lies.
        spark: Gives the session.
        hbase: Gives clients.
        elasticsearch: Gives clients.

    Raises:
        HoursNotComputed: hours have no Parquet.
        UnsoundAggregates: aggregates break their rules; nothing was published.
        IndexDiffers: in some hours, the index is not what the aggregates say; the others are done.
        PublicationFailed, SearchError, HBaseError: see there.
    """
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import delete_stale, refresh, verify_hours
    from dataco_assets.index.setup import ensure_month_indices
    from dataco_assets.ledgers.hours import HourLedger
    from spark_resources.aggregates_files import stored_aggregates
    from spark_resources.publication import publish

    with elasticsearch.client() as client:
        index = Index(client, settings.index_alias)
        with stages.stage("validate the aggregates"):
            published = _validated(settings.aggregates_uri, hours)
        with stages.stage("start Spark"):
            session = spark.session
        with stages.stage("write the documents"):
            ensure_month_indices(index, settings, hours)
            filled = [each.hour for each in published if each.totals.groups]
            if filled:
                publish(
                    stored_aggregates(session, settings.aggregates_uri, filled),
                    filled,
                    index.by_month(hours),
                    url=settings.elasticsearch_url,
                    username=settings.elasticsearch_username,
                    password=settings.elasticsearch_password.get_secret_value(),
                )
        with stages.stage("remove what older runs left"):
            refresh(index, hours)
            removed = delete_stale(index, published)
            refresh(index, hours)
        with stages.stage("compare the index with the aggregates"):
            mismatches = verify_hours(index, published)
        differing = {each.hour for each in mismatches}
        equal = {each.hour: each.generation for each in published if each.hour not in differing}
        with stages.stage("note the hours as done"), hbase.client() as connection:
            HourLedger(connection, settings.hours_table).set_done(equal)
        if mismatches:
            raise IndexDiffers(mismatches)
    return Publication(published, removed)


def _validated(uri: str, hours: Sequence[int]) -> "list[PublishedHour]":
    """The hours as stored, each of them sound.

    Raises:
        HoursNotComputed, UnsoundAggregates
    """
    from dataco_assets.aggregates.files import read_hours
    from dataco_assets.aggregates.schema import problems_by_hour
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.index.publication import PublishedHour

    published: list[PublishedHour] = []
    missing: list[int] = []

    def stored_tables() -> "Iterator[tuple[int, pa.Table]]":
        for hour, stored in read_hours(uri, hours):
            if stored is None:
                missing.append(hour)
                continue
            published.append(PublishedHour(hour, stored.generation, stored.computed_at_ms, totals(stored)))
            yield hour, stored.table

    unsound = problems_by_hour(stored_tables())
    if missing:
        raise HoursNotComputed(
            f"{len(missing)} hours have no aggregates yet, the first is {hour_key(missing[0])}. Materialise "
            "url_country_aggregates for them first, or both assets together.",
            hours=missing,
        )
    if unsound:
        raise UnsoundAggregates.of(unsound)
    return published
