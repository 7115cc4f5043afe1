"""Tests the script of `make images` without a container engine: what it takes for well, and what it says."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from dataco_assets.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
SCRIPT = DOCKER / "try_images.py"

FAKE_DOCKER = """#!{python}
# Docker with one container for each service, which is started again whenever its process is killed.
import json, pathlib, sys
state_file, arguments = pathlib.Path({state!r}), sys.argv[1:]
state = json.loads(state_file.read_text())
if arguments[0] == "compose" and arguments[-3:] == ["ps", "--all", "--quiet"]:
    print(*state, sep="\\n")
elif arguments[0] == "inspect" and "--format" in arguments:
    print("sha256:image")
elif arguments[0] == "inspect":
    print(json.dumps([state[name] for name in arguments[1:]]))
elif arguments[0] == "run":
    pid = int(arguments[-1].removeprefix("kill -9 "))
    (killed,) = (container for container in state.values() if container["State"]["Pid"] == pid)
    killed["State"] |= {{"Pid": pid + 1000, "StartedAt": killed["State"]["StartedAt"] + "+"}}
    state_file.write_text(json.dumps(state))
else:
    sys.exit(f"unexpected: {{arguments}}")
"""

FAKE_CONNECT = """#!{python}
# Docker with a platform whose worker takes a connector, and runs its task, at the second attempt.
import json, pathlib, sys
log = pathlib.Path({log!r})
command = sys.argv[sys.argv.index("-T") + 2 :]
log.open("a").write(json.dumps(command) + "\\n")
times = [json.loads(line) for line in log.read_text().splitlines()].count(command)
if command[0] == "python":
    sys.exit("409: rebalancing" if times == 1 else 0)
elif command[:3] == ["dataco", "ingest", "use"]:
    print("Topic clicks is ingested by", command[3])
elif command == ["dataco", "ingest", "status", "--json"]:
    if times == 1:
        sys.exit("no worker answers")
    states = ["UNASSIGNED" if times == 2 else "RUNNING"]
    connector = None if times == 3 else {{"tasks": [{{"state": each}} for each in states]}}
    print(json.dumps({{"mode": "connect", "waiting": 7 if times < 6 else 0, "connector": connector}}))
