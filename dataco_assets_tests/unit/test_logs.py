"""Tests the log as JSON lines, in processes of their own: what each line holds, and which lines there are."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dataco_assets.settings import Settings, SettingsError

DATACO = str(Path(sys.executable).with_name("dataco"))
AWAY = {
    "DATACO_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "DATACO_HBASE_THRIFT_PORT": "1",
    "DATACO_ELASTICSEARCH_URL": "http://127.0.0.1:1",
}
JOB = """
import logging, threading, warnings
import dagster as dg
import dataco_assets.definitions
from dataco_assets.run_leases import leased_executor

@dg.op
def work(context):
    context.log.info("from the context")
    dg.get_dagster_logger().warning("from Dagster's logger")
    thread = threading.Thread(target=lambda: logging.getLogger("library").warning("from a %s", "thread"))
    thread.start()
    thread.join()
    warnings.warn("from a warning")
    raise ValueError("two\\nlines")

@dg.job(executor_def=leased_executor)
def failing():
    work()

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        dg.execute_job(dg.reconstructable(failing), instance)
"""
INSTANCE = """
telemetry:
  enabled: false
# Otherwise Dagster mirrors the lines of a step by a process that it ends with the step, whether it has read all or not.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""
UNCAUGHT = """
import threading
from dataco_assets.logs import LogFormat, configure
configure(LogFormat.JSON, run_id="r1")
configure(LogFormat.JSON, run_id="r2")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
[][0]
"""

DRAWN = """
from dataco_assets.cli.output import stderr_console
from dataco_assets.logs import LogFormat, configure
configure(LogFormat.JSON)
console = stderr_console()
console.print("[green]created[/]  topic clicks")
console.print("  two\\nlines")
assert not console.is_terminal
"""


def run(command: Sequence[str], environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    whole = {**os.environ, **environment}
    return subprocess.run(command, env=whole, capture_output=True, text=True, timeout=120, check=False)


def lines_of(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    """The lines of standard error, each of which must be an object."""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_command_says_on_standard_error_what_it_says_as_text(tmp_path: Path) -> None:
    environment = {**AWAY, "PWD": str(tmp_path)}
    as_text = run([DATACO, "top"], environment)
    done = run([DATACO, "top"], {**environment, "DATACO_LOG_FORMAT": "json"})
    assert done.returncode == as_text.returncode == 1
    error, *hints = [line for line in lines_of(done) if line["logger"] == "dataco.cli"]
    assert "\n".join([error["message"], *(hint["message"] for hint in hints)]) in as_text.stderr
    assert error["message"].startswith("Error: Elasticsearch at http://127.0.0.1:1 does not answer")
    assert error["level"] == "error"
    at = datetime.fromisoformat(error["time"])
    assert at.tzinfo == UTC
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=2)
    assert {line["run_id"] for line in lines_of(done)} == {str(uuid.UUID(error["run_id"]))}


def test_a_broker_that_is_away_does_not_fill_the_log() -> None:
    environment = {**AWAY, "DATACO_LOG_FORMAT": "json"}
    done = run([DATACO, "clicks", "generate", "--count", "1"], environment)
    assert done.returncode == 1
    (error,) = lines_of(done)
    assert error["message"].startswith("Error: Kafka at 127.0.0.1:1 does not answer")


def test_every_line_of_a_run_has_dagsters_id(tmp_path: Path) -> None:
    code = tmp_path / "location.py"
    code.write_text(JOB)
    tmp_path.joinpath("dagster.yaml").write_text(INSTANCE)
    done = run([sys.executable, str(code)], {"DAGSTER_HOME": str(tmp_path), "DATACO_LOG_FORMAT": "json"})
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (recorded,) = instance.get_runs()
    lines = lines_of(done)
    of_run = [line for line in lines if line["run_id"] == recorded.run_id]
    said = {line["message"]: line for line in of_run}
    for message in ("from the context", "from Dagster's logger"):
        assert (said[message]["job"], said[message]["step"], said[message]["logger"]) == ("failing", "work", "dagster")
    assert said["from a thread"]["logger"] == "library"
    assert any("UserWarning: from a warning" in message for message in said)
    events = {line["event"]: line for line in of_run if "event" in line}
    assert {"PIPELINE_START", "STEP_FAILURE", "PIPELINE_FAILURE"} <= set(events)
    assert "ValueError: two\nlines" in events["STEP_FAILURE"]["exception"]
    assert "in work" in events["STEP_FAILURE"]["exception"]
    for message in ("from the context", "from Dagster's logger", "from a thread"):
        assert [line["message"] for line in lines].count(message) == 1


def test_what_nothing_caught_is_one_line_with_its_traceback() -> None:
    done = run([sys.executable, "-c", UNCAUGHT], {})
    assert done.returncode == 1
    first, second = lines_of(done)
    assert [line["level"] for line in (first, second)] == ["critical"] * 2
    assert first["run_id"] == second["run_id"] == "r1"
    assert "ZeroDivisionError: division by zero" in first["exception"]
    assert "IndexError: list index out of range" in second["exception"]


def test_what_would_be_drawn_is_lines_of_the_log() -> None:
    done = run([sys.executable, "-c", DRAWN], {})
    assert [line["message"] for line in lines_of(done)] == ["created  topic clicks", "two", "lines"]


def test_another_form_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACO_LOG_FORMAT", "xml")
    with pytest.raises(SettingsError, match=r"DATACO_LOG_FORMAT='xml': Input should be 'text' or 'json'"):
        Settings.load()
