"""Decides of which failing work people are told. Pure."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from dataco_assets.assets.failures import RunFailure
from dataco_assets.errors import ErrorKind
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, INGEST_JOB, REFRESH_JOB
from dataco_assets.ledgers.parked import Receiver
from dataco_assets.sensors.back_off import PastRun, failures_in_a_row

PATIENCE: Final = 3
"""Failures in a row from which a passing cause is news: the first ones are tried again within two minutes."""
OLD_SECONDS: Final = 86_400.0
"""A failure that is older is no news, to whoever asks for it now."""
_PARKED_JOBS: Final = (INGEST_JOB, REFRESH_JOB, INGEST_AND_REFRESH_JOB)
"""What the last one fails at, the other two try next, and park."""


@dataclass(frozen=True)
class Work:
    """What one run after the other does: a job, or one lane of it.

    Attributes:
        job: Name of the job.
        lane: Lane of the refreshes; empty: none.
        past: Finished runs, newest first; at least one.
        failure: Why the newest one failed; None if it succeeded.
    """

    job: str
    lane: str
    past: Sequence[PastRun]
    failure: RunFailure | None = None

    @property
    def name(self) -> str:
        """For people, such as `refresh_hours (backlog)`."""
        return f"{self.job} ({self.lane})" if self.lane else self.job

    @property
    def newest(self) -> PastRun:
        """The run that ended last."""
        return self.past[0]

    @property
    def is_parked(self) -> bool:
        """Whether its failure parks work: that is reported as parked."""
        return (
            self.job in _PARKED_JOBS
            and self.newest.failure is not None
            and self.newest.failure.kind is not ErrorKind.PASSING
            and bool(self.newest.circumstances)
        )


@dataclass(frozen=True)
class Told:
    """What a receiver knows: the errors of each failing work that it was told of, by the work's name."""

    errors: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def news(self, works: Collection[Work], now: float) -> Iterator[Work]:
        """Work that fails with an error that the receiver does not know, or succeeds again; `now` is epoch seconds."""
        return (work for work in works if self._is_news(work, now))

    def _is_news(self, work: Work, now: float) -> bool:
        known = self.errors.get(work.name, ())
        if work.failure is None:
            return bool(known)
        if work.failure.error in known or work.is_parked or now - work.newest.ended_at > OLD_SECONDS:
            return False
        return work.failure.kind is not ErrorKind.PASSING or failures_in_a_row(work.past) >= PATIENCE

    def knowing(self, work: Work) -> Self:
        """What it knows once it was told of work."""
        errors = {name: known for name, known in self.errors.items() if name != work.name}
        if work.failure is not None:
            errors[work.name] = [*self.errors.get(work.name, ()), work.failure.error]
        return type(self)(errors)


def from_cursor(cursor: str | None) -> dict[Receiver, Told]:
    """What each receiver knows, from the cursor of the sensor; None: nobody knows anything."""
    return {Receiver(name): Told(errors) for name, errors in json.loads(cursor or "{}").items()}


def to_cursor(told: Mapping[Receiver, Told]) -> str:
    """The cursor of the sensor."""
    return json.dumps({receiver.value: dict(each.errors) for receiver, each in told.items()})
