"""The whole platform on one page: assets, checks, jobs, sensors and resources.

Loading this module needs no server, no JVM and none of the heavy libraries: those are imported where they are used.
"""

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import dagster as dg

from dataco_assets.assets.audience import audience_aggregates, es_audience_index
from dataco_assets.assets.es_click_index import es_click_index
from dataco_assets.assets.live_hours import live_hours
from dataco_assets.assets.raw_clicks import clicks_topic, raw_clicks
from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.checks import CHECKS
from dataco_assets.jobs import ingest_and_refresh, ingest_clicks, refresh_hours
from dataco_assets.logs import configure
from dataco_assets.maintenance import maintain_aggregates, maintenance_schedule
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.retention import purge_old_runs, purge_schedule
from dataco_assets.run_leases import leased_executor
from dataco_assets.sensors import (
    dead_runs_sensor,
    dirty_hours_sensor,
    failed_runs_sensor,
    kafka_lag_sensor,
    live_sensor,
    parked_work_sensor,
)
from dataco_assets.settings import Settings
from dataco_assets.settings import settings as settings_of_this_process

# Dagster writes one planned event for a range of hours, not one for each hour and asset: for 10,000 hours those take an
# hour. Here for commands that create runs in their own process; web server and daemon need it in their environment.
os.environ.setdefault("DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS", "true")

_Part = TypeVar("_Part")


def build_defs(
    *,
    settings: Settings | None = None,
    resource_overrides: Mapping[str, Any] | None = None,
    asset_overrides: Mapping[str, dg.AssetsDefinition | dg.AssetSpec] | None = None,
    asset_check_overrides: Mapping[str, dg.AssetChecksDefinition] | None = None,
    job_overrides: Mapping[str, Any] | None = None,
    sensor_overrides: Mapping[str, dg.SensorDefinition] | None = None,
) -> dg.Definitions:
    """The platform, or for a test the platform with single parts swapped.

    Args:
        settings: What the resources are configured by; None: the settings of this process. What Dagster must know
            before any run (the first partition, a sensor's interval) comes from those of this process always.
        resource_overrides: Resources by name that take the place of the real ones.
        asset_overrides: Assets by key, likewise.
        asset_check_overrides: Checks by the name of their function, likewise.
        job_overrides: Jobs by name, likewise.
        sensor_overrides: Sensors by name, likewise.

    Raises:
        SettingsError: a `DATACO_*` variable breaks its rule.
        ValueError: an override names a part that the platform does not have.
    """
    if settings is None:
        settings = settings_of_this_process()
    assets = (
        *(clicks_topic, raw_clicks, url_country_aggregates, es_click_index),
        *(audience_aggregates, es_audience_index, live_hours),
    )
    sensors = (
        *(kafka_lag_sensor, dirty_hours_sensor, dead_runs_sensor),
        *(parked_work_sensor, failed_runs_sensor, live_sensor),
    )
    jobs = (ingest_clicks, refresh_hours, ingest_and_refresh, purge_old_runs, maintain_aggregates)
    return dg.Definitions(
        assets=_with_overrides("asset", {each.key.to_user_string(): each for each in assets}, asset_overrides),
        asset_checks=_with_overrides("check", {each.node_def.name: each for each in CHECKS}, asset_check_overrides),
        jobs=_with_overrides("job", {job.name: job for job in jobs}, job_overrides),
        sensors=_with_overrides("sensor", {sensor.name: sensor for sensor in sensors}, sensor_overrides),
        schedules=[purge_schedule, maintenance_schedule],
        resources=_resources(settings, resource_overrides),
        executor=leased_executor,
    )


def _resources(settings: Settings, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    resources = {
        "settings": settings,
        "kafka": KafkaResource(settings=settings),
        "hbase": HBaseResource(settings=settings),
        "spark": SparkResource(settings=settings),
        "elasticsearch": ElasticsearchResource(settings=settings),
    }
    _refuse_unknown("resource", resources, overrides)
    return resources | dict(overrides or {})


def _with_overrides(kind: str, parts: Mapping[str, _Part], overrides: Mapping[str, _Part] | None) -> list[_Part]:
    _refuse_unknown(kind, parts, overrides)
    return list({**parts, **(overrides or {})}.values())


def _refuse_unknown(kind: str, parts: Mapping[str, object], overrides: Mapping[str, object] | None) -> None:
    unknown = sorted(set(overrides or {}) - set(parts))
    if unknown:
        raise ValueError(f"The platform has no {kind} {unknown[0]!r} to override; it has {', '.join(sorted(parts))}.")


# Each process of Dagster that executes the platform's code loads this module, and does so before it logs of a run.
configure(settings_of_this_process().log_format)
defs = build_defs()