else:
    sys.exit(f"unexpected: {{command}}")
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module; `docker/` is no package."""
    spec = importlib.util.spec_from_file_location("try_images", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def inspected(service: str, pid: int = 7, **state: object) -> dict[str, Any]:
    """What `docker inspect` says of a container."""
    running = {"Pid": pid, "StartedAt": "2026-01-01", "Running": True, "Restarting": False, "ExitCode": 0}
    labels = {"com.docker.compose.service": service}
    return {"Id": f"id-{service}", "Config": {"Labels": labels}, "State": running | state}


@pytest.mark.parametrize(
    ("service", "state", "well"),
    [
        ("kafka", {"Health": {"Status": "healthy"}}, True),
        ("kafka", {"Health": {"Status": "starting"}}, False),
        ("kafka", {"Health": {"Status": "unhealthy"}}, False),
        ("live", {}, True),
        ("live", {"Restarting": True}, False),
        ("live", {"Running": False}, False),
        ("setup", {}, False),
        ("setup", {"Running": False}, True),
        ("setup", {"Running": False, "ExitCode": 1}, False),
    ],
)
def test_what_counts_as_well(script: ModuleType, service: str, state: dict[str, Any], well: bool) -> None:
    assert script.Container.of(inspected(service, **state)).well is well


@pytest.mark.parametrize(
    ("text", "version"), [("v2.40.3", (2, 40)), ("2.24.0-desktop.1", (2, 24)), ("1.29.2", (1, 29)), ("dev", ())]
)
def test_the_version_of_compose(script: ModuleType, text: str, version: tuple[int, ...]) -> None:
    assert script.compose_version(text) == version
    assert (version >= script.LEAST_COMPOSE) == (version[:1] == (2,))


def test_each_container_but_the_set_ups_is_killed_once(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    containers = [inspected("kafka", 1), inspected("dataco", 2), inspected("setup", 0, Running=False)]
    state = tmp_path / "state.json"
    state.write_text(json.dumps({container["Id"]: container for container in containers}))
    _install_docker(tmp_path, FAKE_DOCKER.format(python=sys.executable, state=str(state)), monkeypatch)
    trial = script.Trial(script.Compose([], dict(os.environ)), {})

    trial.kill_each()

    after = {name: container["State"]["Pid"] for name, container in json.loads(state.read_text()).items()}
    assert after == {"id-kafka": 1001, "id-dataco": 1002, "id-setup": 0}
    assert list(trial.seconds) == ["dataco killed, all well again", "kafka killed, all well again"]


def test_the_topic_is_given_to_kafka_connect_and_the_connector_created_in_spite_of_first_failures(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "commands"
    _install_docker(tmp_path, FAKE_CONNECT.format(python=sys.executable, log=str(log)), monkeypatch)
    monkeypatch.setattr(script, "_POLL_SECONDS", 0)
    monkeypatch.setattr(script, "RECOVERY_SECONDS", 30)
    trial = script.Trial(script.Compose([], os.environ | {"DATACO_PARTITIONS_START": "2026-11-26-00:00"}), {})

    trial.use("connect")
    trial.connect()
    asked = len(log.read_text().splitlines())
    trial.stored_by_connect()

    commands = [json.loads(line) for line in log.read_text().splitlines()]
    assert commands[0] == ["dataco", "ingest", "use", "connect"]
    put = next(command for command in commands if command[0] == "python")
    assert commands.count(put) == 2
    compile(put[2], "put", "exec")
    assert put[3] == "http://connect:8083/connectors/dataco-clicks/config"
    assert json.loads(put[4])["connector.class"] == "dataco.connect.ClickSinkConnector"
    assert json.loads(put[4])["partitions.start"] == "2026-11-26-00:00"
    assert asked == 1 + 2 + 4, "until its task runs"
    assert len(commands) == asked + 2, "until no click waits"


def test_the_connector_finds_the_servers_of_the_compose_file(script: ModuleType) -> None:
    compose = yaml.safe_load((DOCKER / "docker-compose.yaml").read_text())
    connector = json.loads(script.CONNECTOR.read_text())
    platform = compose["services"]["dataco"]["environment"]
    assert connector["kafka.bootstrap.servers"] == platform["DATACO_KAFKA_BOOTSTRAP_SERVERS"]
    assert connector["hbase.zookeeper.quorum"] == platform["DATACO_HBASE_ZOOKEEPER_QUORUM"]
    assert f"http://{compose['services']['connect']['hostname']}:8083" == script.CONNECT_URL
    assert Settings.model_fields["connect_connector"].default == script.CONNECTOR_NAME
    assert Settings.model_fields["clicks_topic"].default == connector["topics"]


def test_without_docker_it_says_what_to_install(tmp_path: Path) -> None:
    done = _run(path=str(tmp_path))
    assert done.returncode == 1
    assert "There is no command `docker`. Install Docker Engine" in done.stderr


def test_without_an_engine_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install_docker(tmp_path, "#!/bin/sh\necho 'Cannot connect to the daemon' >&2\nexit 1\n", monkeypatch)
    done = _run(path=os.environ["PATH"])
    assert done.returncode == 1
    assert "No Docker engine answers. Start it, or name it in DOCKER_HOST." in done.stderr
    assert "Cannot connect to the daemon" in done.stderr


def test_the_small_variant_changes_memory_and_publishes_nothing() -> None:
    """A service or a variable that the compose file does not have would be created, and change nothing."""
    services = yaml.safe_load((DOCKER / "docker-compose.yaml").read_text())["services"]
    small = yaml.load((DOCKER / "compose.small.yaml").read_text(), _WithReset)["services"]  # noqa: S506  # a SafeLoader
    published = {name for name, service in services.items() if "ports" in service}
    assert {name for name, service in small.items() if service.get("ports") == []} == published
    memory = {"HEAP", "KAFKA_HEAP_OPTS", "ES_JAVA_OPTS", "DATACO_SPARK_DRIVER_MEMORY", "DATACO_SPARK_MASTER"}
    for name, service in small.items():
        assert name in services
        assert set(service) <= {"environment", "ports"}
        assert set(service.get("environment", ())) <= memory


class _WithReset(yaml.SafeLoader):
    """Reads a compose file in which lists may be `!reset`: without what the files before said."""


_WithReset.add_constructor("!reset", lambda *_: [])


def _install_docker(folder: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    docker = folder / "docker"
    docker.write_text(program)
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def _run(path: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT)]
    return subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False, timeout=60
    )
