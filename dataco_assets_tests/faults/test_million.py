"""1,000,000 clicks waiting, the gateway killed three times on the way; and the worker's memory. Part of `make soak`."""

import os
from collections.abc import Callable

import pytest

from dataco_assets_tests.faults.conftest import World
from dataco_assets_tests.faults.judge import read_ledger
from dataco_assets_tests.faults.servers import ANSWERLESS
from dataco_assets_tests.faults.waiting import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.faults,
    pytest.mark.timeout(3_600),
    pytest.mark.skipif("SOAK_MINUTES" not in os.environ, reason="takes minutes: runs in `make soak`"),
]

MEBIBYTE = 1024 * 1024


def test_a_million_clicks_with_the_gateway_killed_three_times(make_world: Callable[..., World]) -> None:
    world = make_world(hbase_thrift_timeout_seconds=30.0, hbase_retry_seconds=120.0)
    world.traffic.send(100_000)
    small = world.drain()
    world.traffic.send(1_000_000)

    worker = world.worker("--once")
    for reached in (250_000, 500_000, 750_000):
        wait_until(lambda least=reached: _drained(world) >= least, seconds=600, what=f"{reached:,} are drained")
        world.servers.kill("thrift")
        world.servers.restart("thrift")
    large = worker.result(seconds=1_800)

    assert large["retries"] > 0
    assert large["stored"] + large["rejected"] == 1_000_000
    world.judge(at_least=1_100_000)
    grown = large["peak_rss_bytes"] - small["peak_rss_bytes"]
    print(f"peak RSS with 100,000 waiting: {small['peak_rss_bytes'] / MEBIBYTE:.0f} MiB, {small['seconds']:.1f} s")
    print(f"peak RSS with 1,000,000 waiting: {large['peak_rss_bytes'] / MEBIBYTE:.0f} MiB, {large['seconds']:.1f} s")
    assert grown < 64 * MEBIBYTE, "memory follows the backlog"
    world.note("1,000,000 waiting, thrift killed -9", times=3, in_flight=750_000)


def _drained(world: World) -> int:
    try:
        return sum(read_ledger(world.platform).values())
    except ANSWERLESS:
        return -1
