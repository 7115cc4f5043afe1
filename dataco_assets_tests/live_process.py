"""`dataco live` as a process of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil


class LiveProcess:
    """`dataco live`, and the Spark driver that it starts.

    Args:
        environment: The settings, as variables.
        log: File that its output is appended to.
    """

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it."""
        program = Path(sys.executable).with_name("dataco")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, "live"], env=self._environment, stdout=log, stderr=log)

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def told(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def kill_driver(self) -> None:
        """Kills Spark's JVM, and only that."""
        (driver,) = (each for each in self._family() if each.name() == "java")
        driver.kill()
        driver.wait(30)

    def stop(self) -> None:
        """Ends it, and what it started."""
        family = self._family()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        for left in family:
            if left.is_running():
                left.kill()

    def _family(self) -> list[psutil.Process]:
        if self._process is None or not self.is_running():
            return []
        return psutil.Process(self._process.pid).children(recursive=True)
