"""Decides which failures park work, and what resumes it. Pure."""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from dataco_assets.assets.failures import RunFailure
from dataco_assets.clicks.hour import hour_key
from dataco_assets.errors import ErrorKind
from dataco_assets.ledgers.parked import INGEST, Parked
from dataco_assets.sensors.back_off import PastRun

CHANGED = "the settings, the code or the topic changed"
SUCCEEDED = "a run succeeded"
WIDESPREAD = 3
"""Number of hours parked by the same error from which the error is taken to concern all hours."""


def settled_ingest(entry: Parked | None, past: Sequence[PastRun], circumstances: str, now: float) -> Parked | None:
    """Returns the ingest's entry in its new state.

    Args:
        entry: The current entry.
        past: Finished runs, newest first.
        circumstances: Fingerprint of settings, code and topic now.
        now: Epoch seconds.
    """
    if entry is not None and entry.is_active:
        if any(not run.failed and run.ended_at > entry.since for run in past):
            return entry.ended(SUCCEEDED, now)
        return entry if entry.circumstances == circumstances else entry.ended(CHANGED, now)
    if not past or (entry is not None and entry.settles(past[0].ended_at)):
        return entry
    failure = _permanent_failure(past[0], circumstances)
    return entry if failure is None else _parked(INGEST, past[0], failure)


def settled_hours(
    entries: Mapping[int, Parked], dirty: Collection[int], past: Sequence[PastRun], circumstances: str, now: float
) -> dict[int, Parked]:
    """Returns the entries to write, by hour: newly parked hours and resumed ones.

    A run of several hours parks the hours that its error names. If the error names none, it may concern a single hour,
    so the run is retried in parts until that hour is alone. If several hours were already parked by the same error, it
    is taken to concern all of them.

    Args:
        entries: The current entries, by hour.
        dirty: The dirty hours.
        past: Finished runs, newest first.
        circumstances: Fingerprint of settings and code now.
        now: Epoch seconds.
    """
    changed = dict(_ended(entries, dirty, circumstances, now))
    errors = Counter(entry.error for hour, entry in entries.items() if entry.is_active and hour not in changed)
    dirty_ones, decided = set(dirty), set[int]()
    for run in past:
        failure = _permanent_failure(run, circumstances)
        if failure is not None:
            for hour in dirty_ones.intersection(_parking(run, failure, errors)) - decided:
                entry = entries.get(hour)
                if entry is None or not (entry.is_active or entry.settles(run.ended_at)):
                    changed[hour] = _parked(hour_key(hour), run, failure)
        decided.update(run.hours)  # the newest run of an hour decides
    return changed


def _ended(
    entries: Mapping[int, Parked], dirty: Collection[int], circumstances: str, now: float
) -> Iterator[tuple[int, Parked]]:
    for hour, entry in entries.items():
        if entry.is_active and hour not in dirty:
            yield hour, entry.ended(SUCCEEDED, now)
        elif entry.is_active and entry.circumstances != circumstances:
            yield hour, entry.ended(CHANGED, now)


def _parking(run: PastRun, failure: RunFailure, errors: Counter[str]) -> Sequence[int]:
    if failure.hours:
        return failure.hours
    return run.hours if len(run.hours) == 1 or errors[failure.error] >= WIDESPREAD else ()


def _permanent_failure(run: PastRun, circumstances: str) -> RunFailure | None:
    """The permanent failure of a run in the current circumstances; a run started by hand parks nothing."""
    if run.failure is None or run.failure.kind is ErrorKind.PASSING or run.circumstances != circumstances:
        return None
    return run.failure


def _parked(name: str, run: PastRun, failure: RunFailure) -> Parked:
    return Parked(name, failure.error, failure.message, run.run_id, run.ended_at, run.circumstances)
