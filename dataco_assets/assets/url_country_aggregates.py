"""`url_country_aggregates`: each hour's clicks by page and country, computed on Spark, stored in an Iceberg table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

import dagster as dg

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import (
    AVERAGE_WITHIN_VISIT,
    CLICKS_CONSERVED,
    SCHEMA,
    USERS_WITHIN_CLICKS,
    evaluations,
    latest_materializations,
)
from dataco_assets.assets.failures import explained
from dataco_assets.assets.raw_clicks import OWNERS, raw_clicks
from dataco_assets.assets.report import hour_metadata, pages_markdown, report_hours, run_metadata
from dataco_assets.assets.stages import Stages
from dataco_assets.clicks.hour import contiguous_runs, hour_key, scan_span
from dataco_assets.errors import DatacoError
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from dataco_assets.aggregates.soundness import Problems
    from dataco_assets.aggregates.totals import HourTotals
    from spark_resources.aggregates_table import WrittenHour

AGGREGATES_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn(
            column.name,
            column.type,
            column.description,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in PAGES.columns
    ]
)

HOURS_FRESH = dg.FreshnessPolicy.time_window(warn_window=timedelta(hours=1), fail_window=timedelta(hours=2))
"""Some hour was refreshed lately; whether every hour is up to date is the hour ledger's to say (`dataco status`)."""

_LINEAGE = dg.TableColumnLineage(
    {c.name: [dg.TableColumnDep(raw_clicks.key, read) for read in c.read_from] for c in PAGES.columns if c.read_from}
)

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
    "the last click of a visit has no known duration and is not counted.",
    group_name="clickstream",
    kinds={"spark", "iceberg"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    pool="spark",
    freshness_policy=HOURS_FRESH,
    metadata={"dagster/column_schema": AGGREGATES_SCHEMA, "dagster/column_lineage": _LINEAGE},
)
def url_country_aggregates(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings], spark: SparkResource, hbase: HBaseResource
) -> Iterator[dg.MaterializeResult]:
    """Computes the hours of this run, and reports the checks of what was computed."""
    stages = Stages(context.log)
    with explained():
        hours = hours_to_do(context.run.tags)
        computed = compute_hours(hours, context.run.run_id, stages, settings=settings, spark=spark, hbase=hbase)
        yield report_hours(
            context,
            {hour: hour_metadata(found, computed.written[hour].generation) for hour, found in computed.totals.items()},
            {
                **run_metadata(computed.totals),
                "run: rows scanned": computed.rows_scanned,
                "run: hours left as a newer run computed them": sum(hour.kept for hour in computed.written.values()),
                **stages.metadata(),
                "run: busiest pages": dg.MetadataValue.md(pages_markdown(computed.busiest_pages)),
            },
        )
        _report_checks(context, hours, computed)
        if not _publishes(context):
            computed.refuse_problems()


def _report_checks(context: dg.AssetExecutionContext, hours: Sequence[int], computed: "ComputedHours") -> None:
    """Reports the checks by hour. They are logged, because a failed check that is yielded would fail the whole step."""
    targets = latest_materializations(context.instance, "url_country_aggregates", hours)
    for evaluation in (
        *evaluations(SCHEMA, hours, computed.problems.schema, targets),
        *evaluations(USERS_WITHIN_CLICKS, hours, computed.problems.users, targets),
        *evaluations(AVERAGE_WITHIN_VISIT, hours, computed.problems.averages, targets),
        *evaluations(CLICKS_CONSERVED, hours, computed.not_conserved, targets, not_compared=computed.changed_meanwhile),
    ):
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType]  # taken, but not declared


def _publishes(context: dg.AssetExecutionContext) -> bool:
    """Whether this run publishes its hours, too: then that step withholds the unsound hours, and fails for them.

    If this step failed, Dagster would not start that one, and the other hours would not be published either.
    """
    steps = context.run.step_keys_to_execute
    return _PUBLISHING_STEP in (context.job_def.graph.node_names() if steps is None else steps)


@dataclass(frozen=True)
class ComputedHours:
    """The hours that a run computed, by start (epoch ms).

    Attributes:
        written: What the table holds of each hour.
        totals: Sums of each hour.
        problems: Broken rules, if any.
        not_conserved: Hours whose click counts differ from HBase, and how.
        changed_meanwhile: Hours that could not be compared with HBase, because their clicks changed meanwhile.
        busiest_pages: Page, country and clicks of the groups with most clicks over all hours.
        rows_scanned: Rows read from HBase.
    """

    written: "dict[int, WrittenHour]"
    totals: "dict[int, HourTotals]"
    problems: "Problems"
    not_conserved: dict[int, list[str]]
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
        found: dict[int, list[str]] = {}
        for part in (self.problems.schema, self.problems.users, self.problems.averages, self.not_conserved):
            for hour, problems in part.items():
                found.setdefault(hour, []).extend(problems)
        return found


