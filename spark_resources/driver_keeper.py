"""The keeper of a warm driver: a process that owns a JVM and lends it to one run at a time (`warm_driver`).

`python -m spark_resources.driver_keeper FOLDER IDLE_SECONDS`, with the configuration as JSON on standard input. It ends
when no run has come for the given time, when its JVM has ended, or when the JVM is worn out. The JVM ends with
it, however it ends: it reads its end from the pipe between them.
"""

import json
import logging
import os
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from py4j.protocol import Py4JError
from pyspark import SparkConf
from pyspark.java_gateway import launch_gateway

from spark_resources.warm_driver import LOG, SOCKET

if TYPE_CHECKING:
    from subprocess import Popen

_log = logging.getLogger(__name__)

_MOST_LOANS: Final = 500
"""Runs that a JVM serves before it is replaced, in case a library keeps something of each."""
_MOST_HEAP_KEPT: Final = 0.5
"""Share of the heap that may be in use between two runs."""
_RELEASE_SECONDS: Final = 60.0
_LONGEST_LOG_BYTES: Final = 1_000_000
_LOOK_SECONDS: Final = 0.5
"""How often it looks whether the JVM has ended."""


class Driver:
    """A JVM that was started as PySpark starts one, and gets a Spark context from each run."""

    def __init__(self, conf: Mapping[str, str]) -> None:
        gateway: Any = launch_gateway(SparkConf(loadDefaults=False).setAll(list(conf.items())))
        self._gateway = gateway
        self._jvm = gateway.jvm
        self.process: Popen[bytes] = gateway.proc

    @contextmanager
    def opened(self) -> Iterator[tuple[int, str]]:
        """Port and secret of a Py4J server for one run; then stops the run's context and forgets its objects."""
        server = self._jvm.org.apache.spark.api.python.Py4JServer(self._jvm.SparkConf())
        server.start()
        try:
            yield server.getListeningPort(), server.secret()
        finally:
            self._release(server)

    def _release(self, server: Any) -> None:
        # A context that does not stop must not hold the keeper: without its JVM it ends, too.
        overdue = threading.Timer(_RELEASE_SECONDS, self.process.kill)
        overdue.start()
        try:
            companion = getattr(getattr(self._jvm.org.apache.spark, "SparkContext$"), "MODULE$")
            active = companion.getActive()
            if active.isDefined():  # the run was killed
                active.get().stop()
            self._jvm.SparkSession.clearDefaultSession()
            # It keeps clients by address, with the credentials of the run that made them.
            self._jvm.org.apache.hadoop.fs.FileSystem.closeAll()
            server.shutdown()
            self._jvm.System.gc()  # closes the connections of catalogs that nobody refers to any more
        finally:
            overdue.cancel()

    def heap_in_use(self) -> float:
        """Share of the heap that is in use."""
        runtime = self._jvm.Runtime.getRuntime()
        return (runtime.totalMemory() - runtime.freeMemory()) / runtime.maxMemory()

    def close(self) -> None:
        """Ends the JVM."""
        self.process.communicate()  # closes the pipe whose end the JVM waits for


def serve(driver: Driver, listener: socket.socket, log: Path, idle_seconds: float) -> None:
    """Lends the driver to whoever connects, one at a time, until it has been idle for too long or is worn out."""
    for _ in range(_MOST_LOANS):
        run = _next_run(listener, driver, idle_seconds)
        if run is None:
            return
        with run:
            if log.stat().st_size > _LONGEST_LOG_BYTES:
                os.truncate(log, 0)  # all who write to it append
            with driver.opened() as (port, secret):
                _send(run, {"port": port, "secret": secret})
                _wait_for_end(run, listener, driver)
        if driver.process.poll() is not None or driver.heap_in_use() > _MOST_HEAP_KEPT:
            return


def _next_run(listener: socket.socket, driver: Driver, idle_seconds: float) -> socket.socket | None:
    """The connection of the next run; None when none comes in time, or the JVM ends first."""
    deadline = time.monotonic() + idle_seconds
    while driver.process.poll() is None and time.monotonic() < deadline:
        ready, _, _ = select.select([listener], [], [], _LOOK_SECONDS)
        if ready:
            return listener.accept()[0]
    return None


def _wait_for_end(run: socket.socket, listener: socket.socket, driver: Driver) -> None:
    """Waits until the run closes its connection, and tells others meanwhile that the driver is lent."""
    while driver.process.poll() is None:
        ready, _, _ = select.select([run, listener], [], [], _LOOK_SECONDS)
        if run in ready:
            return
        if listener in ready:
            with listener.accept()[0] as other:
                _send(other, None)


def _send(connection: socket.socket, answer: object) -> None:
    with suppress(BrokenPipeError):  # it has ended meanwhile
        connection.sendall(json.dumps(answer).encode() + b"\n")


def main(folder: Path, idle_seconds: float) -> None:
    """Starts the JVM and serves runs.

    Args:
        folder: The keeper's folder (`warm_driver`).
        idle_seconds: Seconds without a run after which it ends.
    """
    conf = json.load(sys.stdin)
    path = folder / SOCKET
    with closing(Driver(conf)) as driver, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        listener.listen()
        try:
            serve(driver, listener, folder / LOG, idle_seconds)
        except Py4JError:
            if driver.process.poll() is None:
                raise
            _log.warning("Spark's driver has ended with %d.", driver.process.wait())
        finally:
            path.unlink(missing_ok=True)  # before the socket is closed: the next keeper may bind then


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
