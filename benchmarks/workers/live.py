"""Live as `dataco live` runs it, and what Spark reports of its micro-batches."""

import json
import logging
import signal
import sys
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.machine import peak_rss_bytes
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.live import service
from dataco_assets.live.spark import session_for
from dataco_assets.settings import settings


def live(reports: str) -> dict[str, Any]:
    """Runs live until SIGTERM.

    Args:
        reports: File to which Spark's report of each micro-batch is added, one JSON object a line.

    Returns:
        The most memory that the driver's JVM has held.
    """
    config, stopped = settings(), Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    service.logger.addHandler(_Reports(Path(reports)))
    service.logger.setLevel(logging.DEBUG)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with session_for(config) as session, closing(connect(config)) as client:
        service.Live(config, session, client, dict).run(stopped)
        context: Any = session.sparkContext
        return {"driver_rss_bytes": peak_rss_bytes(context._gateway.proc.pid)}


class _Reports(logging.Handler):
    """Writes the reports that the service logs to a file."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.DEBUG)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.DEBUG and isinstance(record.args, dict):
            with self._file.open("a") as lines:
                lines.write(json.dumps(record.args, default=str) + "\n")