def compute_hours(
    hours: Sequence[int],
    run_id: str,
    stages: Stages,
    *,
    settings: Settings,
    spark: SparkResource,
    hbase: HBaseResource,
) -> ComputedHours:
    """Computes hours from HBase's clicks, replaces them in the table, and checks each once.

    Hours that fail a check stay in the table, and are noted as unsound, so that they are not published.

    Args:
        hours: Starts of the hours, epoch ms.
        run_id: Name of this attempt, unique.
        stages: Times what is done.
        settings: Names of tables, and where the aggregates' table is.
        spark: Gives the session.
        hbase: Gives clients.

    Raises:
        HourExpired: clicks of an hour may have left HBase.
        ClicksTableError, HBaseError, AggregatesNotWritten, AggregatesUnavailable: see there.
    """
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.verification.conservation import conservation_problems
    from spark_resources.aggregates_table import write_hours
    from spark_resources.aggregation import aggregate, measured
    from spark_resources.clicks_table import counted, read_clicks
    from spark_resources.hbase_client import scanning
    from spark_resources.row_counts import count_rows

    place = TablePlace.of(settings)
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
        frame = aggregate(PAGES, measured(clicks, hours), hours, generations, now_ms)
        with scanning(settings.clicks_table):
            computed_at = dict.fromkeys(hours, now_ms)
            written = write_hours(frame, hours, generations, place, run_id, computed_at)
    with stages.stage("check the aggregates"):
        stored = _Stored(place, hours)
    with stages.stage("count the clicks in HBase"):
        # An hour with exactly the rows counted before is conserved, whatever was stored since.
        changed = {hour: clicks for hour, clicks in stored.clicks.items() if clicks != rows_before[hour]}
        rows_after = count_rows(session, settings.clicks_table, list(changed)) if changed else {}
    not_conserved = conservation_problems(changed, rows_before, rows_after)
    changed_meanwhile = _changed_meanwhile(hbase, settings, {hour: generations[hour] for hour in not_conserved})
    computed = ComputedHours(
        written,
        stored.totals,
        stored.problems,
        {hour: found for hour, found in not_conserved.items() if hour not in changed_meanwhile},
        changed_meanwhile,
        stored.pages.busiest(),
        # Where newer runs had written every hour already, nothing was scanned, and the count would never come.
        0 if all(hour.kept for hour in written.values()) else rows_scanned(),
    )
    _note_unsound(hbase, settings, computed.unsound, stored)
    return computed


def _note_unsound(
    hbase: HBaseResource, settings: Settings, problems: Mapping[int, Sequence[str]], stored: "_Stored"
) -> None:
    """Keeps unsound hours from being published, by this run or another. Sends no request when there is none."""
    from dataco_assets.ledgers.unsound import Unsound, UnsoundHours

    if problems:
        with hbase.client() as client:
            UnsoundHours(client, settings.hours_table).note(
                Unsound(hour, *stored.origins[hour], tuple(found)) for hour, found in problems.items()
            )


def _changed_meanwhile(hbase: HBaseResource, settings: Settings, generations: Mapping[int, int]) -> set[int]:
    """The hours whose clicks changed after their generations were read. Sends no request when no hour is given."""
    from dataco_assets.ledgers.hours import HourLedger

    if not generations:
        return set()
    with hbase.client() as client:
        return HourLedger(client, settings.hours_table).changed_since(generations)


class _Stored:
    """Totals, busiest pages and problems of the hours in the table, which are read one after another.

    Attributes:
        origins: Generation and time of computing (epoch ms) of each hour.
    """

    def __init__(self, place: TablePlace, hours: Sequence[int]) -> None:
        from dataco_assets.aggregates.soundness import find_problems
        from dataco_assets.aggregates.totals import PageCounts

        self.totals: dict[int, HourTotals] = {}
        self.origins: dict[int, tuple[int, int]] = {}
        self.pages = PageCounts()
        self.problems = find_problems(place.aggregate, self._tables(place, hours))

    @property
    def clicks(self) -> dict[int, int]:
        """Clicks counted, by hour."""
        return {hour: found.clicks for hour, found in self.totals.items()}

    def _tables(self, place: TablePlace, hours: Sequence[int]) -> "Iterator[tuple[int, pa.Table]]":
        from dataco_assets.aggregates.reading import read_hours
        from dataco_assets.aggregates.totals import totals

        for hour, stored in read_hours(place, hours):
            if stored is None:
                continue
            self.totals[hour] = totals(stored)
            self.origins[hour] = stored.generation, stored.computed_at_ms
            self.pages.add(stored.table)
            yield hour, stored.table
