"""Tests the Kafka Connect sink while brokers, HBase and workers are killed or stalled under load, and rebalanced."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pyspark.sql import SparkSession

from dataco_assets.ledgers.offsets import Mode
from dataco_assets_tests.connect_sinks import Sink
from dataco_assets_tests.connect_worker import Worker, make_plugin
from dataco_assets_tests.faults.conftest import World
from dataco_assets_tests.faults.judge import look
from dataco_assets_tests.faults.servers import Servers
from dataco_assets_tests.waiting import wait_until
from spark_resources.clicks_admin import clicks_admin
from spark_resources.connectors import connector_jars
from spark_resources.session import create_session, spark_conf

pytestmark = [pytest.mark.stack, pytest.mark.faults]

BACKLOG = 5_000
STEADY_PER_SECOND = 500


@dataclass(frozen=True)
class Workers:
    """Two workers of one group."""

    both: tuple[Worker, Worker]

    def have(self, count: int) -> list[Worker]:
        """Starts the workers that are missing of so many, kills those that are too many, and returns the others."""
        for worker in self.both[count:]:
            worker.stop()
        for worker in self.both[:count]:
            if not worker.is_running():
                worker.start()
        return list(self.both[:count])

    def alive(self) -> list[Worker]:
        """Those that run."""
        return [worker for worker in self.both if worker.is_running()]

    def suspended(self) -> list[Worker]:
        """Those that are stopped by SIGSTOP."""
        return [worker for worker in self.both if worker.is_suspended()]


@dataclass
class SinkWorld:
    """A world whose clicks the sink stores.

    Attributes:
        world: Its platform and traffic.
        workers: Where the connector runs.
        sink: The connector.
    """

    world: World
    workers: Workers
    sink: Sink

    def start(self, **more: str) -> None:
        """Creates the connector, with clients that give up early: outages last seconds here."""
        patience = {"hbase_client_operation_timeout": "5000", "hbase_client_meta_operation_timeout": "5000"}
        patience |= {"hbase_rpc_timeout": "3000", "kafka_default_api_timeout_ms": "5000"}
        patience |= {"kafka_request_timeout_ms": "5000"}
        self.sink.start(**patience, **more)

    def wait_moved(self) -> None:
        """Returns once the ledger has moved on from where it is."""
        before = sum(self.sink.platform.positions().values())
        wait_until(lambda: sum(self.sink.platform.positions().values()) > before, seconds=120, what="clicks are stored")

    def states(self) -> list[str]:
        """The state of each task, as a living worker reports it."""
        return [task["state"] for task in self._tasks()]

    def wait_spread(self, workers: int) -> None:
        """Returns once both tasks run, on so many workers."""

        def spread() -> bool:
            tasks = self._tasks()
            return self.states() == ["RUNNING"] * 2 and len({task["worker_id"] for task in tasks}) == workers

        wait_until(spread, seconds=90, what=f"both tasks run, on {workers} workers")

    def judge(self, *, at_least: int) -> None:
        """Compares everything with the truth; all tasks must run, which one that has failed does not do by itself."""
        self.world.judge(at_least=at_least)
        wait_until(lambda: set(self.states()) == {"RUNNING"}, seconds=60, what=f"all tasks run: {self.states()}")

    def _tasks(self) -> list[dict[str, str]]:
        living = next(worker for worker in self.workers.alive() if not worker.is_suspended())
        return living.tasks(self.sink.name)


@pytest.fixture(scope="module")
def workers(fault_stack: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    folder = tmp_path_factory.mktemp("connect")
    brokers = fault_stack.stack.env()["DATACO_KAFKA_BOOTSTRAP_SERVERS"]
    name, plugins = f"connect-{uuid.uuid4().hex[:8]}", make_plugin(folder)
    first, second = (Worker(folder / each, brokers=brokers, plugins=plugins, name=name) for each in ("first", "second"))
    made = Workers((first, second))
    yield made
    made.have(0)


@pytest.fixture(scope="module")
def tables(fault_stack: Servers) -> Iterator[SparkSession]:
    """A session that creates clicks tables as they have to be, which the gateway cannot."""
    quorum = fault_stack.stack.env()["DATACO_HBASE_ZOOKEEPER_QUORUM"]
    conf = spark_conf(
        master="local[1]",
        jars=connector_jars(),
        hbase_zookeeper_quorum=quorum,
        driver_memory="512m",
        shuffle_partitions=1,
    )
    session = create_session(conf, "dataco-connect-faults")
    yield session
    session.stop()


@pytest.fixture
def sinks(
    make_world: Callable[..., World], workers: Workers, tables: SparkSession, tmp_path: Path
) -> Iterator[SinkWorld]:
    """A world whose topic belongs to Kafka Connect, and one worker; the connector is not created yet."""
    world = make_world(clicks_table=False)
    settings = world.platform.settings
    with clicks_admin(tables) as admin:
        admin.create(settings.clicks_table, ttl_seconds=settings.clicks_ttl_days * 86_400)
    (worker,) = workers.have(1)
    sink = Sink(world.platform, worker, f"sink-{uuid.uuid4().hex[:8]}", tmp_path / "step")
    sink.give(Mode.CONNECT)
    yield SinkWorld(world, workers, sink)
    world.servers.heal()
    (worker,) = workers.have(1)
    requests.delete(f"{worker.url}/connectors/{sink.name}", timeout=60)


def under_load(sinks: SinkWorld, fault: Callable[[], None]) -> int:
    """Does something to a server while clicks are produced and stored, waits until all are stored, and judges.

    Returns:
        Clicks in flight when it happened.
    """
    world = sinks.world
    world.traffic.send(BACKLOG)
    sinks.start()
    with world.traffic.steady(STEADY_PER_SECOND) as load:
        sinks.wait_moved()
        in_flight = world.in_flight()
        fault()
        sinks.wait_moved()
        load.end()
    sinks.sink.wait_drained()
    sinks.judge(at_least=BACKLOG)
    assert in_flight > 0
    return in_flight


def test_a_broker_that_is_away_or_silent_is_waited_for(sinks: SinkWorld) -> None:
    servers = sinks.world.servers

    def fault() -> None:
        servers.kill("kafka")
        servers.restart("kafka")
        sinks.wait_moved()
        servers.stall("kafka", 6)

    in_flight = under_load(sinks, fault)
    sinks.world.note("kafka killed -9 and stalled under the sink", times=2, in_flight=in_flight)


def test_hbase_that_is_away_is_waited_for(sinks: SinkWorld) -> None:
    servers = sinks.world.servers

    def fault() -> None:
        before = sinks.sink.begun_again()
        servers.kill("hbase")
        wait_until(lambda: sinks.sink.begun_again() > before, seconds=90, what="the sink feels that HBase is away")
        servers.restart("hbase")

    in_flight = under_load(sinks, fault)
    sinks.world.note("hbase killed -9 under the sink", times=1, in_flight=in_flight)


def test_a_worker_that_joins_or_leaves_in_the_middle_of_a_batch(sinks: SinkWorld) -> None:
    world, sink = sinks.world, sinks.sink
    world.traffic.send(BACKLOG)
    sinks.start(tasks_max="2", checkpoint_interval_ms="4000")
    with world.traffic.steady(STEADY_PER_SECOND) as load:
        for count in (2, 1):
            wait_until(
                lambda: _holds_a_window(world), seconds=60, what="rows are stored that the ledger has not passed"
            )
            in_flight = world.in_flight()
            sinks.workers.have(count)
            sinks.wait_spread(count)
            sinks.wait_moved()
            world.judge_progress()
        load.end()
    sink.wait_drained()
    sinks.judge(at_least=BACKLOG)
    world.note("worker joins and is killed -9 amid a batch", times=2, in_flight=in_flight)


def _holds_a_window(world: World) -> bool:
    found = look(world.platform)
    return len(found.rows) > sum(found.ledger.values())


def test_one_of_two_workers_killed_in_a_checkpoint(sinks: SinkWorld) -> None:
    world, sink = sinks.world, sinks.sink
    steps = ("ROWS_STORED", "HOURS_MARKED")
    for step in steps:
        sinks.workers.have(2)
        sinks.start(tasks_max="2")
        sinks.wait_spread(2)
        sink.stop_at(step, "halt")
        world.traffic.send(BACKLOG)
        in_flight = world.in_flight()
        wait_until(lambda: len(sinks.workers.alive()) == 1, seconds=60, what=f"a worker dies at {step}")
        world.judge_progress()
        sink.wait_drained()
        sinks.judge(at_least=BACKLOG)
        world.note(f"one of two sinks killed -9 at {step.lower()}", times=1, in_flight=in_flight)


def test_a_worker_that_wakes_up_when_another_has_done_its_work(sinks: SinkWorld) -> None:
    world, sink = sinks.world, sinks.sink
    sinks.workers.have(2)
    sinks.start(tasks_max="2")
    for step in ("ROWS_STORED", "HOURS_MARKED"):
        sinks.wait_spread(2)
        sink.stop_at(step, "suspend")
        world.traffic.send(BACKLOG)
        in_flight = world.in_flight()
        wait_until(lambda: bool(sinks.workers.suspended()), seconds=60, what=f"a worker is stopped at {step}")
        (sleeper,) = sinks.workers.suspended()
        sink.wait_drained()
        world.traffic.send(BACKLOG)
        sink.wait_drained()
        positions = sink.platform.positions()

        sleeper.resume()

        sinks.wait_spread(2)
        assert sink.platform.positions() == positions
        world.traffic.send(BACKLOG)
        sink.wait_drained()
        sinks.judge(at_least=3 * BACKLOG)
        world.note(f"sink SIGSTOP at {step.lower()}, another takes over", times=1, in_flight=in_flight)
