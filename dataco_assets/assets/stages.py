"""How long each stage of a run takes, for its log and its metadata.

Belongs here: timing by name. Does not belong here: what the stages do.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from logging import Logger


class Stages:
    """Times named stages of a run; a stage entered again adds up.

    Args:
        log: Where the begin and end of each stage are told.
    """

    def __init__(self, log: Logger) -> None:
        self._log = log
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what happens inside."""
        self._log.info(f"{name} …")
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
            self._log.info(f"{name}: {self.seconds[name]:.2f} s")

    def metadata(self) -> dict[str, float]:
        """Seconds by stage, as metadata that Dagster plots over time."""
        return {f"run: seconds to {name}": round(seconds, 3) for name, seconds in self.seconds.items()}
