"""Spark: a standalone cluster of a master and two workers, from the Spark of pyspark. It starts only when asked for."""

import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_stack.errors import NotReady, StackError
from local_stack.ports import LOOPBACK
from local_stack.servers.base import PROBE_SECONDS, Context, Launch, Server, listening

WORKERS = 2
CORES = 2
"""Cores that each worker offers; more than the machine may have, for they share it with the servers anyway."""
MEMORY = "2g"
"""Memory that each worker offers to executors."""
_PACKAGE = "org.apache.spark.deploy"


def driver_options(master: str) -> dict[str, str]:
    """Environment variables by which the platform's drivers use a cluster of this machine.

    Args:
        master: `host:port` of its master.
    """
    options = {
        # The machine's own name, by which executors find the driver otherwise, may not lead to it.
        "spark.driver.host": LOOPBACK,
        "spark.driver.bindAddress": LOOPBACK,
        # Otherwise the first application has all cores for as long as it runs: the next one waits without end.
        "spark.cores.max": str(WORKERS * CORES // 2),
    }
    return {"DATACO_SPARK_MASTER": f"spark://{master}", "DATACO_SPARK_CONF": json.dumps(options)}


def master_command(master: str, http: str) -> list[str]:
    """The command that runs a master at the two addresses, `host:port` each."""
    (host, port), (_, http_port) = master.split(":"), http.split(":")
    return [*_spark_class(), f"{_PACKAGE}.master.Master", "--host", host, "--port", port, "--webui-port", http_port]


def worker_command(master: str, http: str, folder: Path) -> list[str]:
    """The command that runs a worker whose executors keep their files in a folder."""
    host, port = http.split(":")
    offered = ["--cores", str(CORES), "--memory", MEMORY, "--work-dir", str(folder)]
    return [
        *(*_spark_class(), f"{_PACKAGE}.worker.Worker", "--host", host, "--webui-port", port),
        *(*offered, f"spark://{master}"),
    ]


def environment(java: Path) -> dict[str, str]:
    """Environment variables of master and workers, which executors inherit."""
    return {
        "SPARK_HOME": str(_home()),
        "JAVA_HOME": str(java.resolve().parents[1]),
        "SPARK_LOCAL_IP": LOOPBACK,
        "SPARK_DAEMON_MEMORY": "256m",
        "SPARK_NO_DAEMONIZE": "1",
    }


def alive_workers(http: str) -> int:
    """Number of workers that a master counts on.

    Args:
        http: `host:port` of its web interface.

    Raises:
        NotReady: it does not answer.
    """
    return int(_asked(http)["aliveworkers"])


def _home() -> Path:
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None:
        raise StackError("pyspark is not installed, whose Spark the cluster runs. Install it: pip install pyspark")
    return Path(found.origin).parent


def _spark_class() -> list[str]:
    return ["bash", str(_home() / "bin" / "spark-class")]


def _asked(http: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{http}/json/", timeout=PROBE_SECONDS) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NotReady(f"it does not answer GET /json/: {error}") from error


def _fetch(_folder: Path) -> None:
    _home()


def _prepare_master(context: Context) -> Launch:
    command = master_command(context.address("spark.master"), context.address("spark.http"))
    return Launch(command, environment(context.java))


def _probe_master(context: Context, _started: float) -> None:
    listening(context, "spark.master")
    _asked(context.address("spark.http"))


def _prepare_worker(name: str) -> Callable[[Context], Launch]:
    def prepare(context: Context) -> Launch:
        http = context.address(f"{name}.http")
        command = worker_command(context.address("spark.master"), http, context.data(name))
        return Launch(command, environment(context.java))

    return prepare


def _probe_worker(name: str) -> Callable[[Context, float], None]:
    def probe(context: Context, _started: float) -> None:
        address = context.address(f"{name}.http")
        listening(context, f"{name}.http")
        known = {worker["webuiaddress"]: worker["state"] for worker in _asked(context.address("spark.http"))["workers"]}
        if known.get(f"http://{address}") != "ALIVE":
            raise NotReady("the master does not count on it")

    return probe


MASTER = Server(
    name="spark",
    ports={"spark.master": 7077, "spark.http": 8080},
    needs=(),
    fetch=_fetch,
    prepare=_prepare_master,
    probe=_probe_master,
    ready_seconds=60,
    stop_seconds=10,
)


def _worker(number: int) -> Server:
    name = f"spark-worker-{number}"
    return Server(
        name=name,
        ports={f"{name}.http": 8080 + number},
        needs=("spark",),
        fetch=_fetch,
        prepare=_prepare_worker(name),
        probe=_probe_worker(name),
        ready_seconds=60,
        stop_seconds=10,
    )


CLUSTER = (MASTER, *(_worker(number) for number in range(1, WORKERS + 1)))
