"""`dirty_hours_sensor`: starts refreshes of dirty hours, whose clicks are not all in the index yet."""

import time
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import DatacoError
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, REFRESH_JOB
from dataco_assets.ledgers.parked import Parked, ParkedWork, active, why_parked
from dataco_assets.partitions import is_partition
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.readers import readers_have_live
from dataco_assets.sensors.circumstances import circumstances
from dataco_assets.sensors.parking import settled_hours
from dataco_assets.sensors.refresh import HoursView, hours_to_refresh, run_request
from dataco_assets.sensors.runs import (
    CIRCUMSTANCES_TAG,
    hours_view,
    past_runs,
    register_pool,
    with_those_together,
)
from dataco_assets.settings import Settings, settings

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.ledgers.hours import DirtyHours
    from dataco_assets.sensors.back_off import PastRun

_CALL_SECONDS = 4.0
"""Deadline of each call of the gateway; with it down, an evaluation ends within 5 s."""


@dg.sensor(
    job_name=REFRESH_JOB,
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes the hours whose clicks the index does not show yet. "
    f"The newest {settings().newest_hours} have runs of their own, the running hour at most once in "
    f"{settings().running_hour_refresh_seconds} s ({settings().live_refresh_seconds} s while readers get it from "
    "live); the others follow oldest first, at most "
    f"{settings().hours_per_run} in a run. Late clicks of an hour are collected for "
    f"{settings().late_refresh_percent:g}% of its age. A failed hour is retried with back-off, or parked until "
    "something changes.",
)
def dirty_hours_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> list[dg.RunRequest] | dg.SkipReason:
    """Requests refreshes of dirty hours."""
    from dataco_assets.ledgers.hours import Collecting, HourLedger

    now, now_circumstances = time.time(), circumstances(settings)
    past = with_those_together(
        past_runs(context.instance, REFRESH_JOB), past_runs(context.instance, INGEST_AND_REFRESH_JOB)
    )
    try:
        with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
            ledger = HourLedger(client, settings.hours_table)
            found = ledger.unfinished(earliest_ms=settings.partitions_start_ms, ttl_days=settings.clicks_ttl_days)
            dirty = [*found.waiting, *found.expired, *found.outside]
            rule = Collecting.of(settings)
            collecting = ledger.collecting(found.reopened, rule)
            entries = _settle(client, settings.hours_table, dirty, past, now_circumstances, now)
    except DatacoError as error:
        return dg.SkipReason(f"Cannot read the hour ledger: {error}")
    view = hours_view(context.instance, [hour for hour in found.waiting if hour not in collecting], entries, past, now)
    runs = hours_to_refresh(
        view,
        exists=lambda hour: is_partition(hour, start_ms=settings.partitions_start_ms, now_ms=int(now * 1000)),
        hours_per_run=settings.hours_per_run,
        running_hour_seconds=_running_hour_seconds(view, settings, elasticsearch),
        newest_hours=settings.newest_hours,
    )
    if runs:
        register_pool(context.instance, str(url_country_aggregates.op.pool))
        return [run_request(run, {CIRCUMSTANCES_TAG: now_circumstances}) for run in runs]
    left_alone = [*_left_alone(found), *_collecting(collecting)]
    return dg.SkipReason(" ".join(_reasons(len(dirty), list(entries.values()), left_alone)))


def _running_hour_seconds(view: HoursView, settings: Settings, elasticsearch: ElasticsearchResource) -> float:
    """Minimum interval between refreshes of the running hour; asks Elasticsearch only when it decides something."""
    usual, with_live = settings.running_hour_refresh_seconds, settings.live_refresh_seconds
    if with_live <= usual or not any(view.is_due(hour, usual) for hour in view.running_hours if hour in view.dirty):
        return usual
    return with_live if readers_have_live(elasticsearch, settings) else usual


def _settle(
    client: "HBase",
    table: str,
    dirty: Collection[int],
    past: "Sequence[PastRun]",
    now_circumstances: str,
    now: float,
) -> dict[int, Parked]:
    """Parks hours and resumes parked ones; returns all entries by hour."""
    work = ParkedWork(client, table)
    entries = work.hours()
    changed = settled_hours(entries, dirty, past, now_circumstances, now)
    work.write(changed.values())
    return entries | changed


def _left_alone(found: "DirtyHours") -> list[str]:
    """Why some dirty hours are never refreshed."""
    reasons: list[str] = []
    if found.expired:
        reasons.append(
            f"{_named(found.expired)} clicks arrived, but HBase may have dropped older ones (DATACO_CLICKS_TTL_DAYS), "
            "so recomputing could lose clicks."
        )
    if found.outside:
        reasons.append(f"{_named(found.outside)} before the first partition (DATACO_PARTITIONS_START).")
    return reasons


def _collecting(hours: Collection[int]) -> list[str]:
    """Why some dirty hours are not refreshed yet."""
    if not hours:
        return []
    return [
        f"Late clicks are still collected for {len(hours):,} hours, the oldest of them {hour_key(min(hours))} "
        "(DATACO_LATE_REFRESH_PERCENT)."
    ]


def _named(hours: Sequence[int]) -> str:
    if len(hours) == 1:
        return f"The hour {hour_key(hours[0])} is not refreshed:"
    return f"{len(hours):,} hours from {hour_key(hours[0])} to {hour_key(hours[-1])} are not refreshed:"


def _reasons(dirty: int, entries: Sequence[Parked], left_alone: Sequence[str]) -> Iterator[str]:
    parked = active(entries)
    if parked:
        yield why_parked(parked)
    yield from left_alone
    if not dirty:
        yield "Every hour is up to date."
    elif not parked and not left_alone:
        yield (f"{dirty:,} hours are dirty; all are being refreshed, are in back-off, are queued, or have not started.")
