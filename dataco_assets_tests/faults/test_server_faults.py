"""Tests broker, gateway and HBase being killed and stalled under load, and a full disk."""

import random
from collections.abc import Callable
from functools import partial

import pytest

from dataco_assets_tests.faults.conftest import SEED, World
from dataco_assets_tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

BACKLOG = 10_000
STEADY_PER_SECOND = 1_000
STALL_SECONDS = 6.0
"""Longer than a Thrift call may take in these tests, so that calls fail and are tried again."""


def under_load(world: World, fault: Callable[[], None], *, times: int = 1) -> int:
    """Does something to a server at random moments while clicks are produced and drained; drains; judges.

    Returns:
        Most clicks in flight when it happened.
    """
    draw = random.Random(SEED)
    truth = world.traffic.truth
    world.traffic.send(BACKLOG)
    in_flight = 0
    with world.traffic.steady(STEADY_PER_SECOND) as load, world.crew() as crew:
        for _ in range(times):
            before = truth.messages - world.in_flight()
            crew.wait_for(before + 1 + draw.randrange(BACKLOG // 2))
            in_flight = max(in_flight, world.in_flight())
            fault()
        at_end = load.sent + STEADY_PER_SECOND
        wait_until(lambda: load.sent >= at_end, seconds=60, what="clicks are produced after the fault")
        load.end()
        crew.wait_drained()
    assert in_flight > 0
    world.judge(at_least=BACKLOG + STEADY_PER_SECOND)
    return in_flight


@pytest.mark.parametrize(("server", "times"), [("kafka", 2), ("thrift", 2), ("hbase", 1)])
def test_killed_under_load(world: World, server: str, times: int) -> None:
    def kill() -> None:
        world.servers.kill(server)
        world.servers.restart(server)

    in_flight = under_load(world, kill, times=times)
    world.note(f"{server} killed -9", times=times, in_flight=in_flight)


def test_stalled_under_load(world: World) -> None:
    for server in ("kafka", "thrift", "hbase"):
        in_flight = under_load(world, partial(world.servers.stall, server, STALL_SECONDS))
        world.note(f"{server} SIGSTOP for {STALL_SECONDS:.0f} s", times=1, in_flight=in_flight)


def test_full_disk(world: World) -> None:
    if not world.servers.has_own_disk():
        pytest.skip("HDFS is on no file system of its own: mounting one takes root")

    def fill() -> None:
        with world.servers.full_disk():
            wait_until(
                lambda: not world.servers.is_running("hbase") or world.workers_in_trouble(),
                seconds=90,
                what="the full disk is felt",
            )
        world.servers.restart_hdfs_and_hbase()

    in_flight = under_load(world, fill)
    world.note("disk full under HDFS", times=1, in_flight=in_flight)
