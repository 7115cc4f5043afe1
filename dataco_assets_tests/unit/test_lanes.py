"""Tests how `make test` divides the tests among its processes."""

from types import SimpleNamespace
from typing import Any

import pytest

from dataco_assets_tests.conftest import _Lanes

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


def test_groups_begin_first_and_stay_in_one_process(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytestconfig.option, "tx", ["3*popen"])
    tests = [
        *(f"{ROOM}/unit/test_hour.py::test_{n}" for n in range(9)),
        *(f"{ROOM}/faults/test_soak.py::test_{n}" for n in range(3)),
        f"{ROOM}/unit/test_aggregation.py::test_1",
        f"{ROOM}/unit/test_aggregates_table.py::test_1",
        f"{ROOM}/integration/test_dagster_ui.py::test_1",
        *(f"{ROOM}/integration/test_hours.py::test_{n}" for n in range(3)),
        f"{ROOM}/integration/test_index.py::test_1",
        f"{ROOM}/integration/test_connect.py::test_1",
        *(f"{ROOM}/integration/test_ingest.py::test_{n}" for n in range(3)),
        f"{ROOM}/faults/test_power_cut.py::test_1",
    ]
    processes: list[Any] = [Process(), Process(), Process()]
    lanes = _Lanes(pytestconfig)
    for process in processes:
        lanes.add_node(process)
        lanes.add_node_collection(process, tests)

    lanes.schedule()

    first, second, third = [[tests[index] for index in process.given] for process in processes]
    assert first == [test for test in tests if "/integration/test_hours" in test or "test_index" in test]
    assert second == [test for test in tests if "/faults/" in test]
    assert third == [test for test in tests if "test_connect" in test or "test_ingest" in test]
    for index in list(processes[1].given)[:-2]:
        lanes.mark_test_complete(processes[1], index)
    fourth = [tests[index] for index in processes[1].given][len(second) :]
    assert fourth == [test for test in tests if "test_aggregat" in test]
