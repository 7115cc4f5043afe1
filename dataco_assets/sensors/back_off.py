"""Back-off of the sensors after failed runs. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from dataco_assets.assets.failures import RunFailure

FIRST_BACK_OFF_SECONDS = 30.0
LONGEST_BACK_OFF_SECONDS = 900.0


@dataclass(frozen=True)
class PastRun:
    """What a sensor needs to know of a finished run.

    Attributes:
        failed: Whether it failed.
        ended_at: Epoch seconds.
        started_at: Epoch seconds.
        run_id: Dagster's id.
        hours: Hours it was for, epoch ms; none for an ingest.
        lane: Lane of a refresh that a sensor started.
        failure: The error it failed with; None when the process died or the program is at fault.
        circumstances: Fingerprint given by the sensor that started it; empty when a person did.
        had_slow_round: Whether it ingested and refreshed, and that took too long for one run.
    """

    failed: bool
    ended_at: float
    started_at: float = 0.0
    run_id: str = ""
    hours: Sequence[int] = ()
    lane: str = ""
    failure: RunFailure | None = None
    circumstances: str = ""
    had_slow_round: bool = False


def back_off_seconds(failures: int) -> float:
    """Seconds to wait after a number of failures in a row: 30 s, doubled each time, at most 15 min."""
    return min(FIRST_BACK_OFF_SECONDS * 2 ** (failures - 1), LONGEST_BACK_OFF_SECONDS) if failures else 0.0


def failures_in_a_row(newest_first: Sequence[PastRun]) -> int:
    """Number of failures since the last success."""
    return len(list(takewhile(lambda run: run.failed, newest_first)))
