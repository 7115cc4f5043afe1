"""Tests what `dataco doctor` says of a connector that stores the clicks."""

import pytest

from dataco_assets.clients.connect import Connector, Task
from dataco_assets.monitoring.doctor import ConnectorIdle, check_connector


def connector(*states: str, state: str = "RUNNING") -> Connector:
    tasks = tuple(Task(number, each, "worker:8083", "why it failed.") for number, each in enumerate(states))
    return Connector("clicks", state, tasks)


def test_a_connector_whose_tasks_all_run_is_well() -> None:
    assert check_connector(connector("RUNNING", "RUNNING")) == "Kafka Connect, 2 tasks, RUNNING"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (connector("RUNNING", "FAILED"), r"Task 1 of clicks failed: why it failed\. kafka_lag_sensor restarts"),
        (connector("PAUSED", state="PAUSED"), r"clicks is PAUSED, its tasks: 1 PAUSED\. Clicks wait .* resume it"),
        (connector(state="STOPPED"), r"clicks is STOPPED, its tasks: none\."),
        (connector(), r"clicks is RUNNING, its tasks: none\."),
        (connector("UNASSIGNED", "RUNNING", "UNASSIGNED"), r"clicks is RUNNING, its tasks: 1 RUNNING, 2 UNASSIGNED\."),
        (connector("RUNNING", state="UNASSIGNED"), r"clicks is UNASSIGNED, its tasks: 1 RUNNING\."),
    ],
)
def test_a_connector_that_does_not_store_is_a_problem(found: Connector, said: str) -> None:
    with pytest.raises(ConnectorIdle, match=said):
        check_connector(found)
