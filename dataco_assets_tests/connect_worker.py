"""A Kafka Connect worker of the tests' own, with the sink as it was just compiled."""

import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests

from dataco_assets_tests.java_harness import SINK, compiled
from dataco_assets_tests.server_process import ServerProcess
from dataco_assets_tests.waiting import wait_until
from local_stack import jars, java, ports
from local_stack.servers.base import LOG4J2, properties
from local_stack.servers.connect import MAIN_CLASS, POM, worker_settings

_REST_SECONDS = 60
_STANDALONE_CLASS = "org.apache.kafka.connect.cli.ConnectStandalone"
_OF_THE_WORKER = ("/org/apache/kafka/", "/org/slf4j/", "/org/junit/", "/com/fasterxml/")
"""Jars that the sink is compiled and tested with, and that no plugin needs."""


def make_plugin(folder: Path) -> Path:
    """Compiles the sink and returns a `plugin.path` with it, and with the classes of its tests."""
    plugin = folder / "plugins" / "dataco-clicks"
    plugin.mkdir(parents=True)
    *classes, libraries = compiled(SINK, folder).split(os.pathsep, 2)
    for number, each in enumerate(map(Path, classes)):
        with zipfile.ZipFile(plugin / f"classes-{number}.jar", "w") as jar:
            for file in sorted(path for path in each.rglob("*") if path.is_file()):
                jar.write(file, file.relative_to(each))
    for library in libraries.split(os.pathsep):
        if not any(part in library for part in _OF_THE_WORKER):
            (plugin / Path(library).name).symlink_to(library)
    return plugin.parent


class Worker(ServerProcess):
    """One worker, which can be killed and started again.

    Args:
        folder: For its configuration and its log.
        brokers: The Kafka cluster.
        plugins: Its `plugin.path`.
        name: Of its group and its topics; workers of the same name share the connectors.
    """

    def __init__(self, folder: Path, *, brokers: str, plugins: Path, name: str) -> None:
        super().__init__(folder / "worker.log", up_seconds=180)
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.brokers, self.plugins = brokers, plugins
        (port,) = ports.choose(["connect.rest"], avoid=()).values()
        self.url = f"http://{ports.LOOPBACK}:{port}"
        settings = worker_settings(brokers=brokers, rest=f"{ports.LOOPBACK}:{port}", plugins=plugins, name=name)
        (folder / "worker.properties").write_text(properties(settings))
        (folder / "log4j2.properties").write_text(LOG4J2)
        (folder / "java.args").write_text(f"-cp\n{os.pathsep.join(map(str, jars.resolve(POM)))}\n")

    def command(self) -> Sequence[str | Path]:
        return [
            java.checked_java(),
            f"@{self.folder / 'java.args'}",
            "-Xmx256m",
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            MAIN_CLASS,
            self.folder / "worker.properties",
        ]

    def answers(self) -> bool:
        return requests.get(f"{self.url}/connectors", timeout=5).ok

    def call(self, method: str, path: str, document: dict[str, str] | None = None) -> Any:
        """Sends a request to its REST interface, again while the worker rebalances; fails unless it succeeds."""
        answers: list[requests.Response] = []

        def settled() -> bool:
            answers.append(requests.request(method, f"{self.url}{path}", json=document, timeout=_REST_SECONDS))
            return answers[-1].status_code != requests.codes.conflict

        wait_until(settled, seconds=_REST_SECONDS, what=f"the worker takes {method} {path}")
        assert answers[-1].ok, answers[-1].text
        return answers[-1].json() if answers[-1].content else None

    def tasks(self, connector: str) -> list[dict[str, Any]]:
        """State and trace of each task of a connector; none while it is not known yet."""
        answer = requests.get(f"{self.url}/connectors/{connector}/status", timeout=_REST_SECONDS)
        return answer.json()["tasks"] if answer.ok else []

    def failure(self, connector: str) -> str:
        """Waits until a task has failed, and returns its trace."""
        wait_until(
            lambda: any(task["state"] == "FAILED" for task in self.tasks(connector)),
            seconds=120,
            what=f"a task of {connector} fails; the log is {self.folder}/worker.log",
        )
        return next(task["trace"] for task in self.tasks(connector) if task["state"] == "FAILED")


class StandaloneWorker(Worker):
    """A worker without a group, which is given its one connector when it starts.

    Args:
        folder: For its configuration, its log and the offsets that it keeps itself.
        like: A worker with the same brokers and plugins.
        connector: The connector's configuration, with its name.
    """

    def __init__(self, folder: Path, *, like: Worker, connector: dict[str, str]) -> None:
        super().__init__(folder, brokers=like.brokers, plugins=like.plugins, name="none")
        with (folder / "worker.properties").open("a") as settings:
            settings.write(f"offset.storage.file.filename={folder / 'offsets'}\n")
        (folder / "connector.json").write_text(json.dumps(connector))

    def command(self) -> Sequence[str | Path]:
        """Program and arguments."""
        *java_and_options, _main, settings = super().command()
        return [*java_and_options, _STANDALONE_CLASS, settings, self.folder / "connector.json"]
