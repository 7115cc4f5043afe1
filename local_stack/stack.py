"""A stack: starts its servers in the order of their dependencies, watches them, and stops them.

The Python interface of the local servers, for tests and the command line.
"""

import fcntl
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal

import psutil

from local_stack import java, ports
from local_stack.errors import NotReady, StackError
from local_stack.servers import ALL, OPTIONAL, Context, Server
from local_stack.servers.spark import driver_options
from local_stack.state import FILE, Started, State
from local_stack.supervise import Process, Supervisor, end
from local_stack.text import last_error_line

PortChoice = Literal["auto", "default"]

DAGSTER_CONFIG = Path(__file__).with_name("dagster.yaml")
_FOLDERS = ("data", "logs", "conf")  # folders `down --wipe` removes, beside the Dagster instance
_LOCK = "lock"
_PROBE_PAUSE_SECONDS = 0.25
_RECOVERY_SECONDS = 60.0
"""How long `up` waits for a server that has answered before and now does not, until it restarts the server."""
_BEFORE_FIRST_UP = timedelta(days=4)
"""How far the first hour lies before the first start of a stack: covers the 84 hours of the demo's real log."""
_SERVERS = {server.name: server for server in (*ALL, *OPTIONAL)}


class Phase(StrEnum):
    """The phases of bringing a server up."""

    FETCHING = "fetching"
    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


Report = Callable[[str, Phase, str], None]
"""Called with a server's name, its phase and a detail for people, from several threads."""


class _NeedFailed(StackError):
    """A server was not started because one it needs failed; the error of that one is reported."""


@dataclass(frozen=True)
class Status:
    """The state of one server right now.

    Attributes:
        name: The server.
        state: `running`, `not answering`, `stopped`, or how the process ended.
        pid: Its process; 0 when it does not run.
        ports: The ports it listens on.
        memory_bytes: Resident memory, including its launcher's.
        uptime_seconds: Seconds since its process started.
        log: Its log file.
        problem: What is missing while it runs but does not answer, such as HBase without a region server.
    """

    name: str
    state: str
    pid: int
    ports: tuple[int, ...]
    memory_bytes: int
    uptime_seconds: float
    log: Path
    problem: str = ""

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self.pid != 0

    @property
    def ready(self) -> bool:
        """Whether it answers real requests."""
        return self.running and not self.problem


def _quiet(_name: str, _phase: Phase, _detail: str) -> None:
    pass


