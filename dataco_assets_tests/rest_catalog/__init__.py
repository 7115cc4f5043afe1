"""A REST catalog of Iceberg tables for tests: Iceberg's own server-side implementation, as a process of its own."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import requests

from dataco_assets_tests.waiting import wait_until
from local_stack import jars, java
from local_stack.ports import LOOPBACK, choose

USER: Final = "dataco"
PASSWORD: Final = "made-up-secret"  # noqa: S105  # of a server that takes any
_HERE: Final = Path(__file__).parent


@dataclass
class RestCatalog:
    """A server on a port of its own; its list of tables is a file in its folder and outlives it."""

    folder: Path
    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        classpath = ":".join(map(str, jars.resolve(_HERE / "pom.xml")))
        java_options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath]
        arguments = [str(self.port), f"jdbc:sqlite:{self.folder}/tables.db", self.warehouse.as_uri(), USER]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [java.checked_java(), *java_options, str(_HERE / "RestCatalog.java"), *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._answers, seconds=60, what=f"the REST catalog answers (see {self.folder}/log)")

    def stop(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Within it, the server takes connections but does not answer."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/v1/config", timeout=10).status_code == requests.codes.unauthorized
        except (requests.ConnectionError, requests.Timeout):
            return False


@contextmanager
def running_rest_catalog(folder: Path) -> Iterator[RestCatalog]:
    """A catalog without tables.

    Args:
        folder: For its files.
    """
    server = RestCatalog(folder, choose(["rest"])["rest"])
    try:
        server.start()
        yield server
    finally:
        server.stop()
