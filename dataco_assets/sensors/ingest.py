"""Whether to start an ingest. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from dataco_assets.ledgers.parked import Parked, why_parked
from dataco_assets.sensors.back_off import PastRun, back_off_seconds, failures_in_a_row


@dataclass(frozen=True)
class IngestView:
    """What the Kafka lag sensor measured.

    Attributes:
        waiting: Number of offsets to drain, up to the last stable one.
        waited_long: Whether one has waited longer than `DATACO_LAG_MAX_AGE_SECONDS`.
        past: Finished ingest runs, newest first.
        now: Epoch seconds.
        parked: The ingest's entry among parked work, if it has one.
    """

    waiting: int
    waited_long: bool
    past: Sequence[PastRun]
    now: float
    parked: Parked | None = None


def reason_to_wait(view: IngestView, least_waiting: int) -> str | None:
    """Returns why no ingest is started now; None to start one.

    Args:
        view: What was measured.
        least_waiting: Number of waiting clicks that starts a run whatever their age.
    """
    if not view.waiting:
        return "No click is waiting."
    if view.waiting < least_waiting and not view.waited_long:
        return f"{view.waiting:,} clicks are waiting, fewer than {least_waiting:,}, and none has waited too long."
    entry = view.parked
    if entry is not None and entry.is_active:
        return f"{why_parked([entry])} {view.waiting:,} clicks wait."
    failures = failures_in_a_row([run for run in view.past if entry is None or not entry.settles(run.ended_at)])
    if failures:
        again_in = view.past[0].ended_at + back_off_seconds(failures) - view.now
        if again_in > 0:
            return f"The last {failures} runs failed; trying again in {again_in:.0f} s. {view.waiting:,} clicks wait."
    return None
