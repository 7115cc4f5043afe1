"""Fixtures that several test rooms share, and which tests run side by side.

Belongs here: the one stack of real servers of a test run, and its two lanes. Does not belong here: what a single room's
tests need.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from local_stack.stack import Stack

REUSED_STACK = "DATACO_TEST_STACK_DIR"
pytest_plugins = ["dataco_assets_tests.faults.table"]
_ROOM = Path(__file__).parent.name
_BREAK_SERVERS = (f"{_ROOM}/faults/", f"{_ROOM}/integration/test_local_servers.py")
_SHARE_SERVERS = f"{_ROOM}/integration/"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Gives `pytest -n 2` two lanes: tests that break servers, and those that share whole ones.

    Much of either is waiting, so side by side they take little longer than one of them; and each stays in one process,
    in which its servers and its Spark session live. Unit tests go to whoever has time.
    """
    return _Lanes(config, log)


class _Lanes(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(_BREAK_SERVERS):
            return "breaking"
        return "sharing" if nodeid.startswith(_SHARE_SERVERS) else nodeid


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Real servers, up, for the whole run; whoever writes to them cleans up or uses names of their own.

    A developer who keeps a stack running names its folder in DATACO_TEST_STACK_DIR: it is used and left running.
    """
    folder = os.environ.get(REUSED_STACK)
    if folder:
        running = Stack(folder)
        running.up()
        yield running
        return
    own = Stack(tmp_path_factory.mktemp("stack"), ports="auto")
    try:
        own.up()
        yield own
    finally:
        own.down(wipe=True)
