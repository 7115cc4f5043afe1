"""The state of the platform as metrics for Prometheus; docs/monitoring.md lists them. Pure.

A figure that is not known, because its server does not answer, is left out: `dataco_server_up` says why.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from dataco_assets.clients.connect import Connector
from dataco_assets.index.live_state import LiveReport
from dataco_assets.monitoring.canary import CanaryFigures
from dataco_assets.monitoring.orchestration import Orchestration
from dataco_assets.monitoring.state import Checks, Hours, Ingest, State

_TASK_STATES: Final = ("RUNNING", "FAILED", "PAUSED", "UNASSIGNED")


def metrics(
    state: State,
    dagster: Orchestration | None,
    connector: Connector | None,
    others: Mapping[str, bool],
    canary: CanaryFigures | None = None,
) -> Iterator[Metric]:
    """The metrics of a state.

    Args:
        state: What the servers answered.
        dagster: What Dagster knows; None: it is not asked, or does not answer.
        connector: The sink, where Kafka Connect stores the clicks; None: it does not, or does not answer.
        others: Whether each further server that is set up answers, by name.
        canary: What canary clicks show; None: none are sent.
    """
    now = state.asked_at_ms / 1000
    up = GaugeMetricFamily("dataco_server_up", "Whether a server answers.", labels=["server"])
    for name, error in state.servers.items():
        up.add_metric([name], float(error is None))
    for name, answers in others.items():
        up.add_metric([name], float(answers))
    yield up
    yield _gauge("dataco_problems", "What needs a person, as `dataco status` says it.", len([*state.problems()]))
    parts = (
        state.ingest and _of_ingest(state, state.ingest),
        state.hours and _of_hours(state, state.hours),
        state.checks and _of_checks(state.checks),
        dagster and _of_dagster(dagster, now),
        connector and _of_connector(connector),
        state.live and _of_live(state.live, state.live_silent_seconds),
        canary and _of_canary(canary),
    )
    yield from chain.from_iterable(part for part in parts if part)
    if state.index and state.index.newest_hour is not None:
        yield _gauge(
            "dataco_index_newest_hour_timestamp_seconds",
            "Start of the newest hour that readers find.",
            state.index.newest_hour / 1000,
        )


def _of_ingest(state: State, ingest: Ingest) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("dataco_clicks_waiting", "Clicks in Kafka, not stored yet.", labels=["partition"])
    for partition, count in sorted(ingest.lag.waiting.items()):
        waiting.add_metric([str(partition)], count)
    yield waiting
    oldest = state.oldest_waiting_seconds or 0.0
    yield _gauge("dataco_oldest_waiting_click_seconds", "Age of the oldest click that waits; 0: none waits.", oldest)
    if (headroom := state.retention_headroom_seconds) is not None:
        yield _gauge(
            "dataco_retention_headroom_seconds",
            "Time until the topic's retention removes the oldest click that waits.",
            headroom,
        )
    yield _gauge(
        "dataco_lost_ranges",
        "Partitions of which clicks were gone before they were stored.",
        len(ingest.lag.losses),
    )


def _of_hours(state: State, hours: Hours) -> Iterator[Metric]:
    yield _gauge("dataco_hours", "Hours in the ledger.", hours.known)
    yield _gauge("dataco_dirty_hours", "Hours that wait for a refresh.", len(hours.dirty.waiting))
    yield _gauge(
        "dataco_oldest_dirty_hour_seconds",
        "Time since the end of the oldest hour that waits for a refresh; 0: none waits, or it has not ended.",
        state.oldest_dirty_seconds or 0.0,
    )
    yield _gauge(
        "dataco_overdue_hours", "Hours that wait for a refresh although no click came for long.", len(hours.waiting)
    )
    yield _gauge("dataco_parked", "Work that waits for a person: hours, or the ingest.", len(hours.parked))


def _of_checks(checks: Checks) -> Iterator[Metric]:
    yield _gauge(
        "dataco_account_problems",
        "Ranges of offsets, of those ingested in the last 7 days, whose messages are not accounted for.",
        len(checks.account.problems),
    )
    if (verified := checks.verified) is not None:
        yield _gauge("dataco_verify_timestamp_seconds", "When `dataco verify` last ended.", verified.at)
        yield _gauge("dataco_verify_hours", "Hours that it compared.", verified.compared)
        yield _gauge("dataco_verify_differing_hours", "Those among them that differed.", verified.different)
        yield _gauge("dataco_verify_differences", "Differences that it found.", verified.differences)


def _of_dagster(dagster: Orchestration, now: float) -> Iterator[Metric]:
    if dagster.heartbeat_at is not None:
        yield _gauge(
            "dataco_daemon_heartbeat_age_seconds",
            "Time since Dagster's daemon was heard: the longest of its parts.",
            max(0.0, now - dagster.heartbeat_at),
        )
    succeeded = GaugeMetricFamily(
        "dataco_job_last_success_timestamp_seconds", "When a job last ended with success.", labels=["job"]
    )
    for job, at in dagster.succeeded_at.items():
        succeeded.add_metric([job], at)
    yield succeeded
    running = GaugeMetricFamily("dataco_runs_at_work", "Runs that were started and have not ended.", labels=["job"])
    for job, count in dagster.at_work.items():
        running.add_metric([job], count)
    yield running
    stages = GaugeMetricFamily(
        "dataco_refresh_stage_seconds", "Time that a stage of the last publication took.", labels=["stage"]
    )
    for stage, seconds in dagster.stage_seconds.items():
        stages.add_metric([stage], seconds)
    yield stages
    yield CounterMetricFamily("dataco_clicks_stored", "Clicks stored in HBase.", dagster.stored)
    yield CounterMetricFamily("dataco_clicks_suppressed", "Messages of erased users, dropped.", dagster.suppressed)
    rejected = CounterMetricFamily("dataco_clicks_rejected", "Messages that are no clicks.", labels=["reason"])
    for reason, count in sorted(dagster.rejected.items()):
        rejected.add_metric([reason], count)
    yield rejected


def _of_live(live: LiveReport, silent_seconds: float) -> Iterator[Metric]:
    serves = not live.stopped and live.running_from is not None
    yield _gauge("dataco_live_serves", "Whether live says that readers get the running hours from it.", float(serves))
    if live.stopped:
        return
    yield _gauge("dataco_live_report_age_seconds", "Time since live last reported.", silent_seconds)
    if live.behind is not None:
        yield _gauge("dataco_live_records_behind", "Records in Kafka that live has not read yet.", live.behind)
    if live.latency_seconds is not None:
        yield _gauge(
            "dataco_live_latency_seconds",
            "Within this time of their arrival in Kafka, readers could see 95 % of the clicks of the last minute.",
            live.latency_seconds,
        )


def _of_canary(canary: CanaryFigures) -> Iterator[Metric]:
    yield _gauge(
        "dataco_canary_age_seconds",
        "Time since the newest canary click that readers have found was sent; while there is none, since the start.",
        canary.age_seconds,
    )
    if canary.latency_seconds is not None:
        yield _gauge(
            "dataco_canary_latency_seconds",
            "How long the newest canary click that readers have found took from Kafka to them.",
            canary.latency_seconds,
        )


def _of_connector(connector: Connector) -> Iterator[Metric]:
    yield _gauge("dataco_connector_running", "Whether the connector runs.", float(connector.runs))
    tasks = GaugeMetricFamily("dataco_connector_tasks", "Tasks of the connector.", labels=["state"])
    found = [task.state for task in connector.tasks]
    for state in (*_TASK_STATES, *sorted({*found} - {*_TASK_STATES})):
        tasks.add_metric([state], found.count(state))
    yield tasks


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(name, about, value)
