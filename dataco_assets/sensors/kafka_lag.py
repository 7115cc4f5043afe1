"""`kafka_lag_sensor`: starts an ingest when clicks wait in Kafka, without live together with a refresh."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.clients.connect import Connect
from dataco_assets.errors import DatacoError
from dataco_assets.following import FOLLOW_TAG
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, INGEST_JOB, REFRESH_JOB, ingest_and_refresh, ingest_clicks
from dataco_assets.ledgers.owner import Mode, Owner
from dataco_assets.ledgers.parked import INGEST, Parked, ParkedWork
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.resources.readers import readers_have_live
from dataco_assets.sensors.back_off import PastRun
from dataco_assets.sensors.circumstances import circumstances
from dataco_assets.sensors.connector import (
    Look,
    after,
    is_due,
    memory_of,
    metadata,
    summary,
    tasks_to_restart,
    with_memory,
)
from dataco_assets.sensors.ingest import IngestView, hours_refreshed_too, reason_to_wait
from dataco_assets.sensors.parking import settled_ingest
from dataco_assets.sensors.refresh import Lane, RefreshRun, run_request
from dataco_assets.sensors.runs import (
    CIRCUMSTANCES_TAG,
    drains_in_flight,
    hours_view,
    past_runs,
    register_pool,
    with_those_together,
)
from dataco_assets.settings import Settings, settings

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase

_DRAIN = Owner()
_CALL_SECONDS = 1.0
"""Deadline of each metadata call; with a server down, an evaluation ends within 5 s."""


@dg.sensor(
    jobs=[ingest_clicks, ingest_and_refresh],
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Starts an ingest when {settings().lag_min_clicks:,} clicks wait in Kafka, or one has waited for "
    f"{settings().lag_max_age_seconds:g} s ({settings().live_lag_max_age_seconds:g} s while readers get the running "
    "hour from live; while they do not, the same run refreshes that hour). Never two at once; a failed one is retried "
    "with back-off, or parked until something changes. While Kafka Connect stores the clicks, it observes them and "
    "restarts failed tasks.",
)
def kafka_lag_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    kafka: KafkaResource,
    hbase: HBaseResource,
    elasticsearch: ElasticsearchResource,
) -> dg.RunRequest | dg.SkipReason | dg.SensorResult:
    """Requests an ingest when clicks wait; the cursor records since when.

    While Kafka Connect stores the clicks, it observes `raw_clicks` instead and restarts failed tasks.
    """
    if drains_in_flight(context.instance):
        return dg.SkipReason("A run that drains the topic is queued or in progress.")
    together, now = past_runs(context.instance, INGEST_AND_REFRESH_JOB), time.time()
    past = with_those_together(past_runs(context.instance, INGEST_JOB), together)
    try:
        with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
            measured = _measure(settings, kafka, client, elasticsearch, context.cursor)
            now_circumstances = circumstances(settings, measured.topic_id)
            work = ParkedWork(client, settings.hours_table)
            entry = _settle(work, past, now_circumstances)
            hours = {} if measured.has_live else work.hours()
    except DatacoError as error:
        return dg.SkipReason(f"Cannot measure the lag: {error}")
    if measured.owner.mode is Mode.CONNECT:
        return _guard_connector(settings, kafka, measured, context.cursor)
    context.update_cursor(measured.cursor)
    view = IngestView(measured.waiting, measured.waited_long, past, now, entry)
    if (reason := reason_to_wait(view, settings.lag_min_clicks)) is not None:
        return dg.SkipReason(reason)
    tags = {"dataco/clicks_waiting": str(measured.waiting), CIRCUMSTANCES_TAG: now_circumstances}
    if not measured.has_live:
        refreshes = with_those_together(past_runs(context.instance, REFRESH_JOB), together)
        of_hours = hours_view(context.instance, (), hours, refreshes, now)
        too = hours_refreshed_too(measured.waiting, of_hours, together, settings.running_hour_refresh_seconds)
        if too:
            register_pool(context.instance, str(url_country_aggregates.op.pool))
            follow = {FOLLOW_TAG: str(settings.follow_seconds)}
            return run_request(RefreshRun(Lane.FOLLOWING, too), tags | follow, INGEST_AND_REFRESH_JOB)
    return dg.RunRequest(job_name=INGEST_JOB, tags=tags)


def _settle(work: ParkedWork, past: Sequence[PastRun], now_circumstances: str) -> Parked | None:
    """Parks the ingest, or resumes it; returns its entry."""
    entry = work.read(INGEST)
    settled = settled_ingest(entry, past, now_circumstances, time.time())
    if settled is not None and settled != entry:
        work.write([settled])
    return settled


@dataclass(frozen=True)
class _Measured:
    """The measured lag.

    Attributes:
        waiting: Clicks that wait.
        waited_long: Whether one of them has waited too long.
        topic_id: Id of the topic.
        cursor: For the next evaluation.
        owner: Who stores them.
        passed: Sum of the offset ledger's positions.
        seconds_behind: How long a click has been seen to wait.
        has_live: Whether readers get the running hour from live; asked only while clicks wait.
    """

    waiting: int
    waited_long: bool
    topic_id: str
    cursor: str
    owner: Owner = _DRAIN
    passed: int = 0
    seconds_behind: float = 0.0
    has_live: bool = True


def _measure(
    settings: Settings, kafka: KafkaResource, hbase: "HBase", elasticsearch: ElasticsearchResource, cursor: str | None
) -> _Measured:
    from dataco_assets.clients.kafka.topics import KafkaAdmin
    from dataco_assets.ingest.log import Watch, has_waited_since, measure_lag
    from dataco_assets.ledgers.offsets import OffsetLedger

    admin = KafkaAdmin(kafka.brokers, timeout_seconds=_CALL_SECONDS)
    ledger = OffsetLedger(hbase, settings.offsets_table)
    lag = measure_lag(admin, ledger, settings.clicks_topic, settings.kafka_group)
    # Lost offsets count as waiting: the run that they start fails and reports the loss.
    waiting = lag.total + len(lag.losses)
    has_live = not waiting or readers_have_live(elasticsearch, settings)
    longest = settings.lag_max_age_seconds
    if has_live:
        longest = max(longest, settings.live_lag_max_age_seconds)
    now = time.time()
    watch = Watch.from_json(cursor).updated(lag, now)
    waited_long = (
        bool(lag.losses) or watch.longest(now) > longest or has_waited_since(admin, lag, int((now - longest) * 1000))
    )
    return _Measured(
        waiting,
        waited_long,
        lag.topic.topic_id,
        watch.to_json(),
        ledger.owner(settings.clicks_topic),
        passed=sum(lag.start.values()),
        seconds_behind=watch.longest(now),
        has_live=has_live,
    )


def _guard_connector(
    settings: Settings, kafka: KafkaResource, measured: _Measured, cursor: str | None
) -> dg.SensorResult:
    """Restarts failed tasks when that may help, and reports an observation when it is due."""
    known = memory_of(cursor)
    look = _look(settings, kafka, measured)
    restarted = tasks_to_restart(look, known)
    try:
        for task in restarted:
            _connect(settings).restart_task(task.number)
    except DatacoError as error:
        look = replace(look, problem=str(error))
    due = is_due(look, known)
    memory = after(look, known, restarted=bool(restarted), observed=due)
    return dg.SensorResult(
        skip_reason=summary(look, restarted),
        asset_events=[dg.AssetObservation("raw_clicks", metadata=metadata(look, known))] if due else [],
        cursor=with_memory(measured.cursor, memory),
    )


def _look(settings: Settings, kafka: KafkaResource, measured: _Measured) -> Look:
    from dataco_assets.clients.kafka.topics import KafkaAdmin

    connector, problem, rejected = None, "", 0
    try:
        admin = KafkaAdmin(kafka.brokers, timeout_seconds=_CALL_SECONDS)
        rejected = sum(admin.stable_end(admin.topic(settings.rejected_topic)).values())
        if settings.connect_url:
            connector = _connect(settings).status()
        else:
            problem = "DATACO_CONNECT_URL is empty, so failed tasks are neither seen nor restarted."
    except DatacoError as error:
        problem = str(error)
    return Look(connector, problem, measured.waiting, measured.seconds_behind, measured.passed, rejected, time.time())


def _connect(settings: Settings) -> Connect:
    return Connect(settings.connect_url, settings.connect_connector, timeout_seconds=_CALL_SECONDS)
