"""`live_hours`: the newest hours as `dataco live` keeps them, an external asset that `live_sensor` observes."""

import dagster as dg

from dataco_assets.assets.evaluations import LIVE_HOURS
from dataco_assets.assets.raw_clicks import OWNERS, clicks_topic
from dataco_assets.partitions import HOURS

live_hours = dg.AssetSpec(
    LIVE_HOURS,
    deps=[clicks_topic],
    description="The newest hours, kept up to date within seconds by `dataco live`, outside Dagster. Readers of "
    "the index's alias get these hours from it, and all others from `es_click_index`, which takes each over once "
    "it has the same numbers. `live_sensor` observes it; docs/live.md describes it.",
    group_name="clickstream",
    partitions_def=HOURS,  # those of its check, which Dagster wants to be the same
    kinds={"spark", "elasticsearch"},
    owners=OWNERS,
)
