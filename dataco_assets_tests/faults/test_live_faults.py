"""Tests `dataco live` with its driver, Kafka and Elasticsearch killed and stalled while clicks come.

After each fault, what readers find equals the oracle's rows of all that was sent, field by field.
"""

import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataco_assets.clicks.hour import HOUR_MS, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.setup import ensure_index
from dataco_assets_tests.faults.servers import ELASTICSEARCH
from dataco_assets_tests.faults.table import Tried
from dataco_assets_tests.live_process import LiveProcess
from dataco_assets_tests.live_worlds import LiveWorld, traffic
from dataco_assets_tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataco_assets_tests.faults.conftest import World

CLICKS_AT_ONCE = 25
STALL_SECONDS = 8.0
SECONDS_TO_GO_ON = 150.0
"""Within this time after a fault readers find everything; live pauses for up to a minute between its tries."""

pytestmark = [pytest.mark.stack, pytest.mark.faults]


@contextmanager
def live_world(made: "World", folder: Path) -> "Iterator[tuple[LiveWorld, LiveProcess]]":
    """Live on the world's platform; the index is there, and empty."""
    settings = made.platform.settings
    process = LiveProcess(made.platform.environment(), folder / "live.log")
    with closing(connect(settings)) as search:
        world = LiveWorld(made.platform, search)
        ensure_index(world.index, settings)
        process.start()
        try:
            yield world, process
        finally:
            process.stop()


@pytest.mark.soak  # two drivers and every server, for minutes
@pytest.mark.usefixtures("searchable")
@pytest.mark.timeout(900)
def test_live_goes_on_after_each_fault(make_world: "Callable[..., World]", tmp_path: Path) -> None:
    made = make_world(
        live_checkpoint_uri=(tmp_path / "live").as_uri(),
        live_hours=6,
        live_interval_seconds=0.5,
        live_max_clicks=40,
        spark_master="local[2]",
        spark_driver_memory="1g",
        index_replicas=0,
    )
    servers = made.servers

    def restarted(name: str) -> None:
        servers.kill(name)
        servers.restart(name)

    with live_world(made, tmp_path) as (world, process):
        faults: dict[str, Callable[[], None]] = {
            "live's driver killed -9": process.kill_driver,
            "kafka killed -9 under live": lambda: restarted("kafka"),
            "elasticsearch killed -9 under live": lambda: restarted(ELASTICSEARCH),
            f"elasticsearch SIGSTOP for {STALL_SECONDS:.0f} s under live": lambda: servers.stall(
                ELASTICSEARCH, STALL_SECONDS
            ),
        }
        clicks = iter(traffic(21, 400, hour_of(int(time.time() * 1000)) - 2 * HOUR_MS))

        def send() -> None:
            world.send(*(next(clicks) for _ in range(CLICKS_AT_ONCE)))

        def everything_is_there() -> bool:
            assert process.is_running(), process.told()[-2_000:]
            return world.is_quiet()

        def settle() -> None:
            wait_until(everything_is_there, seconds=SECONDS_TO_GO_ON, what="readers find what was sent")

        send()
        settle()
        for fault, happen in faults.items():
            send()
            send()
            happen()
            send()
            settle()
            made.tried.append(Tried(fault, 1, 2 * CLICKS_AT_ONCE, len(world.sent)))
    told = process.told()
    assert "Spark's driver has died" in told
    assert "Traceback" not in told
