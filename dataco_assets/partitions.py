"""The hours as Dagster partitions, and the way between a run's tags and its hours.

Belongs here: the one partitions definition of the platform. Does not belong here: which hours need work
(`ledgers/hours.py`).
"""

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_from_key, hour_key, hour_of
from dataco_assets.settings import settings

HOURS = dg.HourlyPartitionsDefinition(start_date=settings().partitions_start, timezone="UTC", end_offset=1)
"""Hours from the configured start up to the running one, UTC.

`end_offset=1` includes the running hour: its aggregates are live, and final once the hour and 30 minutes are over.
"""

MOST_SPANS = 100
"""Most spans of hours in one run: PostgreSQL's index of run tags takes values of at most 2,700 bytes."""

_PARTITION = "dagster/partition"
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_SCATTERED = "dataco/hours"
_NO_ASSET_EVENTS = "dagster/defer_asset_events"


def is_partition(hour: int, *, start_ms: int, now_ms: int) -> bool:
    """Whether an hour is one of `HOURS`, by arithmetic: Dagster takes 0.3 ms for the answer.

    Args:
        hour: Start of the hour, epoch ms.
        start_ms: Start of the first hour (`Settings.partitions_start_ms`), epoch ms.
        now_ms: Epoch ms.
    """
    return hour % HOUR_MS == 0 and start_ms <= hour <= hour_of(now_ms)


def run_hours(tags: Mapping[str, str]) -> Sequence[str]:
    """Partition keys a run is for, read off its tags; empty for a run without partitions."""
    if key := tags.get(_PARTITION):
        return [key]
    if _SCATTERED in tags:
        return hours_from_text(tags[_SCATTERED])
    if _RANGE_START not in tags or _RANGE_END not in tags:
        return []
    # By arithmetic: a run may be of hours that are no partitions any more, since the first one can be moved.
    return _span(tags[_RANGE_START], tags[_RANGE_END])


def is_scattered(tags: Mapping[str, str]) -> bool:
    """Whether a run is for single hours of its partition range, so that it reports by itself which it materialises."""
    return _SCATTERED in tags


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run of all hours from the first to the last partition key."""
    return {_RANGE_START: first, _RANGE_END: last}


def scattered_tags(keys: Sequence[str]) -> dict[str, str]:
    """Tags that make one run of hours with gaps between them.

    Dagster knows ranges only. So the run's range spans the gaps, the hours are in a tag of our own, and Dagster is
    told to leave reporting materialisations, which it would report of the gaps too, to the run.

    Args:
        keys: Partition keys, in order, in at most `MOST_SPANS` spans.
    """
    return {**range_tags(keys[0], keys[-1]), _SCATTERED: hours_to_text(keys), _NO_ASSET_EVENTS: "true"}


def hours_to_text(keys: Sequence[str]) -> str:
    """Partition keys as spans, `2026-01-01-00:00/2,2026-01-03-07:00/1`: first hour and number of hours of each."""
    spans = contiguous_runs(map(hour_from_key, keys))
    return ",".join(f"{hour_key(span[0])}/{len(span)}" for span in spans[:MOST_SPANS])


def hours_from_text(text: str) -> list[str]:
    """The partition keys that `hours_to_text` wrote."""
    return list(_spans(text))


def _spans(text: str) -> Iterator[str]:
    for span in filter(None, text.split(",")):
        key, count = span.split("/")
        first = hour_from_key(key)
        yield from (hour_key(first + step * HOUR_MS) for step in range(int(count)))


def _span(first: str, last: str) -> list[str]:
    return [hour_key(hour) for hour in range(hour_from_key(first), hour_from_key(last) + HOUR_MS, HOUR_MS)]
