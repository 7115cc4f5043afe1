"""Runs the batch and live on a standalone Spark cluster of two workers, and compares with the oracle."""

import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets_tests.live_process import LiveProcess
from dataco_assets_tests.live_worlds import MINUTE, LiveWorld, traffic
from dataco_assets_tests.platforms import Platform, click
from dataco_assets_tests.spark_cluster import SparkCluster, spark_cluster
from dataco_assets_tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.soak]  # four more JVMs and two drivers

MORNING = 1_770_624_000_000  # 2026-02-09 08:00 UTC
DATACO = Path(sys.executable).with_name("dataco")
LIVE_SECONDS = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as up:
        yield up


@pytest.fixture
def world(platform: Platform) -> Iterator[LiveWorld]:
    with closing(connect(platform.settings)) as search:
        yield LiveWorld(platform, search)


@pytest.fixture
def variables(platform: Platform, cluster: SparkCluster, tmp_path: Path) -> dict[str, str]:
    """What a process of the platform needs to compute on the cluster."""
    return {
        **platform.environment(),
        **cluster.environment(),
        "DAGSTER_HOME": str(tmp_path),
        "DATACO_SPARK_DRIVER_MEMORY": "1g",
        "DATACO_LIVE_CHECKPOINT_URI": (tmp_path / "live").as_uri(),
    }


def test_the_executors_compute_and_publish_the_hours(
    world: LiveWorld, cluster: SparkCluster, variables: Mapping[str, str]
) -> None:
    world.send(*traffic(seed=7, clicks=400, around=MORNING))
    world.platform.drain()
    before = [worker.executors() for worker in cluster.workers]

    done = subprocess.run(
        [DATACO, "backfill", hour_key(MORNING - 2 * HOUR_MS), hour_key(MORNING + 4 * HOUR_MS)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-3_000:]
    world.search.indices.refresh(index=world.platform.settings.index_alias)
    assert world.shown() == world.expected()
    assert all(worker.executors() > count for worker, count in zip(cluster.workers, before, strict=True))


def test_live_computes_on_the_executors(
    world: LiveWorld, cluster: SparkCluster, variables: Mapping[str, str], tmp_path: Path
) -> None:
    chance = random.Random(11)
    before = [worker.executors() for worker in cluster.workers]
    process = LiveProcess(variables, tmp_path / "live.log")

    def look(is_done: Callable[[], bool]) -> bool:
        assert process.is_running(), process.told()[-3_000:]
        return is_done()

    process.start()
    try:
        wait_until(lambda: look(world.serves), seconds=LIVE_SECONDS, what="live serves readers")
        now = world.report().reported_at_ms
        start = max(hour_of(now), now - 5 * MINUTE)
        made = (
            click(str(number), at=chance.randrange(start, now + 1), user=f"u{chance.randrange(9)}")
            for number in range(500)
        )
        world.send(*((value, now) for value in made))
        wait_until(lambda: look(world.is_quiet), seconds=LIVE_SECONDS, what="readers find what was sent")
    finally:
        process.stop()
    assert all(worker.executors() > count for worker, count in zip(cluster.workers, before, strict=True))
