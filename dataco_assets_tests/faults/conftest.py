"""Fixtures of the fault tests: servers to be broken, and a platform with producers and workers for each test."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay

from dataco_assets_tests.faults.crew import Crew, Worker
from dataco_assets_tests.faults.judge import judge, judge_progress, read_ledger
from dataco_assets_tests.faults.servers import (
    CONNECTION_ERRORS,
    ELASTICSEARCH,
    NEEDED_SERVERS,
    Servers,
    make_servers,
)
from dataco_assets_tests.faults.table import TRIED, Tried
from dataco_assets_tests.faults.traffic import Traffic
from dataco_assets_tests.faults.truth import Logged
from dataco_assets_tests.faults.worker import TROUBLE
from dataco_assets_tests.platforms import Platform, make_platform
from local_stack.stack import Stack

REUSED_STACK = "DATACO_FAULT_STACK_DIR"
SEED = int(os.environ.get("FAULT_SEED", "20260601"))


@dataclass
class World:
    """A platform with its producers and workers, on the servers that are broken."""

    platform: Platform
    servers: Servers
    folder: Path
    traffic: Traffic
    tried: list[Tried] = field(default_factory=list)

    def worker(self, *arguments: str) -> Worker:
        """Starts a worker."""
        return Worker(self.platform, self.folder / "worker.log", *arguments)

    def crew(self) -> Crew:
        """A worker that is restarted whenever it is killed, until the context is left."""
        return Crew(self.platform, self.folder / "worker.log")

    def drain(self, *arguments: str) -> dict[str, Any]:
        """Drains once in a separate process, which must succeed."""
        return self.worker("--once", *arguments).result()

    def in_flight(self) -> int:
        """Messages produced but not yet drained, by the ledger; waits for the servers to answer after a fault."""
        read = Retrying(retry=retry_if_exception_type(CONNECTION_ERRORS), stop=stop_after_delay(60), reraise=True)
        return self.traffic.truth.messages - sum(read(read_ledger, self.platform).values())

    def workers_in_trouble(self) -> bool:
        """Whether a worker had to abort a drain."""
        log = self.folder / "worker.log"
        return log.exists() and TROUBLE in log.read_text()

    def judge(self, *, at_least: int, log: Sequence[Logged] | None = None) -> None:
        """Reads everything and compares it with the truth; see `judge.judge`."""
        judge(self.platform, self.traffic.truth, at_least=at_least, log=log)

    def judge_progress(self) -> None:
        """Checks that no offset is ahead of durable data; see `judge.judge_progress`."""
        judge_progress(self.platform, self.traffic.truth)

    def note(self, fault: str, *, times: int, in_flight: int) -> None:
        """Adds a line to the table at the end of the test run; call it after the comparison."""
        self.tried.append(Tried(fault, times, in_flight, self.traffic.truth.messages))


@pytest.fixture(scope="session")
def fault_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Servers to be broken; those of the folder DATACO_FAULT_STACK_DIR, if set, which are left running."""
    folder = os.environ.get(REUSED_STACK)
    chosen = Path(folder) if folder else tmp_path_factory.mktemp("faults")
    soaking = "SOAK_MINUTES" in os.environ  # which holds too much for memory, and is long
    servers = make_servers(chosen, fillable=not soaking, short_lived=not soaking)
    try:
        servers.up()
        yield servers
    finally:
        if not folder:
            servers.down()


@pytest.fixture(scope="module")
def searchable(fault_stack: Servers) -> Iterator[Stack]:
    """The servers with Elasticsearch, which few tests of this folder need."""
    stack = fault_stack.stack
    stack.up([*NEEDED_SERVERS, ELASTICSEARCH])
    yield stack
    stack.stop(ELASTICSEARCH)


@pytest.fixture
def make_world(fault_stack: Servers, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., World]]:
    """Makes a world with the given settings; afterwards all servers are repaired.

    Its clicks table, if it is to have one, has one region. Tables and topics are dropped only on servers that are left
    running, because that takes seconds per test.
    """
    made: list[World] = []

    def make(*, clicks_table: bool = True, **overrides: Any) -> World:
        # Short, so that outages of seconds have the effect that longer ones have in production.
        chosen: dict[str, Any] = {"hbase_thrift_timeout_seconds": 5.0, "hbase_retry_seconds": 15.0, **overrides}
        platform = make_platform(fault_stack.stack.env(), **chosen).create(partitions=3, clicks_table=clicks_table)
        made.append(World(platform, fault_stack, tmp_path, Traffic(platform, SEED), request.config.stash[TRIED]))
        return made[-1]

    yield make
    fault_stack.heal()
    for world in made:
        if os.environ.get(REUSED_STACK):
            world.platform.drop()
        else:
            world.platform.hbase.close()


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """A world with a checkpoint every 2,000 clicks, so that much happens in a short test."""
    return make_world(ingest_checkpoint_clicks=2_000)
