"""Fixtures that several test rooms share.

Belongs here: the one stack of real servers of a test run. Does not belong here: what a single room's tests need.
"""

import os
from collections.abc import Iterator

import pytest

from local_stack.stack import Stack

REUSED_STACK = "DATACO_TEST_STACK_DIR"


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
