"""`es_click_index`: publishes the hours to Elasticsearch and compares them with the aggregates' tables.

The same step publishes the audience (`assets/audience.py`). An hour is done when both indices hold it.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, PAGE, PAGES, Aggregate
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import (
    AUDIENCE_INDEX,
    AUDIENCE_INDEX_EQUALS_AGGREGATES,
    INDEX_EQUALS_AGGREGATES,
    evaluations,
    latest_materializations,
    log_evaluations,
)
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS
from dataco_assets.assets.report import hour_metadata, log_hours, report_hours, run_metadata
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

    from dataco_assets.aggregates.reading import HourRows
    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.index.differences import Held, Restated, Written
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import Mismatch, PublishedHour
    from dataco_assets.index.restatements import RestatementLog
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.ledgers.publications import Others
    from dataco_assets.ledgers.unsound import Unsound

    _Ready = Mapping[str, Sequence[PublishedHour]]
    """The hours to publish, by the name of the aggregate."""

_SHOWN = 10

_OF_A_DOCUMENT = {
    "generation": "State of the hour ledger that the run started from which last changed this document.",
    "computed_at": "When that run's aggregation began, UTC, by HBase's clock.",
}


def index_metadata(aggregate: Aggregate, asset: str) -> dict[str, Any]:
    """What Dagster shows of an aggregate's index: its fields, and from which column of the table's asset each comes."""
    shown = [dg.TableColumn(c.name, c.type, _OF_A_DOCUMENT.get(c.name, c.description)) for c in aggregate.indexed]
    lineage = {c.name: [dg.TableColumnDep(dg.AssetKey(asset), c.name)] for c in aggregate.indexed}
    if PAGE in aggregate.dimensions:
        for name in ("host", "path"):
            shown.append(dg.TableColumn(name, "string", f"{name.capitalize()} of the page."))
            lineage[name] = [dg.TableColumnDep(dg.AssetKey(asset), PAGE.name)]
    return {
        "dagster/column_schema": dg.TableSchema(columns=shown),
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
    }


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
    "then does the hour count as done. An older run never overwrites a newer one. The same step publishes "
    "`es_audience_index`.",
    group_name="clickstream",
    kinds={"elasticsearch", "spark"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    pool="spark",
    freshness_policy=HOURS_FRESH,
    metadata=index_metadata(PAGES, PAGES.name),
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
        pages, audience = done.of[PAGES.name], done.of[AUDIENCE.name]
        log_hours(context, AUDIENCE_INDEX, audience.hour_metadata(), audience.run_metadata())
        _report_audience_check(context, audience)
        numbers = pages.hour_metadata()
        compared = sorted({*numbers, *pages.problems})
        if done.withheld:
            # A step that fails reports no materialization, but these hours are done.
            log_hours(context, context.asset_key, numbers, {})
            targets = latest_materializations(context.instance, "es_click_index", compared)
            yield from evaluations(INDEX_EQUALS_AGGREGATES, compared, pages.problems, targets)
            raise combine(done.withheld)
    yield report_hours(context, numbers, {**pages.run_metadata(), **stages.metadata()})
    targets = latest_materializations(context.instance, "es_click_index", compared)
    yield from evaluations(INDEX_EQUALS_AGGREGATES, compared, {}, targets)


def _report_audience_check(context: dg.AssetExecutionContext, audience: "PublishedAggregate") -> None:
    compared = sorted({*audience.hour_metadata(), *audience.problems})
    targets = latest_materializations(context.instance, AUDIENCE_INDEX, compared)
    log_evaluations(context, evaluations(AUDIENCE_INDEX_EQUALS_AGGREGATES, compared, audience.problems, targets))


@dataclass
class PublishedAggregate:
    """What a run published of one aggregate.

    Attributes:
        published: The hours that are done.
        documents: Documents that were written; those that did not change are left.
        removed: Documents that were deleted.
        problems: What differs between index and aggregates, by hour (epoch ms), of hours that are not done.
    """

    published: "Sequence[PublishedHour]" = ()
    documents: int = 0
    removed: int = 0
    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)

    def hour_metadata(self) -> dict[int, dict[str, Any]]:
        """Metadata of each hour that is done."""
        return {each.hour: hour_metadata(each.totals, each.generation) for each in self.published}

    def run_metadata(self) -> dict[str, Any]:
        """Metadata of the run."""
        return {
            **run_metadata({each.hour: each.totals for each in self.published}),
            "run: documents written": self.documents,
            "run: stale documents removed": self.removed,
        }


@dataclass(frozen=True)
class Publication:
    """The outcome of publishing the hours of a run.

    Attributes:
        of: What was published of each aggregate, by its name.
        withheld: Why hours are not done, if some are not.
    """

    of: Mapping[str, PublishedAggregate]
    withheld: Sequence[DatacoError]

    @property
    def documents(self) -> int:
        """Documents of all aggregates that were written."""
        return sum(each.documents for each in self.of.values())


def publish_hours(
    hours: Sequence[int],
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> Publication:
    """Writes what differs from hours' aggregates to the indices, compares the two, and marks the hours as done.

    An hour is done when all its aggregates are published and compared. One that cannot be published does not hold up
    the others; the errors of all that cannot are returned.

    Args:
        hours: Starts of the hours, epoch ms.
        stages: Times what is done.
        settings: The indices, and where the aggregates' tables are.
        spark: Gives the session.
        hbase: Gives clients.
        elasticsearch: Gives clients.

    Raises:
        IndexMismatch: templates or indices are not as laid out.
        PublicationFailed, ElasticsearchError, HBaseError: no hour is done.
    """
    from dataco_assets.index.indices import Index
    from dataco_assets.index.restatements import ensure_restatements
    from dataco_assets.index.setup import ensure_month_indices

    withheld: list[DatacoError] = []
    outcomes = {aggregate.name: PublishedAggregate() for aggregate in AGGREGATES}
    with elasticsearch.client() as client:
        indices = {aggregate.name: Index.of(client, settings, aggregate) for aggregate in AGGREGATES}
        with stages.stage("validate the aggregates"):
            ready = _sound(settings, hours, _noted_as_unsound(hbase, settings, hours), withheld)
            for index in indices.values():
                ready = _without(ready, _in_closed(index, ready[PAGES.name], withheld))
        if not ready[PAGES.name]:
            return Publication(outcomes, withheld)
        parts = [_Part(indices[name], spark, settings, stages, outcomes[name], each) for name, each in ready.items()]
        turn = _Turn(hbase, settings)
        with stages.stage("look for other runs"):
            for part in parts:
                if part.hours:
                    ensure_month_indices(part.index, settings, [each.hour for each in part.hours])
            newer, rewritten = turn.begin(ready[PAGES.name], withheld)
        _leave_out(parts, newer)
        with _restatements(client, hbase, settings) as log:
            with stages.stage("look up former hours"):
                ensure_restatements(client, settings)
                log.begin(parts[0].hours)
            _publish(parts, rewritten, turn, hbase, withheld, log)
            with stages.stage("note the hours as done"):
                _note_done(parts, hbase, settings, withheld, log)
        turn.end()
    return Publication(outcomes, withheld)


def _publish(
    parts: "Sequence[_Part]",
    rewritten: Collection[int],
    turn: "_Turn",
    hbase: HBaseResource,
    withheld: list[DatacoError],
    log: "RestatementLog",
) -> None:
    """Publishes one aggregate after another; an hour that one of them cannot publish is left out of all."""
    try:
        for part in parts:
            _leave_out(parts, part.publish(rewritten, hbase, withheld, log))
    except VersionConflict:
        turn.overtaken(parts, withheld)
        raise
    _leave_out(parts, turn.overtaken(parts, withheld))


@contextmanager
def _restatements(client: "SearchClient", hbase: HBaseResource, settings: Settings) -> "Iterator[RestatementLog]":
    from dataco_assets.clients.kafka.brokers import Brokers
    from dataco_assets.index.restatements import Restatement, RestatementLog, index_name
    from dataco_assets.index.restatements_topic import send
    from dataco_assets.ledgers.restating import Restating

    def announce(records: Sequence[Restatement]) -> None:
        if settings.restatements_topic:
            send(Brokers.of(settings), settings.restatements_topic, records)

    with hbase.client() as connection:
        restating = Restating(connection, settings.hours_table)
        yield RestatementLog(client, restating, index_name(settings.index_alias), announce)


def _note_done(
    parts: "Sequence[_Part]",
    hbase: HBaseResource,
    settings: Settings,
    withheld: list[DatacoError],
    log: "RestatementLog",
) -> None:
    """Notes the hours as done that no index differs in, and their restatements; the others are withheld."""
    from dataco_assets.ledgers.hours import HourLedger

    differing = {each.hour for part in parts for each in part.mismatches}
    done = [part.finish(differing) for part in parts]
    log.complete(done[0])  # first: an hour that is done is not looked at again
    with hbase.client() as connection:
        ledger = HourLedger(connection, settings.hours_table)
        ledger.set_done(_generations(done[0]))
        withheld += [_differing(ledger, part) for part in parts if part.mismatches]


def _leave_out(parts: "Sequence[_Part]", hours: Collection[int]) -> None:
    for part in parts:
        part.leave_out(hours)


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
        self._announced: Sequence[PublishedHour] = ()

    def begin(
        self, ready: "Sequence[PublishedHour]", withheld: list[DatacoError]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Announces the hours, and withholds those that a newer run publishes.

        Returns:
            The hours that a newer run publishes, and those of the others whose documents must all be written.
        """
        from dataco_assets.ledgers.publications import Publications

        with self._hbase.client() as connection:
            Publications(connection, self._table).announce(self._run, _generations(ready))
        others = self._others(ready)
        self._withhold(others.newer, withheld)
        self._announced = [each for each in ready if each.hour not in others.newer]
        return others.newer, others.older

    def overtaken(self, parts: "Sequence[_Part]", withheld: list[DatacoError]) -> frozenset[int]:
        """Deletes what this run wrote of hours that a newer run publishes since, and withholds those not yet withheld.

        Args:
            parts: What this run publishes.
            withheld: Why hours are not done.
        """
        newer = self._others(self._announced).newer
        for part in parts:
            part.delete_own(newer)
        held = {each.hour for part in parts for each in part.hours}
        self._withhold(newer & held, withheld)
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


