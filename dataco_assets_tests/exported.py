"""The metrics of a platform of which every part is at work, for tests that need all of them."""

from dataclasses import replace

from prometheus_client.core import Metric

from dataco_assets.clicks.finality import HeldHours
from dataco_assets.clients.connect import Connector, Task
from dataco_assets.index.live_state import LiveReport
from dataco_assets.ingest.account import Account
from dataco_assets.ledgers.verified import Verification
from dataco_assets.monitoring.canary import CanaryFigures
from dataco_assets.monitoring.metrics import metrics
from dataco_assets.monitoring.orchestration import Orchestration
from dataco_assets.monitoring.state import Checks, Readable, State
from dataco_assets_tests.platforms import NOON

AT_WORK = Orchestration(1.0, {"a": 1.0}, {"a": 1}, {"b": 2.0})


def every_metric(state: State, dagster: Orchestration = AT_WORK) -> list[Metric]:
    """The metrics of a state, as if hours were published and verified, and live, Kafka Connect and canaries at work.

    Args:
        state: What the servers answered.
        dagster: What Dagster knows.
    """
    live = LiveReport(owner="one", behind=1, batch_seconds=1.0, latency_seconds=1.0)
    connector = Connector("sink", "RUNNING", (Task(0, "FAILED", "w", "", passing=True),))
    published = replace(
        state,
        index=Readable(HeldHours((NOON,)), live=live),
        checks=Checks(Account(), Verification(1.0, NOON, NOON, 1, 0, 0, 0)),
    )
    canary = CanaryFigures(age_seconds=1.0, latency_seconds=1.0)
    return list(metrics(published, dagster, connector, {}, canary))
