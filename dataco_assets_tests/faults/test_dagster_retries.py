"""Tests Dagster's part: the sensor starts an ingest, and run retries restart one that was killed."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from dataco_assets.ingest.drain import Step
from dataco_assets_tests.daemons import dagster_home, running_daemon
from dataco_assets_tests.faults.judge import is_drained
from dataco_assets_tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataco_assets_tests.faults.conftest import World

STEPS = (Step.ROWS_STORED, Step.OFFSETS_MOVED)
"""Before and after the offsets moved; `test_worker_faults` kills a drain at every step, without Dagster."""

LOCATION = "dataco_assets_tests.faults.dying_location"  # not imported, because it would kill this process

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def test_killed_before_and_after_its_offsets_moved_and_retried_by_dagster(
    make_world: "Callable[..., World]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(ingest_checkpoint_clicks=2_000, lag_min_clicks=1, sensor_interval_seconds=1)
    deaths, home = tmp_path / "deaths", dagster_home(tmp_path)
    deaths.mkdir()
    environment = {**os.environ, **world.platform.environment()}
    environment |= {"DAGSTER_HOME": str(home), "DYING_FOLDER": str(deaths)}

    in_flight = 0
    with running_daemon(LOCATION, environment, tmp_path / "daemon.log"):
        for step in STEPS:
            death = deaths / step.value
            death.touch()
            world.traffic.send(3_000)
            in_flight = max(in_flight, world.in_flight())
            # The run is killed, and another does its work: Dagster's retry or, if that is late, the sensor's next run.
            wait_until(
                lambda death=death: not death.exists() and is_drained(world.platform),
                seconds=180,
                what=f"a run was killed at {step.value} and another did its work (see {tmp_path}/daemon.log)",
            )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:
        failed = instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        retries = [run for run in instance.get_runs() if run.root_run_id is not None]

    assert failed >= len(STEPS) - 1, "the last death may not be noted yet"
    assert retries, "Dagster itself started some of them again"
    world.judge(at_least=3_000 * len(STEPS))
    world.note("run killed -9 at two steps, retried by Dagster", times=len(STEPS), in_flight=in_flight)
