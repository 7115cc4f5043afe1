"""Drains 1,000,000 clicks with the gateway killed three times, and checks the worker's memory (`make soak`)."""

from collections.abc import Callable
from typing import Any

import pytest

from dataco_assets_tests.faults.conftest import World
from dataco_assets_tests.faults.judge import read_ledger
from dataco_assets_tests.faults.servers import CONNECTION_ERRORS
from dataco_assets_tests.waiting import wait_until

pytestmark = [
    pytest.mark.stack,
    pytest.mark.faults,
    pytest.mark.timeout(3_600),
    pytest.mark.soak,
]

MEBIBYTE = 1024 * 1024


def test_a_million_clicks_with_the_gateway_killed_three_times(make_world: Callable[..., World]) -> None:
    world = make_world(hbase_thrift_timeout_seconds=30.0, hbase_retry_seconds=120.0)
    small = _drain_with_kills(world, waiting=300_000, kills=1)
    large = _drain_with_kills(world, waiting=1_000_000, kills=3)

    assert large["retries"] > 0
    assert large["stored"] + large["rejected"] == 1_000_000
    world.judge(at_least=1_300_000)
    for waiting, result in ((300_000, small), (1_000_000, large)):
        print(f"{waiting:,} waiting: peak RSS {result['peak_rss_bytes'] / MEBIBYTE:.0f} MiB, {result['seconds']:.1f} s")
    # Both filled every buffer while the gateway was down; any more would grow with the backlog.
    assert large["peak_rss_bytes"] - small["peak_rss_bytes"] < 64 * MEBIBYTE
    world.note("1,000,000 waiting, thrift killed -9", times=3, in_flight=large["in_flight"])


def _drain_with_kills(world: World, *, waiting: int, kills: int) -> dict[str, Any]:
    """Drains once, with the gateway killed at regular intervals; returns the worker's result."""
    drained = _drained(world)
    world.traffic.send(waiting)
    worker = world.worker("--once")
    in_flight = 0
    for kill in range(1, kills + 1):
        least = drained + waiting * kill // (kills + 1)
        wait_until(lambda least=least: _drained(world) >= least, seconds=600, what=f"{least:,} are drained")
        in_flight = max(in_flight, world.in_flight())
        world.servers.kill("thrift")
        world.servers.restart("thrift")
    return {**worker.result(seconds=1_800), "in_flight": in_flight}


def _drained(world: World) -> int:
    try:
        return sum(read_ledger(world.platform).values())
    except CONNECTION_ERRORS:
        return 0
