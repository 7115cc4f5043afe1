"""What Dagster knows of the platform: its daemon, the last success of each job, and what runs reported.

It is read from Dagster's own storage, so it needs `DAGSTER_HOME` and nothing that runs.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import dagster as dg
from sqlalchemy.exc import SQLAlchemyError

from dataco_assets.assets.stages import STAGE_SECONDS
from dataco_assets.clicks.event import Reason
from dataco_assets.jobs import JOBS

if TYPE_CHECKING:
    from dagster import EventLogRecord

_Fetch = Callable[..., dg.EventRecordsResult]

UNSPECIFIED: Final = "unspecified"
"""Reason of rejected clicks that Kafka Connect counted: only the rejected topic says more."""
_RAW_CLICKS = dg.AssetKey("raw_clicks")
_INDEX = dg.AssetKey("es_click_index")
_AT_ONCE = 200


@dataclass(frozen=True)
class Orchestration:
    """Dagster's part of the state.

    Attributes:
        heartbeat_at: When the daemon was last heard, epoch seconds: the longest ago of its parts; None: never.
        succeeded_at: When each job last ended with success, epoch seconds; without jobs that never did.
        at_work: Runs of each job that were started and have not ended.
        stage_seconds: Seconds by stage of the last run that published hours.
        stored: Clicks stored since the counting began.
        suppressed: Messages of erased users that were dropped since then.
        rejected: Clicks rejected since then, by reason.
    """

    heartbeat_at: float | None
    succeeded_at: Mapping[str, float]
    at_work: Mapping[str, int]
    stage_seconds: Mapping[str, float]
    stored: int = 0
    suppressed: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)


class Reports:
    """Adds up what runs and observations of `raw_clicks` report from the time on when it is made.

    Args:
        instance: Dagster's storage.
    """

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.stored = 0
        self.suppressed = 0
        # From 0 on: a rate does not see the first value of a series.
        self.rejected: Counter[str] = Counter(dict.fromkeys((*map(str, Reason), UNSPECIFIED), 0))
        self._fetches = (instance.fetch_materializations, instance.fetch_observations)
        self._seen = [self._newest(fetch) for fetch in self._fetches]

    def update(self) -> None:
        """Adds what was reported since the last call."""
        for number, fetch in enumerate(self._fetches):
            while records := self._after(fetch, self._seen[number]):
                for record in records:
                    self._add(record)
                self._seen[number] = records[-1].storage_id

    @staticmethod
    def _newest(fetch: _Fetch) -> int:
        newest = fetch(_RAW_CLICKS, limit=1).records
        return newest[0].storage_id if newest else 0

    @staticmethod
    def _after(fetch: _Fetch, storage_id: int) -> "Sequence[EventLogRecord]":
        later = dg.AssetRecordsFilter(_RAW_CLICKS, after_storage_id=storage_id)
        return fetch(later, limit=_AT_ONCE, ascending=True).records

    def _add(self, record: "EventLogRecord") -> None:
        event = record.asset_materialization or record.asset_observation
        if event is None:
            return
        told = {name: value.value for name, value in event.metadata.items()}
        self.stored += _number(told.get("clicks stored"))
        self.suppressed += _number(told.get("clicks suppressed"))
        reasons = told.get("rejected by reason")
        if isinstance(reasons, Mapping):
            self.rejected.update({str(reason): _number(count) for reason, count in reasons.items()})
        else:
            self.rejected[UNSPECIFIED] += _number(told.get("clicks rejected"))


def look(instance: dg.DagsterInstance, reports: Reports) -> Orchestration:
    """Reads Dagster's storage.

    Args:
        instance: Dagster's storage.
        reports: Brought up to date.
    """
    reports.update()
    return Orchestration(
        heartbeat_at=heartbeat_at(instance),
        succeeded_at={job: at for job in JOBS if (at := _succeeded_at(instance, job)) is not None},
        at_work={job: _at_work(instance, job) for job in JOBS},
        stage_seconds=_stage_seconds(instance),
        stored=reports.stored,
        suppressed=reports.suppressed,
        rejected=dict(reports.rejected),
    )


def heartbeat_at(instance: dg.DagsterInstance) -> float | None:
    """When the daemon was last heard, epoch seconds: the longest ago of its parts; None: never."""
    heard = instance.get_daemon_heartbeats()
    return min((heard[part].timestamp for part in instance.get_required_daemon_types() if part in heard), default=None)


def stopped_sensors(instance: dg.DagsterInstance) -> list[str]:
    """Names of the sensors and schedules that a person has turned off."""
    return sorted({state.instigator_name for state in instance.all_instigator_state() if not state.is_running})


def storage_errors() -> tuple[type[Exception], ...]:
    """What Dagster's storage raises when its database is away; where it is PostgreSQL, an error of its own, too."""
    try:
        from dagster_postgres.utils import DagsterPostgresException
    except ModuleNotFoundError:
        return (SQLAlchemyError,)
    return SQLAlchemyError, DagsterPostgresException


def _succeeded_at(instance: dg.DagsterInstance, job: str) -> float | None:
    filters = dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.SUCCESS])
    records = instance.get_run_records(filters, limit=1)
    return records[0].end_time if records else None


def _at_work(instance: dg.DagsterInstance, job: str) -> int:
    return instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.STARTED]))


def _stage_seconds(instance: dg.DagsterInstance) -> dict[str, float]:
    event = instance.get_latest_materialization_event(_INDEX)
    materialization = event.asset_materialization if event else None
    if materialization is None:
        return {}
    return {
        name.removeprefix(STAGE_SECONDS): float(value.value)
        for name, value in materialization.metadata.items()
        if name.startswith(STAGE_SECONDS) and isinstance(value.value, int | float)
    }


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
