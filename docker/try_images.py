"""`make images`: builds the images, sends clicks through the compose file, and kills each of its containers once.

The drain stores the clicks, then Kafka Connect, then the drain again. It is a compose project of its own, `dataco-try`,
with its own volumes and no published ports; nothing of it is left in the end. It needs Docker with Compose, and
Python's standard library alone. Images of others are pulled unless this machine has them already, whatever they hold:
where none can be pulled, images of the same names do.
"""

import argparse
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
CONNECTOR: Final = FOLDER.parent / "kafka_connect" / "src" / "assembly" / "connector.json"
"""A connector's configuration, as the archive of the sink has it; its addresses are those of the compose file."""
CONNECT_URL: Final = "http://connect:8083"
CONNECTOR_NAME: Final = "dataco-clicks"  # the default of DATACO_CONNECT_CONNECTOR
PROJECT: Final = "dataco-try"
LEAST_COMPOSE: Final = (2, 24)  # the first that knows `!reset`
ALIAS: Final = "dataco-url-country"
CLICKS: Final = 3_000
ONE_SHOT: Final = "setup"
"""The service that ends by itself."""

UP_SECONDS: Final = 900
RECOVERY_SECONDS: Final = 300
ARRIVAL_SECONDS: Final = 900
_POLL_SECONDS: Final = 3.0  # each look is a process of Docker's command
_PUT: Final = """\
import sys, requests
url, document = sys.argv[1:]
answer = requests.put(url, document, headers={"Content-Type": "application/json"}, timeout=60)
print(answer.text)
sys.exit(not answer.ok)
"""
"""Run with Python in a container of the platform: not every image has curl."""


class TryFailed(Exception):
    """What was tried did not happen; the message says what, and what to do about it."""


@dataclass(frozen=True)
class Container:
    """A container of the project, as Docker sees it at one moment.

    Attributes:
        service: Its name in the compose file.
        id: Docker's name for it.
        pid: Its first process, in the engine's numbering; 0 when it does not run.
        started: When it was last started, as Docker writes it.
        running: Whether it runs.
        health: `healthy`, `starting` or `unhealthy`; empty: it has no health check.
        exit_code: Of its last end.
    """

    service: str
    id: str
    pid: int
    started: str
    running: bool
    health: str
    exit_code: int

    @classmethod
    def of(cls, inspected: Mapping[str, Any]) -> "Container":
        """The container that `docker inspect` describes."""
        state = inspected["State"]
        return cls(
            service=inspected["Config"]["Labels"]["com.docker.compose.service"],
            id=inspected["Id"],
            pid=state["Pid"],
            started=state["StartedAt"],
            running=state["Running"] and not state["Restarting"],
            health=state.get("Health", {}).get("Status", ""),
            exit_code=state["ExitCode"],
        )

    @property
    def well(self) -> bool:
        """Whether it does what it is there for, as far as Docker can tell."""
        if self.service == ONE_SHOT:
            return not self.running and self.exit_code == 0
        return self.running and self.health in {"", "healthy"}

    def __str__(self) -> str:
        """Its service and what is the matter with it."""
        state = self.health or "running" if self.running else f"ended with {self.exit_code}"
        return f"{self.service} ({state})"


@dataclass(frozen=True)
class Compose:
    """The project, by way of the `docker` command."""

    files: Sequence[Path]
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> None:
        """Runs a command of Compose, whose output is shown."""
        if self.show(*arguments):
            raise TryFailed(f"`docker compose {' '.join(arguments)}` failed; its output above says why.")

    def show(self, *arguments: str) -> int:
        """Shows what a command of Compose prints, and returns its exit code."""
        return subprocess.run(self._command(arguments), env=self.environment, check=False).returncode

    def read(self, *arguments: str) -> str:
        """What a command of Compose prints."""
        return _output(self._command(arguments), self.environment)

    def inside(self, service: str, *command: str) -> str:
        """What a command prints in the container of a service."""
        return self.read("exec", "-T", service, *command)

    def containers(self) -> dict[str, Container]:
        """The containers of the project by service, ended ones included."""
        ids = self.read("ps", "--all", "--quiet").split()
        found = map(Container.of, json.loads(_output(["docker", "inspect", *ids]))) if ids else ()
        return {container.service: container for container in found}

    def _command(self, arguments: Iterable[str]) -> list[str]:
        files = (option for file in self.files for option in ("--file", str(file)))
        return ["docker", "compose", "--project-name", PROJECT, *files, "--profile", "connect", *arguments]


