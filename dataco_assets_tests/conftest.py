"""Fixtures that several test rooms share, and which tests run side by side.

Belongs here: the one stack of real servers of a test run, and its lanes. Does not belong here: what a single room's
tests need.
"""

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
    """Gives `pytest -n 2` its lanes: tests that break servers, those that share whole ones, those that restart them.

    Much of each is waiting, so two side by side take little longer than one; and each stays in one process, in which
    its servers and its Spark session live. Unit tests go to whoever has time.
    """
    return _Lanes(config, log)


class _Lanes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return next((lane for place, lane in _LANES.items() if nodeid.startswith(place)), nodeid)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real servers, up, for the whole run; whoever writes to them cleans up or uses names of their own.

    A developer who keeps a stack running names its folder in DATACO_TEST_STACK_DIR: it is used and left running.
    """
    with running_stack(tmp_path_factory.mktemp("stack"), variable="DATACO_TEST_STACK_DIR") as running:
        yield running
