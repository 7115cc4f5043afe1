"""Tests the rules of the stack without real servers: ports, folders, start order, and error messages."""

import json
import os
import signal
import socket
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

import local_stack
from local_stack import ports
from local_stack import stack as stack_module
from local_stack.cli import app
from local_stack.errors import NotReady, StackError
from local_stack.servers import Context, Launch, Server
from local_stack.servers.connect import CONNECT, PLUGINS_VARIABLE
from local_stack.servers.spark import CLUSTER
from local_stack.stack import Phase, Stack
from local_stack.state import FILE, Started, State

SLEEPS = "import time; time.sleep(300)"


@contextmanager
def _listener() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, 0))
        listener.listen()
        yield listener.getsockname()[1]


class Toys:
    """Fake servers, each a line of Python: they print, then sleep or fail; ready once `ready` has their name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ready: set[str] = set()
        self.started: list[str] = []

    def server(self, name: str, needs: tuple[str, ...] = (), code: str = SLEEPS, **more: Any) -> Server:
        def prepare(_context: Context) -> Launch:
            self.started.append(name)
            return Launch([sys.executable, "-c", code], {"SAID": "it's $HOME; 100%"})

        def probe(_context: Context, _started: float) -> None:
            if name not in self.ready:
                raise NotReady("it is a toy")

        return Server(name, {f"{name}.port": 0}, needs, lambda _folder: None, prepare, probe, 5, 5, **more)


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toys]:
    monkeypatch.setattr(stack_module, "DAGSTER_CONFIG", tmp_path / "dagster.yaml")
    (tmp_path / "dagster.yaml").write_text("")
    yield Toys(tmp_path / "stack")
    Stack(tmp_path / "stack").down(wipe=True)


def _use(monkeypatch: pytest.MonkeyPatch, *servers: Server) -> None:
    monkeypatch.setattr(stack_module, "ALL", servers)
    monkeypatch.setattr(stack_module, "_SERVERS", {server.name: server for server in servers})


def test_a_listening_port_is_taken_and_its_holder_named() -> None:
    with _listener() as port:
        assert not ports.is_free(port)
        assert ports.taken({"it": port}) == {"it": port}
        assert str(psutil.Process().pid) in ports.holder(port)
    assert ports.is_free(port)


def test_chosen_ports_differ_and_keep_clear_of_ephemeral_ones() -> None:
    names = [f"p{number}" for number in range(50)]
    chosen = ports.choose(names)
    assert list(chosen) == names
    assert len(set(chosen.values())) == 50
    assert all(port in ports.AUTO_RANGE for port in chosen.values())
    assert not set(ports.choose(names, avoid=chosen.values()).values()) & set(chosen.values())


def test_a_port_chosen_lately_is_not_chosen_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ports, "_CLAIMS", tmp_path / "claims")
    monkeypatch.setattr(ports, "AUTO_RANGE", range(29_000, 29_012))  # nothing listens on any of them yet
    names = ["a", "b", "c", "d"]
    first, second = ports.choose(names), ports.choose(names)
    assert not set(first.values()) & set(second.values())
    for port in first.values():
        os.utime(tmp_path / "claims" / str(port), (0, 0))
    third = ports.choose([*names, "e"])
    assert not set(second.values()) & set(third.values())
    assert set(first.values()) & set(third.values()), "who chose them long ago has begun to listen or never will"


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with _listener() as port:
        chosen = ports.choose([name for server in stack_module.ALL for name in server.ports])
        State(ports={**chosen, "kafka.broker": port}).save(tmp_path)
        with pytest.raises(StackError) as caught:
            Stack(tmp_path).up()
        message = str(caught.value)
    assert f"kafka: port {port}" in message
    assert str(psutil.Process().pid) in message
    assert "--ports auto" in message
    assert not (tmp_path / "conf").exists()
    assert not (tmp_path / "supervisord.pid").exists()


def test_auto_replaces_a_taken_port_and_keeps_the_others(
    toys: Toys, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _use(monkeypatch, toys.server("one"), toys.server("two"))
    toys.ready = {"one", "two"}
    folder = tmp_path / "stack"
    Stack(folder, "auto").up()
    before = State.load(folder).ports
    Stack(folder).down()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((ports.LOOPBACK, before["one.port"]))
        squatter.listen()
        with pytest.raises(StackError, match=r"one\.port"):
            Stack(folder).up()
        Stack(folder, "auto").up()
    after = State.load(folder).ports
    assert after["one.port"] != before["one.port"]
    assert after["two.port"] == before["two.port"]


def test_a_failure_names_server_log_and_error_and_spares_the_independent(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "print('fine'); print('ERROR the disk is on fire'); print('bye'); raise SystemExit(7)"
    servers = (
        toys.server("good"),
        toys.server("broken", code=broken),
        toys.server("needy", ("broken",)),
        toys.server("needier", ("needy",)),
    )
    _use(monkeypatch, *servers)
    toys.ready = {"good", "needy", "needier"}
    told: list[tuple[str, Phase]] = []
    own = Stack(toys.folder, "auto")
    with pytest.raises(StackError) as caught:
        own.up(report=lambda name, phase, _detail: told.append((name, phase)))
    message = str(caught.value)
    assert "broken" in message
    assert str(own.log("broken")) in message
    assert "the disk is on fire" in message
    assert "needy" not in message  # it did not fail
    assert {name for name, phase in told if phase is Phase.FAILED} == {"broken", "needy", "needier"}
    assert sorted(set(toys.started)) == ["broken", "good"]
    assert own.pid("good") > 0


def test_a_server_that_does_not_answer_is_told_with_the_reason(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, toys.server("mute"))
    own = Stack(toys.folder, "auto")
    toys.ready = {"mute"}
    own.up()
    toys.ready = set()
    with pytest.raises(StackError, match="mute runs but does not answer after 0 s: it is a toy"):
        own.wait_ready("mute", timeout=0)


def test_servers_start_only_after_those_they_need(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, toys.server("last", ("middle",)), toys.server("middle", ("first",)), toys.server("first"))
    toys.ready = {"first", "middle", "last"}
    Stack(toys.folder, "auto").up(only=["last"])
    assert toys.started == ["first", "middle", "last"]


def test_up_restarts_only_what_was_killed_and_down_leaves_nothing(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, toys.server("one"), toys.server("two"))
    toys.ready = {"one", "two"}
    own = Stack(toys.folder, "auto")
    own.up()
    one, two = own.pid("one"), own.pid("two")
    own.kill("one", signal.SIGKILL)
    assert [(status.name, status.running) for status in own.status()] == [("one", False), ("two", True)]
    own.up()
    assert own.pid("one") != one
    assert own.pid("two") == two
    mine = [own.pid("one"), two]
    Stack(toys.folder).down()
    assert not any(psutil.pid_exists(pid) for pid in mine)


def test_an_optional_server_belongs_to_the_stack_once_it_was_asked_for(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, spare = toys.server("usual"), toys.server("spare", ("usual",))
    _use(monkeypatch, usual)
    monkeypatch.setattr(stack_module, "OPTIONAL", (spare,))
    monkeypatch.setattr(stack_module, "_SERVERS", {"usual": usual, "spare": spare})
    toys.ready = {"usual", "spare"}
    own = Stack(toys.folder, "auto")
    own.up()
    assert [status.name for status in own.status()] == ["usual"]
    own.up(extra=["spare"])
    assert [(status.name, status.running) for status in own.status()] == [("usual", True), ("spare", True)]
    own.stop("spare")
    own.up()
    assert toys.started == ["usual", "spare", "spare"]


def test_kafka_connect_is_asked_for_by_with_and_needs_the_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(_stack: Stack, *, extra: list[str], **_: object) -> None:
        assert extra == [CONNECT.name]
        CONNECT.fetch(tmp_path)

    monkeypatch.setattr(Stack, "up", fetch)
    monkeypatch.setenv(PLUGINS_VARIABLE, str(tmp_path / "none"))
    refused = CliRunner().invoke(app, ["up", "--with", "connect", "--dir", str(tmp_path / "stack")])
    assert refused.exit_code == 1
    assert "`make connect` builds the sink" in refused.stderr
    servers = (*stack_module.ALL, CONNECT)
    State(ports=ports.choose([name for server in servers for name in server.ports])).save(tmp_path)
    made = Stack(tmp_path)
    assert made.env()["DATACO_CONNECT_URL"] == f"http://127.0.0.1:{made.port('connect.rest')}"


def test_a_spark_cluster_is_asked_for_by_with_and_named_to_the_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(Stack, "up", lambda _stack, *, extra, **_: asked.extend(extra))
    assert CliRunner().invoke(app, ["up", "--with", "spark", "--dir", str(tmp_path / "stack")]).exit_code == 0
    assert asked == ["spark", "spark-worker-1", "spark-worker-2"]
    servers = (*stack_module.ALL, *CLUSTER)
    State(ports=ports.choose([name for server in servers for name in server.ports])).save(tmp_path)
    made = Stack(tmp_path)
    assert made.env()["DATACO_SPARK_MASTER"] == f"spark://127.0.0.1:{made.port('spark.master')}"
    assert json.loads(made.env()["DATACO_SPARK_CONF"])["spark.cores.max"] == "2"


def test_the_package_has_every_folder_of_servers() -> None:
    folder = Path(local_stack.__file__).parent
    packages = tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {file.parent.relative_to(folder.parent) for file in folder.rglob("__init__.py")}
    assert sorted(packages) == sorted(".".join(each.parts) for each in found)


def test_a_process_that_outlived_its_use_is_reported_and_restarted(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, toys.server("hollow"), toys.server("sound"))
    monkeypatch.setattr(stack_module, "_RECOVERY_SECONDS", 0.5)
    toys.ready = {"hollow", "sound"}
    own = Stack(toys.folder, "auto")
    own.up()
    hollow, sound = own.pid("hollow"), own.pid("sound")
    toys.ready = {"sound"}
    broken, fine = own.status()
    assert (broken.state, broken.problem, broken.running, broken.ready) == ("not answering", "it is a toy", True, False)
    assert (fine.state, fine.ready) == ("running", True)
    seen = CliRunner().invoke(app, ["status", "--dir", str(toys.folder)])
    assert seen.exit_code == 1
    assert "hollow runs but does not answer: it is a toy" in seen.stderr
    header, *lines = (line.split("\t") for line in seen.stdout.splitlines())
    assert header[:2] == ["server", "state"]
    assert [line[:2] for line in lines] == [["hollow", "not answering"], ["sound", "running"]]
    document = json.loads(CliRunner().invoke(app, ["status", "--json", "--dir", str(toys.folder)]).stdout)
    assert not document["ok"]
    assert [(server["name"], server["error"]) for server in document["servers"]] == [
        ("hollow", "it is a toy"),
        ("sound", None),
    ]
    restarted: list[int] = []

    def when_restarted(name: str, phase: Phase, _detail: str) -> None:
        if name == "hollow" and phase is Phase.STARTING and own.pid("hollow") not in (hollow, *restarted):
            restarted.append(own.pid("hollow"))
            toys.ready.add("hollow")

    Stack(toys.folder).up(report=when_restarted)
    assert restarted == [own.pid("hollow")]
    assert own.pid("sound") == sound


def test_one_server_can_be_stopped_and_is_up_again_by_the_command_that_the_output_names(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    _use(monkeypatch, toys.server("kafka"), toys.server("thrift"))
    toys.ready = {"kafka", "thrift"}
    own = Stack(toys.folder, "auto")
    own.up()
    first_hour = State.load(toys.folder).first_hour
    age = datetime.now(UTC) - datetime.strptime(first_hour, "%Y-%m-%d-%H:%M").replace(tzinfo=UTC)
    assert timedelta(days=4) <= age < timedelta(days=5, minutes=1)
    seen = CliRunner().invoke(app, ["stop", "kafka", "--dir", str(toys.folder)])
    assert seen.exit_code == 0
    assert "dataco stack up --only kafka" in seen.stdout
    assert [status.running for status in own.status()] == [False, True]
    assert CliRunner().invoke(app, ["up", "--only", "kafka", "--dir", str(toys.folder)]).exit_code == 0
    assert all(status.ready for status in own.status())
    assert State.load(toys.folder).first_hour == first_hour, "it is that of the first time, not of the last"


def test_a_server_that_does_not_survive_a_restart_of_another_is_restarted_after_it(
    toys: Toys, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = toys.server("disk")
    frail, robust = toys.server("frail", ("disk",), restarts_with=("disk",)), toys.server("robust", ("disk",))
    _use(monkeypatch, disk, frail, robust)
    toys.ready = {"disk", "frail", "robust"}
    own = Stack(toys.folder, "auto")
    own.up()
    before = {name: own.pid(name) for name in ("disk", "frail", "robust")}
    own.up()
    assert {name: own.pid(name) for name in before} == before
    own.kill("disk", signal.SIGKILL)
    own.start("disk")  # as a fault test does, without `up` noticing
    own.up()
    assert own.pid("frail") != before["frail"]
    assert own.pid("robust") == before["robust"]


def test_servers_that_outlived_their_supervisor_are_replaced(toys: Toys, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, toys.server("one"))
    toys.ready = {"one"}
    first = Stack(toys.folder, "auto")
    first.up()
    orphan = psutil.Process(first.pid("one"))
    supervisor = State.load(toys.folder).supervisor
    assert supervisor is not None
    process = psutil.Process(supervisor.pid)
    process.kill()
    psutil.wait_procs([process], timeout=10)
    second = Stack(toys.folder)
    second.up()
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert second.pid("one") != orphan.pid


def test_a_long_folder_name_still_gets_a_socket_and_the_environment_survives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / ("long; 100% name's " * 8)
    monkeypatch.setattr(stack_module, "DAGSTER_CONFIG", Path(__file__))
    toys = Toys(folder)
    code = "import os, time; print('ERROR', os.environ['SAID'], flush=True); time.sleep(300)"
    _use(monkeypatch, toys.server("one", code=code))
    own = Stack(folder, "auto")
    try:
        with pytest.raises(StackError, match=r"ERROR it's \$HOME; 100%"):  # not ready, so its log is named
            own.up()
        temporary = Path(State.load(folder).socket)
        assert temporary.exists()
    finally:
        own.down(wipe=True)
    assert not temporary.parent.exists()
    assert not folder.exists()


def test_a_folder_of_someone_else_is_neither_used_nor_wiped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch)  # no servers: a failure of this test must not start real ones
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "thesis.tex").write_text("years of work")
    with pytest.raises(StackError, match="is not a stack, but holds data"):
        Stack(tmp_path).up()
    Stack(tmp_path).down(wipe=True)
    assert (tmp_path / "data" / "thesis.tex").exists()


def test_two_commands_at_once_are_refused(tmp_path: Path) -> None:
    one, two = Stack(tmp_path), Stack(tmp_path)
    with one._locked(), pytest.raises(StackError, match="Another command"), two._locked():
        pass


def test_state_survives_and_a_recycled_pid_is_nobody(tmp_path: Path) -> None:
    own = psutil.Process()
    state = State({"a.b": 1}, Started(own.pid, own.create_time()), "/s", {"a": Started(own.pid, 12.0)})
    state.save(tmp_path)
    again = State.load(tmp_path)
    assert again == state
    assert again.supervisor is not None
    assert again.supervisor.alive() == own
    assert again.servers["a"].alive() is None
    assert Started.of(2**22 + 1) is None


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 99}', json.dumps({"format": 1, "ports": {"a": "x"}})])
def test_a_damaged_state_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StackError, match=r"state\.json"):
        State.load(tmp_path)


def test_command_line_env_is_shell_safe_and_exit_codes_report_failures(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    runner = CliRunner()
    before = runner.invoke(app, ["env", "--dir", str(folder)])
    assert before.exit_code == 1
    assert before.stderr.startswith("Error: There is no stack in ")
    folder.mkdir()
    State(ports=ports.choose([name for server in stack_module.ALL for name in server.ports])).save(folder)
    exports = runner.invoke(app, ["env", "--dir", str(folder)])
    assert exports.exit_code == 0
    quoted = "'\"'\"'"
    assert f"export DAGSTER_HOME='{tmp_path}/it{quoted}s here/dagster'" in exports.stdout
    assert "DATACO_PARTITIONS_START" not in exports.stdout, "it was made before its first hour was recorded"
    State(ports=State.load(folder).ports, first_hour="2026-01-27-00:00").save(folder)
    exports = runner.invoke(app, ["env", "--dir", str(folder)])
    assert "export DATACO_PARTITIONS_START=2026-01-27-00:00\n" in exports.stdout
    as_json = json.loads(runner.invoke(app, ["env", "--json", "--dir", str(folder)]).stdout)
    assert as_json["DAGSTER_HOME"] == f"{folder}/dagster"
    assert runner.invoke(app, ["status", "--dir", str(folder)]).exit_code == 1
    assert runner.invoke(app, ["logs", "kafka", "--dir", str(folder)]).exit_code == 1