class Stack:
    """The servers whose data is in one folder."""

    def __init__(self, folder: Path | str, ports: PortChoice | None = None, *, short_lived: bool = False) -> None:
        """Describes a stack; touches nothing.

        Args:
            folder: where its data, logs, configuration and state live.
            ports: `auto` for free ports, `default` for the well-known ones; None: the same as last time, at first the
                well-known ones. Chosen ports stay the same across restarts, except that `auto` replaces those that
                another process has taken in the meantime.
            short_lived: the servers that it starts run for minutes only; see `Context`.
        """
        self.folder = Path(folder).resolve()
        self._choice: PortChoice | None = ports
        self._short_lived = short_lived
        self._mutex = threading.Lock()
        self._log_starts: dict[str, int] = {}

    # Facts

    @cached_property
    def _state(self) -> State:
        return State.load(self.folder)

    @cached_property
    def _supervisor(self) -> Supervisor:
        return Supervisor(self.folder, self._state)

    @cached_property
    def _java(self) -> Path:
        return java.checked_java()

    def _members(self) -> list[Server]:
        """The servers that this stack has: all but the optional ones that it was never asked for."""
        return [*ALL, *(server for server in OPTIONAL if all(name in self._state.ports for name in server.ports))]

    def _context(self) -> Context:
        return Context(self.folder, self._state.ports, self._java, self._short_lived)

    def log(self, name: str) -> Path:
        """A server's log file."""
        return self.folder / "logs" / f"{_server(name).name}.log"

    def port(self, name: str) -> int:
        """A port by its name, like `kafka.broker`.

        Raises:
            StackError: there is none of this name, or the stack was never up.
        """
        try:
            return self._state.ports[name]
        except KeyError:
            known = ", ".join(self._state.ports) or "none yet: bring the stack up"
            raise StackError(f"There is no port {name!r} (there is {known}).") from None

    def env(self) -> dict[str, str]:
        """The endpoints, as the environment variables the platform reads.

        Raises:
            StackError: the stack was never up, so it has no endpoints yet.
        """
        ports_of = self._state.ports
        if not ports_of:
            raise StackError(f"There is no stack in {self.folder} yet. Bring it up first: dataco stack up")
        host = ports.LOOPBACK
        connect = (
            {"DATACO_CONNECT_URL": f"http://{host}:{ports_of['connect.rest']}"} if "connect.rest" in ports_of else {}
        )
        spark = driver_options(f"{host}:{ports_of['spark.master']}") if "spark.master" in ports_of else {}
        return {
            "DATACO_KAFKA_BOOTSTRAP_SERVERS": f"{host}:{ports_of['kafka.broker']}",
            "DATACO_HBASE_THRIFT_HOST": host,
            "DATACO_HBASE_THRIFT_PORT": str(ports_of["thrift.rpc"]),
            "DATACO_HBASE_ZOOKEEPER_QUORUM": f"{host}:{ports_of['hbase.zookeeper']}",
            "DATACO_ELASTICSEARCH_URL": f"http://{host}:{ports_of['elasticsearch.http']}",
            "DATACO_INDEX_REPLICAS": "0",
            "DATACO_AGGREGATES_URI": (self.folder / "data" / "aggregates").as_uri(),
            "DAGSTER_HOME": str(self.folder / "dagster"),
            "STACK_HDFS_URI": f"hdfs://{host}:{ports_of['namenode.rpc']}",
            **connect,
            **spark,
        }

    def settings(self) -> dict[str, str]:
        """What `dataco stack env` prints: the endpoints, and the first hour that the platform shows.

        Dagster counts every hour since the first one as a partition. On a stack made today, nearly all of those since
        the platform's default would be empty.

        Raises:
            StackError: the stack was never up, so it has no endpoints yet.
        """
        first_hour = self._state.first_hour
        return self.env() | ({"DATACO_PARTITIONS_START": first_hour} if first_hour else {})

    # Up and down

    def up(self, only: Collection[str] | None = None, report: Report = _quiet, *, extra: Collection[str] = ()) -> None:
        """Starts the servers that do not run, with the data of last time, and returns when every server answers.

        Args:
            only: these servers and those they depend on; None: all.
            report: Called for each step.
            extra: Optional servers to start, too; the stack has them from then on.

        Raises:
            StackError: something is missing (reported before anything starts), or a server did not come up; the message
                names it, its log and its last error line. Servers that did come up stay up.
        """
        wanted = self._members() if only is None else [_server(name) for name in only]
        chosen = _with_needs([*wanted, *(_server(name) for name in extra)])
        with self._locked():
            if not self._supervisor.running():
                self._end_orphans()
            _ = self._java
            self._settle_ports(chosen)
            for server in chosen:
                report(server.name, Phase.FETCHING, "")
                server.fetch(self.folder)
            self._make_folders()
            if not self._supervisor.running():
                self._supervisor.launch(list(_SERVERS), {s.name: s.stop_seconds for s in _SERVERS.values()})
                self._save()
            self._bring_up(chosen, report)

    def _bring_up(self, chosen: list[Server], report: Report) -> None:
        done: dict[str, Future[None]] = {}

        def bring(server: Server) -> None:
            report(server.name, Phase.WAITING, ", ".join(server.needs))
            for need in server.needs:
                if done[need].exception() is not None:
                    report(server.name, Phase.FAILED, f"needs {need}")
                    raise _NeedFailed(need)
            try:
                self._bring_one(server, report)
            except StackError as error:
                report(server.name, Phase.FAILED, str(error))
                raise

        with ThreadPoolExecutor(max_workers=len(chosen)) as pool:
            for server in chosen:  # in the order of their dependencies, so that each finds those it waits for
                done[server.name] = pool.submit(bring, server)
        errors = [error for future in done.values() if (error := future.exception()) is not None]
        for error in errors:
            if not isinstance(error, StackError):
                raise error
        messages = [str(error) for error in errors if not isinstance(error, _NeedFailed)]
        if messages:
            raise StackError("\n".join(messages))

    def _bring_one(self, server: Server, report: Report) -> None:
        ran_before = self._supervisor.process(server.name).running
        report(server.name, Phase.STARTING, "")
        began = time.monotonic()
        if self._is_stale(server) or not self._recovers(server, report):
            self.stop(server.name)
        self.start(server.name)
        try:
            self.wait_ready(server.name, report=report)
        except StackError:
            # It was crashing because a server it needs was gone, which is now up again: start it once more.
            if not ran_before or self._supervisor.process(server.name).running:
                raise
            self.start(server.name)
            self.wait_ready(server.name, report=report)
        report(server.name, Phase.READY, f"{time.monotonic() - began:.0f} s")

    def _recovers(self, server: Server, report: Report) -> bool:
        """Whether a server that ran before answers again; False when it has to be restarted.

        A process can run without being of use: HBase's keeps running after its region server has aborted.
        """
        started = self._state.servers.get(server.name)
        if started is None or not started.answered or not self._supervisor.process(server.name).running:
            return True  # not started yet, or still starting: `wait_ready` allows it the time
        try:
            self.wait_ready(server.name, _RECOVERY_SECONDS, report)
        except StackError:
            return not self._supervisor.process(server.name).running
        return True

    def _is_stale(self, server: Server) -> bool:
        """Whether it was started before a server whose restart it does not survive."""
        process = self._supervisor.process(server.name)
        if not process.running:
            return False
        since = _created(process)
        others = [self._supervisor.process(name) for name in server.restarts_with]
        return any(other.running and _created(other) > since for other in others)

    def down(self, wipe: bool = False) -> None:
        """Stops the servers that `up` started, and nothing else.

        Args:
            wipe: also removes the stack's data, logs, configuration and state.

        Raises:
            StackError: another command is using this stack, or a server cannot be stopped.
        """
        if not (self.folder / FILE).is_file():
            return  # never up: there is nothing to stop or to remove
        with self._locked():
            if self._supervisor.running():
                self._stop_all()
                self._supervisor.shut_down(seconds=30)
            self._end_orphans()
            self._state.servers.clear()
            self._save()
            if wipe:
                self._wipe()

    def _stop_all(self) -> None:
        gone: dict[str, Future[None]] = {}
        members = self._members()

        def halt(server: Server) -> None:
            for user in members:
                if server.name in user.needs:
                    gone[user.name].exception()  # only waits; this one is stopped even if that failed
            self._supervisor.stop(server.name, server.stop_seconds)

        with ThreadPoolExecutor(max_workers=len(members)) as pool:
            for server in reversed(_with_needs(members)):
                gone[server.name] = pool.submit(halt, server)
        for future in gone.values():
            future.result()

    def _wipe(self) -> None:
        for name in (*_FOLDERS, "dagster"):
            shutil.rmtree(self.folder / name, ignore_errors=False) if (self.folder / name).exists() else None
        for name in (FILE, "supervisord.pid", _LOCK):
            (self.folder / name).unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()
        vars(self).pop("_state", None)
        vars(self).pop("_supervisor", None)

    # One server

    def start(self, name: str) -> int:
        """Starts a server of a stack that is up, unless it runs, and returns its pid; does not wait until it is ready.

        Raises:
            StackError: the stack is not up, or the server cannot be started.
        """
        server = _server(name)
        if not self._supervisor.running():
            raise StackError(f"The stack in {self.folder} is not up. Bring it up first: dataco stack up")
        process = self._supervisor.process(name)
        if process.running:
            return process.pid
        launch = server.prepare(self._context())
        log = self.log(name)
        self._log_starts[name] = log.stat().st_size if log.exists() else 0
        pid = self._supervisor.start(name, launch)
        started = Started.of(pid)
        if started is not None:
            with self._mutex:
                self._state.servers[name] = started
                self._state.save(self.folder)
        return pid

    def stop(self, name: str) -> None:
        """Stops a server as `down` would, and returns when it is gone."""
        server = _server(name)
        if self._supervisor.running():
            self._supervisor.stop(name, server.stop_seconds)

    def pid(self, name: str) -> int:
        """The pid of the server itself, not of a launcher.

        Raises:
            StackError: it does not run.
        """
        server = _server(name)
        found = self._supervisor.process(name).pid
        if found == 0:
            raise StackError(f"{name} does not run. Its log: {self.log(name)}")
        if server.has_launcher:
            try:
                children = psutil.Process(found).children()
            except psutil.NoSuchProcess:
                children = []
            return children[0].pid if children else found
        return found

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to a server; after SIGKILL, returns when it is gone.

        Raises:
            StackError: it does not run.
        """
        started = self._supervisor.process(name).pid
        process = psutil.Process(self.pid(name))
        process.send_signal(number)
        if number == signal.SIGKILL:
            deadline = time.monotonic() + 30
            while self._supervisor.process(name).pid == started and time.monotonic() < deadline:
                time.sleep(0.05)

    def wait_ready(self, name: str, timeout: float | None = None, report: Report = _quiet) -> None:
        """Returns when a server answers real requests.

        Args:
            name: the server.
            timeout: seconds; None: the longest time that this server is known to take.
            report: Called with the reason why it is not ready yet.

        Raises:
            StackError: it ended, or did not answer in time; with its log and last error line.
        """
        server = _server(name)
        seconds = server.ready_seconds if timeout is None else timeout
        deadline = time.monotonic() + seconds
        while True:
            process = self._supervisor.process(name)
            if not process.running:
                raise StackError(self._explain(name, f"is not running ({process.exit or process.state.lower()})"))
            try:
                server.probe(self._context(), _created(process))
            except NotReady as reason:
                if time.monotonic() >= deadline:
                    raise StackError(
                        self._explain(name, f"runs but does not answer after {seconds:.0f} s: {reason}")
                    ) from reason
                report(name, Phase.STARTING, str(reason))
                time.sleep(_PROBE_PAUSE_SECONDS)
            else:
                self._note_answer(name, process)
                return

    def _note_answer(self, name: str, process: Process) -> None:
        with self._mutex:
            started = self._state.servers.get(name)
            if started is not None and started.pid == process.pid and not started.answered:
                self._state.servers[name] = replace(started, answered=True)
                self._state.save(self.folder)

    def status(self) -> list[Status]:
        """The state of every server; each one that runs is sent a real request."""
        members = self._members()
        with ThreadPoolExecutor(max_workers=len(members)) as pool:
            return list(pool.map(self._status, members))

    def _status(self, server: Server) -> Status:
        up = (self.folder / FILE).is_file() and self._supervisor.running()
        process = self._supervisor.process(server.name) if up else Process("STOPPED", 0, "")
        memory, uptime, pid = 0, 0.0, 0
        if process.running:
            try:
                pid = self.pid(server.name)
                family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                memory = sum(member.memory_info().rss for member in family)
                uptime = time.time() - family[0].create_time()
            except (psutil.NoSuchProcess, StackError):
                pid = 0
        problem = self._problem(server, process) if pid else ""
        state = ("not answering" if problem else "running") if pid else process.exit or process.state.lower()
        listens = tuple(self._state.ports[name] for name in server.ports if name in self._state.ports)
        return Status(server.name, state, pid, listens, memory, uptime, self.log(server.name), problem)

    def _problem(self, server: Server, process: Process) -> str:
        try:
            server.probe(self._context(), _created(process))
        except NotReady as reason:
            return str(reason)
        return ""

    # Internals

    def _explain(self, name: str, what: str) -> str:
        log = self.log(name)
        line = last_error_line(log, self._log_starts.get(name, 0))
        return f"{name} {what}.\n  log: {log}\n  last error: {line}"

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._refuse_foreign_folder()
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"Another command is using the stack in {self.folder}; wait for it.") from None
            yield

    def _refuse_foreign_folder(self) -> None:
        foreign = [name for name in _FOLDERS if (self.folder / name).exists()]
        if foreign and not (self.folder / FILE).is_file():
            raise StackError(
                f"{self.folder} is not a stack, but holds {', '.join(foreign)}. Choose an empty folder with --dir."
            )

    def _settle_ports(self, chosen: list[Server]) -> None:
        known = self._state.ports
        if not known:
            self._state.first_hour = f"{datetime.now(UTC) - _BEFORE_FIRST_UP:%Y-%m-%d}-00:00"
        members = {server.name: server for server in (*self._members(), *chosen)}.values()
        standard = {name: port for server in members for name, port in server.ports.items()}
        running = [server for server in members if self._supervisor.process(server.name).running]
        if self._choice == "default" and not running:
            known.clear()
        missing = [name for name in standard if name not in known]
        if self._choice == "auto":
            known.update(ports.choose(missing, avoid=known.values()))
        else:
            known.update({name: standard[name] for name in missing})
        idle = [name for server in chosen if server not in running for name in server.ports]
        taken = ports.taken({name: known[name] for name in idle})
        if taken and self._choice == "auto" and not running:
            known.update(ports.choose(taken, avoid=known.values()))
        elif taken:
            raise StackError(_taken_message(taken))
        self._save()

    def _make_folders(self) -> None:
        for name in (*_FOLDERS, "dagster", "data/aggregates"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "dagster" / "dagster.yaml").write_text(dagster_config(self.folder))

    def _end_orphans(self) -> None:
        """Ends servers of this stack that outlived their supervisor, since nothing else could stop them."""
        alive = [process for started in self._state.servers.values() if (process := started.alive()) is not None]
        end([*alive, *(child for process in alive for child in process.children(recursive=True))], seconds=20)
        self._supervisor.shut_down(seconds=20)

    def _save(self) -> None:
        with self._mutex:
            self._state.save(self.folder)


@contextmanager
def running_stack(own: Path, *, variable: str, short_lived: bool = False) -> Iterator[Stack]:
    """A running stack: an existing one if an environment variable names its folder, otherwise a new one.

    Args:
        own: Folder of the new stack, on free ports; stopped and removed at the end.
        variable: Environment variable that may name the folder of an existing stack, which is left running.
        short_lived: A new stack's servers run for minutes only; see `Context`.

    Raises:
        StackError: It does not come up.
    """
    if folder := os.environ.get(variable):
        reused = Stack(folder)
        reused.up()
        yield reused
        return
    stack = Stack(own, ports="auto", short_lived=short_lived)
    try:
        stack.up()
        yield stack
    finally:
        stack.down(wipe=True)


def dagster_config(folder: Path) -> str:
    """The configuration of a stack's Dagster instance: the file in this package, and the folder of the runs' output."""
    compute_logs = {
        "module": "dagster._core.storage.local_compute_log_manager",
        "class": "LocalComputeLogManager",
        "config": {"base_dir": str(folder / "dagster" / "storage")},
    }
    # JSON is valid YAML, and escapes whatever a folder's name contains.
    return f"{DAGSTER_CONFIG.read_text()}\n# Output of runs.\ncompute_logs: {json.dumps(compute_logs)}\n"


def _server(name: str) -> Server:
    try:
        return _SERVERS[name]
    except KeyError:
        raise StackError(f"There is no server {name!r}; there are {', '.join(_SERVERS)}.") from None


def _with_needs(servers: Collection[Server]) -> list[Server]:
    """The servers and all that they depend on, each after its own dependencies."""
    found: dict[str, Server] = {}

    def add(server: Server) -> None:
        for need in server.needs:
            add(_SERVERS[need])
        found[server.name] = server

    for server in servers:
        add(server)
    return list(found.values())


def _created(process: Process) -> float:
    try:
        return psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:
        return time.time()


def _taken_message(taken: dict[str, int]) -> str:
    lines = [
        f"  {name.split('.')[0]}: port {port} ({name}) is held by {ports.holder(port)}" for name, port in taken.items()
    ]
    return "\n".join(
        [
            "These ports are taken, so nothing was started:",
            *lines,
            "Stop what holds them, or let the stack choose free ones: dataco stack up --ports auto",
        ]
    )
