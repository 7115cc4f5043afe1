"""Tests the Dagster instance of docker/dagster.yaml on a real PostgreSQL, with the packages that the image pins."""

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dataco_assets.run_leases import held_lease, lease_values
from dataco_assets_tests.postgres import DATABASE, PASSWORD, USER, Postgres, needs_postgres, running_postgres
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK, choose

ROOT = Path(__file__).parents[2]
pytestmark = needs_postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME as in the image, except for the folder of the compute logs."""
    environment = {  # what docker-compose.yaml gives every Dagster service
        "DAGSTER_POSTGRES_HOST": LOOPBACK,
        "DAGSTER_POSTGRES_PORT": str(postgres.port),
        "DAGSTER_POSTGRES_USER": USER,
        "DAGSTER_POSTGRES_PASSWORD": PASSWORD,
        "DAGSTER_POSTGRES_DB": DATABASE,
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    text = (ROOT / "docker" / "dagster.yaml").read_text()
    image_folder = "/var/lib/dataco/compute-logs"
    assert image_folder in text
    (tmp_path / "dagster.yaml").write_text(text.replace(image_folder, str(tmp_path / "compute-logs")))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_only_the_driver_that_the_image_has_is_installed() -> None:
    # SQLAlchemy takes a URL without a driver for psycopg 3; with both installed, a wrong URL would pass here.
    assert importlib.util.find_spec("psycopg2")
    assert not importlib.util.find_spec("psycopg")


def test_runs_and_events_are_kept_across_instances(home: Path) -> None:
    @dg.asset
    def something() -> dg.MaterializeResult:
        return dg.MaterializeResult(metadata={"rows": 3})

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([something], instance=instance).success
    with dg.DagsterInstance.from_config(str(home)) as instance:
        (run,) = instance.get_runs()
        event = instance.get_latest_materialization_event(dg.AssetKey("something"))
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["rows"].value == 3


def test_a_lease_is_seen_to_change_by_another_instance(home: Path) -> None:
    seen: set[str] = set()

    def is_renewed() -> bool:
        seen.update(lease_values(observer, ["0a1", "another run"]).values())
        return len(seen) >= 3

    with (
        dg.DagsterInstance.from_config(str(home)) as holder,
        dg.DagsterInstance.from_config(str(home)) as observer,
        held_lease(holder, "0a1", renewal_seconds=0.02),
    ):
        wait_until(is_renewed, seconds=30, what="the lease has been renewed twice")
    assert all(value.startswith("0a1 ") for value in seen)


def test_the_code_location_of_the_image_becomes_healthy(home: Path) -> None:
    port = choose(["grpc"])["grpc"]
    command = ["api", "grpc", "--host", LOOPBACK, "--port", str(port), "--module-name", "dataco_assets.definitions"]
    dagster = [sys.executable, "-m", "dagster"]
    log = home / "location.log"
    with log.open("w") as output:
        location = subprocess.Popen([*dagster, *command], stdout=output, stderr=subprocess.STDOUT)
    check = [*dagster, "api", "grpc-health-check", "--port", str(port)]

    def healthy() -> bool:
        assert location.poll() is None, log.read_text()
        return subprocess.run(check, capture_output=True, timeout=60, check=False).returncode == 0

    try:
        wait_until(healthy, seconds=120, what="the code location answers")
    finally:
        location.terminate()
        location.wait(30)
