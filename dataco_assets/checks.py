"""The asset checks as steps of their own, to check stored results again on demand.

The assets report these checks in every run that computes and publishes hours (`assets/evaluations.py`); the platform's
jobs do not run these steps. They run when somebody chooses *Execute* beside a check in Dagster's UI.

The check before publication is part of publishing, not of this module: a blocking check guards only the run it is in.
A server that does not answer fails the step with an error; it never counts as a failed check.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import (
    AVERAGE_WITHIN_VISIT,
    CLICKS_CONSERVED,
    INDEX_EQUALS_AGGREGATES,
    SCHEMA,
    USERS_WITHIN_CLICKS,
    evaluations,
    latest_materializations,
)
from dataco_assets.assets.failures import explained
from dataco_assets.partitions import hours_to_do
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

# The steps have no return type: Dagster would accept results there, but not evaluations.
_MISSING = "the table has no aggregates of this hour; materialise it"
_Events = Iterator[dg.AssetCheckEvaluation | dg.Output[None]]


def _evaluate(
    context: dg.AssetCheckExecutionContext,
    spec: dg.AssetCheckSpec,
    hours: Sequence[int],
    problems: Mapping[int, Sequence[str]],
    *,
    not_compared: Collection[int] = (),
) -> _Events:
    yield dg.Output(None, output_name=spec.get_python_identifier())
    targets = latest_materializations(context.instance, spec.asset_key.to_user_string(), hours)
    yield from evaluations(spec, hours, problems, targets, not_compared=not_compared)


def _hours(context: dg.AssetCheckExecutionContext) -> list[int]:
    return hours_to_do(context.op_execution_context.run.tags)


@dg.multi_asset_check(specs=[SCHEMA, USERS_WITHIN_CLICKS, AVERAGE_WITHIN_VISIT])
def aggregates_are_sound(context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]):
    """Reads each hour's aggregates once and checks what it says."""
    from dataco_assets.aggregates.reading import read_hours
    from dataco_assets.aggregates.soundness import find_problems

    hours = _hours(context)
    missing: dict[int, list[str]] = {}

    def stored_tables() -> "Iterator[tuple[int, pa.Table]]":
        for hour, stored in read_hours(TablePlace.of(settings), hours):
            if stored is None:
                missing[hour] = [_MISSING]
            else:
                yield hour, stored.table

    with explained():
        found = find_problems(PAGES, stored_tables())
    there = [hour for hour in hours if hour not in missing]
    yield from _evaluate(context, SCHEMA, hours, found.schema | missing)
    yield from _evaluate(context, USERS_WITHIN_CLICKS, there, found.users)
    yield from _evaluate(context, AVERAGE_WITHIN_VISIT, there, found.averages)


@dg.multi_asset_check(specs=[CLICKS_CONSERVED], pool="spark")
def clicks_conserved(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    spark: SparkResource,
    hbase: HBaseResource,
):
    """Counts the rows of the hours independently; an hour that is not up to date is not compared."""
    from dataco_assets.aggregates.reading import read_hours
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.verification.conservation import conservation_problems
    from spark_resources.row_counts import count_rows

    hours = _hours(context)
    with explained(), hbase.client() as client:
        ledger = HourLedger(client, settings.hours_table)
        states = ledger.read(hours)
        stored = {
            hour: None if found is None else totals(found).clicks
            for hour, found in read_hours(TablePlace.of(settings), hours)
        }
        rows = count_rows(spark.session, settings.clicks_table, hours)
        clicks = {hour: found for hour, found in stored.items() if found is not None}
        wrong = conservation_problems(clicks, rows, rows)
        not_compared = {hour for hour in wrong if states[hour].is_dirty}
        not_compared |= ledger.changed_since({hour: states[hour].dirty for hour in wrong.keys() - not_compared})
    wrong = {hour: found for hour, found in wrong.items() if hour not in not_compared}
    missing = {hour: [_MISSING] for hour, found in stored.items() if found is None}
    yield from _evaluate(context, CLICKS_CONSERVED, hours, wrong | missing, not_compared=not_compared)


@dg.multi_asset_check(specs=[INDEX_EQUALS_AGGREGATES])
def index_equals_aggregates(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    elasticsearch: ElasticsearchResource,
):
    """Compares what a search sees with the aggregates."""
    from dataco_assets.aggregates.reading import read_hours
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import PublishedHour, refresh, verify_hours

    hours = _hours(context)
    wrong: dict[int, list[str]] = {}
    published: list[PublishedHour] = []
    with explained(), elasticsearch.client() as client:
        for hour, stored in read_hours(TablePlace.of(settings), hours):
            if stored is None:
                wrong[hour] = [_MISSING]
            else:
                published.append(PublishedHour(hour, stored.generation, stored.computed_at_ms, totals(stored)))
        index = Index(client, settings.index_alias)
        refresh(index, hours)
        for mismatch in verify_hours(index, published):
            wrong[mismatch.hour] = list(mismatch.problems)
    yield from _evaluate(context, INDEX_EQUALS_AGGREGATES, hours, wrong)


CHECKS = [aggregates_are_sound, clicks_conserved, index_equals_aggregates]
