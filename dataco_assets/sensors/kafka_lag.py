"""`kafka_lag_sensor`: starts an ingest when clicks wait in Kafka."""

import time

import dagster as dg

from dataco_assets.errors import DatacoError
from dataco_assets.jobs import INGEST_JOB
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.sensors.ingest import IngestView, reason_to_wait
from dataco_assets.sensors.runs import drains_in_flight, past_runs
from dataco_assets.settings import Settings, settings

_CALL_SECONDS = 1.0
"""Deadline of each metadata call; with a server down, an evaluation ends within 5 s."""


@dg.sensor(
    job_name=INGEST_JOB,
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Starts an ingest when {settings().lag_min_clicks:,} clicks wait in Kafka, or one has waited for "
    f"{settings().lag_max_age_seconds:.0f} s. Never two at once; a failed one is tried again with back-off.",
)
def kafka_lag_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    kafka: KafkaResource,
    hbase: HBaseResource,
) -> dg.RunRequest | dg.SkipReason:
    """Asks for an ingest when clicks wait; the cursor remembers since when."""
    in_flight = drains_in_flight(context.instance)
    waiting, waited_long = 0, False
    if not in_flight:
        try:
            waiting, waited_long, cursor = _measure(settings, kafka, hbase, context.cursor)
        except DatacoError as error:
            return dg.SkipReason(f"Cannot tell the lag: {error}")
        context.update_cursor(cursor)
    view = IngestView(waiting, waited_long, in_flight, past_runs(context.instance, INGEST_JOB), time.time())
    if (reason := reason_to_wait(view, settings.lag_min_clicks)) is not None:
        return dg.SkipReason(reason)
    return dg.RunRequest(tags={"dataco/clicks_waiting": str(waiting)})


def _measure(
    settings: Settings, kafka: KafkaResource, hbase: HBaseResource, cursor: str | None
) -> tuple[int, bool, str]:
    """Waiting clicks, whether one of them has waited too long, and the cursor for the next evaluation."""
    from dataco_assets.clients.kafka.topics import KafkaAdmin
    from dataco_assets.ingest.log import Watch, has_waited_since, measure_lag
    from dataco_assets.ledgers.offsets import OffsetLedger

    admin = KafkaAdmin(kafka.bootstrap_servers, timeout_seconds=_CALL_SECONDS)
    with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
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
