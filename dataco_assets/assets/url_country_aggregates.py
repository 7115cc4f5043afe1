"""`url_country_aggregates`: each hour's clicks by page and country, computed on Spark, stored in an Iceberg table.

The same step computes the audience (`assets/audience.py`) from the same scan: an hour has both or is done again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import dagster as dg

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, PAGES, Aggregate, Column
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import (
    AUDIENCE_SOUND,
    AVERAGE_WITHIN_VISIT,
    CLICKS_CONSERVED,
    SCHEMA,
    USERS_WITHIN_CLICKS,
    evaluations,
    latest_materializations,
    log_evaluations,
    merged,
)
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS, raw_clicks
from dataco_assets.assets.report import hour_metadata, log_hours, pages_markdown, report_hours, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.clicks.hour import contiguous_runs, hour_key, scan_span
from dataco_assets.errors import DatacoError
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

    from dataco_assets.aggregates.contents import StoredHours
    from dataco_assets.aggregates.soundness import Problems
    from dataco_assets.aggregates.totals import PageCounts
    from spark_resources.aggregates_table import WrittenHour

HOURS_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=1), fail_window=timedelta(hours=2))
"""Some hour was refreshed lately; whether every hour is up to date is the hour ledger's to say (`dataco status`)."""


def table_metadata(aggregate: Aggregate) -> dict[str, Any]:
    """What Dagster shows of an aggregate's table: its columns, and from which of the clicks' each is computed."""
    return {
        "dagster/column_schema": dg.TableSchema(columns=[_shown_column(column) for column in aggregate.columns]),
        "dagster/column_lineage": dg.TableColumnLineage(
            {
                column.name: [dg.TableColumnDep(raw_clicks.key, read) for read in column.read_from]
                for column in aggregate.columns
                if column.read_from
            }
        ),
    }


def _shown_column(column: Column) -> dg.TableColumn:
    constraints = dg.TableColumnConstraints(nullable=column.nullable)
    return dg.TableColumn(column.name, column.type, column.description, constraints=constraints)


_SHOWN = 10
_PUBLISHING_STEP = "es_click_index"


class UnsoundAggregates(DatacoError):
    """Aggregates break their own rules, or do not hold the clicks that HBase has, so they are not published.

    Only these hours are withheld: the others of the run are published.
    """

    @classmethod
    def of(cls, problems: Mapping[int, Sequence[object]]) -> Self:
        """The error for hours (epoch ms) and what is wrong with each."""
        lines = [f"{hour_key(hour)}: {problem}" for hour, found in sorted(problems.items()) for problem in found]
        more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        listed = "\n  ".join(lines[:_SHOWN])
        return cls(
            f"The aggregates of {len(problems)} hours break their rules, so they are not published:\n  {listed}{more}\n"
            "Compute the hours again; if that does not help, the program is at fault.",
            hours=problems,
        )


@dg.asset(
    deps=[raw_clicks],
    partitions_def=HOURS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    description="Clicks, unique users and time spent of each hour by page and country, computed from HBase on Spark; "
    "stored in an Iceberg table partitioned by hour (DATACO_AGGREGATES_URI). A range of hours is one Spark job and one "
    "commit. The time spent on a click is the gap to the same user's next click, if that is at most 30 minutes away; "
    "the last click of a visit has no known duration and is not counted. The same scan gives `audience_aggregates`.",
    group_name="clickstream",
    kinds={"spark", "iceberg"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    pool="spark",
    freshness_policy=HOURS_FRESH,
    metadata=table_metadata(PAGES),
)
def url_country_aggregates(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], spark: SparkResource, hbase: HBaseResource
) -> Iterator[dg.MaterializeResult]:
    """Computes the hours of this run, and reports the checks of what was computed."""
    stages = Stages(context.log)
    with explained():
        hours = hours_to_do(context.run.tags)
        computed = compute_hours(hours, context.run.run_id, stages, settings=settings, spark=spark, hbase=hbase)
        audience = computed.of[AUDIENCE.name]
        log_hours(context, AUDIENCE.name, audience.hour_metadata(), run_metadata(audience.stored.totals))
        pages = computed.of[PAGES.name]
        yield report_hours(
            context,
            pages.hour_metadata(),
            {
                **run_metadata(pages.stored.totals),
                "run: rows scanned": computed.rows_scanned,
                "run: hours left as a newer run computed them": sum(hour.kept for hour in pages.written.values()),
                **stages.metadata(),
                "run: busiest pages": dg.MetadataValue.md(pages_markdown(computed.busiest_pages)),
            },
        )
        _report_checks(context, hours, computed)
        if not _publishes(context):
            computed.refuse_problems()


