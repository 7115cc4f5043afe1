"""Tests batch and live on a standalone Spark cluster of two workers, of whose executors one is killed at work."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets_tests.live_process import LiveProcess
from dataco_assets_tests.live_worlds import LiveWorld, traffic
from dataco_assets_tests.platforms import Platform
from dataco_assets_tests.spark_clusters import SparkCluster, spark_cluster
from dataco_assets_tests.waiting import wait_until

pytestmark = pytest.mark.stack
DATACO = str(Path(sys.executable).with_name("dataco"))
SECONDS = 240


@pytest.fixture(scope="module")
def cluster() -> Iterator[SparkCluster]:
    with spark_cluster() as made:
        yield made


@pytest.fixture
def world(platform: Platform) -> Iterator[LiveWorld]:
    with closing(connect(platform.settings)) as search:
        yield LiveWorld(platform, search)


def environment(platform: Platform, cluster: SparkCluster, **more: str) -> dict[str, str]:
    return {**os.environ, **platform.environment(), **cluster.environment, **more}


def test_a_backfill_loses_an_executor_and_publishes_what_the_oracle_says(
    world: LiveWorld, cluster: SparkCluster, tmp_path: Path
) -> None:
    now = hour_of(int(time.time() * 1000))
    world.send(*traffic(31, 400, now - 3 * HOUR_MS))
    world.platform.drain()
    (home := tmp_path / "dagster").mkdir()
    home.joinpath("dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    variables = environment(world.platform, cluster, DAGSTER_HOME=str(home))
    log = tmp_path / "backfill.log"
    first, last = hour_key(now - 5 * HOUR_MS), hour_key(now)
    with log.open("wb") as output:
        backfill = subprocess.Popen([DATACO, "backfill", first, last], env=variables, stdout=output, stderr=output)
    try:
        wait_until(lambda: "scan and aggregate …" in log.read_text(), seconds=SECONDS, what="Spark is at work")
        cluster.kill_executor()
        assert backfill.poll() is None, "it ended before"
        assert backfill.wait(SECONDS) == 0, log.read_text()[-3_000:]
    finally:
        backfill.kill()
    assert world.shown() == world.expected()
    command = [DATACO, "verify", "--strict"]
    verified = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_live_loses_an_executor_and_readers_find_what_the_oracle_says(
    world: LiveWorld, cluster: SparkCluster, tmp_path: Path
) -> None:
    own = {
        "DATACO_LIVE_CHECKPOINT_URI": (tmp_path / "live").as_uri(),
        "DATACO_LIVE_HOURS": "6",
        "DATACO_LIVE_INTERVAL_SECONDS": "0.5",
    }
    clicks = traffic(32, 300, hour_of(int(time.time() * 1000)) - 2 * HOUR_MS)
    live = LiveProcess(environment(world.platform, cluster, **own), tmp_path / "live.log")

    def is_quiet() -> bool:
        assert live.is_running(), live.told()[-3_000:]
        return world.is_quiet()

    try:
        live.start()
        world.send(*clicks[:200])
        wait_until(is_quiet, seconds=SECONDS, what="readers find what was sent")
        cluster.kill_executor()
        world.send(*clicks[200:])
        wait_until(is_quiet, seconds=SECONDS, what="readers find what was sent after the loss")
    finally:
        live.stop()
    assert "Traceback" not in live.told()
