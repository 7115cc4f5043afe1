"""The log as JSON lines: each line of standard error is an object that names the run it belongs to.

Belongs here: the form of the lines. Which lines there are is decided by whoever writes them, and is the same in both
forms: with `DATACO_LOG_FORMAT=text` nothing here is used, and every library's log looks as that library has it.
"""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter
    from structlog.typing import EventDict

NAME: Final = "dataco.cli"
"""Logger of what the `dataco` command itself says, and of what nothing has caught."""

_DAGSTER: Final = "dagster_meta"
"""Attribute that Dagster gives to the records of a run (`dagster._core.log_manager`)."""

_run_ids: list[str] = []
"""Ids of the runs that this process executes, the innermost last. Not a context variable: threads have to see it."""


class LogFormat(StrEnum):
    """The forms that the log can have."""

    TEXT = "text"
    JSON = "json"


def new_run_id() -> str:
    """An id for a process that executes no run of Dagster, in the form of Dagster's ids."""
    return str(uuid4())


def current_run_id() -> str | None:
    """The id of the run that this process executes; None: of none."""
    return _run_ids[-1] if _run_ids else None


@contextmanager
def bound_run(run_id: str) -> Iterator[None]:
    """Gives the lines of the log a run's id while the block is executed, whichever thread writes them."""
    _run_ids.append(run_id)
    try:
        yield
    finally:
        _run_ids.remove(run_id)


def configure(log_format: LogFormat, *, run_id: str | None = None) -> None:
    """Makes this process write its log in a form, for good; a second call changes nothing.

    Args:
        log_format: The form.
        run_id: The id of the process's run; None: it executes none, or learns of it later (`bound_run`).
    """
    if log_format is LogFormat.TEXT or are_structured():
        return
    if run_id:
        _run_ids.append(run_id)
    # A run's console logger and others that bring a handler of their own.
    logging.setLoggerClass(_Structured)
    for logger in logging.root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            for handler in logger.handlers:
                _structure(handler)
    written = _RootHandler(sys.stderr)
    written.setFormatter(_formatter())
    logging.root.addHandler(written)
    logging.getLogger(NAME).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_of_thread


def are_structured() -> bool:
    """Whether this process writes its log as JSON lines."""
    return any(isinstance(handler, _RootHandler) for handler in logging.root.handlers)


class _Structured(logging.Logger):
    """A logger whose handlers write JSON lines, whatever form they were given."""

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802  # logging's name
        _structure(hdlr)
        super().addHandler(hdlr)


class _RootHandler(logging.StreamHandler[Any]):
    """Writes all records but those that another handler writes: a logger's own, or a run's console logger."""

    def filter(self, record: logging.LogRecord) -> bool:
        if hasattr(record, _DAGSTER):
            return False
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None and logger is not logging.root:
            if any(isinstance(handler, logging.StreamHandler) for handler in logger.handlers):
                return False
            logger = logger.parent
        return bool(super().filter(record))


def _structure(handler: logging.Handler) -> None:
    if isinstance(handler, logging.StreamHandler):
        handler.setFormatter(_formatter())


def _formatter() -> "ProcessorFormatter":
    from structlog.processors import JSONRenderer, format_exc_info
    from structlog.stdlib import ProcessorFormatter

    return ProcessorFormatter(processors=[format_exc_info, _members, JSONRenderer()])


def _members(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    """The members of a line, from what structlog has of a record."""
    from structlog.processors import TimeStamper

    record: logging.LogRecord = event["_record"]
    line: dict[str, Any] = {
        **TimeStamper(fmt="iso", utc=True, key="time")(None, "", {}),
        "level": record.levelname.lower(),
        "logger": record.name,
        "run_id": current_run_id(),
        "message": event["event"],
    }
    if "exception" in event:
        line["exception"] = event["exception"]
    if of_run := getattr(record, _DAGSTER, None):
        line |= _of_dagster(of_run)
    return line


def _of_dagster(of_run: dict[str, Any]) -> dict[str, Any]:
    """What Dagster tells of a record of a run: its text repeats some of that in front of the message."""
    found = {"run_id": of_run["run_id"], "job": of_run["job_name"], "step": of_run["step_key"]}
    found["message"] = of_run["orig_message"]
    event = of_run["dagster_event"]
    if event is not None:
        found["event"] = event.event_type_value
        if error := getattr(event.event_specific_data, "error", None):
            found["exception"] = error.to_string()
    return {name: value for name, value in found.items() if value is not None}


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger(NAME).critical("Not caught: %s", kind.__name__, exc_info=(kind, error, trace))


def _log_uncaught_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)
