"""Fixtures that several test packages share, and which tests run in parallel."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local_stack.stack import Stack, running_stack

pytest_plugins = ["dataco_assets_tests.faults.table"]
_ROOM = Path(__file__).parent.name
_LANES = {
    f"{_ROOM}/faults/": "breaking",
    f"{_ROOM}/integration/test_local_servers.py": "restarting",
    f"{_ROOM}/integration/": "sharing",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Splits the tests for `pytest -n 2`: tests that break servers, tests that share a stack, tests that restart one.

    The tests of a group run in one process, which owns the group's servers and Spark session. Much of their time is
    waiting, so two groups in parallel take little longer than one. Unit tests run in any process.
    """
    return _Lanes(config, log)


class _Lanes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return next((lane for place, lane in _LANES.items() if nodeid.startswith(place)), nodeid)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real servers, which run until the end of the test run; tests clean up or use names of their own.

    If DATACO_TEST_STACK_DIR names the folder of a running stack, that one is used and left running.
    """
    with running_stack(tmp_path_factory.mktemp("stack"), variable="DATACO_TEST_STACK_DIR") as running:
        yield running
