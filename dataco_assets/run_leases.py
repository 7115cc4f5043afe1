"""Leases: how a run shows that its process is alive, independently of the process that launched it.

A run renews its lease every few seconds from a thread of its process: it writes a changing value to the storage of the
Dagster instance. `sensors.dead_runs` fails a run whose value has stopped changing. A lease needs neither Kafka nor
HBase, only the storage that Dagster itself needs.

Leases do not protect data. A run that was paused, taken for dead and then resumed writes at the same time as its
successor; the ledgers' compare-and-put and the versions of the index's documents make that harmless.
"""

import logging
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import count

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.in_process import InProcessExecutor
from tenacity import Retrying, before_sleep_log, stop_when_event_set, wait_fixed
from tenacity.nap import sleep_using_event

from dataco_assets.logs import bound_run

RENEWAL_SECONDS = 5.0
_log = logging.getLogger(__name__)


def _key(run_id: str) -> str:
    # Dagster cannot delete such a value, so there are at most 4,096 keys, not one per run. If two runs share a key by
    # chance and one of them dies, that is only noticed when the other has ended.
    return f"dataco/run_lease/{run_id[:3]}"


def lease_values(instance: dg.DagsterInstance, run_ids: Collection[str]) -> dict[str, str]:
    """The lease of each run that holds one, as text that changes while the run's process is alive."""
    values = instance.run_storage.get_cursor_values({_key(run_id) for run_id in run_ids})
    return {run_id: values[_key(run_id)] for run_id in run_ids if _key(run_id) in values}


@contextmanager
def held_lease(
    instance: dg.DagsterInstance, run_id: str, *, renewal_seconds: float = RENEWAL_SECONDS
) -> Iterator[None]:
    """Holds the lease of a run that this process executes.

    Args:
        instance: Where the run is recorded.
        run_id: The run.
        renewal_seconds: Seconds between two renewals.
    """
    ended = threading.Event()
    renewals = count()

    def renew() -> None:
        instance.run_storage.set_cursor_values({_key(run_id): f"{run_id} {next(renewals)}"})

    def keep_renewing() -> None:
        # Any error of the storage is retried: a lease that cannot be renewed does not stop the work.
        patiently = Retrying(
            wait=wait_fixed(renewal_seconds),
            stop=stop_when_event_set(ended),
            sleep=sleep_using_event(ended),
            before_sleep=before_sleep_log(_log, logging.WARNING),
            retry_error_callback=lambda _: None,
        )
        while not ended.is_set():
            patiently(renew)
            ended.wait(renewal_seconds)

    thread = threading.Thread(target=keep_renewing, name="run-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class LeasedExecutor(InProcessExecutor):
    """Executes all steps of a run in its process, which holds the run's lease meanwhile."""

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Executes the steps of a run, and holds its lease."""
        with bound_run(plan_context.run_id), held_lease(plan_context.instance, plan_context.run_id):
            yield from self.rounds(plan_context, execution_plan)

    def rounds(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Executes the steps; once, unless a subclass does so more often."""
        yield from super().execute(plan_context, execution_plan)


@dg.executor(name="leased_in_process")
def leased_executor(_: dg.InitExecutorContext) -> dg.Executor:
    """One process per run, in which aggregates and index share a Spark session; it holds the run's lease."""
    return LeasedExecutor(retries=RetryMode.ENABLED)
