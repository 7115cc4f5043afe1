"""A REST catalog of Iceberg tables for tests: Iceberg's own server-side implementation, as a process of its own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import requests

from dataco_assets_tests.server_process import ServerProcess, running
from local_stack import jars, java
from local_stack.ports import LOOPBACK, choose

USER: Final = "dataco"
PASSWORD: Final = "made-up-secret"  # noqa: S105  # of a server that takes any
_HERE: Final = Path(__file__).parent


class RestCatalog(ServerProcess):
    """A server on a port of its own; its list of tables is a file in its folder and outlives it.

    Args:
        folder: For its files.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "log")
        self.folder = folder
        self.port = choose(["rest"])["rest"]

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    def command(self) -> Sequence[str | Path]:
        classpath = ":".join(map(str, jars.resolve(_HERE / "pom.xml")))
        java_options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath]
        arguments = [str(self.port), f"jdbc:sqlite:{self.folder}/tables.db", self.warehouse.as_uri(), USER]
        return [java.checked_java(), *java_options, _HERE / "RestCatalog.java", *arguments]

    def answers(self) -> bool:
        return requests.get(f"{self.address}/v1/config", timeout=10).status_code == requests.codes.unauthorized


def running_rest_catalog(folder: Path) -> AbstractContextManager[RestCatalog]:
    """A catalog without tables, whose files are in the folder."""
    return running(RestCatalog(folder))
