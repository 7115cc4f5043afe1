"""A standalone Spark cluster on this machine: a master and its workers, each a process of its own."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from dataco_assets_tests.server_process import ServerProcess
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK, choose
from spark_resources.session import spark_home

_DEPLOY = "org.apache.spark.deploy"


class Master(ServerProcess):
    """The master, which gives applications executors of the workers."""

    def __init__(self, log: Path) -> None:
        super().__init__(log)
        ports = choose(["master", "master-ui"])
        self._port, self._ui_port = ports["master"], ports["master-ui"]

    @property
    def url(self) -> str:
        """For `DATACO_SPARK_MASTER`."""
        return f"spark://{LOOPBACK}:{self._port}"

    def state(self) -> dict[str, Any]:
        """Its workers and applications, as its web page has them."""
        return requests.get(f"http://{LOOPBACK}:{self._ui_port}/json/", timeout=5).json()

    def command(self) -> Sequence[str | Path]:
        place = ["--host", LOOPBACK, "--port", str(self._port), "--webui-port", str(self._ui_port)]
        return [spark_home() / "bin" / "spark-class", f"{_DEPLOY}.master.Master", *place]

    def answers(self) -> bool:
        return self.state()["status"] == "ALIVE"


class Worker(ServerProcess):
    """A worker with one core.

    Args:
        master: Its master.
        folder: Where it keeps its log, and the logs of its executors.
    """

    def __init__(self, master: Master, folder: Path) -> None:
        super().__init__(folder / "worker.log")
        self._master = master
        self.folder = folder
        self._ui_port = choose(["worker-ui"])["worker-ui"]

    def command(self) -> Sequence[str | Path]:
        size = ["--cores", "1", "--memory", "1g"]
        place = ["--host", LOOPBACK, "--webui-port", str(self._ui_port), "--work-dir", self.folder]
        return [spark_home() / "bin" / "spark-class", f"{_DEPLOY}.worker.Worker", *size, *place, self._master.url]

    def answers(self) -> bool:
        return requests.get(f"http://{LOOPBACK}:{self._ui_port}/json/", timeout=5).ok

    def executors(self) -> int:
        """How many executors it has started so far."""
        return len(list(self.folder.glob("app-*/*/stderr")))


@dataclass(frozen=True)
class SparkCluster:
    """A master and its workers, up."""

    master: Master
    workers: Sequence[Worker]

    def environment(self) -> dict[str, str]:
        """Variables for a driver on this cluster."""
        return {"DATACO_SPARK_MASTER": self.master.url, "SPARK_LOCAL_IP": LOOPBACK}


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[SparkCluster]:
    """A cluster, until the end of the block."""
    with ExitStack() as ending:
        master = Master(folder / "master.log")
        ending.callback(master.stop)
        master.start()
        made: list[Worker] = []
        for number in range(workers):
            own = folder / f"worker-{number}"
            own.mkdir()
            made.append(Worker(master, own))
            ending.callback(made[-1].stop)
            made[-1].start()
        wait_until(
            lambda: master.state()["aliveworkers"] == workers, seconds=60, what=f"{workers} workers are at {master.url}"
        )
        yield SparkCluster(master, made)
