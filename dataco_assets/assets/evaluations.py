"""The asset checks: their specs, and their results by hour as Dagster stores them.

Dagster does not assign a result without a partition to any partition: its UI shows the check as skipped for every hour
of a run of several hours, whatever the result. Each hour therefore gets an evaluation of its own.

The assets report the results of their checks themselves. `dataco_assets/checks.py` evaluates the same checks again on
the stored data, on request.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import dagster as dg
from dagster import DagsterEventType, EventRecordsFilter
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData

from dataco_assets.aggregates.columns import AUDIENCE
from dataco_assets.clicks.hour import hour_key
from dataco_assets.partitions import HOURS

_SHOWN = 20
_NOT_COMPARED = "Not compared: clicks of the hour changed meanwhile. It is dirty, so it is computed and checked again."
_AGGREGATES, _INDEX = "url_country_aggregates", "es_click_index"
AUDIENCE_INDEX = "es_audience_index"
LIVE_HOURS = "live_hours"

SCHEMA = dg.AssetCheckSpec(
    "schema",
    asset=_AGGREGATES,
    blocking=True,
    partitions_def=HOURS,
    description="Every rule of the aggregates' pandera schema holds; violations are listed.",
)
USERS_WITHIN_CLICKS = dg.AssetCheckSpec(
    "unique_users_within_clicks",
    asset=_AGGREGATES,
    blocking=True,
    partitions_def=HOURS,
    description="entering_users ≤ unique_users ≤ click_count in every row.",
)
AVERAGE_WITHIN_VISIT = dg.AssetCheckSpec(
    "average_within_visit",
    asset=_AGGREGATES,
    blocking=True,
    partitions_def=HOURS,
    description="0 ≤ average_time_spent_seconds ≤ 1,800, or null.",
)
CLICKS_CONSERVED = dg.AssetCheckSpec(
    "clicks_conserved",
    asset=_AGGREGATES,
    blocking=True,
    partitions_def=HOURS,
    description="Clicks are conserved: the sum of click_count is the number of the hour's rows, counted in HBase row "
    "by row. Clicks stored since the hour was computed may or may not be in it. An hour whose clicks changed meanwhile "
    "is not compared: it is dirty, so it is computed and checked again.",
)
INDEX_EQUALS_AGGREGATES = dg.AssetCheckSpec(
    "index_equals_aggregates",
    asset=_INDEX,
    partitions_def=HOURS,
    description="The index holds exactly what the table holds of the hour: documents, clicks, users, time spent.",
)
AUDIENCE_SOUND = dg.AssetCheckSpec(
    "sound",
    asset=AUDIENCE.name,
    blocking=True,
    partitions_def=HOURS,
    description="Every rule of the audience's pandera schema holds, and its sums of clicks, users, seconds, entries, "
    "exits and bounces are those of the pages.",
)
AUDIENCE_INDEX_EQUALS_AGGREGATES = dg.AssetCheckSpec(
    "index_equals_aggregates",
    asset=AUDIENCE_INDEX,
    partitions_def=HOURS,
    description="The index holds exactly what the audience's table holds of the hour: documents, clicks, users, time.",
)
LIVE_EQUALS_BATCH = dg.AssetCheckSpec(
    "live_equals_batch",
    asset=LIVE_HOURS,
    partitions_def=HOURS,
    description="In an hour that went over to the batch, live had the batch's documents and sums. It warns only: "
    "readers have the batch's numbers by then, and clicks that came later than live keeps an hour are in the batch "
    "alone. `live_sensor` evaluates it once for each hour that goes over.",
)


Targets = Mapping[str, AssetCheckEvaluationTargetMaterializationData]
"""The materialization that a check belongs to, by partition key."""


def latest_materializations(instance: dg.DagsterInstance, asset: str, hours: Sequence[int]) -> Targets:
    """The last materialization of each hour; a check's result counts only until the next one.

    Args:
        instance: The Dagster instance.
        asset: The asset.
        hours: Starts of the hours, epoch ms.
    """
    key, kind = dg.AssetKey(asset), DagsterEventType.ASSET_MATERIALIZATION
    ids = instance.event_log_storage.get_latest_storage_id_by_partition(key, kind, set(map(hour_key, hours)))
    records = instance.get_event_records(EventRecordsFilter(kind, asset_key=key, storage_ids=list(ids.values())))
    return {
        str(record.partition_key): AssetCheckEvaluationTargetMaterializationData(
            storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
        )
        for record in records
    }


def evaluations(
    spec: dg.AssetCheckSpec,
    hours: Sequence[int],
    problems: Mapping[int, Sequence[str]],
    targets: Targets,
    *,
    not_compared: Collection[int] = (),
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> Iterator[dg.AssetCheckEvaluation]:
    """A check's result for each hour; the failed ones last, because Dagster shows the last one as the check's state.

    Args:
        spec: The check.
        hours: Starts of the hours it was evaluated for, epoch ms.
        problems: What is wrong, by hour; an hour without an entry, or with an empty one, passed.
        targets: The materialization of each hour.
        not_compared: Hours whose clicks changed during the check. They pass, for a failed check would have to be mended
            by a person, and this passes by itself.
        severity: Of a failed one.
    """
    for hour in sorted(hours, key=lambda each: (bool(problems.get(each)), each)):
        found = problems.get(hour, ())
        yield dg.AssetCheckEvaluation(
            asset_key=spec.asset_key,
            check_name=spec.name,
            passed=not found,
            metadata={"problems": dg.IntMetadataValue(len(found))},
            severity=severity,
            description="\n".join(found[:_SHOWN]) or (_NOT_COMPARED if hour in not_compared else None),
            blocking=spec.blocking,
            partition=hour_key(hour),
            target_materialization_data=targets.get(hour_key(hour)),
        )


def log_evaluations(context: dg.AssetExecutionContext, found: Iterable[dg.AssetCheckEvaluation]) -> None:
    """Reports results of checks as events: a failed check that is yielded would fail the whole step."""
    for evaluation in found:
        context.log_event(evaluation)  # pyright: ignore[reportArgumentType]  # taken, but not declared


def merged(*parts: Mapping[int, Sequence[str]]) -> dict[int, list[str]]:
    """What several checks found, by hour."""
    found: dict[int, list[str]] = {}
    for part in parts:
        for hour, problems in part.items():
            found.setdefault(hour, []).extend(problems)
    return found
