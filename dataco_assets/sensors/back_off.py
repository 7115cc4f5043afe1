"""How long a sensor waits after failures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

FIRST_BACK_OFF_SECONDS = 30.0
LONGEST_BACK_OFF_SECONDS = 900.0


@dataclass(frozen=True)
class PastRun:
    """A finished run, as far as back-off is concerned."""

    failed: bool
    ended_at: float


def back_off_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row: 30 s, doubling, at most 15 min."""
    return min(FIRST_BACK_OFF_SECONDS * 2 ** (failures - 1), LONGEST_BACK_OFF_SECONDS) if failures else 0.0


def failures_in_a_row(newest_first: Sequence[PastRun]) -> int:
    """Failures since the last success."""
    return len(list(takewhile(lambda run: run.failed, newest_first)))
