"""Tests Dagster as `dataco stack ui` runs it, with real processes that are killed; no other server is needed."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from dataco_assets_tests.waiting import wait_until
from local_stack import ports
from local_stack.dagster_ui import DagsterUI
from local_stack.errors import StackError
from local_stack.stack import dagster_config

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFINITIONS = """
import dagster as dg

@dg.sensor(minimum_interval_seconds=1, default_status=dg.DefaultSensorStatus.RUNNING, job_name="nothing")
def ticking(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    return dg.SkipReason("nothing to do")

@dg.op
def do_nothing() -> None: ...

@dg.job
def nothing() -> None:
    do_nothing()

defs = dg.Definitions(jobs=[nothing], sensors=[ticking])
"""
_TICKS = """{ sensorOrError(sensorSelector: {repositoryLocationName: "tiny", repositoryName: "__repository__",
  sensorName: "ticking"}) { ... on Sensor { sensorState { ticks(limit: 1) { timestamp status } } } } }"""


class Dagster:
    """Dagster on a small code location, with requests to its GraphQL."""

    def __init__(self, ui: DagsterUI) -> None:
        self.ui = ui

    def last_tick(self) -> float:
        """When the sensor was last evaluated without an error; 0 while Dagster does not answer."""
        query = json.dumps({"query": _TICKS}).encode()
        request = urllib.request.Request(f"{self.ui.url}/graphql", query, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                told: dict[str, Any] = json.load(answer)["data"]["sensorOrError"]
        except OSError:
            return 0.0
        ticks = [tick for tick in told.get("sensorState", {}).get("ticks", []) if tick["status"] == "SKIPPED"]
        return ticks[0]["timestamp"] if ticks else 0.0

    def wait_for_a_tick(self, seconds: float) -> None:
        since = time.time()
        wait_until(lambda: self.last_tick() > since, seconds=seconds, what=f"a sensor runs (see {self.ui.folder}/logs)")


def _process(supervisor: "subprocess.Popen[bytes]", words: str) -> psutil.Process:
    (found,) = _processes(supervisor, words)
    return found


def _processes(supervisor: "subprocess.Popen[bytes]", words: str) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for child in psutil.Process(supervisor.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if words in " ".join(child.cmdline()):
                found.append(child)
    return found


def _is_running(supervisor: "subprocess.Popen[bytes]", words: str, but_not: int) -> bool:
    return any(each.pid != but_not for each in _processes(supervisor, words))


@pytest.fixture
def ui(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagsterUI:
    folder = tmp_path / "a stack %(x)s; [1]"
    (folder / "dagster").mkdir(parents=True)
    (folder / "dagster" / "dagster.yaml").write_text(dagster_config(folder))
    (tmp_path / "tiny_location.py").write_text(_DEFINITIONS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    environment = {"DAGSTER_HOME": str(folder / "dagster")}
    beside = {"clock": ["sleep", "86399"]}
    return DagsterUI(folder, environment, ports.choose(["ui"])["ui"], "tiny_location", "tiny", beside)


@pytest.fixture
def running(ui: DagsterUI) -> "Iterator[tuple[Dagster, subprocess.Popen[bytes]]]":
    with ui.running() as supervisor:
        yield Dagster(ui), supervisor


def test_every_process_that_is_killed_comes_back(running: "tuple[Dagster, subprocess.Popen[bytes]]") -> None:
    dagster, supervisor = running
    dagster.wait_for_a_tick(120)
    for words in ("api grpc", "dagster-daemon run"):
        killed = _process(supervisor, words)
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
        dagster.wait_for_a_tick(90)
    beside = _process(supervisor, "sleep 86399")
    beside.send_signal(signal.SIGKILL)
    wait_until(
        lambda: _is_running(supervisor, "sleep 86399", beside.pid), seconds=30, what="what runs beside it is back"
    )
    with pytest.raises(StackError, match="already running"), dagster.ui.running():
        pass


def test_nothing_is_left_when_it_ends(ui: DagsterUI) -> None:
    with ui.running() as supervisor:
        family = psutil.Process(supervisor.pid).children(recursive=True)
        assert family
    assert not psutil.wait_procs(family, timeout=30)[1]
    assert "FATAL" not in ui.log("supervisord").read_text()


def test_a_port_that_is_taken_is_named(ui: DagsterUI) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind((ports.LOOPBACK, ui.port))
        taken.listen()
        with pytest.raises(StackError, match=f"Port {ui.port} is held by process {os.getpid()}.*--port"), ui.running():
            pass


def test_a_program_started_in_the_background_can_be_ended() -> None:
    """A script's background job has SIGINT ignored; Dagster's processes would inherit that and ignore SIGTERM too."""
    program = (
        "import signal, subprocess, sys\n"
        "from local_stack.dagster_ui import Interrupted, interruptible\n"
        "show = 'import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)'\n"
        "try:\n"
        "    with interruptible():\n"
        "        subprocess.run([sys.executable, '-c', show])\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "except Interrupted:\n"
        "    print('ended')\n"
    )
    command = f"trap '' INT; exec '{sys.executable}' -c \"$0\""
    done = subprocess.run(["/bin/sh", "-c", command, program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "ended"]
