"""Times the stages of a run for its log and metadata."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import Logger

STAGE_SECONDS = "run: seconds to "
"""What the metadata of a stage's time begin with."""


class Stages:
    """Times named stages of a run; a stage entered again adds to its time.

    Args:
        log: Receives a line at the start and end of each stage.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times the body of the `with` statement."""
        self._log.info(f"{name} …")
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
            self._log.info(f"{name}: {self.seconds[name]:.2f} s")

    def metadata(self) -> dict[str, float]:
        """Seconds by stage, as metadata that Dagster plots over time."""
        return {f"{STAGE_SECONDS}{name}": round(seconds, 3) for name, seconds in self.seconds.items()}
