"""Runs Dagster on a stack: code location, daemon and web server as three processes, each restarted when it ends.

Further programs, such as `dataco live`, can run beside them.

`dagster dev` does not restart its code server when that is killed: the location stays in error, and no sensor runs,
until somebody reloads it. Here supervisord restarts it, and daemon and web server reconnect.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from local_stack import ports
from local_stack.errors import StackError
from local_stack.programs import run
from local_stack.servers.base import Launch
from local_stack.supervise import daemon, program, script, section
from local_stack.text import last_error_line

DEFAULT_PORT = 3000
READY_SECONDS = 120.0
_STOP_SECONDS = 15
_POLL_SECONDS = 0.2
# Dagster writes one planned event for a range of partitions, not one for each.
_ENVIRONMENT = {"DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS": "true"}


@dataclass(frozen=True)
class DagsterUI:
    """Dagster on the servers of one stack.

    Attributes:
        folder: The stack's folder.
        environment: Variables of the processes in addition to this process's, among them `DAGSTER_HOME`.
        port: Port of the web server.
        module: Python module with the definitions.
        location: Name of the code location.
        beside: Command lines of programs to run beside Dagster, by name.
    """

    folder: Path
    environment: Mapping[str, str]
    port: int
    module: str
    location: str
    beside: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The address of the web server."""
        return f"http://{ports.LOOPBACK}:{self.port}"

    def log(self, name: str) -> Path:
        """The log of one of its processes, or of a program beside them."""
        return self.folder / "logs" / f"dagster-{name}.log"

    @contextmanager
    def running(self) -> "Iterator[subprocess.Popen[bytes]]":
        """Runs the processes until the context is left; yields their supervisor once the web server answers.

        Raises:
            StackError: Dagster is already running on this stack, the port is taken, or the web server does not answer.
        """
        with self._lock():
            if not ports.is_free(self.port):
                raise StackError(f"Port {self.port} is held by {ports.holder(self.port)}. Choose another with --port.")
            self._prepare_instance()
            supervisor = self._launch()
            try:
                self._await_answer(supervisor)
                yield supervisor
            finally:
                supervisor.terminate()
                supervisor.wait()

    def _prepare_instance(self) -> None:
        """Creates the instance's databases, or migrates old ones; three processes at once cannot do that."""
        command = [str(Path(sys.executable).with_name("dagster")), "instance", "migrate"]
        environment = {**os.environ, **self.environment}
        run("dagster: preparing its instance", command, seconds=READY_SECONDS, environment=environment)

    def _launch(self) -> "subprocess.Popen[bytes]":
        for name in ("conf/launch", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        code_port = ports.choose(["dagster.code"])["dagster.code"]
        self._write_workspace(code_port)
        commands = {**self._commands(code_port), **self.beside}
        for name, command in commands.items():
            (self.folder / "conf" / "launch" / f"dagster-{name}.sh").write_text(script(Launch(list(command))))
        (self.folder / "conf" / "dagster-supervisord.conf").write_text(_configuration(commands, self.beside))
        return subprocess.Popen(
            [sys.executable, "-m", "supervisor.supervisord", "--nodaemon", "-c", "conf/dagster-supervisord.conf"],
            cwd=self.folder,
            env={**os.environ, **_ENVIRONMENT, **self.environment, "PWD": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends the others in order
        )

    def _write_workspace(self, code_port: int) -> None:
        lines = [
            "load_from:",
            "  - grpc_server:",
            f"      host: {ports.LOOPBACK}",
            f"      port: {code_port}",
            f"      location_name: {self.location}",
        ]
        self._workspace.write_text("\n".join(lines) + "\n")

    @property
    def _workspace(self) -> Path:
        return self.folder / "conf" / "dagster-workspace.yaml"

    def _commands(self, code_port: int) -> dict[str, list[str]]:
        programs = Path(sys.executable).parent
        address = ["-h", ports.LOOPBACK, "-p"]
        # Loaded lazily, so that a module that cannot be loaded shows its error in the UI.
        code = ["api", "grpc", *address, str(code_port), "-m", self.module, "--lazy-load-user-code"]
        workspace = ["-w", str(self._workspace)]
        return {
            "code": [str(programs / "dagster"), *code],
            "webserver": [str(programs / "dagster-webserver"), *address, str(self.port), *workspace],
            "daemon": [str(programs / "dagster-daemon"), "run", *workspace],
        }

    def _await_answer(self, supervisor: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not _answers(f"{self.url}/server_info"):
            if supervisor.poll() is not None:
                raise StackError(f"supervisord ended; its log: {self.log('supervisord')}")
            if time.monotonic() > deadline:
                log = self.log("webserver")
                raise StackError(
                    f"Dagster's web server does not answer after {READY_SECONDS:.0f} s.\n  log: {log}\n"
                    f"  last error: {last_error_line(log)}"
                )
            time.sleep(_POLL_SECONDS)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        lock = self.folder / "conf" / "dagster.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"Dagster is already running on the stack in {self.folder}.") from None
            yield


def _configuration(names: Iterable[str], beside: Container[str]) -> str:
    # Paths are relative to the stack's folder, where supervisord runs: it would interpret a % or ; in that one's name.
    parts: dict[str, dict[str, object]] = {
        "supervisord": {
            **daemon("dataco-dagster", log="logs/dagster-supervisord.log"),
            "pidfile": "conf/dagster-supervisord.pid",
        }
    }
    for name in names:
        parts[f"program:{name}"] = {
            **program(f"dagster-{name}", _STOP_SECONDS),
            "autorestart": "true",
            # supervisord waits longer before each new start of one that ends before these seconds are over.
            "startsecs": 30 if name in beside else 1,
            "startretries": 1_000_000,
        }
    return "".join(section(title, values) for title, values in parts.items())


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 -- always http on the loopback address
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Interrupted(Exception):
    """This process received a signal to end."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Turns SIGINT, SIGTERM and SIGHUP into `Interrupted`, also where the shell had SIGINT ignored (background jobs).

    A child inherits an ignored SIGINT, and Dagster's processes then ignore SIGTERM too. Only SIGHUP stays ignored when
    it was: that is what `nohup` means.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
