"""How the platform's errors become failures of Dagster's runs, and how they are read back from a failed run.

A run that fails with a `DatacoError` is tagged with the error and its kind: sensors act on the tags, and people see
them in the list of runs. Programming errors keep their traceback and leave no tags.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import dagster as dg

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.partitions import hours_from_text, hours_to_text

_KIND: Final = "dataco/failure_kind"
_ERROR: Final = "dataco/error"
_MESSAGE: Final = "dataco/error_message"
_HOURS: Final = "dataco/failed_hours"
_RUN: Final = "dataco/failed_run"
_SHOWN_MESSAGE = 300


class PermanentFailure(dg.Failure):
    """A run failed for a permanent reason, which needs manual intervention."""


class PassingFailure(dg.Failure):
    """A run failed for a passing reason; a retry may succeed."""


# Dagster shows a failure as `module.Class: message`; the full module path would push the message out of sight.
for _failure in (PermanentFailure, PassingFailure):
    _failure.__module__ = "dataco"


@dataclass(frozen=True)
class RunFailure:
    """Why a run failed.

    Attributes:
        kind: What has to happen before it can succeed.
        error: Name of the error's class.
        message: First line of its message, shortened.
        hours: Hours the error is about, epoch ms; empty when it is not about single hours of the run.
    """

    kind: ErrorKind
    error: str
    message: str
    hours: tuple[int, ...] = ()


@contextmanager
def explained() -> Iterator[None]:
    """Turns a `DatacoError` into a failure of the run whose first line is the error's, and tags the run with it.

    Raises:
        PermanentFailure: the cause needs manual intervention.
        PassingFailure: a retry may succeed.
    """
    try:
        yield
    except DatacoError as error:
        _tag_run(error)
        failure = PassingFailure if error.kind is ErrorKind.PASSING else PermanentFailure
        raise failure(
            description=f"{type(error).__name__}: {error}",
            metadata={"error": type(error).__name__, "kind": error.kind.value},
        ) from error


def failure_of(run: dg.DagsterRun) -> RunFailure | None:
    """Why a run failed; None if it was not a `DatacoError`, or its process was killed."""
    tags = run.tags
    # A retry inherits its tags from the failed run; inherited tags describe that run.
    if tags.get(_RUN) != run.run_id:
        return None
    hours = tuple(hours_from_text(tags.get(_HOURS, "")))
    return RunFailure(ErrorKind(tags[_KIND]), tags[_ERROR], tags[_MESSAGE], hours)


def failure_tags(run_id: str, error: DatacoError) -> dict[str, str]:
    """Tags from which `failure_of` reads why a run failed."""
    first_line = str(error).split("\n", 1)[0]
    shown = first_line if len(first_line) <= _SHOWN_MESSAGE else first_line[:_SHOWN_MESSAGE] + "…"
    tags = {_KIND: error.kind.value, _ERROR: type(error).__name__, _MESSAGE: shown, _RUN: run_id}
    # Set even when empty, because a retry inherits the tag.
    return tags | {_HOURS: hours_to_text(error.hours)}


def _tag_run(error: DatacoError) -> None:
    context = dg.OpExecutionContext.get()
    context.instance.add_run_tags(context.run_id, failure_tags(context.run_id, error))