class _Part:
    """One aggregate among those that a run publishes.

    Args:
        index: The alias.
        spark: Provides the session, where the hours have many rows.
        settings: Elasticsearch, and where the aggregate's table is.
        stages: Times what is done.
        outcome: Receives what was done.
        hours: The hours to publish.

    Attributes:
        index: The alias.
        hours: The hours to publish, without those that are withheld.
        outcome: What was done.
        mismatches: Hours whose documents differ from the table.
    """

    def __init__(
        self,
        index: "Index",
        spark: SparkResource,
        settings: Settings,
        stages: Stages,
        outcome: PublishedAggregate,
        hours: "Sequence[PublishedHour]",
    ) -> None:
        self.index = index
        self.hours = list(hours)
        self.outcome = outcome
        self.mismatches: Sequence[Mismatch] = ()
        self._settings = settings
        self._spark = spark
        self._stages = stages
        self._may_have_written: Sequence[PublishedHour] = ()

    def leave_out(self, hours: Collection[int]) -> None:
        """Does not publish some hours after all."""
        self.hours = [each for each in self.hours if each.hour not in hours]
        self.mismatches = [each for each in self.mismatches if each.hour not in hours]

    def publish(
        self, rewritten: Collection[int], hbase: HBaseResource, withheld: list[DatacoError], log: "RestatementLog"
    ) -> set[int]:
        """Writes the documents, removes stale ones, and compares the index with the table.

        Args:
            rewritten: Hours whose documents are all written.
            hbase: Gives clients.
            withheld: Receives why hours are not published.
            log: Receives the differences of hours that were final, from the pages' documents.

        Returns:
            The hours that are withheld: they met documents of a higher version.
        """
        from dataco_assets.index.publication import delete_stale, refresh, verify_hours

        self._may_have_written = self.hours
        with self._stages.stage("write the documents"):
            written = self._write(rewritten, hbase, withheld, log)
        held = [each.hour for each in self.hours]
        with self.index.in_use(held):
            with self._stages.stage("remove stale documents"):
                removed = delete_stale(self.index, self.hours, written.stale)
                if removed or written.documents:
                    refresh(self.index, held)
            with self._stages.stage("compare the index with the aggregates"):
                self.mismatches = verify_hours(self.index, self.hours)
        self.outcome.documents, self.outcome.removed = written.documents, removed
        return {each.hour for each in self._may_have_written} - set(held)

    def delete_own(self, newer: Collection[int]) -> None:
        """Deletes what this run wrote of hours that a newer run publishes since."""
        from dataco_assets.index.publication import delete_own

        own = [each for each in self._may_have_written if each.hour in newer]
        with self.index.in_use([each.hour for each in own]):
            delete_own(self.index, own)

    def finish(self, differing: Collection[int]) -> "Sequence[PublishedHour]":
        """Notes in the outcome which hours are done: those that differ in no index. Returns them."""
        self.outcome.problems = {each.hour: each.problems for each in self.mismatches}
        self.outcome.published = [each for each in self.hours if each.hour not in differing]
        return self.outcome.published

    def _write(
        self, rewritten: Collection[int], hbase: HBaseResource, withheld: list[DatacoError], log: "RestatementLog"
    ) -> "Written":
        """Writes hours; those that meet documents of a higher version are withheld, and the others written again."""
        from dataco_assets.index.conflicts import find_conflicts
        from dataco_assets.ledgers.hours import HourLedger

        while True:
            try:
                return self._write_once(rewritten, log)
            except VersionConflict as error:
                with hbase.client() as connection:
                    ledger = HourLedger(connection, self._settings.hours_table)
                    conflicts = find_conflicts(self.index, ledger, self.hours)
                if not conflicts.hours:
                    raise VersionConflict(
                        f"A newer generation of an hour was published meanwhile; nothing is lost. {error}"
                    ) from error
                withheld += conflicts.errors()
                self.leave_out(conflicts.hours)

    def _write_once(self, rewritten: Collection[int], log: "RestatementLog") -> "Written":
        from dataco_assets.index import few_documents
        from dataco_assets.index.contents import hours_held
        from dataco_assets.index.differences import Held, Restated, Written
        from dataco_assets.index.publication import refresh

        hours = [each.hour for each in self.hours]
        client, aggregate = self.index.client, self.index.aggregate
        with self.index.in_use(hours):
            refresh(self.index, hours)
            indices = self.index.holding(hours)
            held = hours_held(client, indices, hours)
            wanted = [each.hour for each in self.hours if each.totals.groups or each.hour in held]
            if not wanted:
                return Written(0, ())
            before = Held(held, rewritten)
            restated = Restated(log.hours, log.note) if aggregate is PAGES else None
            if few_documents.are_few(client, indices, wanted, sum(each.totals.groups for each in self.hours)):
                rows, by_month = self._rows(wanted), self.index.by_month(wanted)
                return few_documents.publish_few(client, aggregate, rows, by_month, held=before, restated=restated)
            return self._write_by_spark(wanted, before, restated)

    def _rows(self, hours: Sequence[int]) -> "dict[int, Sequence[pa.Table]]":
        from dataco_assets.aggregates.reading import read_hours

        place = TablePlace.of(self._settings, self.index.aggregate)
        return {hour: () if stored is None else tuple(stored.pieces) for hour, stored in read_hours(place, hours)}

    def _write_by_spark(self, hours: Sequence[int], held: "Held", restated: "Restated | None") -> "Written":
        from spark_resources import publication
        from spark_resources.aggregates_table import stored_aggregates

        settings, aggregate = self._settings, self.index.aggregate
        with self._stages.stage("start Spark"):
            session = self._spark.session
        return publication.publish(
            aggregate,
            stored_aggregates(session, TablePlace.of(settings, aggregate), hours),
            hours,
            self.index.by_month(hours),
            server=publication.Server(
                settings.elasticsearch_url,
                settings.elasticsearch_username,
                settings.elasticsearch_password.get_secret_value(),
                settings.elasticsearch_ca_file,
            ),
            held=held,
            restated=restated,
        )