def _report_checks(context: dg.AssetExecutionContext, hours: Sequence[int], computed: "ComputedHours") -> None:
    """Reports the checks by hour."""
    pages, audience = computed.of[PAGES.name].problems, computed.of[AUDIENCE.name].problems
    targets = latest_materializations(context.instance, PAGES.name, hours)
    of_audience = latest_materializations(context.instance, AUDIENCE.name, hours)
    unsound = merged(audience.schema, audience.users, audience.averages, computed.not_alike)
    found = (
        evaluations(SCHEMA, hours, pages.schema, targets),
        evaluations(USERS_WITHIN_CLICKS, hours, pages.users, targets),
        evaluations(AVERAGE_WITHIN_VISIT, hours, pages.averages, targets),
        evaluations(CLICKS_CONSERVED, hours, computed.not_conserved, targets, not_compared=computed.changed_meanwhile),
        evaluations(AUDIENCE_SOUND, hours, unsound, of_audience),
    )
    log_evaluations(context, chain.from_iterable(found))


def _publishes(context: dg.AssetExecutionContext) -> bool:
    """Whether this run publishes its hours, too: then that step withholds the unsound hours, and fails for them.

    If this step failed, Dagster would not start that one, and the other hours would not be published either.
    """
    steps = context.run.step_keys_to_execute
    return _PUBLISHING_STEP in (context.job_def.graph.node_names() if steps is None else steps)


@dataclass(frozen=True)
class ComputedAggregate:
    """What the table of an aggregate holds of a run's hours, by start (epoch ms); read once.

    Attributes:
        written: The hours as they were written.
        stored: Of which computation they are, and what they add up to.
        problems: Broken rules, if any.
    """

    written: "dict[int, WrittenHour]"
    stored: "StoredHours"
    problems: "Problems"

    def hour_metadata(self) -> dict[int, dict[str, Any]]:
        """Metadata of each hour."""
        return {hour: hour_metadata(found, self.written[hour].generation) for hour, found in self.stored.totals.items()}


@dataclass(frozen=True)
class ComputedHours:
    """The hours that a run computed, by start (epoch ms).

    Attributes:
        of: What there is of each aggregate, by its name.
        not_conserved: Hours whose click counts differ from HBase, and how.
        not_alike: Hours whose audience does not add up to the pages, and how.
        changed_meanwhile: Hours that could not be compared with HBase, because their clicks changed meanwhile.
        busiest_pages: Page, country and clicks of the groups with most clicks over all hours.
        rows_scanned: Rows read from HBase.
    """

    of: dict[str, ComputedAggregate]
    not_conserved: dict[int, list[str]]
    not_alike: dict[int, list[str]]
    changed_meanwhile: set[int]
    busiest_pages: list[tuple[str, str, int]]
    rows_scanned: int

    def refuse_problems(self) -> None:
        """Raises when anything is wrong.

        Raises:
            UnsoundAggregates
        """
        if found := self.unsound:
            raise UnsoundAggregates.of(found)

    @property
    def unsound(self) -> dict[int, list[str]]:
        """What is wrong, by hour, whichever check found it."""
        of_each = [
            part
            for computed in self.of.values()
            for part in (computed.problems.schema, computed.problems.users, computed.problems.averages)
        ]
        return merged(*of_each, self.not_conserved, self.not_alike)


