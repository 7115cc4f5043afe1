"""A standalone Spark cluster of the tests' own: a master, two workers, and the executors that they start."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from dataco_assets_tests.server_process import ServerProcess, running
from dataco_assets_tests.waiting import wait_until
from local_stack import java, ports
from local_stack.errors import NotReady
from local_stack.servers.spark import (
    WORKERS,
    alive_workers,
    driver_options,
    environment,
    master_command,
    worker_command,
)

_EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend"
_SECONDS = 60


class _Process(ServerProcess):
    """A master or a worker.

    Args:
        command: Runs it.
        log: File for its output.
        http: Address of the master's web interface.
        workers: How many workers the master must know for it to count as up.
    """

    def __init__(self, command: Sequence[str], log: Path, http: str, workers: int) -> None:
        super().__init__(log)
        variables = environment(java.checked_java())
        self._command = ["env", *(f"{name}={value}" for name, value in variables.items()), *command]
        self._http, self._workers = http, workers

    def command(self) -> Sequence[str]:
        return self._command

    def answers(self) -> bool:
        try:
            return alive_workers(self._http) >= self._workers
        except NotReady:
            return False

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True) if self.is_running() else []

    def stop(self) -> None:
        """Kills it, and its executors."""
        left = self.children()
        super().stop()
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass(frozen=True)
class SparkCluster:
    """A running cluster.

    Attributes:
        environment: Variables by which the platform uses it.
    """

    environment: dict[str, str]
    _workers: Sequence[_Process]

    def executors(self) -> list[psutil.Process]:
        """The processes that run tasks."""
        return [each for worker in self._workers for each in worker.children() if _runs_tasks(each)]

    def kill_executor(self) -> None:
        """Kills one executor, as soon as all workers have one."""
        wait_until(lambda: len(self.executors()) == WORKERS, seconds=_SECONDS, what="each worker has an executor")
        victim = self.executors()[0]
        victim.kill()
        victim.wait(_SECONDS)


def _runs_tasks(process: psutil.Process) -> bool:
    try:
        return _EXECUTOR in process.cmdline()
    except psutil.Error:  # it has ended
        return False


@contextmanager
def spark_cluster() -> Iterator[SparkCluster]:
    """Starts a master and its workers; ends them, and their executors."""
    names = ["master", "http", *(f"worker {number}" for number in range(WORKERS))]
    addresses = {name: f"{ports.LOOPBACK}:{port}" for name, port in ports.choose(names).items()}
    master, http = addresses["master"], addresses["http"]
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="spark-cluster-")))
        opened.enter_context(running(_Process(master_command(master, http), folder / "master.log", http, 0)))
        workers = [
            opened.enter_context(
                running(
                    _Process(
                        worker_command(master, addresses[name], folder / name.replace(" ", "-")),
                        folder / f"{name}.log",
                        http,
                        number,
                    )
                )
            )
            for number, name in enumerate(names[2:], start=1)
        ]
        yield SparkCluster(driver_options(master), workers)
