"""Tests how errors become failures of runs: their kinds, their first line, and the tags that sensors read."""

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import dagster as dg
import pytest

import dataco_assets
import spark_resources
from dataco_assets.assets.failures import explained, failure_of
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.errors import DatacoError, ErrorKind

HOUR = 1_767_225_600_000  # 2026-01-01T00:00Z


class Away(DatacoError):
    """A passing error."""

    kind = ErrorKind.PASSING


class Broken(DatacoError):
    """A permanent error."""


def run_that_raises(instance: dg.DagsterInstance, error: Exception, **options: object) -> dg.ExecuteInProcessResult:
    @dg.asset
    def failing() -> None:
        with explained():
            raise error

    return dg.materialize([failing], instance=instance, raise_on_error=False, **options)  # pyright: ignore[reportArgumentType]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def first_line(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    return failure.error_display_string.splitlines()[0]


def test_the_first_line_of_a_failed_run_is_the_error(instance: dg.DagsterInstance) -> None:
    result = run_that_raises(instance, Broken("Topic 'clicks' lost 7 clicks.\nDo this."))
    assert first_line(result) == "dataco.PermanentFailure: Broken: Topic 'clicks' lost 7 clicks."
    assert first_line(run_that_raises(instance, Away("Gone."))) == "dataco.PassingFailure: Away: Gone."


def test_a_failed_run_says_in_its_tags_what_failed(instance: dg.DagsterInstance) -> None:
    error = Broken("Two hours are wrong.\n  details", hours=[HOUR, HOUR + 5 * HOUR_MS])
    run = instance.get_run_by_id(run_that_raises(instance, error).run_id)
    assert run is not None
    assert run.tags["dataco/failure_kind"] == "permanent"
    assert run.tags["dataco/error"] == "Broken"
    found = failure_of(run)
    assert found is not None
    assert found.message == "Two hours are wrong."
    assert found.hours == (HOUR, HOUR + 5 * HOUR_MS)


def test_a_long_message_is_shortened(instance: dg.DagsterInstance) -> None:
    run = instance.get_run_by_id(run_that_raises(instance, Broken("x" * 5_000)).run_id)
    assert run is not None
    found = failure_of(run)
    assert found is not None
    assert len(found.message) == 301


def test_the_tags_of_the_run_it_was_started_again_from_are_not_its_own(instance: dg.DagsterInstance) -> None:
    run = instance.get_run_by_id(run_that_raises(instance, Broken("No.", hours=[HOUR])).run_id)
    assert run is not None
    again = run_that_raises(instance, RuntimeError("a bug"), tags=run.tags)
    other = instance.get_run_by_id(again.run_id)
    assert other is not None
    assert other.tags["dataco/error"] == "Broken", "inherited"
    assert failure_of(other) is None

    passing = run_that_raises(instance, Away("Gone."), tags=run.tags)
    third = instance.get_run_by_id(passing.run_id)
    assert third is not None
    found = failure_of(third)
    assert found is not None
    assert (found.kind, found.hours) == (ErrorKind.PASSING, ())


def test_a_programming_error_stays_what_it_is(instance: dg.DagsterInstance) -> None:
    result = run_that_raises(instance, KeyError("typo"))
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "KeyError" in failure.error_display_string
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert failure_of(run) is None


# Every error's kind

PASSING = {
    "CheckpointUnavailable",
    "DriverDied",
    "LiveFailed",
    "MailFailed",
    "MicroBatchFailed",
    "RecordsLost",
    "AggregatesNotWritten",
    "AggregatesUnavailable",
    "ClicksTableUnavailable",
    "CommitConflict",
    "ConnectUnavailable",
    "ErasureIncomplete",
    "ElasticsearchUnavailable",
    "HBaseUnavailable",
    "IndexBlocked",
    "IndexReplaced",
    "DocumentsChanged",
    "IndexDiffers",
    "KafkaUnavailable",
    "OffsetGap",
    "OtherOwner",
    "PublicationFailed",
    "RegistryUnavailable",
    "SparkMasterUnavailable",
    "Undeliverable",
    "VersionConflict",
    "WebhookFailed",
}
"""Errors that time alone may end: a server away, busy or full; another run that was quicker."""
DATA = {"RowRefused"}
"""Errors about one record, after which a run goes on."""


def every_module() -> Iterator[ModuleType]:
    for package in (dataco_assets, spark_resources):
        for info in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not info.name.endswith("__main__"):
                yield importlib.import_module(info.name)


def every_error() -> dict[str, type[DatacoError]]:
    assert list(every_module())
    found, ahead = {}, [DatacoError]
    while ahead:
        error = ahead.pop()
        ahead += error.__subclasses__()
        if error.__module__.startswith(("dataco_assets.", "spark_resources.")):
            found[error.__name__] = error
    return found


def test_every_error_is_of_the_kind_that_this_list_gives_it() -> None:
    errors = every_error()
    assert {name for name, error in errors.items() if error.kind is ErrorKind.PASSING} == PASSING
    assert {name for name, error in errors.items() if error.kind is ErrorKind.DATA} == DATA
    assert len(errors) > 40
