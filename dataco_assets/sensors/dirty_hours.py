"""`dirty_hours_sensor`: starts refreshes of the hours whose clicks readers do not all see."""

import time
from collections.abc import Sequence

import dagster as dg

from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import DatacoError
from dataco_assets.jobs import REFRESH_JOB
from dataco_assets.partitions import HOURS
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.sensors.refresh import hours_to_refresh, run_request
from dataco_assets.sensors.runs import hours_view
from dataco_assets.settings import Settings, settings

_CALL_SECONDS = 4.0
"""Deadline of each call of the gateway; with it down, an evaluation ends within 5 s."""


@dg.sensor(
    job_name=REFRESH_JOB,
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes the hours whose clicks the index does not show yet, oldest first, adjacent hours in one run "
    f"of at most {settings().hours_per_run}; the running hour at most once in "
    f"{settings().running_hour_refresh_seconds} s.",
)
def dirty_hours_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], hbase: HBaseResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks for a refresh of dirty hours."""
    from dataco_assets.ledgers.hours import HourLedger, expired_hours

    try:
        with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
            states = HourLedger(client, settings.hours_table).all()
    except DatacoError as error:
        return dg.SkipReason(f"Cannot read the hour ledger: {error}")
    expired = expired_hours(states, ttl_days=settings.clicks_ttl_days, now_ms=time.time_ns() // 1_000_000)
    dirty = [state.hour for state in states if state.is_dirty and state.hour not in expired]
    if not dirty:
        stuck = [hour_key(state.hour) for state in states if state.is_dirty]
        return dg.SkipReason(_stuck(stuck) if stuck else "Every hour is up to date.")
    runs = hours_to_refresh(
        hours_view(context.instance, dirty),
        exists=lambda hour: HOURS.has_partition_key(hour_key(hour)),
        hours_per_run=settings.hours_per_run,
        running_hour_seconds=settings.running_hour_refresh_seconds,
    )
    if not runs:
        return dg.SkipReason(
            f"{len(dirty):,} hours are dirty; all are being refreshed, wait for a back-off or their turn, or have not "
            "begun."
        )
    return [run_request(hours) for hours in runs]


def _stuck(hours: Sequence[str]) -> str:
    return (
        f"{len(hours)} hours from {hours[0]} to {hours[-1]} got clicks, but hold some older than HBase keeps "
        "(DATACO_CLICKS_TTL_DAYS), so they are not computed again: that could only lose clicks."
    )
