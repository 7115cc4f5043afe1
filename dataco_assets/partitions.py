"""The hours as Dagster partitions, and the way between a run's tags and its hours.

Belongs here: the one partitions definition of the platform. Does not belong here: which hours need work
(`ledgers/hours.py`).
"""

from collections.abc import Mapping, Sequence

import dagster as dg

from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key
from dataco_assets.settings import settings

HOURS = dg.HourlyPartitionsDefinition(start_date=settings().partitions_start, timezone="UTC", end_offset=1)
"""Hours from the configured start up to the running one, UTC.

`end_offset=1` includes the running hour: its aggregates are live, and final once the hour and 30 minutes are over.
"""

_PARTITION = "dagster/partition"
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def run_hours(tags: Mapping[str, str]) -> Sequence[str]:
    """Partition keys a run is for, read off its tags; empty for a run without partitions."""
    if key := tags.get(_PARTITION):
        return [key]
    if _RANGE_START not in tags or _RANGE_END not in tags:
        return []
    # By arithmetic: a run may be of hours that are no partitions any more, since the first one can be moved.
    first, last = hour_from_key(tags[_RANGE_START]), hour_from_key(tags[_RANGE_END])
    return [hour_key(hour) for hour in range(first, last + HOUR_MS, HOUR_MS)]


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run of all hours from the first to the last partition key."""
    return {_RANGE_START: first, _RANGE_END: last}
