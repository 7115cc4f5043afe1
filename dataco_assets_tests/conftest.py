"""Fixtures that several test packages share, and which tests run in parallel."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from local_stack.servers.base import ONE_COMPILER
from local_stack.stack import Stack, running_stack

pytest_plugins = ["dataco_assets_tests.faults.table"]
_ROOM = Path(__file__).parent.name
_ANYWHERE = ("test_dagster_ui.py", "test_postgres_instance.py")
"""Integration tests that need neither the shared stack nor Spark."""
_STORING = ("avro", "clicks_table", "clocks", "connect", "erase_user", "ingest", "java_writer", "rejected", "rekeying")
_LANES = {
    **{f"{_ROOM}/integration/test_{name}.py": "storing" for name in _STORING},
    f"{_ROOM}/integration/": "publishing",
    f"{_ROOM}/faults/": "breaking",
    f"{_ROOM}/unit/test_aggregat": "computing",
}
"""Start of a test's id → its group; the first that fits. The groups begin in the order of `_FIRST`."""
_FIRST = ("publishing", "breaking", "storing", "computing")


def pytest_configure() -> None:
    """Starts each JVM of the tests without its second compiler: few run long enough for its work to pay off.

    The servers of a stack do not see this variable; they have `short_lived`. With one compiler, a JVM reserves only 48
    MB for compiled code. Spark, which compiles code for every query, fills that within minutes and then discards and
    compiles code all the time.
    """
    os.environ.setdefault("JDK_JAVA_OPTIONS", f"{ONE_COMPILER} -XX:ReservedCodeCacheSize=240m")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Splits the tests for `pytest -n 3`: two groups that share a stack each, tests that break one, and all others.

    The tests of a group run in one process, which owns the group's servers or Spark session. Much of their time is
    waiting, so three processes keep two cores busy. All other tests run by module, in any process.
    """
    return _Lanes(config, log)


class _Lanes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        if module.endswith(_ANYWHERE):
            return module
        return next((lane for place, lane in _LANES.items() if nodeid.startswith(place)), module)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Assigns the groups first: one that began last would run alone at the end."""
        for lane in reversed(_FIRST):
            if lane in self.workqueue:
                self.workqueue.move_to_end(lane, last=False)
        super()._assign_work_unit(node)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real servers, which run until the end of the test run; tests clean up or use names of their own.

    If DATACO_TEST_STACK_DIR names the folder of a running stack, that one is used and left running.
    """
    own = tmp_path_factory.mktemp("stack")
    with running_stack(own, variable="DATACO_TEST_STACK_DIR", short_lived=True) as running:
        yield running
