"""Live as `dataco live` runs it, and what Spark reports of its micro-batches."""

import json
import logging
import signal
import sys
import time
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
        reports: File to which Spark's report of each micro-batch is added, one JSON object a line,
            with the parts of `addBatch` that are Elasticsearch's.

    Returns:
        The most memory that the driver's JVM has held.
    """
    config, stopped = settings(), Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    sink = _Sink()
    service.logger.addHandler(_Reports(Path(reports), sink))
    service.logger.setLevel(logging.DEBUG)
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with session_for(config) as session, closing(connect(config)) as client:
        service.Live(config, session, client, dict, on_step=sink.note).run(stopped)
        context: Any = session.sparkContext
        return {"driver_rss_bytes": peak_rss_bytes(context._gateway.proc.pid)}


class _Sink:
    """When each step of the sink was reached, by the number of the micro-batch."""

    def __init__(self) -> None:
        self._reached: dict[int, dict[service.Step, float]] = {}

    def note(self, step: service.Step, batch_id: int) -> None:
        self._reached.setdefault(batch_id, {})[step] = time.monotonic()

    def durations_ms(self, batch_id: int) -> dict[str, float]:
        """Of writing documents, and of making them visible."""
        at = self._reached.pop(batch_id, {})
        if len(at) < len(service.Step):
            return {}
        return {
            "addBatch: write documents": 1_000 * (at[service.Step.ADDED] - at[service.Step.COMPUTED]),
            "addBatch: show documents": 1_000 * (at[service.Step.SHOWN] - at[service.Step.ADDED]),
        }


class _Reports(logging.Handler):
    """Writes the reports that the service logs to a file."""

    def __init__(self, file: Path, sink: _Sink) -> None:
        super().__init__(logging.DEBUG)
        self._file = file
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno != logging.DEBUG or not isinstance(record.args, dict):
            return
        report: dict[str, Any] = dict(record.args)
        report["durationMs"] = {**report["durationMs"], **self._sink.durations_ms(report["batchId"])}
        with self._file.open("a") as lines:
            lines.write(json.dumps(report, default=str) + "\n")
