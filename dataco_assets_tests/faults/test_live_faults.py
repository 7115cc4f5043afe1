"""Tests `dataco live` with its driver, Kafka and Elasticsearch killed and stalled while clicks come.

After each fault, what readers find equals the oracle's rows of all that was sent, field by field.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from dataco_assets.clicks.hour import HOUR_MS, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.setup import ensure_index
from dataco_assets_tests.faults.servers import ELASTICSEARCH
from dataco_assets_tests.faults.table import Tried
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


class LiveProcess:
    """`dataco live`, which is to go on by itself.

    Args:
        environment: The settings, as variables.
        log: File that its output is appended to.
    """

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = os.environ | environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it."""
        program = Path(sys.executable).with_name("dataco")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([program, "live"], env=self._environment, stdout=log, stderr=log)

    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def told(self) -> str:
        """What it has printed."""
        return self._log.read_text()

    def kill_driver(self) -> None:
        """Kills Spark's JVM, and only that."""
        (driver,) = (each for each in self._family() if each.name() == "java")
        driver.kill()
        driver.wait(30)

    def stop(self) -> None:
        """Ends it, and what it started."""
        family = self._family()
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        for left in family:
            if left.is_running():
                left.kill()

    def _family(self) -> list[psutil.Process]:
        if self._process is None or not self.is_running():
            return []
        return psutil.Process(self._process.pid).children(recursive=True)


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
