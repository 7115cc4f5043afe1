"""Fixtures that several test rooms share, and which tests run side by side.

Belongs here: the one stack of real servers of a test run, and its two lanes. Does not belong here: what a single room's
tests need.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from local_stack.stack import Stack

REUSED_STACK = "DATACO_TEST_STACK_DIR"
pytest_plugins = ["dataco_assets_tests.faults.table"]
_ROOM = Path(__file__).parent
_BREAKS_SERVERS = (_ROOM / "faults", _ROOM / "integration" / "test_local_servers.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Gives `pytest -n 2 --dist loadgroup` two lanes: tests that break servers, and those that share whole ones.

    Much of either is waiting, so side by side they take little longer than one of them; and each needs one process, in
    which its servers and its Spark session live. Unit tests go to whoever has time.
    """
    for item in items:
        if any(item.path.is_relative_to(place) for place in _BREAKS_SERVERS):
            item.add_marker(pytest.mark.xdist_group("breaking"))
        elif item.path.is_relative_to(_ROOM / "integration"):
            item.add_marker(pytest.mark.xdist_group("sharing"))


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