def compute_hours(
    hours: Sequence[int],
    run_id: str,
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
) -> ComputedHours:
    """Computes hours from HBase's clicks, replaces them in the tables, and checks each once.

    Hours that fail a check stay in the tables, and are noted as unsound, so that they are not published.

    Args:
        hours: Starts of the hours, epoch ms.
        run_id: Name of this attempt, unique.
        stages: Times what is done.
        settings: Names of tables, and where the aggregates' tables are.
        spark: Gives the session.
        hbase: Gives clients.

    Raises:
        HourExpired: clicks of an hour may have left HBase.
        ClicksTableError, HBaseError, AggregatesNotWritten, AggregatesUnavailable: see there.
    """
    from dataco_assets.aggregates.totals import PageCounts, audience_differences
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.verification.conservation import conservation_problems
    from spark_resources.clicks_table import counted, read_clicks
    from spark_resources.hbase_client import scanning
    from spark_resources.row_counts import count_rows
    from spark_resources.session import planned_for

    with stages.stage("read the hour ledger"), hbase.client() as client:
        ledger = HourLedger(client, settings.hours_table)
        now_ms = ledger.server_time_ms()
        ledger.refuse_expired(hours, ttl_days=settings.clicks_ttl_days, now_ms=now_ms)
        # Before the scan: a click that lands from here on leaves its hour dirty.
        generations = {hour: state.dirty for hour, state in ledger.read(hours).items()}
    with stages.stage("start Spark"):
        session = spark.session
    with stages.stage("count the clicks in HBase"):
        rows_before = count_rows(session, settings.clicks_table, hours)
    with stages.stage("scan and aggregate"):
        ranges = [scan_span(run[0], run[-1]) for run in contiguous_runs(hours)]
        clicks, rows_scanned = counted(read_clicks(session, settings.clicks_table, ranges))
        with scanning(settings.clicks_table), planned_for(session, sum(rows_before.values())):
            written = _write(clicks, hours, generations, now_ms, settings, run_id)
    with stages.stage("check the aggregates"):
        pages_seen = PageCounts(len(hours))
        found = {
            aggregate.name: _read_back(TablePlace.of(settings, aggregate), written[aggregate.name], pages_seen)
            for aggregate in AGGREGATES
        }
    with stages.stage("count the clicks in HBase"):
        # An hour with exactly the rows counted before is conserved, whatever was stored since.
        pages = found[PAGES.name].stored.totals
        changed = {hour: totals.clicks for hour, totals in pages.items() if totals.clicks != rows_before[hour]}
        rows_after = count_rows(session, settings.clicks_table, list(changed)) if changed else {}
    not_conserved = conservation_problems(changed, rows_before, rows_after)
    changed_meanwhile = _changed_meanwhile(hbase, settings, {hour: generations[hour] for hour in not_conserved})
    was_scanned = any(not hour.kept for of_each in written.values() for hour in of_each.values())
    computed = ComputedHours(
        found,
        {hour: problems for hour, problems in not_conserved.items() if hour not in changed_meanwhile},
        audience_differences(found[AUDIENCE.name].stored.computed, found[PAGES.name].stored.computed),
        changed_meanwhile,
        pages_seen.busiest(),
        # Where newer runs had written every hour already, nothing was scanned, and the count would never come.
        rows_scanned() if was_scanned else 0,
    )
    _note_unsound(hbase, settings, computed.unsound, found[PAGES.name].stored.origins)
    return computed


def _write(
    clicks: "DataFrame",
    hours: Sequence[int],
    generations: Mapping[int, int],
    now_ms: int,
    settings: Settings,
    run_id: str,
) -> "dict[str, dict[int, WrittenHour]]":
    """Computes all aggregates from one scan, and replaces the hours in their tables; what was written, by aggregate."""
    from spark_resources.aggregates_table import write_hours
    from spark_resources.aggregation import aggregate, held, measured

    computed_at = dict.fromkeys(hours, now_ms)
    written: dict[str, dict[int, WrittenHour]] = {}
    with held(measured(clicks, hours, bots=settings.bot_rule)) as each_click:
        # The pages last: of an hour that their table has, the other tables have the same generation or a newer one.
        for to in reversed(AGGREGATES):
            rows = aggregate(to, each_click, hours, generations, now_ms)
            place = TablePlace.of(settings, to)
            written[to.name] = write_hours(rows, hours, generations, place, run_id, computed_at)
    return written


def _read_back(place: TablePlace, written: "dict[int, WrittenHour]", pages_seen: "PageCounts") -> ComputedAggregate:
    """Totals and problems of the hours in a table, of whose rows few are held at a time."""
    from dataco_assets.aggregates.contents import StoredHours
    from dataco_assets.aggregates.soundness import find_problems

    stored = StoredHours(place, list(written))

    def pieces() -> "Iterator[tuple[int, pa.Table]]":
        for hour, piece in stored.pieces():
            if place.aggregate is PAGES:
                pages_seen.add(piece)
            yield hour, piece

    problems = find_problems(place.aggregate, pieces())
    return ComputedAggregate(written, stored, problems)


def _note_unsound(
    hbase: HBaseResource,
    settings: Settings,
    problems: Mapping[int, Sequence[str]],
    origins: Mapping[int, tuple[int, int]],
) -> None:
    """Keeps unsound hours from being published, by this run or another. Sends no request when there is none."""
    from dataco_assets.ledgers.unsound import Unsound, UnsoundHours

    if problems:
        with hbase.client() as client:
            UnsoundHours(client, settings.hours_table).note(
                Unsound(hour, *origins[hour], tuple(found)) for hour, found in problems.items()
            )


def _changed_meanwhile(hbase: HBaseResource, settings: Settings, generations: Mapping[int, int]) -> set[int]:
    """The hours whose clicks changed after their generations were read. Sends no request when no hour is given."""
    from dataco_assets.ledgers.hours import HourLedger

    if not generations:
        return set()
    with hbase.client() as client:
        return HourLedger(client, settings.hours_table).changed_since(generations)
