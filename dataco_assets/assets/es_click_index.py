"""`es_click_index`: publishes the hours to Elasticsearch and compares them with the aggregates' table."""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import INDEX_EQUALS_AGGREGATES, evaluations, latest_materializations
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS
from dataco_assets.assets.report import hour_metadata, report_hours, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.assets.url_country_aggregates import HOURS_FRESH, UnsoundAggregates, url_country_aggregates
from dataco_assets.clicks.hour import hour_key
from dataco_assets.elasticsearch_errors import IndexClosed, VersionConflict
from dataco_assets.errors import DatacoError, ErrorKind, combine
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import Mismatch, PublishedHour
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.ledgers.publications import Others
    from dataco_assets.ledgers.unsound import Unsound
    from spark_resources.publication import Written

_SHOWN = 10

_OF_A_DOCUMENT = {
    "generation": "State of the hour ledger that the run started from which last changed this document.",
    "computed_at": "When that run's aggregation began, UTC, by HBase's clock.",
}

INDEX_SCHEMA = dg.TableSchema(
    columns=[
        *(dg.TableColumn(c.name, c.type, _OF_A_DOCUMENT.get(c.name, c.description)) for c in PAGES.indexed),
        dg.TableColumn("host", "string", "Host of the page."),
        dg.TableColumn("path", "string", "Path of the page."),
    ]
)
_LINEAGE = dg.TableColumnLineage(
    {
        **{c.name: [dg.TableColumnDep(url_country_aggregates.key, c.name)] for c in PAGES.indexed},
        "host": [dg.TableColumnDep(url_country_aggregates.key, "page")],
        "path": [dg.TableColumnDep(url_country_aggregates.key, "page")],
    }
)


class HoursNotComputed(DatacoError):
    """Hours to be published were never computed."""


class IndexDiffers(DatacoError):
    """After publication, the index differs from the aggregates."""

    kind = ErrorKind.PASSING


