"""The whole platform on one page: assets, checks, jobs, sensors and resources.

Belongs here: putting them together. Does not belong here: any of them. Loading this module needs no server, no JVM and
none of the heavy libraries: those are imported where they are used.
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from dataco_assets.assets.es_click_index import es_click_index
from dataco_assets.assets.raw_clicks import clicks_topic, raw_clicks
from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.checks import CHECKS
from dataco_assets.jobs import ingest_clicks, refresh_hours
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.sensors import dirty_hours_sensor, kafka_lag_sensor
from dataco_assets.settings import settings


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """The platform, with some resources swapped if asked.

    Args:
        resource_overrides: Resources by name that take the place of the real ones, for tests.

    Raises:
        SettingsError: a `DATACO_*` variable breaks its rule.
    """
    chosen = settings()
    resources: dict[str, Any] = {
        "kafka": KafkaResource.of(chosen),
        "hbase": HBaseResource.of(chosen),
        "spark": SparkResource.of(chosen),
        "elasticsearch": ElasticsearchResource.of(chosen),
    }
    return dg.Definitions(
        assets=[clicks_topic, raw_clicks, url_country_aggregates, es_click_index],
        asset_checks=CHECKS,
        jobs=[ingest_clicks, refresh_hours],
        sensors=[kafka_lag_sensor, dirty_hours_sensor],
        resources=resources | dict(resource_overrides or {}),
        # One process per run: aggregates and index share a Spark session.
        executor=dg.in_process_executor,
    )


defs = build_defs()
