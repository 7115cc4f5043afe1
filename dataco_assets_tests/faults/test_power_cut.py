"""A power cut: every process of servers and Dagster is killed at one instant; all goes on when they are back."""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import pytest

from dataco_assets.jobs import INGEST_JOB
from dataco_assets.run_leases import lease_values
from dataco_assets_tests.faults.judge import is_drained
from dataco_assets_tests.faults.servers import USED
from dataco_assets_tests.waiting import wait_until
from local_stack import ports
from local_stack.dagster_ui import DagsterUI
from local_stack.stack import dagster_config

if TYPE_CHECKING:
    from dataco_assets_tests.faults.conftest import World

LOCATION = "dataco_assets_tests.faults.dying_location"  # nothing is told to die in it here
SECONDS_TO_GO_ON = 90.0
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.stack, pytest.mark.faults]


@pytest.mark.timeout(900)
def test_ingest_goes_on_by_itself(make_world: "Callable[..., World]", tmp_path: Path) -> None:
    world = make_world(ingest_checkpoint_clicks=1_000, lag_min_clicks=1, sensor_interval_seconds=1)
    environment = {
        **world.platform.environment(),
        "DYING_FOLDER": str(tmp_path / "no deaths"),
        "PYTHONPATH": str(ROOT),  # Dagster runs in a folder of its own, and the location is part of no package
    }
    ui = _dagster(tmp_path / "dagster stack", environment)
    home = ui.environment["DAGSTER_HOME"]

    with ui.running() as dagster, dg.DagsterInstance.from_config(home) as instance:
        world.traffic.send(60_000)
        wait_until(
            lambda: bool(lease_values(instance, _at_work(instance))),
            seconds=120,
            what=f"an ingest is at work (see {ui.folder}/logs)",
        )
        in_flight = world.in_flight()
        _cut_the_power([dagster.pid, *_pids(world)])
    (dead,) = _at_work(instance)
    world.servers.stack.up(USED)
    world.traffic.send(2_000)

    with ui.running(), dg.DagsterInstance.from_config(home) as instance:
        back = time.monotonic()
        wait_until(
            lambda: is_drained(world.platform) and not _at_work(instance),
            seconds=SECONDS_TO_GO_ON,
            what=f"everything is stored (see {ui.folder}/logs)",
        )
        print(f"went on by itself {time.monotonic() - back:.0f} s after the processes were back")
        run = instance.get_run_by_id(dead)
        assert run is not None
        assert run.status == dg.DagsterRunStatus.FAILURE

    assert in_flight, "the power was cut in the middle of the work"
    world.judge(at_least=60_000)
    world.note("power cut: servers, Dagster and its run killed -9 at once", times=1, in_flight=in_flight)


def _dagster(folder: Path, environment: Mapping[str, str]) -> DagsterUI:
    home = folder / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(dagster_config(folder))
    return DagsterUI(
        folder, {**environment, "DAGSTER_HOME": str(home)}, ports.choose(["dagster"])["dagster"], LOCATION, "dataco"
    )


def _at_work(instance: dg.DagsterInstance) -> list[str]:
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=INGEST_JOB, statuses=[dg.DagsterRunStatus.STARTED]))
    return [run.run_id for run in runs]


def _pids(world: "World") -> list[int]:
    """The stack's servers, and their supervisor."""
    servers = [status.pid for status in world.servers.stack.status() if status.running]
    return [*servers, *{psutil.Process(pid).ppid() for pid in servers} - {1, os.getpid()}]


def _cut_the_power(pids: list[int]) -> None:
    """Kills processes with all their descendants."""
    roots = [psutil.Process(pid) for pid in pids]
    doomed = {process for root in roots for process in (root, *root.children(recursive=True))}
    for process in doomed:  # none may start another one in the meantime
        process.suspend()
    for process in doomed:
        process.kill()
    _, alive = psutil.wait_procs(list(doomed), timeout=30)
    assert not alive