def _in_closed(index: "Index", ready: "Sequence[PublishedHour]", withheld: list[DatacoError]) -> set[int]:
    """The hours whose month's index an operator closed, which are withheld."""
    from dataco_assets.index.indices import closed_text
    from dataco_assets.index.layout import month_of

    found: set[int] = set()
    for state in index.closed():
        if hours := [each.hour for each in ready if month_of(each.hour) == state.name.month]:
            withheld.append(IndexClosed(closed_text(state), hours=hours))
            found.update(hours)
    return found


def _without(ready: "_Ready", hours: Collection[int]) -> "_Ready":
    return {name: [each for each in part if each.hour not in hours] for name, part in ready.items()}


def _differing(ledger: "HourLedger", part: _Part) -> DatacoError:
    """The error for hours that differ; their next refresh replaces all documents, unless a newer run explains it."""
    from dataco_assets.index.conflicts import raise_generations

    generations = _generations(part.hours)
    versions = {each.hour: each.newer_generation or generations[each.hour] for each in part.mismatches}
    listed = "\n  ".join(map(str, part.mismatches[:_SHOWN]))
    raise_generations(ledger, part.hours, versions)
    return IndexDiffers(
        f"The index behind {part.index.alias} differs from the aggregates in {len(part.mismatches)} hours, which stay "
        f"to be done:\n  {listed}",
        hours=list(versions),
    )


