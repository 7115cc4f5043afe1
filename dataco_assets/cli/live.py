"""`dataco live`: keeps the running hours up to date within seconds, until it is stopped."""

import logging
import signal
from collections.abc import Callable
from contextlib import closing
from threading import Event

import typer
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_when_event_set, wait_exponential
from tenacity.nap import sleep_using_event

from dataco_assets.cli.output import note
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.logs import current_run_id
from dataco_assets.settings import settings

_LONGEST_PAUSE_SECONDS = 60.0


def live() -> None:
    """Keep the running hours up to date within seconds.

    Reads the clicks topic beside ingest, and gives readers of DATACO_INDEX_ALIAS the hours that the batch has not
    settled yet. Runs until it is stopped (SIGTERM or Ctrl-C); readers then get all hours from the batch again. Run one
    at a time: a second one takes over, and the first one ends.

    What passes, such as a server that is away, is tried again from the checkpoint, for ever.
    """
    from dataco_assets.clients.elasticsearch import connect
    from dataco_assets.clients.hbase import connect as connect_hbase
    from dataco_assets.ledgers.suppression import SuppressionList
    from dataco_assets.live.service import Live
    from dataco_assets.live.spark import DriverDied, session_for

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")  # without effect on a structured log
    logging.getLogger().setLevel(logging.INFO)
    logging.getLogger("elastic_transport").setLevel(logging.WARNING)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_not_of_py4j)
    config, stopped = settings(), Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with connect_hbase(config) as hbase, closing(connect(config)) as client:
        suppression = SuppressionList(hbase, config.suppressed_table)

        def run() -> None:
            with session_for(config, current_run_id()) as session:
                application = Live(config, session, client, suppression.read)
                typer.echo(
                    f"Live keeps the running hours behind alias {config.index_alias} up to date. Ctrl-C stops it."
                )
                _patiently(_passes, stopped)(application.run, stopped)

        _patiently(lambda error: isinstance(error, DriverDied), stopped)(run)


def _patiently(again: Callable[[BaseException], bool], stopped: Event) -> Retrying:
    """Tries again after errors of some kinds, with pauses that grow, until it is to stop."""
    return Retrying(
        retry=retry_if_exception(again),
        wait=wait_exponential(multiplier=1, max=_LONGEST_PAUSE_SECONDS),
        stop=stop_when_event_set(stopped),
        sleep=sleep_using_event(stopped),
        before_sleep=_say,
        reraise=True,
    )


def _is_not_of_py4j(record: logging.LogRecord) -> bool:
    """False for py4j's tracebacks, some of them the root logger's: the end of a query or of a JVM is told in words."""
    return record.module not in ("java_gateway", "clientserver")


def _passes(error: BaseException) -> bool:
    return isinstance(error, DatacoError) and error.kind is ErrorKind.PASSING


def _say(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    note(f"Live goes on in {state.upcoming_sleep:.0f} s: {error}", logging.WARNING)
