"""Chooses the servers' TCP ports: well-known ones, or free ones that stay the same across restarts."""

import os
import random
import socket
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import psutil

from local_stack.errors import StackError

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral range (32768 and up on Linux), so that no outgoing connection takes one in the meantime.
AUTO_RANGE = range(20_000, 30_000)
_ATTEMPTS = 2_000
# A server starts to listen seconds after its port was chosen, and another stack may choose in the meantime. So each
# choice is recorded here as an empty file, which counts for longer than any server takes to start.
_CLAIMS = Path(tempfile.gettempdir(), f"dataco-ports-{os.getuid()}")
_CLAIM_SECONDS = 600


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: TIME_WAIT is no obstacle
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose(names: Iterable[str], avoid: Iterable[int] = ()) -> dict[str, int]:
    """A different free port for each name; none that any stack chose recently.

    Raises:
        StackError: no free port was found in the range.
    """
    used = set(avoid)
    chosen: dict[str, int] = {}
    for name in names:
        for _ in range(_ATTEMPTS):
            port = random.choice(AUTO_RANGE)  # noqa: S311 -- not a secret
            if port not in used and is_free(port) and _claim(port):
                break
        else:
            raise StackError(f"No free port between {AUTO_RANGE.start} and {AUTO_RANGE.stop - 1} for {name}.")
        used.add(port)
        chosen[name] = port
    return chosen


def _claim(port: int) -> bool:
    """Reserves a port; False if another process did so recently."""
    claim = _CLAIMS / str(port)
    _CLAIMS.mkdir(mode=0o700, exist_ok=True)
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        if time.time() - claim.stat().st_mtime < _CLAIM_SECONDS:
            return False
        claim.touch()
    return True


def taken(ports: Mapping[str, int]) -> dict[str, int]:
    """The named ports on which something already listens."""
    return {name: port for name, port in ports.items() if not is_free(port)}


def holder(port: int) -> str:
    """The process that listens on a port, for a message; other users' processes may be hidden."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return "another process"
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,) and connection.pid:
            try:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
            except psutil.NoSuchProcess:
                break
    return "another process"
