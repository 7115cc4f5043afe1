"""Dagster itself: its sensor starts the ingest, its run retries start again what was killed."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import yaml

from dataco_assets.ingest.drain import Step
from dataco_assets.settings import variable
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import DAGSTER_CONFIG

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataco_assets_tests.faults.conftest import World

LOCATION = "dataco_assets_tests.faults.dying_location"  # not imported: it would make this process die

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def test_killed_at_every_step_and_retried_by_dagster(
    make_world: "Callable[..., World]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ingest_checkpoint_clicks=2_000, lag_min_clicks=1, sensor_interval_seconds=1)
    world.traffic.send(6_000)
    deaths, home = tmp_path / "deaths", _instance(tmp_path)
    deaths.mkdir()
    chosen = world.platform.settings.model_dump(exclude_unset=True)
    environment = {variable(name): str(value) for name, value in chosen.items()}
    environment |= {"DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS": "1"}
    environment |= {"DAGSTER_HOME": str(home), "DYING_FOLDER": str(deaths)}

    with _daemon({**os.environ, **environment}, tmp_path / "daemon.log"):
        monkeypatch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            wait_until(
                lambda: instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])) > 0,
                seconds=240,
                what=f"a run ends well; the daemon's log is {tmp_path}/daemon.log",
            )
            runs = list(reversed(instance.get_runs()))

    assert {file.name for file in deaths.iterdir()} == {step.value for step in Step}
    first = runs[0].run_id
    assert [run.status for run in runs[:-1]] == [dg.DagsterRunStatus.FAILURE] * len(Step)
    assert all(run.root_run_id == first for run in runs[1:]), "started again by Dagster, not by the sensor"
    world.judge(at_least=6_000)
    world.note("run killed -9 at each step, retried by Dagster", times=len(Step), in_flight=6_000)


def _instance(folder: Path) -> Path:
    """An instance as a local stack has it, with as many retries as there are steps."""
    config: dict[str, Any] = yaml.safe_load(DAGSTER_CONFIG.read_text())
    config["run_retries"]["max_retries"] = len(Step)
    home = folder / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    return home


@contextmanager
def _daemon(environment: Mapping[str, str], log: Path) -> Iterator[None]:
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", LOCATION]
    with log.open("w") as file:
        process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
