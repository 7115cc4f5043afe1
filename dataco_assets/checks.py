"""The asset checks: what must be true of the hours, seen from outside the code that computed them.

Belongs here: asking, and reporting in Dagster's terms. Does not belong here: the rules of the aggregates
(`aggregates/schema.py`) and the guard before publication, which is part of publishing: a blocking check guards only the
run it is in.

An outage is an outage: a server that does not answer fails the check's step and says so; it is never a failed check.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.assets.es_click_index import es_click_index
from dataco_assets.assets.failures import explained
from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.clicks.hour import hour_key
from dataco_assets.partitions import HOURS, hours_to_do
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 20
_USERS_IN_ORDER = "entering_users ≤ unique_users ≤ click_count"


def _result(name: str, wrong: Mapping[int, Sequence[str]], hours: Sequence[int]) -> dg.AssetCheckResult:
    """A check's result: passed when no hour has anything wrong; the wrong ones are listed."""
    listed = [f"{hour_key(hour)}: {problem}" for hour in sorted(wrong) for problem in wrong[hour]]
    return dg.AssetCheckResult(
        check_name=name,
        passed=not listed,
        severity=dg.AssetCheckSeverity.ERROR,
        description="\n".join(listed[:_SHOWN]) or None,
        metadata={
            "hours checked": len(hours),
            "hours with problems": sum(1 for problems in wrong.values() if problems),
            "problems": len(listed),
        },
    )


def _hours(context: dg.AssetCheckExecutionContext) -> list[int]:
    return hours_to_do(context.op_execution_context.run.tags)


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            "schema",
            asset=url_country_aggregates.key,
            blocking=True,
            partitions_def=HOURS,
            description="Every rule of the aggregates' pandera schema holds; all that do not are listed.",
        ),
        dg.AssetCheckSpec(
            "unique_users_within_clicks",
            asset=url_country_aggregates.key,
            blocking=True,
            partitions_def=HOURS,
            description=f"{_USERS_IN_ORDER} in every row.",
        ),
        dg.AssetCheckSpec(
            "average_within_visit",
            asset=url_country_aggregates.key,
            blocking=True,
            partitions_def=HOURS,
            description="0 ≤ average_time_spent_seconds ≤ 1,800, or null.",
        ),
    ]
)
def aggregates_are_sound(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings]
) -> Iterator[dg.AssetCheckResult]:
    """Reads each hour's Parquet once and checks what it says."""
    import pyarrow.compute as pc

    from dataco_assets.aggregates.files import read_hours
    from dataco_assets.aggregates.schema import LONGEST_SECONDS, problems_by_hour

    hours = _hours(context)
    missing: list[int] = []
    users: dict[int, list[str]] = {}
    averages: dict[int, list[str]] = {}

    def stored_tables() -> "Iterator[tuple[int, pa.Table]]":
        for hour, stored in read_hours(settings.aggregates_uri, hours):
            if stored is None:
                missing.append(hour)
                continue
            table = stored.table
            unique = pc.field("unique_users")
            over = table.filter((pc.field("entering_users") > unique) | (unique > pc.field("click_count")))
            users[hour] = [f"{over.num_rows} rows without {_USERS_IN_ORDER}"] if over.num_rows else []
            average = pc.field("average_time_spent_seconds")
            outside = table.filter((average < 0) | (average > LONGEST_SECONDS))
            averages[hour] = [f"{outside.num_rows} rows outside 0 to 1,800 s"] if outside.num_rows else []
            yield hour, table

    with explained():
        found = problems_by_hour(stored_tables())
    broken = {hour: [str(problem) for problem in found[hour]] for hour in found}
    broken |= {hour: ["there is no Parquet of this hour; materialise it"] for hour in missing}
    yield _result("schema", broken, hours)
    yield _result("unique_users_within_clicks", users, hours)
    yield _result("average_within_visit", averages, hours)


@dg.asset_check(
    asset=url_country_aggregates,
    blocking=True,
    partitions_def=HOURS,
    pool="spark",
    description="Clicks are conserved: the sum of click_count is the number of the hour's rows, counted in HBase row "
    "by row without Spark. Clicks stored since the hour was computed may or may not be in it.",
)
def clicks_conserved(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings], hbase: HBaseResource
) -> dg.AssetCheckResult:
    """Counts the rows of the hours independently."""
    from dataco_assets.aggregates.files import read_hours
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.verification.stored_clicks import count_rows

    hours = _hours(context)
    wrong: dict[int, list[str]] = {}
    clicks: dict[int, int] = {}
    computed_at: dict[int, int] = {}
    with explained(), hbase.client() as client:
        for hour, stored in read_hours(settings.aggregates_uri, hours):
            if stored is None:
                wrong[hour] = ["there is no Parquet of this hour; materialise it"]
                continue
            # Both times are HBase's. A click stored again since (a redelivery) counts as new here: hence two bounds.
            clicks[hour], computed_at[hour] = totals(stored).clicks, stored.computed_at_ms
        counted = count_rows(client, settings.clicks_table, computed_at)
    for hour, rows in counted.items():
        if not rows.stored_before <= clicks[hour] <= rows.all:
            wrong[hour] = [
                f"the aggregates count {clicks[hour]:,} clicks, HBase has {rows.all:,} rows, "
                f"{rows.stored_before:,} of them from before the hour was computed"
            ]
    return _result("clicks_conserved", wrong, hours)


@dg.asset_check(
    asset=es_click_index,
    partitions_def=HOURS,
    description="The index holds of each hour exactly what its Parquet says: documents, clicks, users, time spent.",
)
def index_equals_aggregates(
    context: dg.AssetCheckExecutionContext, settings: dg.ResourceParam[Settings], elasticsearch: ElasticsearchResource
) -> dg.AssetCheckResult:
    """Compares what a search sees with the aggregates."""
    from dataco_assets.aggregates.files import read_hours
    from dataco_assets.aggregates.totals import totals
    from dataco_assets.index.indices import Index
    from dataco_assets.index.publication import PublishedHour, refresh, verify_hours

    hours = _hours(context)
    wrong: dict[int, list[str]] = {}
    published: list[PublishedHour] = []
    with explained(), elasticsearch.client() as client:
        for hour, stored in read_hours(settings.aggregates_uri, hours):
            if stored is None:
                wrong[hour] = ["there is no Parquet of this hour to compare with"]
            else:
                published.append(PublishedHour(hour, stored.generation, stored.computed_at_ms, totals(stored)))
        index = Index(client, settings.index_alias)
        refresh(index, hours)
        for mismatch in verify_hours(index, published):
            wrong[mismatch.hour] = list(mismatch.problems)
    return _result("index_equals_aggregates", wrong, hours)


CHECKS = [aggregates_are_sound, clicks_conserved, index_equals_aggregates]
