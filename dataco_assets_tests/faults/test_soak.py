"""Injects random faults for a given time: `make soak MINUTES=30`; half a minute of it in `make test`."""

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from dataco_assets_tests.faults.conftest import SEED, World
from dataco_assets_tests.faults.crew import Crew

if TYPE_CHECKING:
    from collections.abc import Callable

MINUTES = float(os.environ.get("SOAK_MINUTES", "0.5"))
PER_SECOND = 800 if MINUTES <= 5 else 400  # everything is kept and read back in the end
pytestmark = [pytest.mark.stack, pytest.mark.faults, pytest.mark.timeout(60 * (MINUTES + 15))]


class Chaos:
    """Picks faults at random and records them."""

    def __init__(self, world: World, crew: Crew) -> None:
        self.log: list[str] = []
        self.in_flight = 0
        self._world = world
        self._crew = crew
        self._draw = random.Random(SEED)
        self._started = time.monotonic()
        # Fault → how often it is picked; HBase takes long to come back.
        self._weights: dict[Callable[[], str], int] = {
            self._kill_worker: 6,
            self._stall_worker: 3,
            self._second_worker: 3,
            self._commit: 3,
            self._roll_back: 3,
            self._delete_group: 2,
            self._kill_server: 4,
            self._stall_server: 4,
            self._kill_hbase: 1,
        }

    def strike(self) -> None:
        """Waits until some clicks were drained since the last fault, then injects the next."""
        fault = self._draw.choices(list(self._weights), list(self._weights.values()))[0]
        produced = self._world.traffic.truth.messages
        self._crew.wait_for(min(produced, produced - self._world.in_flight() + self._draw.randrange(2_000)))
        self.in_flight = max(self.in_flight, self._world.in_flight())
        at = time.monotonic() - self._started
        self.log.append(f"{at:7.1f} s  {fault.__name__.strip('_')}")
        self.log[-1] += f": {fault()}"

    def summary(self) -> str:
        """Everything that was done, for error messages."""
        return "\n".join([f"FAULT_SEED={SEED} SOAK_MINUTES={MINUTES:g}", *self.log])

    def _kill_worker(self) -> str:
        self._crew.send(signal.SIGKILL)
        return "kill -9"

    def _stall_worker(self) -> str:
        self._crew.send(signal.SIGSTOP)
        try:
            other = self._world.worker("--once")
            return f"another one did its work and ended with {other.wait()}"
        finally:
            self._crew.send(signal.SIGCONT)

    def _second_worker(self) -> str:
        return f"beside the other, ended with {self._world.worker('--once').wait()}"

    def _commit(self) -> str:
        self._world.traffic.transaction(200, commit=True)
        return "200 clicks"

    def _roll_back(self) -> str:
        self._world.traffic.transaction(200, commit=False)
        return "200 clicks"

    def _delete_group(self) -> str:
        settings = self._world.platform.settings
        admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
        try:
            admin.delete_consumer_groups([settings.kafka_group])[settings.kafka_group].result(30)
        except KafkaException as error:  # none yet, or deleted a moment ago
            return error.args[0].name()
        return "done"

    def _kill_server(self) -> str:
        return self._kill(self._draw.choice(["kafka", "thrift"]))

    def _kill_hbase(self) -> str:
        return self._kill("hbase")

    def _kill(self, name: str) -> str:
        self._world.servers.kill(name)
        self._world.servers.restart(name)
        return name

    def _stall_server(self) -> str:
        name, seconds = self._draw.choice(["kafka", "thrift", "hbase"]), self._draw.uniform(1, 8)
        self._world.servers.stall(name, seconds)
        return f"{name} for {seconds:.1f} s"


def test_random_faults(world: World) -> None:
    until = time.monotonic() + 60 * MINUTES
    with world.traffic.steady(PER_SECOND) as load, world.crew() as crew:
        chaos = Chaos(world, crew)
        try:
            while time.monotonic() < until:
                chaos.strike()
            load.end()
            crew.wait_drained(300)
            world.judge(at_least=int(PER_SECOND * 60 * MINUTES * 0.5))
        except BaseException as error:
            error.add_note(chaos.summary())
            raise
    print(chaos.summary())
    assert len(chaos.log) >= 3
    world.note(f"random soak, {MINUTES:g} min, seed {SEED}", times=len(chaos.log), in_flight=chaos.in_flight)
