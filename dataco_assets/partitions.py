"""The hours as Dagster partitions, and the conversion between the tags of a run and its hours.

Which hours need work is in `ledgers/hours.py`.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg

from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs, hour_from_key, hour_key, hour_of
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings

HOURS = dg.HourlyPartitionsDefinition(start_date=settings().partitions_start, timezone="UTC", end_offset=1)
"""Hours from the configured start to the running one, UTC.

`end_offset=1` includes the running hour. Its aggregates are provisional until 30 minutes after the hour's end.
"""

MOST_SPANS = 100
"""Maximum number of spans in one run: PostgreSQL's index of run tags limits a value to 2,700 bytes."""

_PARTITION = "dagster/partition"
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
_SCATTERED = "dataco/hours"
_NO_ASSET_EVENTS = "dagster/defer_asset_events"


class NoHours(DatacoError):
    """A run of the hourly assets was started without partitions."""


def is_partition(hour: int, *, start_ms: int, now_ms: int) -> bool:
    """Whether an hour is one of `HOURS`, by arithmetic, because Dagster's own lookup takes 0.3 ms.

    Args:
        hour: Start of the hour, epoch ms.
        start_ms: Start of the first hour (`Settings.partitions_start_ms`), epoch ms.
        now_ms: Epoch ms.
    """
    return hour % HOUR_MS == 0 and start_ms <= hour <= hour_of(now_ms)


def run_hours(tags: Mapping[str, str]) -> Sequence[int]:
    """Hours a run is for, as starts in epoch ms, read from its tags; empty for a run without partitions.

    By arithmetic: a run may be of hours that are no partitions any more, since the first one can be moved.
    """
    if key := tags.get(_PARTITION):
        return [hour_from_key(key)]
    if _SCATTERED in tags:
        return hours_from_text(tags[_SCATTERED])
    if _RANGE_START not in tags or _RANGE_END not in tags:
        return []
    return range(hour_from_key(tags[_RANGE_START]), hour_from_key(tags[_RANGE_END]) + HOUR_MS, HOUR_MS)


def hours_to_do(tags: Mapping[str, str]) -> list[int]:
    """Hours that a run of the hourly assets must process, as starts in epoch ms.

    Raises:
        NoHours: the run has no partitions.
    """
    hours = list(run_hours(tags))
    if not hours:
        raise NoHours("The run has no partition. Start it for a partition or a range of partitions.")
    return hours


def is_scattered(tags: Mapping[str, str]) -> bool:
    """Whether a run is for some hours of its partition range only, and so reports materialised partitions itself."""
    return _SCATTERED in tags


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags of a run for all hours from the first to the last partition key."""
    return {_RANGE_START: first, _RANGE_END: last}


def scattered_tags(hours: Sequence[int]) -> dict[str, str]:
    """Tags of a run for hours with gaps between them.

    Dagster knows ranges only. So the run's range spans the gaps, a tag of the platform's own names the hours, and
    another one has Dagster leave it to the run to report what it materialised: Dagster would report the gaps too.

    Args:
        hours: Starts of the hours, epoch ms, in order and in at most `MOST_SPANS` spans.
    """
    text = hours_to_text(hours)
    return {**range_tags(hour_key(hours[0]), hour_key(hours[-1])), _SCATTERED: text, _NO_ASSET_EVENTS: "true"}


def hours_to_text(hours: Iterable[int]) -> str:
    """Hours as spans, `2026-01-01-00:00/2,2026-01-03-07:00/1`: first hour and number; at most `MOST_SPANS`."""
    spans = contiguous_runs(hours)[:MOST_SPANS]
    return ",".join(f"{hour_key(span[0])}/{len(span)}" for span in spans)


def hours_from_text(text: str) -> list[int]:
    """The hours that `hours_to_text` wrote."""
    hours: list[int] = []
    for span in filter(None, text.split(",")):
        key, count = span.split("/")
        first = hour_from_key(key)
        hours += range(first, first + int(count) * HOUR_MS, HOUR_MS)
    return hours
