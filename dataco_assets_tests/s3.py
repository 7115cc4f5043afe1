"""An S3 server for tests: moto, as a process of its own that answers over HTTP."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK, choose

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"  # noqa: S105  # of a server that takes any


@dataclass
class S3:
    """A server on a port of its own; what it holds is in its memory and ends with it."""

    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def pid(self) -> int:
        """The process of the server, which runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, seconds=60, what="the S3 server answers")

    def stop(self) -> None:
        """Kills the server."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def create_bucket(self, name: str) -> None:
        requests.put(f"{self.endpoint}/{name}", timeout=10).raise_for_status()

    def keys(self, bucket: str) -> str:
        """The server's own list of a bucket's objects, as XML."""
        answer = requests.get(f"{self.endpoint}/{bucket}?list-type=2", timeout=10)
        answer.raise_for_status()
        return answer.text

    def _answers(self) -> bool:
        try:
            return requests.get(self.endpoint, timeout=10).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


@contextmanager
def running_s3() -> Iterator[S3]:
    """A server without buckets."""
    server = S3(choose(["s3"])["s3"])
    try:
        server.start()
        yield server
    finally:
        server.stop()
