"""Tests with Dagster's daemon that permanently failed work starts again only when something has changed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from dataco_assets.jobs import INGEST_JOB
from dataco_assets.ledgers.parked import INGEST, ParkedWork, Receiver
from dataco_assets.settings import SmtpTls
from dataco_assets_tests.daemons import dagster_home, running_daemon
from dataco_assets_tests.mail_servers import receiving_mail
from dataco_assets_tests.platforms import Platform, make_platform
from dataco_assets_tests.waiting import wait_until
from dataco_assets_tests.webhooks import Receiver as Webhook
from dataco_assets_tests.webhooks import receiving
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
SENSOR = "kafka_lag_sensor"
DEFINITIONS = "dataco_assets.definitions"


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    made = make_platform(stack.env(), lag_min_clicks=1, sensor_interval_seconds=1).create()
    yield made
    made.drop()


def test_an_ingest_that_failed_for_good_is_started_once_until_something_changes(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = dagster_home(tmp_path)
    platform.produce([b"no click"] * 1_000)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with (
        receiving() as webhook,
        receiving_mail(SmtpTls.STARTTLS, tmp_path) as mailbox,
        dg.DagsterInstance.get() as instance,
    ):
        environment = {
            **os.environ,
            **platform.environment(),
            **mailbox.environment(),
            "DATACO_WEBHOOK_URL": webhook.url,
            "DATACO_LOG_FORMAT": "json",
        }

        def parked_after(runs: int) -> None:
            """Waits for the given number of failed runs, then for three evaluations that start none."""
            wait_until(lambda: _count(instance, "FAILURE") == runs, seconds=120, what=f"{runs} failed runs")
            skipped = len(_skipped(instance))
            wait_until(lambda: len(_skipped(instance)) >= skipped + 3, seconds=60, what="three more evaluations")
            assert _count(instance) == runs
            assert "TooManyRejected" in _skipped(instance)[0]
            assert "`dataco resume ingest`" in _skipped(instance)[0]
            wait_until(lambda: _events(webhook).count("parked") == runs, seconds=60, what="a message to the webhook")

        with running_daemon(DEFINITIONS, environment, tmp_path / "daemon.log"):
            parked_after(1)
            _assert_logged(tmp_path / "daemon.log", webhook.got[0]["run_id"])
            status = _dataco(environment, "status")
            assert status.returncode == 1, status.stdout + status.stderr
            assert "TooManyRejected" in status.stdout
            resumed = json.loads(_dataco(environment, "resume", "ingest", "--json").stdout)
            assert resumed == {"resumed": [{"name": "ingest", "error": "TooManyRejected"}]}
            parked_after(2)

        environment["DATACO_INGEST_MAX_REJECTED_SHARE"] = "1.0"
        with running_daemon(DEFINITIONS, environment, tmp_path / "daemon.log"):
            wait_until(lambda: _count(instance, "SUCCESS") == 1, seconds=120, what="a run with the changed setting")
            wait_until(lambda: _events(webhook)[-1] == "resumed", seconds=60, what="a message that it is resumed")
            wait_until(lambda: len(mailbox.got) == len(webhook.got), seconds=60, what="the same messages by mail")
    # A run that fails again before the sensor's next evaluation stays parked, without a message in between.
    assert _events(webhook) in (["parked", "resumed", "parked", "resumed"], ["parked", "parked", "resumed"])
    topic = platform.settings.clicks_topic
    assert [mail["Subject"] for mail in mailbox.got] == [
        f"DataCo {topic}: ingest is {event}" for event in _events(webhook)
    ]
    assert webhook.got[-1]["resumed_by"] == "the settings, the code or the topic changed"
    assert _dataco(environment, "status").returncode == 0


def test_what_each_receiver_was_told_is_kept_beside_what_others_do(platform: Platform) -> None:
    """The cell of an earlier version knows of the webhook alone, and is told of mail as well."""
    table, key, column = platform.settings.hours_table, INGEST.encode(), b"h:parked"
    cell = {"name": INGEST, "error": "E", "message": "m", "run_id": "r1", "since": 1.5, "circumstances": "c"}
    platform.put(table, key, {column: json.dumps({**cell, "is_reported": True}).encode()})
    work = ParkedWork(platform.hbase, table)
    before = work.read(INGEST)
    assert before is not None
    assert (before.is_reported, before.is_mailed) == (True, False)
    work.mark_reported([before], Receiver.MAIL)
    assert work.read(INGEST) == replace(before, is_mailed=True)

    ended = replace(before, is_mailed=True).ended("a person", 2.5)
    work.write([ended])
    work.mark_reported([before], Receiver.MAIL)
    assert work.read(INGEST) == ended, "it knows that the work is parked, not that it is resumed"
    work.mark_reported([ended], Receiver.WEBHOOK)
    work.mark_reported([ended], Receiver.MAIL)
    assert work.read(INGEST) == replace(ended, is_reported=False, is_mailed=False)

    again = replace(before, run_id="r2", since=3.5, is_reported=False)
    work.write([again])
    work.mark_reported([ended], Receiver.MAIL)
    assert work.read(INGEST) == again, "the message was about another failure"


def _assert_logged(log: Path, run_id: str) -> None:
    """Checks that the log of the daemon and its children has the lines of a run, as objects that name it."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    of_run = {line["event"]: line for line in lines if line["run_id"] == run_id and "event" in line}
    assert of_run["STEP_FAILURE"]["job"] == INGEST_JOB
    assert "TooManyRejected" in of_run["STEP_FAILURE"]["exception"]


def _count(instance: dg.DagsterInstance, status: str | None = None) -> int:
    statuses = [dg.DagsterRunStatus(status)] if status else []
    return instance.get_runs_count(dg.RunsFilter(job_name=INGEST_JOB, statuses=statuses))


def _skipped(instance: dg.DagsterInstance) -> list[str]:
    """Reasons of the sensor's evaluations that said that ingest is parked, newest first."""
    states = [state for state in instance.all_instigator_state() if state.name == SENSOR]
    return [
        tick.tick_data.skip_reason
        for state in states
        for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
        if tick.tick_data.skip_reason and "Parked since" in tick.tick_data.skip_reason
    ]


def _events(webhook: Webhook) -> list[str]:
    return [message["event"] for message in webhook.got]


def _dataco(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from dataco_assets.cli import main; main()", *arguments]
    return subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False, timeout=60)
