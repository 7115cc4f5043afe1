"""Recomputes hours from their clicks in plain Python, sharing no aggregation code with the pipeline.

The rules are written here a second time on purpose, so that a fault in the pipeline's copy cannot hide.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.verification.stored_clicks import StoredClick

LONGEST_KNOWN_MS = 30 * 60 * 1000
"""Maximum gap to the same user's next click that counts as time spent, in ms."""

Group = tuple[str, str]
"""Page and country."""


@dataclass
class Figures:
    """Measures of one page and country in one hour; times in ms."""

    clicks: int = 0
    users: set[str] = field(default_factory=set)
    entering: int = 0
    spent_ms: int = 0
    known: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """The measures by the names of the aggregates' columns."""
        seconds = self.spent_ms / 1000
        return {
            "click_count": self.clicks,
            "unique_users": len(self.users),
            "entering_users": self.entering,
            "time_spent_seconds_sum": seconds,
            "time_spent_samples": self.known,
            "average_time_spent_seconds": seconds / self.known if self.known else None,
        }


def recompute(clicks: Iterable[StoredClick], hours: Sequence[int]) -> Iterator[tuple[int, dict[Group, Figures]]]:
    """Computes the measures of each hour from its clicks.

    Args:
        clicks: All clicks from the first hour's start to 30 minutes behind the last hour's end, by time and row key.
        hours: Adjacent hours, in order.
    """
    unfinished: dict[int, dict[Group, Figures]] = {}
    running, present = 0, set[str]()  # the hour that the clicks have come to, and its users so far
    latest: dict[str, tuple[int, Figures | None]] = {}  # by user: time of the latest click, and whose time is spent
    awaited = list(reversed(hours))
    for click in clicks:
        while awaited and click.timestamp >= awaited[-1] + HOUR_MS + LONGEST_KNOWN_MS:
            done = awaited.pop()
            yield done, unfinished.pop(done, {})
            # A user whose latest click is longer ago than the gap of a visit cannot affect a later click.
            latest = {user: seen for user, seen in latest.items() if click.timestamp - seen[0] <= LONGEST_KNOWN_MS}
        hour = click.timestamp // HOUR_MS * HOUR_MS
        if hour != running:
            running, present = hour, set[str]()
        figures = None
        if hour <= hours[-1]:
            figures = unfinished.setdefault(hour, {}).setdefault((click.page, click.country), Figures())
            figures.clicks += 1
            figures.users.add(click.user_id)
            figures.entering += click.user_id not in present
        present.add(click.user_id)
        before, credited = latest.get(click.user_id, (0, None))
        if credited is not None and click.timestamp - before <= LONGEST_KNOWN_MS:
            credited.spent_ms += click.timestamp - before
            credited.known += 1
        latest[click.user_id] = click.timestamp, figures
    for hour in reversed(awaited):
        yield hour, unfinished.pop(hour, {})
