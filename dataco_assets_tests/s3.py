"""An S3 server for tests: moto, as a process of its own that answers over HTTP."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import requests
from pyspark.sql import SparkSession

from dataco_assets_tests.server_process import ServerProcess, running
from local_stack.ports import LOOPBACK, choose

ACCESS_KEY = "test-access-key"
SECRET_KEY = "test-secret-key"  # noqa: S105  # of a server that takes any


class S3(ServerProcess):
    """A server on a port of its own; what it holds is in its memory and ends with it.

    Args:
        folder: For its log.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "s3.log")
        self.port = choose(["s3"])["s3"]

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]

    def answers(self) -> bool:
        return requests.get(self.endpoint, timeout=10).ok

    def create_bucket(self, name: str) -> None:
        requests.put(f"{self.endpoint}/{name}", timeout=10).raise_for_status()

    def keys(self, bucket: str) -> str:
        """The server's own list of a bucket's objects, as XML."""
        answer = requests.get(f"{self.endpoint}/{bucket}?list-type=2", timeout=10)
        answer.raise_for_status()
        return answer.text


def running_s3(folder: Path) -> AbstractContextManager[S3]:
    """A server without buckets, whose log is in the folder."""
    return running(S3(folder))


def use_credentials(spark: SparkSession, patch: pytest.MonkeyPatch) -> None:
    """Gives this process credentials as one finds them in its environment; the JVM, which is older, has properties."""
    patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    patch.setenv("AWS_REGION", "eu-west-3")
    jvm: Any = spark._jvm
    system = jvm.java.lang.System
    system.setProperty("aws.accessKeyId", ACCESS_KEY)
    system.setProperty("aws.secretAccessKey", SECRET_KEY)
