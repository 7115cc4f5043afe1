"""`dead_runs_sensor`: fails runs whose process is gone, so that their work is started again."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import dagster as dg

from dataco_assets.run_leases import lease_values

SILENT_SECONDS = 25.0
"""Seconds without a renewal after which a run counts as dead: five missed renewals."""
_INTERVAL_SECONDS = 4  # the daemon looks every 5 s, and with 5 a sensor is often not due by a hair
_LONGEST_STEP_SECONDS = 15.0
_LEASED = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class LeaseWatch:
    """State of the sensor between two evaluations.

    Attributes:
        looked_at: When it last looked, epoch seconds; None: never.
        leases: The lease each run had then; an empty text for a run that had none.
        silent: For how many seconds that lease has been watched without changing.
    """

    looked_at: float | None = None
    leases: Mapping[str, str] = field(default_factory=dict)
    silent: Mapping[str, float] = field(default_factory=dict)

    def updated(self, leases: Mapping[str, str], now: float) -> Self:
        """Returns the watch after another evaluation.

        Only the sensor's own clock counts, never a time that a run wrote. At most 15 s count between two evaluations,
        so that a clock that was set, or a machine that slept with all its processes, makes no run look dead.

        Args:
            leases: The lease of each run in progress; an empty text for a run that has none.
            now: Epoch seconds.
        """
        step = 0.0 if self.looked_at is None else min(max(now - self.looked_at, 0.0), _LONGEST_STEP_SECONDS)
        silent = {
            run_id: self.silent.get(run_id, 0.0) + step if self.leases.get(run_id) == lease else 0.0
            for run_id, lease in leases.items()
        }
        return type(self)(now, dict(leases), silent)

    def dead(self) -> list[str]:
        """Ids of the runs whose lease has not changed for `SILENT_SECONDS`."""
        return [run_id for run_id, seconds in self.silent.items() if seconds >= SILENT_SECONDS]

    @classmethod
    def from_json(cls, text: str | None) -> Self:
        """Reads the sensor's cursor; None: first evaluation."""
        return cls(**json.loads(text)) if text else cls()

    def to_json(self) -> str:
        """The sensor's cursor."""
        return json.dumps({"looked_at": self.looked_at, "leases": self.leases, "silent": self.silent})


@dg.sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Fails a run whose process has not renewed the run's lease for {SILENT_SECONDS:.0f} s, because it was "
    "killed or its machine lost power. Dagster then starts the run again.",
)
def dead_runs_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Fails the runs of dead processes; starts none itself."""
    runs = {run.run_id: run for run in _watched(context)}
    leases = dict.fromkeys(runs, "") | lease_values(context.instance, runs)
    watch = LeaseWatch.from_json(context.cursor).updated(leases, time.time())
    dead = [runs[run_id] for run_id in watch.dead()]
    for run in dead:
        _end(context.instance, run)
    context.update_cursor(watch.to_json())
    if dead:
        return dg.SkipReason(f"Failed because their process is dead: {', '.join(run.run_id for run in dead)}.")
    return dg.SkipReason(
        f"{len(runs)} runs are in progress, each in a live process." if runs else "No run is in progress."
    )


def _watched(context: dg.SensorEvaluationContext) -> Sequence[dg.DagsterRun]:
    """Runs of this code location, and others that hold a lease, such as those of `dataco backfill`."""
    runs = context.instance.get_runs(filters=dg.RunsFilter(statuses=list(_LEASED)))
    leases = lease_values(context.instance, [run.run_id for run in runs])
    return [run for run in runs if leases.get(run.run_id, "").startswith(run.run_id) or _is_ours(context, run)]


def _is_ours(context: dg.SensorEvaluationContext, run: dg.DagsterRun) -> bool:
    location = context.code_location_origin
    origin = run.remote_job_origin
    return (
        location is not None
        and origin is not None
        and origin.repository_origin.code_location_origin.location_name == location.location_name
    )


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    current = instance.get_run_by_id(run.run_id)
    if current is None or current.is_finished:
        return
    why = (
        f"The process of this run has not renewed the run's lease for {SILENT_SECONDS:.0f} s: it was killed, or its "
        "machine failed. What it stored is kept; the next run does the rest."
    )
    if current.status == dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(current, why)
    else:
        instance.report_run_failed(current, why)
