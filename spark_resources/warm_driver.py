"""A Spark driver that waits for the next run: its JVM is started once, and serves one run after another.

Starting a JVM, loading Spark's classes and compiling them takes longer than aggregating an hour. So the JVM belongs to
a process of its own, the keeper (`spark_resources.driver_keeper`), which lends it to one run at a time and ends when no
run has come for a while. Each run creates its Spark context in that JVM and stops it at its end, so that nothing but
loaded classes and compiled code is shared between runs.

The first run starts the keeper. A run that finds the JVM lent to another one, or that needs another configuration,
starts a JVM of its own, as it would without a keeper. Nothing depends on a keeper: killed at any moment, it costs a run
no more than a killed JVM does.

A loan is a connection to the keeper's Unix socket. The keeper answers with the port and the secret of a Py4J server
that it opens in the JVM for this run; when the connection ends, for whatever reason, it stops the run's Spark context
and closes that server, which releases everything the run referred to.
"""

import fcntl
import hashlib
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyspark import SparkContext

from spark_resources.session import forget_gateway, spark_home

SOCKET, LOG = "socket", "driver.log"
"""In the keeper's folder: where it accepts connections, and what it and its JVM write."""

_STARTING = "starting"
_START_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.05
_ANSWER_SECONDS: Final = 30.0
_PORT, _SECRET = "PYSPARK_GATEWAY_PORT", "PYSPARK_GATEWAY_SECRET"
_ENVIRONMENT: Final = ("AWS_", "HADOOP_", "HBASE_", "JAVA", "JDK_", "KRB5", "LD_", "PYSPARK_", "SPARK_")
"""What of the environment a JVM and the libraries in it read, by prefix."""


@dataclass(frozen=True)
class Loan:
    """A JVM that is lent to this process as long as the connection is open.

    Attributes:
        connection: To the keeper.
        port: Of the Py4J server for this process.
        secret: What that server expects first.
        log: File to which the JVM writes.
    """

    connection: socket.socket
    port: int
    secret: str
    log: Path


@contextmanager
def lent_driver(conf: Mapping[str, str], idle_seconds: int) -> Iterator[bool]:
    """Lets the Spark sessions that this process starts meanwhile use a JVM that is running already.

    They must have been stopped before the context ends. What the JVM wrote meanwhile is copied to standard error then.

    Args:
        conf: The complete configuration of the sessions (`spark_resources.session.spark_conf`).
        idle_seconds: Seconds for which the JVM waits for the next run.

    Yields:
        Whether one is lent; otherwise a session starts a JVM of its own.
    """
    loan = _borrow(conf, idle_seconds)
    if loan is None:
        yield False
        return
    written = loan.log.stat().st_size
    os.environ |= {_PORT: str(loan.port), _SECRET: loan.secret}
    try:
        yield True
    finally:
        for variable in (_PORT, _SECRET):
            del os.environ[variable]
        forget_gateway()
        loan.connection.close()
        _copy(loan.log, written)


def _borrow(conf: Mapping[str, str], idle_seconds: int) -> Loan | None:
    context: Any = SparkContext
    if context._gateway is not None or _PORT in os.environ:
        return None  # a process keeps the JVM it has
    folder = _folder(conf)
    if not _is_private(folder.parent):
        return None
    connection = _connected(folder) or _started(folder, conf, idle_seconds)
    if connection is None:
        return None
    with connection.makefile() as answers:
        lent = json.loads(answers.readline() or "null")
    if lent is None:
        connection.close()
        return None
    return Loan(connection, lent["port"], lent["secret"], folder / LOG)


def _folder(conf: Mapping[str, str]) -> Path:
    """The folder of the keeper for this configuration, named after all that its JVM depends on."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
    identity = json.dumps([dict(conf), environment, str(spark_home()), sys.executable, str(Path.cwd())], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
    # Short, because the path of a socket has 107 bytes at most.
    return Path(tempfile.gettempdir(), f"dataco-{os.getuid()}", digest)


def _is_private(folder: Path) -> bool:
    """Makes a folder that only this user can enter; False if there is one that others made or can write to."""
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    return stat.S_ISDIR(state.st_mode) and state.st_uid == os.getuid() and not state.st_mode & 0o077


def _connected(folder: Path) -> socket.socket | None:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(_ANSWER_SECONDS)
    try:
        connection.connect(str(folder / SOCKET))
    except (FileNotFoundError, ConnectionRefusedError):  # no keeper, or one that was killed
        connection.close()
        return None
    return connection


def _started(folder: Path, conf: Mapping[str, str], idle_seconds: int) -> socket.socket | None:
    """Starts a keeper, and connects to it; None if it ends, or another run is starting one for itself."""
    folder.mkdir(mode=0o700, exist_ok=True)
    with (
        (folder / _STARTING).open("w") as lock,
        (folder / LOG).open("ab") as log,
        tempfile.TemporaryFile() as configuration,  # not an argument: it may hold secrets
    ):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        configuration.write(json.dumps(dict(conf)).encode())
        configuration.seek(0)
        keeper = subprocess.Popen(
            [sys.executable, "-m", "spark_resources.driver_keeper", str(folder), str(idle_seconds)],
            stdin=configuration,
            stdout=log,
            stderr=log,
            start_new_session=True,  # it outlives this run, and signals to the run's process group are not for it
        )
        deadline = time.monotonic() + _START_SECONDS
        while keeper.poll() is None and time.monotonic() < deadline:
            if connection := _connected(folder):
                return connection
            time.sleep(_LOOK_SECONDS)
    return None


def _copy(log: Path, start: int) -> None:
    with log.open("rb") as written:
        written.seek(start)
        sys.stderr.write(written.read().decode(errors="replace"))