@dataclass(frozen=True)
class Trial:
    """The steps. Each raises `TryFailed`."""

    compose: Compose
    seconds: dict[str, float]

    def build(self) -> None:
        """Builds the project's images."""
        with self._timed("images built"):
            self.compose.run("build", *self._builders().values())

    def start(self) -> None:
        """Starts everything and waits until it is well and the set-up has ended."""
        with self._timed("started, set up and healthy"):
            self.compose.run("up", "--detach", "--no-build")
            self._until_well(UP_SECONDS)

    def send(self, seed: int) -> None:
        """Sends clicks of the last two hours from a container."""
        generate = f"dataco clicks generate --count {CLICKS} --hours 2 --seed {seed}"
        self.compose.inside("dataco", *generate.split(), "--duplicates", "0", "--malformed", "0")

    def arrive(self, clicks: int, what: str) -> None:
        """Waits until readers find all clicks from live, and the sensors have published them."""
        with self._timed(f"{what}: found by the alias"):
            self._until(f"the alias shows {clicks} clicks", ARRIVAL_SECONDS, lambda: self._clicks(ALIAS) == clicks)
        with self._timed(f"{what}: published by the sensors"):
            self._until(
                f"the batch has published {clicks} clicks",
                ARRIVAL_SECONDS,
                lambda: self._clicks(f"{ALIAS}-2*") == clicks,
            )

    def serves(self) -> None:
        """Waits until live gives readers the running hour, and a new click goes the same way."""
        with self._timed("live serves the running hour"):
            self._until("live serves documents", ARRIVAL_SECONDS, lambda: self._clicks(ALIAS, source="live") > 0)

    def verify(self, what: str) -> None:
        """Has the platform recompute all hours from HBase: they equal table and index, and none is left out."""
        with self._timed(f"{what}: verified"):
            self._until(
                "`dataco verify --strict` passes",
                ARRIVAL_SECONDS,
                lambda: self._done("dataco", "verify", "--strict"),
            )

    def kill_each(self) -> None:
        """Kills each container in turn; all that this broke must be well again before the next one."""
        for service in sorted(self.compose.containers().keys() - {ONE_SHOT}):
            with self._timed(f"{service} killed, all well again"):
                killed = self.compose.containers()[service]
                self._kill(killed)
                self._until(
                    f"{service} is started again",
                    RECOVERY_SECONDS,
                    lambda service=service, before=killed.started: self._restarted(service, before),
                )
                self._until_well(RECOVERY_SECONDS)

    def use(self, mode: str) -> None:
        """Gives the topic to the drain or to Kafka Connect."""
        with self._timed(f"clicks given to {mode}"):
            self._until(
                f"`dataco ingest use {mode}` succeeds",
                RECOVERY_SECONDS,
                lambda: self._done("dataco", "ingest", "use", mode),
            )

    def connect(self) -> None:
        """Creates the connector, and waits until its tasks run."""
        start = {"partitions.start": self.compose.environment["DATACO_PARTITIONS_START"]}
        document = json.dumps(json.loads(CONNECTOR.read_text()) | start)
        address = f"{CONNECT_URL}/connectors/{CONNECTOR_NAME}/config"
        with self._timed("the connector's tasks run"):
            self._until(
                "Kafka Connect takes the connector",
                RECOVERY_SECONDS,
                lambda: self._done("python", "-c", _PUT, address, document),
            )
            self._until("the connector's tasks run", RECOVERY_SECONDS, self._connect_stores)

    def stored_by_connect(self) -> None:
        """Makes sure that no click waits, and that Kafka Connect, which alone can have stored them, is still well."""
        self._until(
            "Kafka Connect has stored all clicks",
            RECOVERY_SECONDS,
            lambda: self._connect_stores() and self._ingest()["waiting"] == 0,
        )

    def remove(self) -> None:
        """Removes containers, network and volumes of the project."""
        with self._timed("removed"):
            self.compose.run("down", "--volumes", "--remove-orphans", "--timeout", "30")

    def tell(self) -> None:
        """Shows why a step failed: what containers that are not well said last, and what the platform knows itself."""
        for container in self.compose.containers().values():
            if not container.well:
                print(f"\n{container}:", flush=True)
                self.compose.show("logs", "--no-color", "--tail", "40", container.service)
        for command in ("doctor", "ingest status"):
            self.compose.show("exec", "-T", "dataco", "dataco", *command.split())

    def sizes(self) -> Iterator[tuple[str, float]]:
        """The project's images and their sizes in megabytes (10^6 bytes), as `docker image ls` shows them."""
        for image in self._builders():
            yield image, int(_output(["docker", "image", "inspect", "--format", "{{.Size}}", image])) / 1e6

    def _builders(self) -> dict[str, str]:
        """For each of the project's images one service that can build it; Compose builds once for each service."""
        services = json.loads(self.compose.read("config", "--format", "json"))["services"]
        return {services[name]["image"]: name for name in sorted(services) if "build" in services[name]}

    def _clicks(self, index: str, **fields: str) -> int:
        """The clicks of all documents of an index with these fields, as Elasticsearch adds them up."""
        query = {
            "size": 0,
            "query": {"bool": {"filter": [{"term": {name: value}} for name, value in fields.items()]}},
            "aggs": {"clicks": {"sum": {"field": "click_count"}}},
        }
        address = f"http://localhost:9200/{index}/_search"
        curl = ["curl", "--fail", "--silent", "--show-error", "--header", "Content-Type: application/json"]
        answer = self.compose.inside("elasticsearch", *curl, "--data", json.dumps(query), address)
        return round(json.loads(answer)["aggregations"]["clicks"]["value"])

    def _ingest(self) -> dict[str, Any]:
        """What `dataco ingest status` says; it fails when a task does not run."""
        return json.loads(self.compose.inside("dataco", "dataco", "ingest", "status", "--json"))

    def _connect_stores(self) -> bool:
        ingest = self._ingest()
        tasks = (ingest["connector"] or {}).get("tasks", [])
        return ingest["mode"] == "connect" and bool(tasks) and all(task["state"] == "RUNNING" for task in tasks)

    def _done(self, *command: str) -> bool:
        """Runs a command in a container of the platform; true when it succeeds."""
        self.compose.inside("dataco", *command)
        return True

    def _kill(self, container: Container) -> None:
        """Kills the first process of a container, as the kernel does when memory runs out.

        `docker kill` would not do: what is ended by Docker's own command, no restart policy starts again.
        """
        ours = self.compose.containers()["dataco"].id
        image = _output(["docker", "inspect", "--format", "{{.Image}}", ours]).strip()
        kill = ["--pid", "host", "--user", "0", "--network", "none", "--entrypoint", "sh", image, "-c"]
        _output(["docker", "run", "--rm", *kill, f"kill -9 {container.pid}"])

    def _restarted(self, service: str, before: str) -> bool:
        return self.compose.containers()[service].started != before

    def _until_well(self, seconds: float) -> None:
        def well() -> bool:
            unwell = [str(container) for container in self.compose.containers().values() if not container.well]
            if unwell:
                raise TryFailed(", ".join(unwell))
            return True

        self._until("all containers are well", seconds, well)

    def _until(self, what: str, seconds: float, holds: Callable[[], bool]) -> None:
        """Waits until a condition holds; a failed attempt to find out counts as not yet."""
        deadline, reason = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
                reason = "it does not hold"
            except TryFailed as error:
                reason = str(error)
            time.sleep(_POLL_SECONDS)
        raise TryFailed(f"Not within {seconds:.0f} s: {what}. Last: {reason}")

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        started = time.monotonic()
        print(f"… {step}", flush=True)
        yield
        self.seconds[step] = time.monotonic() - started
        print(f"  {step}: {self.seconds[step]:.0f} s", flush=True)


