"""Tests that jobs that crash or fail again and again are reported once, with real runs, an HTTP and an SMTP server."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import dagster as dg
import pytest
from pydantic import SecretStr

from dataco_assets.assets.failures import RunFailure, explained
from dataco_assets.clients.hbase_errors import HBaseUnavailable
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, INGEST_JOB, MAINTENANCE_JOB, REFRESH_JOB
from dataco_assets.sensors import failed_runs_sensor
from dataco_assets.sensors.back_off import PastRun
from dataco_assets.sensors.failing import Told, Work, from_cursor, to_cursor
from dataco_assets.sensors.runs import CIRCUMSTANCES_TAG
from dataco_assets.settings import Settings
from dataco_assets_tests.mail_servers import Mailbox, receiving_mail
from dataco_assets_tests.webhooks import Receiver, receiving


class DataGone(DatacoError):
    """A permanent error."""


@dataclass
class World:
    """Dagster's storage, two receivers, and the sensor with its cursor."""

    instance: dg.DagsterInstance
    webhook: Receiver
    mailbox: Mailbox
    cursor: str | None = None
    said: list[str] = field(default_factory=list)

    def run(self, job: str, error: Exception | None = None, **tags: str) -> str:
        """Executes a run of a job, which fails with an error; the id of the run."""

        @dg.op
        def work() -> None:
            with explained():
                if error is not None:
                    raise error

        @dg.job(name=job)
        def made() -> None:
            work()

        named = {name.replace("__", "/"): value for name, value in tags.items()}
        return made.execute_in_process(instance=self.instance, tags=named, raise_on_error=False).run_id

    def evaluate(self) -> str:
        settings = Settings.load().model_copy(
            update={"webhook_url": SecretStr(self.webhook.url), **self.mailbox.settings()}
        )
        with dg.build_sensor_context(
            instance=self.instance, cursor=self.cursor, resources={"settings": settings}
        ) as context:
            result = failed_runs_sensor(context)
            assert isinstance(result, dg.SkipReason)
            self.cursor = context.cursor
        return str(result.skip_message)

    @property
    def posted(self) -> list[tuple[str, str, str]]:
        """Event, work and error of each message to the webhook."""
        return [(each["event"], each["what"][0], each.get("error", "")) for each in self.webhook.got]


@pytest.fixture
def world() -> Iterator[World]:
    with receiving() as webhook, receiving_mail() as mailbox, dg.instance_for_test() as instance:
        yield World(instance, webhook, mailbox)


def away() -> HBaseUnavailable:
    return HBaseUnavailable("HBase at nowhere:1 does not answer.")


def test_a_passing_cause_is_news_the_third_time_and_then_no_more_until_a_run_succeeds(world: World) -> None:
    for _ in range(2):
        world.run(INGEST_JOB, away())
        assert world.evaluate() == "There is nothing to report."
    third = world.run(INGEST_JOB, away())
    assert world.evaluate() == "Webhook: 1 sent. Mail: 1 sent."
    world.run(INGEST_JOB, away())
    assert world.evaluate() == world.evaluate() == "There is nothing to report."
    (message,) = world.webhook.got
    assert (message["event"], message["what"], message["run_id"]) == ("failed", ["ingest_clicks"], third)
    assert (message["error"], message["failures"]) == ("HBaseUnavailable", 3)
    assert message["message"] == "HBase at nowhere:1 does not answer."
    (mail,) = world.mailbox.got
    assert mail["Subject"] == "DataCo clicks: ingest_clicks fails"
    assert "HBaseUnavailable: HBase at nowhere:1 does not answer." in mail.get_content()
    assert "3 failures in a row. It is tried again by itself." in mail.get_content()

    world.run(INGEST_JOB)
    assert world.evaluate() == "Webhook: 1 sent. Mail: 1 sent."
    assert world.evaluate() == "There is nothing to report."
    assert world.mailbox.got[1]["Subject"] == "DataCo clicks: ingest_clicks succeeds again"
    for _ in range(3):
        world.run(INGEST_JOB, away())
    world.evaluate()
    assert [event for event, *_ in world.posted] == ["failed", "recovered", "failed"]


