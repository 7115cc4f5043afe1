"""The asset checks as steps of their own, to check stored results again on demand.

The assets report these checks in every run that computes and publishes hours (`assets/evaluations.py`); the platform's
jobs do not run these steps. They run when somebody chooses *Execute* beside a check in Dagster's UI.

The check before publication is part of publishing, not of this module: a blocking check guards only the run it is in.
A server that does not answer fails the step with an error; it never counts as a failed check.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import AUDIENCE, PAGES, Aggregate
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.evaluations import (
    AUDIENCE_INDEX_EQUALS_AGGREGATES,
    AUDIENCE_SOUND,
    AVERAGE_WITHIN_VISIT,
    CLICKS_CONSERVED,
    INDEX_EQUALS_AGGREGATES,
    LIVE_EQUALS_BATCH,
    SCHEMA,
    USERS_WITHIN_CLICKS,
    evaluations,
    latest_materializations,
    merged,
)
from dataco_assets.assets.failures import explained
from dataco_assets.partitions import hours_to_do
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from dataco_assets.aggregates.totals import Computed

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
    hours = _hours(context)
    with explained():
        stored = _Stored(settings, PAGES, hours)
    yield from _evaluate(context, SCHEMA, hours, stored.problems.schema | stored.missing)
    yield from _evaluate(context, USERS_WITHIN_CLICKS, stored.there, stored.problems.users)
    yield from _evaluate(context, AVERAGE_WITHIN_VISIT, stored.there, stored.problems.averages)


@dg.multi_asset_check(specs=[AUDIENCE_SOUND])
def audience_is_sound(context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]):
    """Reads each hour's audience and pages once; checks what the audience says, and that it adds up to the pages."""
    from dataco_assets.aggregates.totals import audience_differences

    hours = _hours(context)
    with explained():
        stored, pages = _Stored(settings, AUDIENCE, hours), _Stored(settings, PAGES, hours)
    found = stored.problems
    unlike = audience_differences(stored.computed, pages.computed)
    broken = merged(found.schema, found.users, found.averages, unlike, stored.missing)
    yield from _evaluate(context, AUDIENCE_SOUND, hours, broken)


class _Stored:
    """What a table holds of hours, read once.

    Attributes:
        computed: Origin and totals of each hour that is there.
        missing: A problem for each hour that was never computed.
        problems: Broken rules.
    """

    def __init__(self, settings: Settings, aggregate: Aggregate, hours: Sequence[int]) -> None:
        from dataco_assets.aggregates.contents import StoredHours
        from dataco_assets.aggregates.soundness import find_problems

        stored = StoredHours(TablePlace.of(settings, aggregate), hours)
        self.problems = find_problems(aggregate, stored.pieces())
        self.computed: dict[int, Computed] = stored.computed
        self.missing = {hour: [_MISSING] for hour in stored.missing}

    @property
    def there(self) -> list[int]:
        """The hours that were computed."""
        return list(self.computed)


@dg.multi_asset_check(specs=[CLICKS_CONSERVED], pool="spark")
def clicks_conserved(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    spark: SparkResource,
    hbase: HBaseResource,
):
    """Counts the rows of the hours independently; an hour that is not up to date is not compared."""
    from dataco_assets.aggregates.contents import StoredHours
    from dataco_assets.ledgers.hours import HourLedger
    from dataco_assets.verification.conservation import conservation_problems
    from spark_resources.row_counts import count_rows

    hours = _hours(context)
    with explained(), hbase.client() as client:
        ledger = HourLedger(client, settings.hours_table)
        states = ledger.read(hours)
        stored = StoredHours(TablePlace.of(settings), hours).read()
        rows = count_rows(spark.session, settings.clicks_table, hours)
        clicks = {hour: totals.clicks for hour, totals in stored.totals.items()}
        wrong = conservation_problems(clicks, rows, rows)
        not_compared = {hour for hour in wrong if states[hour].is_dirty}
        not_compared |= ledger.changed_since({hour: states[hour].dirty for hour in wrong.keys() - not_compared})
    wrong = {hour: found for hour, found in wrong.items() if hour not in not_compared}
    missing = {hour: [_MISSING] for hour in stored.missing}
    yield from _evaluate(context, CLICKS_CONSERVED, hours, wrong | missing, not_compared=not_compared)


@dg.multi_asset_check(specs=[INDEX_EQUALS_AGGREGATES])
def index_equals_aggregates(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    elasticsearch: ElasticsearchResource,
):
    """Compares what a search sees with the aggregates."""
    wrong = _index_problems(_hours(context), settings, elasticsearch, PAGES)
    yield from _evaluate(context, INDEX_EQUALS_AGGREGATES, _hours(context), wrong)


@dg.multi_asset_check(specs=[AUDIENCE_INDEX_EQUALS_AGGREGATES])
def audience_index_equals_aggregates(
    context: dg.AssetCheckExecutionContext,
    settings: dg.ResourceParam[Settings],
    elasticsearch: ElasticsearchResource,
):
    """Compares what a search sees with the audience's table."""
    wrong = _index_problems(_hours(context), settings, elasticsearch, AUDIENCE)
    yield from _evaluate(context, AUDIENCE_INDEX_EQUALS_AGGREGATES, _hours(context), wrong)


def _index_problems(
    hours: Sequence[int], settings: Settings, elasticsearch: ElasticsearchResource, aggregate: Aggregate
) -> dict[int, list[str]]:
    """What differs between an aggregate's index and its table, by hour."""
    from dataco_assets.aggregates.contents import StoredHours
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import PublishedHour, refresh, verify_hours

    with explained(), elasticsearch.client() as client:
        stored = StoredHours(TablePlace.of(settings, aggregate), hours).read()
        wrong: dict[int, list[str]] = {hour: [_MISSING] for hour in stored.missing}
        published = [PublishedHour(hour, *origin, totals) for hour, (origin, totals) in stored.computed.items()]
        index = Index.of(client, settings, aggregate)
        refresh(index, hours)
        for mismatch in verify_hours(index, published):
            wrong[mismatch.hour] = list(mismatch.problems)
    return wrong


@dg.multi_asset_check(specs=[LIVE_EQUALS_BATCH])
def live_equals_batch(
    settings: dg.ResourceParam[Settings],
    elasticsearch: ElasticsearchResource,
):
    """Compares the hours that readers get from the batch and live still keeps; none while live serves no hour."""
    from dataco_assets.index.contents import hours_held
    from dataco_assets.index.handover import differences, served_hours
    from dataco_assets.index.indices import Index
    from dataco_assets.index.layout import live_index_name
    from dataco_assets.index.live_state import read_report

    found: dict[int, list[str]] = {}
    with explained(), elasticsearch.client() as client:
        report = read_report(client, settings.index_alias)
        serving = served_hours(report) if report else None
        if report and serving:
            name = live_index_name(settings.index_alias, report.run_id)
            hours = [hour for hour in hours_held(client, [name]) if hour not in serving]
            found = differences(Index.of(client, settings, PAGES), name, hours)
    yield dg.Output(None, output_name=LIVE_EQUALS_BATCH.get_python_identifier())
    yield from evaluations(LIVE_EQUALS_BATCH, list(found), found, {}, severity=dg.AssetCheckSeverity.WARN)


CHECKS = [
    *(aggregates_are_sound, clicks_conserved, index_equals_aggregates),
    *(audience_is_sound, audience_index_equals_aggregates, live_equals_batch),
]
