"""How final the numbers of an hour are, and why those of a final hour change. Pure.

It follows from what every reader knows: the clock, how long clicks are kept, and which hours were restated. Does not
belong here: what only the hour ledger knows (`ledgers/hours.py`), such as whether an hour waits to be computed again.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS
from dataco_assets.quantities import quantity

SCAN_MARGIN_MS: Final = HOUR_MS
"""A scan takes time, and clocks of region servers differ by up to 30 s (hbase.master.maxclockskew): what may expire
within this time counts as expired."""


class Finality(StrEnum):
    """How final the numbers of an hour are."""

    RUNNING = "running"
    """Its time is not over."""
    PROVISIONAL = "provisional"
    """It ended less than 30 minutes ago: clicks of the next hour may still continue its visits."""
    FINAL = "final"
    """It ended longer ago, and has not changed since. Late clicks can still change it."""
    RESTATED = "restated"
    """It was final, and has changed since."""
    EXPIRED = "expired"
    """Its clicks, or those of a neighbour, are older than HBase keeps them: it can no longer be computed again."""

    @property
    def is_settled(self) -> bool:
        """Whether only late clicks, an erasure or another computation can change the hour."""
        return self not in (Finality.RUNNING, Finality.PROVISIONAL)


class Cause(StrEnum):
    """Why an hour that was final changed."""

    LATE_CLICKS = "late_clicks"
    """Clicks arrived, none of them a replayed one."""
    ERASURE = "erasure"
    """Clicks of an erased user were deleted; other clicks may have come, too."""
    REPAIR = "repair"
    """Something other than the platform had changed the documents; clicks may have come, too."""
    REPLAY = "replay"
    """Rejected clicks arrived that were sent back (`dataco rejected replay`); late ones may have come, too."""
    RECOMPUTED = "recomputed"
    """No click came or went: the hour was computed again, by other rules or another version."""


def finality(hour_ms: int, now_ms: int, *, is_restated: bool, retention_ms: int | None) -> Finality:
    """How final an hour is.

    An hour that was restated and whose clicks have expired since is expired. Clicks are taken as stored when they
    happened: those that were stored later, such as an import of old logs, are kept for longer than this says.

    Args:
        hour_ms: Its start, epoch ms.
        now_ms: Epoch ms.
        is_restated: Whether a restatement of it is recorded.
        retention_ms: How long HBase keeps a click; None: for ever.
    """
    if now_ms < hour_ms + HOUR_MS:
        return Finality.RUNNING
    if now_ms < hour_ms + HOUR_MS + VISIT_GAP_MS:
        return Finality.PROVISIONAL
    if retention_ms is not None and hour_ms < expired_before(now_ms, retention_ms):
        return Finality.EXPIRED
    return Finality.RESTATED if is_restated else Finality.FINAL


def expired_before(now_ms: int, retention_ms: int) -> int:
    """The time before which hours that start are expired, epoch ms.

    Args:
        now_ms: Epoch ms.
        retention_ms: How long HBase keeps a click.
    """
    # Of the clicks that an hour depends on, the first may be those of the hour before: as in `ledgers/hours.py`.
    return now_ms - retention_ms + SCAN_MARGIN_MS + HOUR_MS


@dataclass(frozen=True)
class HeldHours:
    """Hours that readers find in the index, and what tells how final hours are, but for the time.

    Attributes:
        hours: Starts of the hours that have documents, epoch ms, oldest first.
        restated: Starts of the hours of which a restatement is recorded.
        retention_ms: How long HBase keeps a click; None: for ever.
    """

    hours: tuple[int, ...] = ()
    restated: frozenset[int] = frozenset()
    retention_ms: int | None = None

    def finality(self, hour_ms: int, now_ms: int) -> Finality:
        """How final an hour is, whether it has documents or not."""
        return finality(hour_ms, now_ms, is_restated=hour_ms in self.restated, retention_ms=self.retention_ms)

    def counted(self, now_ms: int, since_ms: int = 0) -> dict[Finality, int]:
        """Number of the hours by how final they are, each finality in the order of an hour's life.

        Args:
            now_ms: Epoch ms.
            since_ms: Without hours before this time, epoch ms.
        """
        found = Counter(self.finality(hour, now_ms) for hour in self.hours if hour >= since_ms)
        return {each: found[each] for each in Finality}


def in_words(counted: Mapping[Finality, int]) -> str:
    """Numbers of hours as a text, such as `24 hours: 1 running, 1 provisional, 22 final`."""
    parts = [f"{count:,} {each}" for each, count in counted.items() if count]
    return ": ".join(filter(None, (quantity(sum(counted.values()), "hour"), ", ".join(parts))))
