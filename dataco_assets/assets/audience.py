"""`audience_aggregates` and `es_audience_index`: each hour's clicks by visitors and by where they came from.

No run materialises them by themselves: the steps of `url_country_aggregates` and `es_click_index` make them from the
same scan, and report them. So an hour's pages and its audience are of the same clicks, and a run, a backfill or a
sensor that does the one has done the other.
"""

import dagster as dg

from dataco_assets.aggregates.columns import AUDIENCE
from dataco_assets.assets.es_click_index import index_metadata
from dataco_assets.assets.evaluations import AUDIENCE_INDEX
from dataco_assets.assets.raw_clicks import OWNERS, raw_clicks
from dataco_assets.assets.url_country_aggregates import HOURS_FRESH, table_metadata
from dataco_assets.partitions import HOURS

audience_aggregates = dg.AssetSpec(
    AUDIENCE.name,
    deps=[raw_clicks],
    partitions_def=HOURS,
    description="Clicks, unique users and time spent of each hour by country, city, browser, operating system, "
    "device and referrer's host: an Iceberg table partitioned by hour. The step of `url_country_aggregates` computes "
    "it from the same scan. Hours computed by an earlier version lack it until `dataco backfill`.",
    group_name="clickstream",
    kinds={"spark", "iceberg"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    freshness_policy=HOURS_FRESH,
    metadata=table_metadata(AUDIENCE),
)

es_audience_index = dg.AssetSpec(
    AUDIENCE_INDEX,
    deps=[audience_aggregates],
    partitions_def=HOURS,
    description="The audience as Elasticsearch documents behind an alias of its own (DATACO_AUDIENCE_ALIAS), one index "
    "per month. The step of `es_click_index` writes and compares it; an hour is done when both indices hold it.",
    group_name="clickstream",
    kinds={"elasticsearch", "spark"},
    owners=OWNERS,
    tags={"domain": "clickstream"},
    freshness_policy=HOURS_FRESH,
    metadata=index_metadata(AUDIENCE, AUDIENCE.name),
)
