"""Injects faults into the servers (killed, stalled, disk full) and repairs them by restarting."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import KafkaException
from thriftpy2.thrift import TException

from local_stack.errors import StackError
from local_stack.stack import Stack

CONNECTION_ERRORS = (OSError, EOFError, TException, KafkaException)
"""What plain clients raise while a server is down."""
DISK = "64g"
"""Only a limit: a tmpfs uses memory for its contents. HDFS sets 256 MB aside for every file that is being written."""
_LEFT_BYTES = 2 * 1024 * 1024
NEEDED_SERVERS = ("kafka", "namenode", "datanode", "hbase", "thrift")
"""The servers that the fault tests need, each after its dependencies."""
ELASTICSEARCH = "elasticsearch"
"""The one that few of them need."""


class Servers:
    """The fault stack.

    Args:
        stack: Its servers.
        fillable: HDFS gets a separate file system in memory, if possible.
    """

    def __init__(self, stack: Stack, *, fillable: bool) -> None:
        self.stack = stack
        self._fillable = fillable and os.geteuid() == 0
        self.disk = stack.folder / "data" / "datanode"

    def up(self) -> None:
        """Brings up the servers."""
        self.stack.up(["kafka"])  # makes the folders
        if self._fillable and not self.disk.is_mount():
            self.disk.mkdir(parents=True, exist_ok=True)
            with suppress(subprocess.CalledProcessError):  # a container may forbid it; then no disk can be filled
                _run("mount", "-t", "tmpfs", "-o", f"size={DISK}", "dataco-faults", str(self.disk))
        self.stack.up(NEEDED_SERVERS)

    def down(self) -> None:
        """Stops the servers and removes everything."""
        self.stack.down()
        if self.disk.is_mount():
            _run("umount", str(self.disk))
        self.stack.down(wipe=True)

    def kill(self, name: str) -> None:
        """`kill -9`; returns when it is gone."""
        self.stack.kill(name, signal.SIGKILL)

    def restart(self, name: str) -> None:
        """Starts a server that is down and returns when it answers; HBase when all its regions do."""
        self.stack.start(name)
        self.stack.wait_ready(name)
        if name == "hbase":
            self.stack.wait_ready("thrift")

    def stall(self, name: str, seconds: float) -> None:
        """Suspends a server for a number of seconds (SIGSTOP, SIGCONT): its connections stay open, but silent."""
        self.stack.kill(name, signal.SIGSTOP)
        try:
            threading.Event().wait(seconds)  # the stall itself, not a wait for anything
        finally:
            self.stack.kill(name, signal.SIGCONT)

    def is_running(self, name: str) -> bool:
        """Whether its process exists."""
        return any(status.name == name and status.running for status in self.stack.status())

    def heal(self) -> None:
        """Starts the servers that are down and returns when all answer."""
        for name in NEEDED_SERVERS:
            if not self.is_running(name):
                self.stack.start(name)
            try:
                self.stack.wait_ready(name)
            except StackError:
                if self.is_running(name):
                    raise
                self.stack.start(name)  # it was already crashing because of the fault
                self.stack.wait_ready(name)

    @contextmanager
    def full_disk(self) -> Iterator[None]:
        """Shrinks HDFS's file system to its contents and a little more, which the clicks fill in seconds."""
        disk = os.statvfs(self.disk)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        _run("mount", "-o", f"remount,size={used + _LEFT_BYTES}", str(self.disk))
        try:
            yield
        finally:
            _run("mount", "-o", f"remount,size={DISK}", str(self.disk))

    def restart_hdfs_and_hbase(self) -> None:
        """Restarts them as necessary after a full disk: the DataNode has recorded more of a block than it could write.

        Until it is restarted, it refuses to recover that block ("Block length mismatch"), and HBase waits for it.
        """
        self.kill("datanode")
        self.restart("datanode")
        if self.is_running("hbase"):
            self.kill("hbase")
        self.restart("hbase")

    def has_own_disk(self) -> bool:
        """Whether HDFS is on a file system that can be filled."""
        return self.disk.is_mount()


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def make_servers(folder: Path, *, fillable: bool, short_lived: bool) -> Servers:
    """The fault stack in a folder, not up yet; see `Servers` and `Stack`."""
    return Servers(Stack(folder, ports="auto", short_lived=short_lived), fillable=fillable)
