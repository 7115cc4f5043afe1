"""Tests how `make test` divides the tests among its processes."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from dataco_assets_tests.conftest import Lanes

ROOM = "dataco_assets_tests"


class Process:
    """A process of the test run, which notes the tests it is given."""

    gateway = SimpleNamespace(id="process")
    shutting_down = False

    def __init__(self) -> None:
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


TESTS = [
    *(f"{ROOM}/unit/test_hour.py::test_{n}" for n in range(9)),
    *(f"{ROOM}/faults/test_soak.py::test_{n}" for n in range(3)),
    f"{ROOM}/unit/test_aggregation.py::test_1",
    f"{ROOM}/unit/test_aggregates_table.py::test_1",
    f"{ROOM}/integration/test_dagster_ui.py::test_1",
    *(f"{ROOM}/integration/test_avro.py::test_{n}" for n in range(3)),
    *(f"{ROOM}/integration/test_simulation.py::test_{n}" for n in range(3)),
    *(f"{ROOM}/integration/test_hours.py::test_{n}" for n in range(3)),
    f"{ROOM}/faults/test_power_cut.py::test_1",
]


@pytest.fixture
def divide(pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], tuple[Lanes, list[Any]]]:
    """Divides the tests among a number of processes."""

    def begin(count: int) -> tuple[Lanes, list[Any]]:
        monkeypatch.setattr(pytestconfig.option, "tx", [f"{count}*popen"])
        processes: list[Any] = [Process() for _ in range(count)]
        lanes = Lanes(pytestconfig)
        for process in processes:
            lanes.add_node(process)
            lanes.add_node_collection(process, TESTS)
        lanes.schedule()
        return lanes, processes

    return begin


def modules(process: Process) -> list[str]:
    """The modules that a process was given, in their order."""
    return list(dict.fromkeys(TESTS[index].partition("::")[0].removeprefix(f"{ROOM}/") for index in process.given))


def finish(lanes: Lanes, process: Any) -> None:
    """Completes what a process was given, until it is given no more."""
    done: set[int] = set()
    while left := [index for index in process.given if index not in done]:
        lanes.mark_test_complete(process, left[0])
        done.add(left[0])


def test_one_process_breaks_servers_and_two_share_the_integration_tests(
    divide: Callable[[int], tuple[Lanes, list[Any]]],
) -> None:
    lanes, (first, second, third) = divide(3)
    assert modules(first) == ["integration/test_simulation.py"]
    assert modules(second) == ["faults/test_soak.py", "faults/test_power_cut.py"]
    assert modules(third) == ["integration/test_hours.py"]

    finish(lanes, second)
    assert modules(second)[2:] == [
        "unit/test_aggregation.py",
        "unit/test_aggregates_table.py",
        "unit/test_hour.py",
        "integration/test_dagster_ui.py",
    ]
    assert second.shutting_down, "it has no stack for the rest"

    finish(lanes, third)
    assert modules(third) == ["integration/test_hours.py", "integration/test_avro.py"]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_test_is_run_once(count: int, divide: Callable[[int], tuple[Lanes, list[Any]]]) -> None:
    lanes, processes = divide(count)
    for process in processes:
        finish(lanes, process)
    assert sorted(index for process in processes for index in process.given) == list(range(len(TESTS)))
    assert all(process.shutting_down for process in processes)