@dg.asset(
    deps=[url_country_aggregates],
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    description="The hourly aggregates as Elasticsearch documents behind one alias (DATACO_INDEX_ALIAS), one index per "
    "month. Each hour is validated before it is published and compared with the aggregates' table afterwards; only "
    "then does the hour count as done. An older run never overwrites a newer one.",
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
        done = publish_hours(hours, stages, settings=settings, spark=spark, hbase=hbase, elasticsearch=elasticsearch)
        numbers = {each.hour: hour_metadata(each.totals, each.generation) for each in done.published}
        compared = sorted({*numbers, *done.problems})
        if done.withheld:
            # A step that fails reports no materialization, but these hours are done.
            for hour, metadata in numbers.items():
                context.log_event(
                    dg.AssetMaterialization(context.asset_key, metadata=metadata, partition=hour_key(hour))
                )
            targets = latest_materializations(context.instance, "es_click_index", compared)
            yield from evaluations(INDEX_EQUALS_AGGREGATES, compared, done.problems, targets)
            raise combine(done.withheld)
    yield report_hours(
        context,
        numbers,
        {
            **run_metadata({each.hour: each.totals for each in done.published}),
            "run: documents written": done.documents,
            "run: stale documents removed": done.removed,
            **stages.metadata(),
        },
    )
    targets = latest_materializations(context.instance, "es_click_index", compared)
    yield from evaluations(INDEX_EQUALS_AGGREGATES, compared, {}, targets)


@dataclass(frozen=True)
class Publication:
    """The outcome of publishing the hours of a run.

    Attributes:
        published: The hours that are done.
        documents: Documents that were written; those that did not change are left.
        removed: Documents that were deleted.
        problems: What differs between index and aggregates, by hour (epoch ms), of hours that are not done.
        withheld: Why hours are not done, if some are not.
    """

    published: "Sequence[PublishedHour]"
    documents: int
    removed: int
    problems: Mapping[int, Sequence[str]]
    withheld: Sequence[DatacoError]


def publish_hours(
    hours: Sequence[int],
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> Publication:
    """Writes what differs from hours' aggregates to the index, compares the two, and marks the hours as done.

    An hour that cannot be published does not hold up the others; the errors of all that cannot are returned.

    Args:
        hours: Starts of the hours, epoch ms.
        stages: Times what is done.
        settings: The index, and where the aggregates' table is.
        spark: Gives the session.
        hbase: Gives clients.
        elasticsearch: Gives clients.

    Raises:
        IndexMismatch: templates or indices are not as laid out.
        PublicationFailed, ElasticsearchError, HBaseError: no hour is done.
    """
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import delete_stale, refresh, verify_hours
    from dataco_assets.index.setup import ensure_month_indices
    from dataco_assets.ledgers.hours import HourLedger

    withheld: list[DatacoError] = []
    with elasticsearch.client() as client:
        index = Index(client, settings.index_alias)
        with stages.stage("validate the aggregates"):
            sound = _validated(TablePlace.of(settings), hours, _noted_as_unsound(hbase, settings, hours), withheld)
            ready = _without_closed(index, sound, withheld)
        if not ready:
            return Publication((), 0, 0, {}, withheld)
        with stages.stage("start Spark"):
            write = _Writer(index, spark, settings)
        turn = _Turn(hbase, settings)
        with stages.stage("look for other runs"):
            ensure_month_indices(index, settings, [each.hour for each in ready])
            ours, rewritten = turn.begin(ready, withheld)
        with stages.stage("write the documents"):
            try:
                written, outcome = _write(write, ours, rewritten, hbase, withheld)
            except VersionConflict:
                turn.overtaken(index, ours, (), withheld)
                raise
        held = [each.hour for each in written]
        with index.in_use(held):
            with stages.stage("remove stale documents"):
                removed = delete_stale(index, written, outcome.stale)
                if removed or outcome.documents:
                    refresh(index, held)
            with stages.stage("compare the index with the aggregates"):
                mismatches = verify_hours(index, written)
            with stages.stage("look for other runs"):
                overtaken = turn.overtaken(index, ours, written, withheld)
        mismatches = [each for each in mismatches if each.hour not in overtaken]
        problems = {each.hour: each.problems for each in mismatches}
        done = [each for each in written if each.hour not in problems and each.hour not in overtaken]
        with stages.stage("note the hours as done"), hbase.client() as connection:
            ledger = HourLedger(connection, settings.hours_table)
            ledger.set_done({each.hour: each.generation for each in done})
            if mismatches:
                withheld.append(_differing(ledger, written, mismatches))
        turn.end()
    return Publication(done, outcome.documents, removed, problems, withheld)


class _Turn:
    """This run among others that publish the same hours; see `dataco_assets.ledgers.publications`.

    Args:
        hbase: Gives clients.
        settings: Name of the hour ledger's table.
    """

    def __init__(self, hbase: HBaseResource, settings: Settings) -> None:
        self._hbase = hbase
        self._table = settings.hours_table
        self._run = uuid.uuid4().hex

    def begin(
        self, ready: "Sequence[PublishedHour]", withheld: list[DatacoError]
    ) -> "tuple[list[PublishedHour], frozenset[int]]":
        """Announces the hours, and withholds those that a newer run publishes.

        Returns:
            The hours to publish, and those of them whose documents must all be written.
        """
        from dataco_assets.ledgers.publications import Publications

        with self._hbase.client() as connection:
            Publications(connection, self._table).announce(self._run, _generations(ready))
        others = self._others(ready)
        self._withhold(others.newer, withheld)
        return [each for each in ready if each.hour not in others.newer], others.older

    def overtaken(
        self,
        index: "Index",
        ours: "Sequence[PublishedHour]",
        written: "Sequence[PublishedHour]",
        withheld: list[DatacoError],
    ) -> frozenset[int]:
        """Deletes what this run wrote of hours that a newer run publishes since, and withholds those not yet withheld.

        Args:
            index: The alias.
            ours: The hours of which this run may have written documents.
            written: Those that are not withheld.
            withheld: Why hours are not done.
        """
        from dataco_assets.index.publication import delete_own

        newer = self._others(ours).newer
        delete_own(index, [each for each in ours if each.hour in newer])
        self._withhold(newer.intersection(each.hour for each in written), withheld)
        return newer

    def end(self) -> None:
        """Tells other runs that this one writes no more."""
        from dataco_assets.ledgers.publications import Publications

        with self._hbase.client() as connection:
            Publications(connection, self._table).withdraw(self._run)

    def _others(self, hours: "Sequence[PublishedHour]") -> "Others":
        from dataco_assets.ledgers.publications import Publications

        with self._hbase.client() as connection:
            return Publications(connection, self._table).others(self._run, _generations(hours))

    def _withhold(self, newer: Collection[int], withheld: list[DatacoError]) -> None:
        from dataco_assets.index.conflicts import Conflicts

        withheld += Conflicts(outdated=tuple(sorted(newer)), changed=()).errors()


def _generations(hours: "Sequence[PublishedHour]") -> dict[int, int]:
    return {each.hour: each.generation for each in hours}


class _Writer:
    """Writes stored aggregates to the index.

    Args:
        index: The alias.
        spark: Provides the session, which is started now.
        settings: Elasticsearch, and where the aggregates' table is.
    """

    def __init__(self, index: "Index", spark: SparkResource, settings: Settings) -> None:
        self.index = index
        self.settings = settings
        self._session = spark.session

    def __call__(self, ready: "Sequence[PublishedHour]", rewritten: Collection[int]) -> "Written":
        from dataco_assets.index.contents import hours_held
        from dataco_assets.index.publication import refresh
        from spark_resources import publication
        from spark_resources.aggregates_table import stored_aggregates

        hours = [each.hour for each in ready]
        with self.index.in_use(hours):
            refresh(self.index, hours)
            held = hours_held(self.index.client, self.index.holding(hours), hours)
            wanted = [each.hour for each in ready if each.totals.groups or each.hour in held]
            if not wanted:
                return publication.Written(0, ())
            return publication.publish(
                self.index.aggregate,
                stored_aggregates(self._session, TablePlace.of(self.settings), wanted),
                wanted,
                self.index.by_month(wanted),
                server=publication.Server(
                    self.settings.elasticsearch_url,
                    self.settings.elasticsearch_username,
                    self.settings.elasticsearch_password.get_secret_value(),
                    self.settings.elasticsearch_ca_file,
                ),
                held=publication.Held(held, rewritten),
            )


def _write(
    write: _Writer,
    ready: "Sequence[PublishedHour]",
    rewritten: Collection[int],
    hbase: HBaseResource,
    withheld: list[DatacoError],
) -> "tuple[list[PublishedHour], Written]":
    """Writes hours; those that meet documents of a higher version are withheld, and the others written again.

    Returns:
        The hours written, and what was done.
    """
    from dataco_assets.index.conflicts import find_conflicts
    from dataco_assets.ledgers.hours import HourLedger

    while True:
        try:
            outcome = write(ready, rewritten)
        except VersionConflict as error:
            with hbase.client() as connection:
                ledger = HourLedger(connection, write.settings.hours_table)
                conflicts = find_conflicts(write.index, ledger, ready)
            if not conflicts.hours:
                raise VersionConflict(
                    f"A newer generation of an hour was published meanwhile; nothing is lost. {error}"
                ) from error
            withheld += conflicts.errors()
            ready = [each for each in ready if each.hour not in conflicts.hours]
        else:
            return list(ready), outcome


def _without_closed(
    index: "Index", ready: "Sequence[PublishedHour]", withheld: list[DatacoError]
) -> "list[PublishedHour]":
    """The hours whose month's index is open; those whose index an operator closed are withheld."""
    from dataco_assets.index.indices import closed_text
    from dataco_assets.index.layout import month_of

    for state in index.closed():
        if hours := [each.hour for each in ready if month_of(each.hour) == state.name.month]:
            withheld.append(IndexClosed(closed_text(state), hours=hours))
            ready = [each for each in ready if each.hour not in hours]
    return list(ready)


def _differing(
    ledger: "HourLedger", written: "Sequence[PublishedHour]", mismatches: "Sequence[Mismatch]"
) -> DatacoError:
    """The error for hours that differ; their next refresh replaces all documents, unless a newer run explains it."""
    from dataco_assets.index.conflicts import raise_generations

    generations = {each.hour: each.generation for each in written}
    versions = {each.hour: each.newer_generation or generations[each.hour] for each in mismatches}
    listed = "\n  ".join(map(str, mismatches[:_SHOWN]))
    raise_generations(ledger, written, versions)
    return IndexDiffers(
        f"The index differs from the aggregates in {len(mismatches)} hours, which stay to be done:\n  {listed}",
        hours=list(versions),
    )


def _noted_as_unsound(hbase: HBaseResource, settings: Settings, hours: Sequence[int]) -> "dict[int, Unsound]":
    from dataco_assets.ledgers.unsound import UnsoundHours

    with hbase.client() as client:
        return UnsoundHours(client, settings.hours_table).of(hours)


def _validated(
    place: TablePlace, hours: Sequence[int], noted: "Mapping[int, Unsound]", withheld: list[DatacoError]
) -> "list[PublishedHour]":
    """The stored hours that are sound; those that are missing, unsound, or noted as unsound are withheld."""
    from dataco_assets.aggregates.reading import read_hours
    from dataco_assets.aggregates.schema import problems_by_hour
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.index.publication import PublishedHour

    published: list[PublishedHour] = []
    missing: list[int] = []
    failed: dict[int, Sequence[object]] = {}

    def stored_tables() -> "Iterator[tuple[int, pa.Table]]":
        for hour, stored in read_hours(place, hours):
            if stored is None:
                missing.append(hour)
                continue
            note = noted.get(hour)
            if note and (note.generation, note.computed_at_ms) == (stored.generation, stored.computed_at_ms):
                failed[hour] = note.problems
                continue
            published.append(PublishedHour(hour, stored.generation, stored.computed_at_ms, totals(stored)))
            yield hour, stored.table

    unsound = problems_by_hour(place.aggregate, stored_tables()) | failed
    if missing:
        withheld.append(
            HoursNotComputed(
                f"{len(missing)} hours have no aggregates yet, the first is {hour_key(missing[0])}. Materialise "
                "url_country_aggregates for them first, or both assets together.",
                hours=missing,
            )
        )
    if unsound:
        withheld.append(UnsoundAggregates.of(unsound))
    return [each for each in published if each.hour not in unsound]
