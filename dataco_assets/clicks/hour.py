"""Hours of clicks: their starts, their names, and which of them a click can change.

Pure arithmetic on epoch milliseconds, UTC. Which hours need computing is in `ledgers/hours.py`.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
VISIT_GAP_MS = 30 * 60_000
"""Maximum gap between two clicks of a visit, and so how far an hour depends on the clicks before and behind it."""
_KEY_FORMAT = "%Y-%m-%d-%H:%M"  # Dagster's own format of hourly partition keys


def hour_of(timestamp_ms: int) -> int:
    """Start of the hour a timestamp is in, epoch ms."""
    return timestamp_ms - timestamp_ms % HOUR_MS


def touched_hours(timestamp_ms: int) -> tuple[int, ...]:
    """Hours whose aggregates a click can change, epoch ms: its own first, then one neighbour.

    The hour before when the click is less than 30 min into its hour, since it can then continue a visit there. (At
    30 min sharp the last millisecond of the hour before is 30 min and 1 ms ago: too far.) Otherwise the hour after,
    since a visit there can then continue the click's. (From 30 min sharp the first millisecond of the hour after is
    30 min away: just near enough.)
    """
    hour = hour_of(timestamp_ms)
    return (hour, hour - HOUR_MS) if timestamp_ms - hour < VISIT_GAP_MS else (hour, hour + HOUR_MS)


def begun_hours(now_ms: int) -> tuple[int, ...]:
    """Hours that clicks of this very moment touch, epoch ms; the hour after the running one has not begun."""
    return tuple(hour for hour in touched_hours(now_ms) if hour <= now_ms)


def scan_span(first_hour_ms: int, last_hour_ms: int) -> tuple[int, int]:
    """The clicks that adjacent hours depend on, as [start, end) in epoch ms: 30 min more on either side."""
    return first_hour_ms - VISIT_GAP_MS, last_hour_ms + HOUR_MS + VISIT_GAP_MS


def hour_key(hour_ms: int) -> str:
    """An hour's name, the same as its Dagster partition key: `YYYY-MM-DD-HH:00`, UTC."""
    return datetime.fromtimestamp(hour_ms / 1000, UTC).strftime(_KEY_FORMAT)


def hour_from_key(key: str) -> int:
    """Start of the hour with that name, epoch ms.

    Raises:
        ValueError: it is not an hour's name.
    """
    hour = int(datetime.strptime(key, _KEY_FORMAT).replace(tzinfo=UTC).timestamp()) * 1000
    if hour % HOUR_MS or hour_key(hour) != key:
        raise ValueError(f"{key[:40]!r} is not the name of an hour, such as 2026-01-01-00:00")
    return hour


def contiguous_runs(hours: Iterable[int]) -> list[list[int]]:
    """Splits hours into maximal runs without a gap, oldest first."""
    runs: list[list[int]] = []
    for hour in sorted(set(hours)):
        if runs and hour - runs[-1][-1] == HOUR_MS:
            runs[-1].append(hour)
        else:
            runs.append([hour])
    return runs
