"""A server that tests start as a process of its own."""

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import psutil
import requests

from dataco_assets_tests.waiting import wait_until

Server = TypeVar("Server", bound="ServerProcess")


class ServerProcess(ABC):
    """A process that answers over HTTP once it is up; subclasses say how it is started and whether it answers.

    Args:
        log: File that its output is appended to.
        up_seconds: How long it may take to answer.
    """

    def __init__(self, log: Path, up_seconds: float = 60.0) -> None:
        self._log = log
        self._up_seconds = up_seconds
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str | Path]:
        """Program and arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it answers as it should; may raise what `requests` raises while nothing listens."""

    @property
    def pid(self) -> int:
        """The process, which must have been started."""
        assert self._process is not None
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process, and waits until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(list(self.command()), stdout=log, stderr=subprocess.STDOUT)
        wait_until(self._is_up, seconds=self._up_seconds, what=f"a server answers; its log is {self._log}")

    def stop(self) -> None:
        """Kills the process, if it runs, and waits for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def last_lines(self, number: int = 60) -> str:
        """The end of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-number:])

    def is_suspended(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        return self.is_running() and is_suspended(self.pid)

    def resume(self) -> None:
        """Lets the process go on that was suspended."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within it, the server takes connections but does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.resume()

    def _is_up(self) -> bool:
        assert self.is_running(), f"the server ended; its log is {self._log}"
        try:
            return self.answers()
        except (requests.ConnectionError, requests.Timeout):
            return False


def is_suspended(pid: int) -> bool:
    """Whether a process is stopped by SIGSTOP."""
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Starts a server, and kills it in the end."""
    try:
        server.start()
        yield server
    finally:
        server.stop()