def _noted_as_unsound(hbase: HBaseResource, settings: Settings, hours: Sequence[int]) -> "dict[int, Unsound]":
    from dataco_assets.ledgers.unsound import UnsoundHours

    with hbase.client() as client:
        return UnsoundHours(client, settings.hours_table).of(hours)


def _sound(
    settings: Settings, hours: Sequence[int], noted: "Mapping[int, Unsound]", withheld: list[DatacoError]
) -> "_Ready":
    """The hours that are stored, sound, and of one run in all tables, by aggregate; others are withheld.

    An hour that an earlier version computed has no audience, and is published without.
    """
    pages = {each.hour: each for each in _validated(TablePlace.of(settings), hours, noted, withheld)}
    before = len(withheld)
    audience = _validated(TablePlace.of(settings, AUDIENCE), sorted(pages), {}, withheld) if pages else []
    refused = {hour for error in withheld[before:] for hour in error.hours}
    refused |= _unequal(pages, audience, withheld)
    return _without({PAGES.name: list(pages.values()), AUDIENCE.name: audience}, refused)


def _unequal(
    pages: "Mapping[int, PublishedHour]", audience: "Sequence[PublishedHour]", withheld: list[DatacoError]
) -> set[int]:
    """The hours whose audience is not of the same clicks as the pages, which are withheld."""
    from dataco_assets.aggregates.totals import audience_differences
    from dataco_assets.index.conflicts import Conflicts

    generations = {each.hour: each.generation - pages[each.hour].generation for each in audience}
    newer = tuple(hour for hour, ahead in generations.items() if ahead > 0)
    older = tuple(hour for hour, ahead in generations.items() if ahead < 0)
    unlike = audience_differences(
        {each.hour: (each.origin, each.totals) for each in audience},
        {hour: (each.origin, each.totals) for hour, each in pages.items()},
    )
    withheld += Conflicts(outdated=newer, changed=()).errors()
    if older:
        withheld.append(
            HoursNotComputed(
                f"The audience of {len(older)} hours (the first: {hour_key(older[0])}) is older than their pages, as "
                "when a process of an earlier version computed them. Materialise url_country_aggregates for them.",
                hours=older,
            )
        )
    if unlike:
        withheld.append(UnsoundAggregates.of(unlike))
    return {*newer, *older, *unlike}