def require_engine() -> None:
    """Makes sure that an engine answers, and that Compose is recent enough.

    Raises:
        TryFailed: the message says what to install or start.
    """
    install = "Install Docker Engine and its Compose plugin (https://docs.docker.com/engine/install/)"
    try:
        _output(["docker", "version", "--format", "{{.Server.Version}}"])
    except FileNotFoundError:
        raise TryFailed(f"There is no command `docker`. {install}.") from None
    except TryFailed as error:
        raise TryFailed(f"No Docker engine answers. Start it, or name it in DOCKER_HOST. {error}") from None
    try:
        version = _output(["docker", "compose", "version", "--short"]).strip()
    except TryFailed:
        raise TryFailed(f"Docker has no plugin `compose`. {install}.") from None
    if compose_version(version) < LEAST_COMPOSE:
        least = ".".join(map(str, LEAST_COMPOSE))
        raise TryFailed(f"Compose {version} is too old; it must be {least} or later. {install}.")


def compose_version(text: str) -> tuple[int, ...]:
    """Major and minor number of a version as Compose prints it: `v2.40.3`, `2.24.0-desktop.1`."""
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


def _output(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise TryFailed(f"`{' '.join(command[:4])} …` ended with {done.returncode}: {' / '.join(said[-3:])}")
    return done.stdout


def _environment() -> dict[str, str]:
    """What the compose file wants to be told: a password for once, and few hours to look at."""
    start = datetime.now(UTC) - timedelta(days=2)
    return os.environ | {
        "DAGSTER_POSTGRES_PASSWORD": secrets.token_hex(16),
        "DATACO_PARTITIONS_START": f"{start:%Y-%m-%d}-00:00",
        "DATACO_CONNECT_URL": CONNECT_URL,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--file",
        type=Path,
        action="append",
        default=[],
        help="a further compose file, read last, for what this machine alone needs: a mirror, a proxy, a build network",
    )
    parser.add_argument("--no-build", action="store_true", help="use the images that were built before")
    parser.add_argument("--keep", action="store_true", help=f"leave the project {PROJECT} running in the end")
    return parser.parse_args()


def main() -> int:
    """Runs all steps; 1 if one of them failed."""
    arguments = _arguments()
    files = [FOLDER / "docker-compose.yaml", FOLDER / "compose.small.yaml", *arguments.file]
    trial = Trial(Compose(files, _environment()), {})
    try:
        require_engine()
        if not arguments.no_build:
            trial.build()
    except TryFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        _try(trial)
    except TryFailed as error:
        trial.tell()
        print(f"\n{error}", file=sys.stderr)
        return 1
    finally:
        if not arguments.keep:
            trial.remove()
    print("\nEverything came back by itself, and no click was lost.\n")
    for image, megabytes in trial.sizes():
        print(f"{image:<60}{megabytes:>7.0f} MB")
    for step, seconds in trial.seconds.items():
        print(f"{step:<60}{seconds:>7.0f} s")
    return 0


def _try(trial: Trial) -> None:
    trial.start()
    trial.send(seed=1)
    trial.arrive(CLICKS, "first clicks")
    trial.serves()
    trial.verify("first clicks")
    trial.kill_each()
    trial.send(seed=2)
    trial.arrive(2 * CLICKS, "clicks after the kills")
    trial.serves()
    trial.verify("clicks after the kills")
    trial.use("connect")
    trial.connect()
    trial.send(seed=3)
    trial.arrive(3 * CLICKS, "clicks by Kafka Connect")
    trial.stored_by_connect()
    trial.verify("clicks by Kafka Connect")
    # The connector stays: its tasks get the next clicks, too, and can move no offset.
    trial.use("drain")
    trial.send(seed=4)
    trial.arrive(4 * CLICKS, "clicks by the drain again")
    trial.verify("clicks by the drain again")


if __name__ == "__main__":
    sys.exit(main())
