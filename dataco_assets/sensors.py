"""The two sensors: clicks waiting in Kafka start an ingest, dirty hours start a refresh.

Belongs here: pure decisions over what was measured, and the thin shells that measure. Does not belong here: reading
clicks; a sensor asks for metadata only, with deadlines far below Dagster's own.

Neither uses run keys: a key is never launched again after its run failed, and what must not happen twice is guarded
better by looking at the runs themselves, which every evaluation does.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import dagster as dg

from dataco_assets.clicks.hour import contiguous_runs, hour_from_key, hour_key, touched_hours
from dataco_assets.errors import DatacoError
from dataco_assets.jobs import INGEST_JOB, REFRESH_JOB, ingest_clicks, refresh_hours
from dataco_assets.partitions import HOURS, range_tags, run_hours
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.settings import Settings, settings

CALL_SECONDS = 1.0
"""Deadline of each metadata call; with a server down, an evaluation ends within 5 s."""
FIRST_BACK_OFF_SECONDS = 30.0
LONGEST_BACK_OFF_SECONDS = 900.0
RUNS_IN_FLIGHT = 2
"""Refresh runs the dirty-hours sensor keeps going at once: one at work, one waiting."""
_RUNS_LOOKED_AT = 50
_IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


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


# Ingest


@dataclass(frozen=True)
class IngestView:
    """What the Kafka lag sensor looked at.

    Attributes:
        waiting: Offsets waiting, up to the last stable one.
        waited_long: Whether one of them has waited longer than allowed.
        in_flight: Whether a run that drains the topic is queued or at work.
        past: Finished ingest runs, newest first.
        now: Epoch seconds.
    """

    waiting: int
    waited_long: bool
    in_flight: bool
    past: Sequence[PastRun]
    now: float


def reason_to_wait(view: IngestView, least_waiting: int) -> str | None:
    """Why no ingest is started now; None when one is.

    Args:
        view: What was measured.
        least_waiting: Waiting clicks from which on a run is worth it whatever their age.
    """
    if view.in_flight:
        return "A run that drains the topic is queued or at work."
    if not view.waiting:
        return "No click is waiting."
    if view.waiting < least_waiting and not view.waited_long:
        return f"{view.waiting:,} clicks are waiting, fewer than {least_waiting:,}, and none has waited long."
    failures = failures_in_a_row(view.past)
    if failures:
        again_in = view.past[0].ended_at + back_off_seconds(failures) - view.now
        if again_in > 0:
            return f"The last {failures} runs failed; trying again in {again_in:.0f} s. {view.waiting:,} clicks wait."
    return None


# Refresh


@dataclass(frozen=True)
class HoursView:
    """What the dirty-hours sensor looked at; hours are starts in epoch ms.

    Attributes:
        dirty: Hours whose clicks readers do not all see.
        in_flight: Hours of queued or working runs.
        runs_in_flight: How many such runs there are.
        failures: Failures in a row of an hour, and when the last one ended (epoch seconds).
        refreshed_at: When the last refresh of an hour was started (epoch seconds).
        now: Epoch seconds.
    """

    dirty: Sequence[int]
    in_flight: Collection[int]
    runs_in_flight: int
    failures: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    refreshed_at: Mapping[int, float] = field(default_factory=dict)
    now: float = 0.0

    def failures_of(self, hour: int) -> int:
        """Failures in a row of an hour."""
        return self.failures.get(hour, (0, 0.0))[0]


def hours_to_refresh(
    view: HoursView, *, exists: Callable[[int], bool], hours_per_run: int, running_hour_seconds: float
) -> list[list[int]]:
    """The runs to start now, each a list of contiguous hours, oldest first.

    An hour that failed waits for its back-off, shares a run only with hours that failed as often, and its run is
    cut to an eighth with every failure: one bad hour soon stands alone. Hours that failed less come first, so that bad
    ones never take all turns.

    Args:
        view: What was measured.
        exists: Whether an hour is a partition; one that is not (ahead of the clock) waits without holding up others.
        hours_per_run: Most hours in a run.
        running_hour_seconds: Least time between two refreshes of an hour that clicks of this very moment touch: the
            running one and, in its first 30 minutes, the one before.
    """
    ready = [hour for hour in view.dirty if exists(hour) and _is_ready(view, hour, running_hour_seconds)]
    chunks: list[list[int]] = []
    for contiguous in contiguous_runs(ready):
        chunks += _chunks(contiguous, view, hours_per_run)
    chunks.sort(key=lambda chunk: view.failures_of(chunk[0]))
    return chunks[: max(0, RUNS_IN_FLIGHT - view.runs_in_flight)]


def _is_ready(view: HoursView, hour: int, running_hour_seconds: float) -> bool:
    if hour in view.in_flight:
        return False
    failures, failed_at = view.failures.get(hour, (0, 0.0))
    if failures and view.now < failed_at + back_off_seconds(failures):
        return False
    if hour in touched_hours(int(view.now * 1000)):
        return view.now >= view.refreshed_at.get(hour, 0.0) + running_hour_seconds
    return True


def _chunks(hours: Sequence[int], view: HoursView, hours_per_run: int) -> Iterator[list[int]]:
    chunk: list[int] = []
    for hour in hours:
        failures = view.failures_of(hour)
        if chunk and (failures != view.failures_of(chunk[0]) or len(chunk) >= max(1, hours_per_run >> 3 * failures)):
            yield chunk
            chunk = []
        chunk.append(hour)
    if chunk:
        yield chunk


def run_request(hours: Sequence[int]) -> dg.RunRequest:
    """One refresh run for contiguous hours."""
    first, last = hour_key(hours[0]), hour_key(hours[-1])
    if first == last:
        return dg.RunRequest(partition_key=first)
    return dg.RunRequest(tags=range_tags(first, last))


# Shells


@dg.sensor(
    job=ingest_clicks,
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Starts an ingest when {settings().lag_min_clicks:,} clicks wait in Kafka, or one has waited for "
    f"{settings().lag_max_age_seconds:.0f} s. Never two at once; a failed one is tried again with back-off.",
)
def kafka_lag_sensor(
    context: dg.SensorEvaluationContext, kafka: KafkaResource, hbase: HBaseResource
) -> dg.RunRequest | dg.SkipReason:
    """Asks for an ingest when clicks wait; the cursor remembers since when."""
    in_flight = _drains_in_flight(context.instance)
    waiting, waited_long = 0, False
    if not in_flight:
        try:
            waiting, waited_long, cursor = _measure(settings(), kafka, hbase, context.cursor)
        except DatacoError as error:
            return dg.SkipReason(f"Cannot tell the lag: {error}")
        context.update_cursor(cursor)
    view = IngestView(waiting, waited_long, in_flight, _past(context.instance, INGEST_JOB), time.time())
    if (reason := reason_to_wait(view, settings().lag_min_clicks)) is not None:
        return dg.SkipReason(reason)
    return dg.RunRequest(tags={"dataco/clicks_waiting": str(waiting)})


@dg.sensor(
    job=refresh_hours,
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Refreshes the hours whose clicks the index does not show yet, oldest first, adjacent hours in one run "
    f"of at most {settings().hours_per_run}; the running hour at most once in "
    f"{settings().running_hour_refresh_seconds} s.",
)
def dirty_hours_sensor(
    context: dg.SensorEvaluationContext, hbase: HBaseResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """Asks for a refresh of dirty hours."""
    from dataco_assets.ledgers.hours import HourLedger, expired_hours

    try:
        with hbase.client(timeout_seconds=4 * CALL_SECONDS, retry_seconds=0) as client:
            states = HourLedger(client, settings().hours_table).all()
    except DatacoError as error:
        return dg.SkipReason(f"Cannot read the hour ledger: {error}")
    expired = expired_hours(states, ttl_days=settings().clicks_ttl_days, now_ms=time.time_ns() // 1_000_000)
    dirty = [state.hour for state in states if state.is_dirty and state.hour not in expired]
    if not dirty:
        stuck = [hour_key(state.hour) for state in states if state.is_dirty]
        return dg.SkipReason(_stuck(stuck) if stuck else "Every hour is up to date.")
    runs = hours_to_refresh(
        _hours_view(context.instance, dirty),
        exists=lambda hour: HOURS.has_partition_key(hour_key(hour)),
        hours_per_run=settings().hours_per_run,
        running_hour_seconds=settings().running_hour_refresh_seconds,
    )
    if not runs:
        return dg.SkipReason(
            f"{len(dirty):,} hours are dirty; all are being refreshed, wait for a back-off or their turn, or have not "
            "begun."
        )
    return [run_request(hours) for hours in runs]


def _measure(
    settings: Settings, kafka: KafkaResource, hbase: HBaseResource, cursor: str | None
) -> tuple[int, bool, str]:
    """Waiting clicks, whether one of them has waited too long, and the cursor for the next evaluation."""
    from dataco_assets.clients.kafka.topics import KafkaAdmin
    from dataco_assets.ingest.log import Watch, has_waited_since, measure_lag
    from dataco_assets.ledgers.offsets import OffsetLedger

    admin = KafkaAdmin(kafka.bootstrap_servers, timeout_seconds=CALL_SECONDS)
    with hbase.client(timeout_seconds=CALL_SECONDS, retry_seconds=0) as client:
        ledger = OffsetLedger(client, settings.offsets_table)
        lag = measure_lag(admin, ledger, settings.clicks_topic, settings.kafka_group)
    # What is lost is as good as waiting: the run it starts fails and says so.
    waiting = lag.total + len(lag.losses)
    now, longest = time.time(), settings.lag_max_age_seconds
    watch = Watch.from_json(cursor).updated(lag, now)
    waited_long = (
        bool(lag.losses) or watch.longest(now) > longest or has_waited_since(admin, lag, int((now - longest) * 1000))
    )
    return waiting, waited_long, watch.to_json()


def _stuck(hours: Sequence[str]) -> str:
    return (
        f"{len(hours)} hours from {hours[0]} to {hours[-1]} got clicks, but hold some older than HBase keeps "
        "(DATACO_CLICKS_TTL_DAYS), so they are not computed again: that could only lose clicks."
    )


def _drains_in_flight(instance: dg.DagsterInstance) -> bool:
    """Whether any run drains the topic, also one that was started by hand."""
    topic_drain = dg.AssetKey("raw_clicks")
    runs = instance.get_runs(filters=dg.RunsFilter(statuses=_IN_FLIGHT))
    return any(run.job_name == INGEST_JOB or topic_drain in (run.asset_selection or ()) for run in runs)


def _past(instance: dg.DagsterInstance, job: str) -> list[PastRun]:
    return [
        PastRun(record.dagster_run.status == dg.DagsterRunStatus.FAILURE, record.end_time or 0.0)
        for record in _finished(instance, job)
    ]


def _finished(instance: dg.DagsterInstance, job: str) -> Sequence[dg.RunRecord]:
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE]
    return instance.get_run_records(dg.RunsFilter(job_name=job, statuses=finished), limit=_RUNS_LOOKED_AT)


def _hours_view(instance: dg.DagsterInstance, dirty: Sequence[int]) -> HoursView:
    index = dg.AssetKey("es_click_index")
    going = [
        run
        for run in instance.get_runs(filters=dg.RunsFilter(statuses=_IN_FLIGHT))
        if run.job_name == REFRESH_JOB or index in (run.asset_selection or ())
    ]
    in_flight = {hour_from_key(key) for run in going for key in run_hours(run.tags)}
    failures: dict[int, tuple[int, float]] = {}
    refreshed_at: dict[int, float] = {}
    settled: set[int] = set()
    for record in _finished(instance, REFRESH_JOB):  # newest first
        failed = record.dagster_run.status == dg.DagsterRunStatus.FAILURE
        for hour in map(hour_from_key, run_hours(record.dagster_run.tags)):
            refreshed_at.setdefault(hour, record.start_time or 0.0)
            if failed and hour not in settled:
                count, ended_at = failures.get(hour, (0, record.end_time or 0.0))
                failures[hour] = (count + 1, ended_at)
            elif not failed:
                settled.add(hour)
    return HoursView(dirty, in_flight, len(going), failures, refreshed_at, time.time())
