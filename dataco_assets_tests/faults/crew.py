"""Workers as processes: a single one, and a crew that restarts one whenever it is killed.

The crew stands for the run retries and the lag sensor, which start runs again in production.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dataco_assets_tests.faults import worker as worker_module
from dataco_assets_tests.faults.judge import is_drained, read_ledger
from dataco_assets_tests.faults.servers import CONNECTION_ERRORS
from dataco_assets_tests.platforms import Platform
from dataco_assets_tests.server_process import is_suspended
from dataco_assets_tests.waiting import wait_until

_WATCH_SECONDS = 0.05
_LOG_SHOWN = 3_000


class Worker:
    """One worker process.

    Args:
        platform: What it drains.
        log: File to which its log is appended.
        arguments: Its command line; see `worker`.
    """

    def __init__(self, platform: Platform, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", worker_module.__name__, *arguments],
                env={**os.environ, **platform.environment(), "PYTHONFAULTHANDLER": "1"},
                stdout=subprocess.PIPE,
                stderr=file,
            )

    @property
    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal; does nothing if it has ended."""
        self._process.send_signal(number)

    def is_stopped(self) -> bool:
        """Whether it is stopped by SIGSTOP."""
        return is_suspended(self._process.pid)

    def wait(self, seconds: float = 120) -> int:
        """Its exit code, negative for a signal."""
        try:
            self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"the worker did not end within {seconds:.0f} s:\n{self.log()}") from None
        return self._process.returncode

    def result(self, seconds: float = 120) -> dict[str, Any]:
        """Its result; fails if it failed."""
        output, _ = self._process.communicate(timeout=seconds)
        assert self._process.returncode == 0, self.log()
        return json.loads(output)

    def end(self) -> None:
        """Kills it; does nothing if it has ended."""
        self._process.kill()
        self._process.wait(30)

    def log(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-_LOG_SHOWN:]


class Crew:
    """Keeps one worker draining: whenever it is killed, another is started. Use it as a context manager.

    Attributes:
        deaths: Workers that were killed.
    """

    def __init__(self, platform: Platform, log: Path) -> None:
        self.deaths = 0
        self._platform = platform
        self._log = log
        self._gave_up = False
        self._closing = threading.Event()
        self._worker = self._hire()
        self._watch = threading.Thread(target=self._replace_the_dead, name="crew", daemon=True)

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._watch.join(30)
        self._worker.end()
        if kind is None:
            self._require_going()

    def send(self, number: signal.Signals) -> None:
        """Sends a signal to the current worker."""
        self._worker.send(number)

    def wait_drained(self, seconds: float = 180) -> None:
        """Returns once the ledger stands at the last stable offset of every partition.

        Raises:
            AssertionError: not in time, or a worker gave up.
        """
        wait_until(self._is_drained, seconds=seconds, what=f"everything is drained\n{self._worker.log()}")

    def wait_for(self, offsets: int, seconds: float = 120) -> None:
        """Returns once the given number of offsets, summed over all partitions, is drained."""

        def reached() -> bool:
            self._require_going()
            try:
                return sum(read_ledger(self._platform).values()) >= offsets
            except CONNECTION_ERRORS:
                return False

        wait_until(reached, seconds=seconds, what=f"{offsets:,} offsets are drained\n{self._worker.log()}")

    def _is_drained(self) -> bool:
        self._require_going()
        try:
            return is_drained(self._platform)
        except CONNECTION_ERRORS:
            return False

    def _require_going(self) -> None:
        assert not self._gave_up, f"a worker gave up: this would need manual intervention\n{self._worker.log()}"

    def _hire(self) -> Worker:
        return Worker(self._platform, self._log, "--forever")

    def _replace_the_dead(self) -> None:
        while not self._closing.wait(_WATCH_SECONDS):
            ended = self._worker.ended
            if ended is None:
                continue
            if ended >= 0:  # it was not killed, but gave up
                self._gave_up = True
                return
            self.deaths += 1
            self._worker = self._hire()
