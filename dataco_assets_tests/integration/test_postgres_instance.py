"""Tests the Dagster instance of docker/dagster.yaml on a real PostgreSQL, with the packages that the image pins."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from dataco_assets.run_leases import held_lease, lease_values
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK, choose

ROOT = Path(__file__).parents[2]
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
_SERVER_USER = "postgres"  # Debian's package creates it; the server refuses to run as root
_PASSWORD = "it has: a%40 @and /"  # noqa: S105  # of a throw-away server; every character that a URL could trip over

pytestmark = pytest.mark.skipif(
    not _BINARIES, reason="no PostgreSQL server here (Debian: apt-get install postgresql; .ci/run does)"
)


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment that docker-compose.yaml sets for every Dagster service."""
        return {
            "DAGSTER_POSTGRES_HOST": LOOPBACK,
            "DAGSTER_POSTGRES_PORT": str(self.port),
            "DAGSTER_POSTGRES_USER": "dagster",
            "DAGSTER_POSTGRES_PASSWORD": _PASSWORD,
            "DAGSTER_POSTGRES_DB": "dagster",
        }


def _as_server_user(*command: object) -> list[str]:
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={_SERVER_USER}", f"--regid={_SERVER_USER}", "--clear-groups", *words]


def _run(*command: object) -> None:
    done = subprocess.run(_as_server_user(*command), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    """A server with an empty database, in the system's temporary folder, which its user can access."""
    binaries = _BINARIES[-1].parent
    folder = Path(tempfile.mkdtemp(prefix="dataco-postgres-"))
    try:
        (password := folder / "password").write_text(_PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, _SERVER_USER, _SERVER_USER)
        data, port = folder / "data", choose(["postgres"])["postgres"]
        trust = ("--auth=scram-sha-256", f"--pwfile={password}", "--username=dagster")
        _run(binaries / "initdb", "--pgdata", data, *trust, "--no-sync")
        options = f"-c listen_addresses={LOOPBACK} -c port={port} -c unix_socket_directories={folder} -c fsync=off"
        _run(binaries / "pg_ctl", "--pgdata", data, "-o", options, "--log", folder / "log", "--wait", "start")
        try:
            connection = f"host={LOOPBACK} port={port} user=dagster passfile=/dev/null dbname=postgres"
            subprocess.run(
                [binaries / "psql", connection, "--command", "CREATE DATABASE dagster"],
                env={**os.environ, "PGPASSWORD": _PASSWORD},
                capture_output=True,
                timeout=60,
                check=True,
            )
            yield Postgres(port)
        finally:
            _run(binaries / "pg_ctl", "--pgdata", data, "--mode", "immediate", "--wait", "stop")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Path:
    """DAGSTER_HOME as in the image, except for the folder of the compute logs."""
    for name, value in postgres.environment.items():
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