def _validated(
    place: TablePlace, hours: Sequence[int], noted: "Mapping[int, Unsound]", withheld: list[DatacoError]
) -> "list[PublishedHour]":
    """The stored hours that are sound; those that are missing, unsound, or noted as unsound are withheld."""
    from dataco_assets.aggregates.contents import StoredHours
    from dataco_assets.aggregates.schema import problems_by_hour
    from dataco_assets.index.publication import PublishedHour

    failed: dict[int, Sequence[object]] = {}

    def is_noted(hour: "HourRows") -> bool:
        note = noted.get(hour.hour_ms)
        if note is None or (note.generation, note.computed_at_ms) != hour.origin:
            return False
        failed[hour.hour_ms] = note.problems
        return True

    stored = StoredHours(place, hours, passes_over=is_noted)
    unsound = problems_by_hour(place.aggregate, stored.pieces()) | failed
    if stored.missing and not place.aggregate.came_later:
        withheld.append(
            HoursNotComputed(
                f"{len(stored.missing)} hours have no aggregates yet, the first is {hour_key(stored.missing[0])}. "
                "Materialise url_country_aggregates for them first, or both assets together.",
                hours=stored.missing,
            )
        )
    if unsound:
        withheld.append(UnsoundAggregates.of(unsound))
    computed = stored.computed.items()
    return [PublishedHour(hour, *origin, totals) for hour, (origin, totals) in computed if hour not in unsound]