def test_what_the_platform_has_no_error_for_is_news_at_once_and_each_error_by_itself(world: World) -> None:
    for error in (ValueError("two\nlines"), ValueError("other"), KeyError("k"), ValueError("two")):
        world.run(MAINTENANCE_JOB, error)
        world.evaluate()
    assert world.posted == [("failed", MAINTENANCE_JOB, "ValueError"), ("failed", MAINTENANCE_JOB, "KeyError")]
    assert world.webhook.got[0]["message"] == "two lines"
    run = world.instance.create_run_for_job(_empty_job())
    world.instance.report_run_failed(run, "The process of this run is gone.")
    world.evaluate()
    assert world.posted[2:] == [("failed", INGEST_JOB, "RunCrashed")]
    assert world.webhook.got[2]["message"] == "The process of this run is gone."


def _empty_job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job(name=INGEST_JOB)
    def made() -> None:
        nothing()

    return made


def test_what_parks_work_is_left_to_the_message_about_that(world: World) -> None:
    for job in (INGEST_JOB, INGEST_AND_REFRESH_JOB):
        world.run(job, DataGone("Gone."), **{CIRCUMSTANCES_TAG: "c"})
    assert world.evaluate() == "There is nothing to report."
    world.run(REFRESH_JOB, DataGone("Gone."))  # started by hand: it parks nothing
    world.run(MAINTENANCE_JOB, DataGone("Gone."), **{CIRCUMSTANCES_TAG: "c"})
    world.evaluate()
    assert world.posted == [("failed", REFRESH_JOB, "DataGone"), ("failed", MAINTENANCE_JOB, "DataGone")]


def test_a_receiver_that_is_away_keeps_nothing_from_the_other_and_nobody_is_told_twice(world: World) -> None:
    world.run(MAINTENANCE_JOB, ValueError("no"))
    world.webhook.statuses = [403]
    said = world.evaluate()
    assert "Webhook: 0 sent; the rest is tried again at the next evaluation." in said
    assert "Mail: 1 sent." in said
    world.run(MAINTENANCE_JOB)
    assert world.evaluate() == "Mail: 1 sent.", "the webhook never heard of the failure, so not of its end either"
    assert [mail["Subject"].partition(": ")[2] for mail in world.mailbox.got] == [
        "maintain_aggregates fails",
        "maintain_aggregates succeeds again",
    ]
    assert not world.posted


def test_lanes_are_told_apart(world: World) -> None:
    for lane, error in (("backlog", ValueError("no")), ("newest", None), ("backlog", ValueError("no"))):
        world.run(REFRESH_JOB, error, dataco__lane=lane)
        world.evaluate()
    assert world.posted == [("failed", "refresh_hours (backlog)", "ValueError")]


def test_old_failures_are_no_news() -> None:
    day, now = 86_400.0, time.time()
    failure = RunFailure(ErrorKind.PERMANENT, "KeyError", "k")
    recent, old = (
        Work(MAINTENANCE_JOB, "", [PastRun(failed=True, ended_at=now - age)], failure) for age in (day - 60, day + 60)
    )
    assert list(Told().news([recent, old], now)) == [recent]


def test_without_receivers_the_sensor_reads_nothing() -> None:
    with dg.build_sensor_context(resources={"settings": Settings.load()}) as context:
        result = failed_runs_sensor(context)
    assert isinstance(result, dg.SkipReason)
    assert "neither DATACO_WEBHOOK_URL nor DATACO_SMTP_HOST is set" in str(result.skip_message)


def test_the_cursor_keeps_what_each_receiver_knows() -> None:
    assert from_cursor(None) == {}
    cursor = '{"webhook": {"ingest_clicks": ["KeyError"]}, "mail": {}}'
    assert to_cursor(from_cursor(cursor)) == cursor
