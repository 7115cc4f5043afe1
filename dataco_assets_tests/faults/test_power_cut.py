"""A power cut: all processes of servers and Dagster are killed at one instant, in the middle of ingest and publication.

Once they are back, everything is stored and searchable without intervention.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import psutil
import pytest

from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import Index
from dataco_assets.index.setup import ensure_index
from dataco_assets.jobs import INGEST_JOB, REFRESH_JOB
from dataco_assets.run_leases import lease_values
from dataco_assets_tests import oracle
from dataco_assets_tests.documents import compare_documents, read_documents
from dataco_assets_tests.faults.judge import has_dirty_hours, is_drained, read_log
from dataco_assets_tests.faults.servers import ELASTICSEARCH, NEEDED_SERVERS
from dataco_assets_tests.faults.truth import oracle_click, own_hours
from dataco_assets_tests.platforms import Platform
from dataco_assets_tests.waiting import wait_until
from dataco_assets_tests.warm_drivers import keepers_with
from local_stack import ports
from local_stack.dagster_ui import DagsterUI
from local_stack.stack import dagster_config

if TYPE_CHECKING:
    from dataco_assets_tests.faults.conftest import World

LOCATION = "dataco_assets_tests.faults.held_location"
SECONDS_TO_GO_ON = 90.0
"""Within this time after the processes are back, new runs are at work."""
SECONDS_TO_END = 400.0
"""Within this time, everything is stored and searchable; generous, because the machine may do other work."""
HOURS = 0.5
"""The clicks are of the last half hour, so that few hours have to be refreshed."""
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.stack, pytest.mark.faults]


@pytest.mark.usefixtures("searchable")
@pytest.mark.timeout(900)
def test_everything_goes_on_by_itself(make_world: "Callable[..., World]", tmp_path: Path) -> None:
    world = make_world(
        ingest_checkpoint_clicks=1_000,
        lag_min_clicks=1,
        sensor_interval_seconds=1,
        running_hour_refresh_seconds=1,
        late_refresh_percent=0,
        aggregates_uri=(tmp_path / "aggregates").as_uri(),
        spark_master="local[2]",
        spark_driver_memory="1g",
    )
    with closing(connect(world.platform.settings)) as search:
        for aggregate in AGGREGATES:
            ensure_index(Index.of(search, world.platform.settings, aggregate), world.platform.settings)
    held = tmp_path / "publications wait"
    held.touch()
    ui = _dagster(
        tmp_path / "dagster stack",
        {
            **world.platform.environment(),
            "HELD_FILE": str(held),
            "PYTHONPATH": str(ROOT),  # Dagster runs in a folder of its own, and the location is part of no package
        },
    )
    home = ui.environment["DAGSTER_HOME"]

    world.traffic.send(2_000, hours=HOURS)
    with ui.running() as dagster, dg.DagsterInstance.from_config(home) as instance:
        wait_until(
            lambda: _documents(world.platform) > 0,
            seconds=180,
            what=f"a publication is half done (see {ui.folder}/logs)",
        )
        world.traffic.send(30_000, hours=HOURS)
        wait_until(
            lambda: bool(lease_values(instance, _at_work(instance, INGEST_JOB))),
            seconds=120,
            what=f"an ingest is at work (see {ui.folder}/logs)",
        )
        in_flight = world.in_flight()
        ingests, refreshes = _at_work(instance, INGEST_JOB), _at_work(instance, REFRESH_JOB)
        drivers = keepers_with("DAGSTER_HOME", home)
        _cut_the_power([dagster.pid, *(driver.pid for driver in drivers), *_pids(world)])
    held.unlink()
    world.servers.stack.up([*NEEDED_SERVERS, ELASTICSEARCH])
    world.traffic.send(2_000, hours=HOURS)

    with ui.running(), dg.DagsterInstance.from_config(home) as instance:
        back = time.time()
        wait_until(
            lambda: _began_since(back, instance, INGEST_JOB) and _began_since(back, instance, REFRESH_JOB),
            seconds=SECONDS_TO_GO_ON,
            what=f"new runs of ingest and refresh began (see {ui.folder}/logs)",
        )
        began = time.time()
        wait_until(
            lambda: is_drained(world.platform) and not has_dirty_hours(world.platform),
            seconds=SECONDS_TO_END,
            what=f"everything is stored and searchable (see {ui.folder}/logs)",
        )
        print(f"new runs {began - back:.0f} s and everything searchable {time.time() - back:.0f} s after the restart")
        killed = [instance.get_run_by_id(run_id) for run_id in (*ingests, *refreshes)]
        assert {run and run.status for run in killed} == {dg.DagsterRunStatus.FAILURE}

    assert all((in_flight, ingests, refreshes)), "the power was cut in the middle of the work"
    world.judge(at_least=30_000)
    _judge_documents(world)
    world.note("power cut: servers, Dagster and its runs killed -9 at once", times=1, in_flight=in_flight)


def _judge_documents(world: "World") -> None:
    """Fails unless the index holds what the oracle computes from what was sent."""
    settings, truth = world.platform.settings, world.traffic.truth
    values = (entry.value for entry in read_log(world.platform) if not truth.is_broken(entry.value))
    expected = oracle.aggregate((oracle_click(value or b"") for value in values), own_hours(truth.times.values()))
    compare_documents(
        read_documents(settings.elasticsearch_url, settings.index_alias), expected, clicks=len(truth.times)
    )


def _documents(platform: Platform) -> int:
    """How many documents are written, also where nobody has refreshed the index yet."""
    alias = f"{platform.settings.index_alias}-*"
    with closing(connect(platform.settings)) as search:
        search.indices.refresh(index=alias)
        return search.count(index=alias)["count"]


def _dagster(folder: Path, environment: Mapping[str, str]) -> DagsterUI:
    home = folder / "dagster"
    home.mkdir(parents=True)
    (home / "dagster.yaml").write_text(dagster_config(folder))
    return DagsterUI(
        folder, {**environment, "DAGSTER_HOME": str(home)}, ports.choose(["dagster"])["dagster"], LOCATION, "dataco"
    )


def _at_work(instance: dg.DagsterInstance, job: str) -> list[str]:
    runs = instance.get_runs(filters=dg.RunsFilter(job_name=job, statuses=[dg.DagsterRunStatus.STARTED]))
    return [run.run_id for run in runs]


def _began_since(time_s: float, instance: dg.DagsterInstance, job: str) -> bool:
    records = instance.get_run_records(dg.RunsFilter(job_name=job), limit=10)
    return any(record.start_time is not None and record.start_time > time_s for record in records)


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
