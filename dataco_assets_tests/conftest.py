"""Fixtures that several test packages share, and which tests run in parallel."""

import os
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from dataco_assets_tests.warm_drivers import keepers_with
from local_stack.servers.base import ONE_COMPILER
from local_stack.stack import Stack, running_stack

pytest_plugins = ["dataco_assets_tests.faults.table"]
_TEST_RUN = "PYTEST_RUN_ID"
"""Environment variable that every process of this test run inherits."""
_ROOM = Path(__file__).parent.name
_ON_A_STACK = f"{_ROOM}/integration/test_"
_ANYWHERE = ("dagster_ui.py", "postgres_instance.py")
"""Integration tests that need neither the shared stack nor Spark."""
_LONGEST = (
    "simulation",
    "dagster_runs",
    "hours",
    "connect",
    "live",
    "verify",
    "index",
    "backfill",
    "aggregates_places",
)
"""Integration tests that take minutes; they begin first, longest first."""
_BREAKING, _COMPUTING = "breaking", "computing"
_GROUPS = {f"{_ROOM}/faults/": _BREAKING, f"{_ROOM}/unit/test_aggregat": _COMPUTING}
"""Start of a test's id → its group, which runs in one process."""
_LONGEST_ANYWHERE = (
    _COMPUTING,
    *(f"{_ROOM}/codecs/test_{name}.py" for name in ("java_project", "same_verdict", "same_verdict_avro")),
    f"{_ROOM}/unit/test_class_archive.py",
    f"{_ROOM}/unit/test_warm_driver.py",
)
"""Of the tests that need no stack, those that begin first: one that began last would run alone at the end."""


def pytest_configure() -> None:
    """Sets what holds for all tests: how long generated examples may take, and how their JVMs are started.

    Each JVM starts without its second compiler: few run long enough for its work to pay off. The servers of a stack do
    not see this variable; they have `short_lived`. With one compiler, a JVM reserves only 48 MB for compiled code.
    Spark, which compiles code for every query, fills that within minutes and then discards and compiles code all the
    time.
    """
    # How long an example takes says how busy the machine is, not whether the code is right.
    settings.register_profile("tests", deadline=None)
    settings.load_profile("tests")
    os.environ.setdefault("JDK_JAVA_OPTIONS", f"{ONE_COMPILER} -XX:ReservedCodeCacheSize=240m")
    os.environ.setdefault(_TEST_RUN, uuid.uuid4().hex)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the Spark drivers that wait for the next run, once all processes of the test run have ended."""
    if not hasattr(config, "workerinput"):
        for keeper in keepers_with(_TEST_RUN, os.environ[_TEST_RUN]):
            keeper.terminate()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Divides the tests for `pytest -n 3`; see `Lanes`."""
    return Lanes(config, log)


class Lanes(LoadScopeScheduling):
    """Divides the tests among processes, of which each has servers and a Spark session of its own.

    One process breaks servers (`faults/`) and then runs tests that need none. The others share the integration tests,
    one module after another, and end with whatever is left. Much of the time is waiting, so three processes keep two
    cores busy.
    """

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return next((group for place, group in _GROUPS.items() if nodeid.startswith(place)), module)

    def _reschedule(self, node: WorkerController) -> None:
        if self.workqueue and not node.shutting_down and self._next(node) is None:
            node.shutdown()
        else:
            super()._reschedule(node)

    def _assign_work_unit(self, node: WorkerController) -> None:
        if (scope := self._next(node)) is not None:
            self.workqueue.move_to_end(scope, last=False)
            super()._assign_work_unit(node)

    def _next(self, node: WorkerController) -> str | None:
        """The group or module that a process runs next; None if the other ones run all that is left."""
        own = self.assigned_work[node]
        is_alone = not any(work for each, work in self.assigned_work.items() if each is not node)
        if is_alone:
            return min(self.workqueue, key=_rank)
        if not own and _BREAKING in self.workqueue:
            return _BREAKING
        takes_stack = _BREAKING not in own
        left = (scope for scope in self.workqueue if scope != _BREAKING and (takes_stack or not _is_on_a_stack(scope)))
        return min(left, key=_rank, default=None)


def _is_on_a_stack(scope: str) -> bool:
    return scope.startswith(_ON_A_STACK) and not scope.endswith(_ANYWHERE)


def _rank(scope: str) -> int:
    """Where a group or module stands in the order; of the same rank, the first in alphabetical order begins."""
    if _is_on_a_stack(scope):
        return _place(_LONGEST, scope.removeprefix(_ON_A_STACK).removesuffix(".py"))
    return len(_LONGEST) + 1 + _place(_LONGEST_ANYWHERE, scope)


def _place(order: Sequence[str], name: str) -> int:
    return order.index(name) if name in order else len(order)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real servers, which run until the end of the test run; tests clean up or use names of their own.

    If DATACO_TEST_STACK_DIR names the folder of a running stack, that one is used and left running.
    """
    own = tmp_path_factory.mktemp("stack")
    with running_stack(own, variable="DATACO_TEST_STACK_DIR", short_lived=True) as running:
        yield running
