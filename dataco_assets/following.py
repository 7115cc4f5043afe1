"""Runs that follow the topic: one that ingested and refreshed does both again, in its process, while clicks come.

A run of its own for each would cost a process that loads Dagster and the platform, and an evaluation of a sensor before
it: most of the time from a click to its readers. So the process stays, and executes the steps of its run again once
clicks wait. Each round reports its events to the same run, as a step that is tried again does.

A run follows only if its tag says for how long (`kafka_lag_sensor` sets it), and it ends early when something else has
to come to its turn: `reason_to_end` names what.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import dagster as dg
from dagster._core.errors import raise_execution_interrupts
from dagster._core.events import EngineEventData
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode

from dataco_assets.clicks.hour import begun_hours
from dataco_assets.errors import DatacoError
from dataco_assets.partitions import run_hours
from dataco_assets.resources.readers import readers_have_live
from dataco_assets.resources.spark import session_kept
from dataco_assets.run_leases import LeasedExecutor

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase
    from dataco_assets.resources.elasticsearch import ElasticsearchResource
    from dataco_assets.settings import Settings

FOLLOW_TAG = "dataco/follow_seconds"
"""For how long a run follows, in seconds from its start on."""
SLOW_TAG = "dataco/slow_round_seconds"
"""How long a round took that took longer than `LONGEST_ROUND_SECONDS`."""
LONGEST_ROUND_SECONDS = 60.0
"""A longer round of both would keep clicks waiting in the topic for too long."""
LONGEST_REST_SECONDS = 10.0
"""A run does not wait longer than that for the next refresh: meanwhile, clicks are stored by runs of their own."""
MOST_CLICKS_TOGETHER = 50_000
"""Number of waiting clicks above which a run only stores them: they are not all of this moment."""
_LOOK_SECONDS = 0.5
_CALL_SECONDS = 4.0


@dataclass(frozen=True)
class Follower:
    """A run that follows, as its tags describe it.

    Attributes:
        hours: The hours that it refreshes, epoch ms.
        until: When it ends at the latest, epoch seconds.
    """

    hours: frozenset[int]
    until: float

    @classmethod
    def of(cls, tags: Mapping[str, str], began: float) -> Self | None:
        """The run with some tags; None: it does not follow."""
        if not (seconds := tags.get(FOLLOW_TAG)):
            return None
        return cls(frozenset(run_hours(tags)), began + float(seconds))


@dataclass(frozen=True)
class Situation:
    """What a run that follows has to know between two rounds.

    Attributes:
        now: Epoch seconds.
        round_seconds: How long the last round took.
        due_in_seconds: When the running hour may be refreshed again at the earliest, from now on; less than 0: it may.
        waiting: Number of offsets to drain.
        is_going: Whether the run counts as in progress: nobody cancelled it or took it for dead.
        others_wait: Whether another run is queued.
        drain_stores: Whether the drain stores the clicks, and not Kafka Connect.
        readers_have_live: Whether readers get the running hour from live.
    """

    now: float
    round_seconds: float
    due_in_seconds: float = 0.0
    waiting: int = 0
    is_going: bool = True
    others_wait: bool = False
    drain_stores: bool = True
    readers_have_live: bool = False


def reason_to_end(follower: Follower, found: Situation) -> str:
    """Returns why a run follows no longer; empty: it goes on. Pure."""
    reasons = {
        "The run was ended from outside.": not found.is_going,
        "It has followed the topic for long enough.": found.now >= follower.until,
        f"The last round took {found.round_seconds:.0f} s: ingest and refresh are better runs of their own.": (
            found.round_seconds > LONGEST_ROUND_SECONDS
        ),
        "Clicks of this moment belong to other hours than the run's.": (
            set(begun_hours(int(found.now * 1000))) != follower.hours
        ),
        f"The running hour is refreshed again in {found.due_in_seconds:.0f} s at the earliest.": (
            found.due_in_seconds > LONGEST_REST_SECONDS
        ),
        "Another run waits.": found.others_wait,
        f"{found.waiting:,} clicks wait: they are stored by a run of its own.": found.waiting > MOST_CLICKS_TOGETHER,
        "Kafka Connect stores the clicks.": not found.drain_stores,
        "Readers get the running hour from live.": found.readers_have_live,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


class FollowingExecutor(LeasedExecutor):
    """Executes the steps of a run in its process; again and again while clicks come, if the run follows the topic."""

    def rounds(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Executes the steps at least once."""
        with session_kept():
            yield from self._followed(plan_context, execution_plan)

    def _followed(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        run = plan_context.dagster_run
        follower = Follower.of(run.tags, time.time())
        while True:
            began, failed = time.time(), False
            for event in super().rounds(plan_context, execution_plan):
                failed = failed or event.is_failure
                yield event
            seconds = time.time() - began
            if seconds > LONGEST_ROUND_SECONDS:
                plan_context.instance.add_run_tags(run.run_id, {SLOW_TAG: f"{seconds:.0f}"})
            if failed or follower is None:
                return
            reason = _wait_for_clicks(plan_context, follower, began, seconds)
            said = reason or "Clicks wait: ingest and refresh once more."
            yield dg.DagsterEvent.engine_event(plan_context, said, EngineEventData())
            if reason:
                return


def _wait_for_clicks(plan_context: PlanOrchestrationContext, follower: Follower, began: float, seconds: float) -> str:
    """Returns once clicks wait and the running hour may be refreshed again; why the run is to end otherwise.

    Args:
        plan_context: The run.
        follower: The run, as its tags describe it.
        began: When the last round began, epoch seconds.
        seconds: How long it took.
    """
    try:
        with raise_execution_interrupts(), _lookout(plan_context) as lookout:
            while True:
                found = lookout.look(began, seconds)
                reason = reason_to_end(follower, found)
                if reason or (found.waiting and found.due_in_seconds <= 0):
                    return reason
                time.sleep(_LOOK_SECONDS)
    except DatacoError as error:
        return f"Whether clicks wait cannot be seen: {error}"


@contextmanager
def _lookout(plan_context: PlanOrchestrationContext) -> "Iterator[_Lookout]":
    """Looks with the resources that the run's job has."""
    of_job = plan_context.job.get_definition().resource_defs
    needed = {name: of_job[name] for name in ("settings", "kafka", "hbase", "elasticsearch")}
    with (
        dg.build_resources(needed, plan_context.instance) as resources,
        resources.hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as hbase,
    ):
        yield _Lookout(plan_context, resources, hbase)


class _Lookout:
    """Finds the situation of a run between two rounds."""

    def __init__(self, plan_context: PlanOrchestrationContext, resources: Any, hbase: "HBase") -> None:
        from dataco_assets.clients.kafka.topics import KafkaAdmin
        from dataco_assets.ledgers.offsets import OffsetLedger

        self._settings: Settings = resources.settings
        self._run_id, self._instance = plan_context.run_id, plan_context.instance
        self._elasticsearch: ElasticsearchResource = resources.elasticsearch
        self._admin = KafkaAdmin(resources.kafka.brokers, timeout_seconds=_CALL_SECONDS)
        self._ledger = OffsetLedger(hbase, self._settings.offsets_table)

    def look(self, began: float, seconds: float) -> Situation:
        """The situation now.

        Args:
            began: When the last round began, epoch seconds.
            seconds: How long it took.

        Raises:
            DatacoError: Kafka or HBase does not answer or refuses.
        """
        from dataco_assets.ingest.log import measure_lag
        from dataco_assets.ledgers.owner import Mode

        run = self._instance.get_run_by_id(self._run_id)
        topic = self._settings.clicks_topic
        lag = measure_lag(self._admin, self._ledger, topic, self._settings.kafka_group)
        now = time.time()
        return Situation(
            now,
            seconds,
            due_in_seconds=began + self._settings.running_hour_refresh_seconds - now,
            # Lost offsets count as waiting: the round that they start fails and reports the loss.
            waiting=lag.total + len(lag.losses),
            is_going=run is not None and run.status == dg.DagsterRunStatus.STARTED,
            others_wait=self._instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])) > 0,
            drain_stores=self._ledger.owner(topic).mode is not Mode.CONNECT,
            readers_have_live=readers_have_live(self._elasticsearch, self._settings),
        )


@dg.executor(name="following_in_process")
def following_executor(_: dg.InitExecutorContext) -> dg.Executor:
    """One process per run, which holds the run's lease and, if a tag says so, follows the topic."""
    return FollowingExecutor(retries=RetryMode.ENABLED)
