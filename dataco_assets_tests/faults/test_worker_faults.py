"""Tests workers killed at every step and at random moments, two workers at once, and one that was suspended."""

import random
import signal

import pytest

from dataco_assets.ingest.drain import Step
from dataco_assets_tests.faults.conftest import SEED, World
from dataco_assets_tests.waiting import wait_until

pytestmark = [pytest.mark.stack, pytest.mark.faults]

SIGKILLED = -signal.SIGKILL


def test_killed_at_every_step_and_run_again(world: World) -> None:
    for step in Step:
        world.traffic.send(6_000)
        in_flight = world.in_flight()
        nth = 1 if step == Step.PLANNED else 2  # the second checkpoint, so that there are clicks before and after it

        died = world.worker("--once", "--at", step, "--nth", str(nth))

        assert died.wait() == SIGKILLED, died.log()
        world.judge_progress()
        world.drain()
        world.judge(at_least=6_000)
        world.note(f"worker killed -9 at {step.value}", times=1, in_flight=in_flight)


def test_killed_at_random_moments(world: World) -> None:
    draw = random.Random(SEED)
    world.traffic.send(30_000)
    in_flight = 0
    with world.crew() as crew:
        for kill in range(5):
            crew.wait_for(kill * 5_000 + draw.randrange(5_000))
            in_flight = max(in_flight, world.in_flight())
            crew.send(signal.SIGKILL)
            world.judge_progress()
        crew.wait_drained()
    assert crew.deaths >= 3
    world.judge(at_least=30_000)
    world.note("worker killed -9 at random moments", times=crew.deaths, in_flight=in_flight)


def test_two_workers_at_once(world: World) -> None:
    world.traffic.send(30_000)
    in_flight = world.in_flight()
    first, second = world.worker("--once"), world.worker("--once")
    assert {first.wait(), second.wait()} <= {0, 3}, first.log()
    world.drain()
    world.judge(at_least=30_000)
    world.note("two workers at once", times=1, in_flight=in_flight)


def test_one_that_was_stopped_wakes_up_when_another_has_done_its_work(world: World) -> None:
    for step in (Step.PLANNED, Step.ROWS_STORED, Step.HOURS_MARKED):
        world.traffic.send(6_000)
        in_flight = world.in_flight()
        sleeper = world.worker("--once", "--at", step, "--signal", "SIGSTOP")
        wait_until(sleeper.is_stopped, seconds=60, what="the worker is stopped")
        world.drain()
        world.traffic.send(6_000)
        world.drain()

        sleeper.send(signal.SIGCONT)

        assert sleeper.wait() == 0, sleeper.log()
        world.judge(at_least=12_000)
        world.note(f"worker SIGSTOP at {step.value}, another takes over", times=1, in_flight=in_flight)
