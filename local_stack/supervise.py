"""Runs the servers as children of supervisord: starts it, sends it requests and stops it.

A server that crashes is not restarted, so that a test sees the crash.
"""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast
from xmlrpc import client as xmlrpc

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from local_stack.errors import StackError
from local_stack.servers.base import Launch
from local_stack.state import Started, State

SOCKET_CHARACTERS = 85  # the kernel's limit is 107; supervisord adds a suffix while it makes the socket
START_SECONDS = 30.0
_POLL_SECONDS = 0.1
# The part of the caller's environment that the servers see: nothing that changes a JVM, and no secrets.
_ENVIRONMENT = ("PATH", "HOME", "LANG", "TZ", "USER", "LOGNAME", "TMPDIR", "JAVA_HOME")

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Process:
    """The state of a server as the supervisor reports it."""

    state: str  # RUNNING, STOPPED, EXITED, FATAL, …
    pid: int  # 0 when it does not run
    exit: str  # how it ended, for people; empty when it runs or never ran

    @property
    def running(self) -> bool:
        """Whether its process exists."""
        return self.pid != 0


_NEVER = Process("STOPPED", 0, "")


class Supervisor:
    """The supervisor of one stack."""

    def __init__(self, folder: Path, state: State) -> None:
        """For the stack in `folder`; records its process and socket in `state`, which the caller saves."""
        self._folder = folder
        self._state = state

    def running(self) -> bool:
        """Whether the supervisor itself runs and answers."""
        if self._state.supervisor is None or self._state.supervisor.alive() is None:
            return False
        try:
            return self._request(lambda rpc: rpc.getState()["statename"]) == "RUNNING"
        except OSError:
            return False

    def launch(self, names: list[str], stop_seconds: Mapping[str, float]) -> None:
        """Starts the supervisor with no server running.

        Raises:
            StackError: it does not start.
        """
        config = self._folder / "conf" / "supervisord.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        self._state.socket = str(_socket_path(self._folder))
        (self._folder / "conf" / "launch").mkdir(exist_ok=True)
        config.write_text(self._configuration(names, stop_seconds))
        (self._folder / "supervisord.pid").unlink(missing_ok=True)
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", str(config.relative_to(self._folder))],
            capture_output=True,
            text=True,
            env=environment,
            cwd=self._folder,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise StackError(f"supervisord does not start: {(done.stderr or done.stdout).strip()[-500:]}")
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, ValueError):
                self._state.supervisor = Started.of(int((self._folder / "supervisord.pid").read_text()))
                if self.running():
                    return
            time.sleep(_POLL_SECONDS)
        raise StackError(f"supervisord does not answer; its log: {self._folder / 'logs' / 'supervisord.log'}")

    def start(self, name: str, launch: Launch) -> int:
        """Starts one server and returns its pid.

        Raises:
            StackError: its command cannot be run.
        """
        self._script(name).write_text(script(launch))
        try:
            self._request(lambda rpc: rpc.startProcess(name, False))
        except xmlrpc.Fault as fault:
            if fault.faultCode != Faults.ALREADY_STARTED:
                raise StackError(f"{name} cannot be started: {fault.faultString}") from fault
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            process = self.process(name)
            if process.pid:
                return process.pid
            if process.state in ("EXITED", "FATAL", "BACKOFF"):
                raise StackError(f"{name} ended at once: {process.exit}")
            time.sleep(_POLL_SECONDS)
        raise StackError(f"{name} was not started by the supervisor within {START_SECONDS:.0f} s.")

    def stop(self, name: str, seconds: float) -> None:
        """Stops one server, kills it after `seconds`, and returns when it is gone."""
        try:
            self._request(lambda rpc: rpc.stopProcess(name, False))
        except xmlrpc.Fault as fault:
            if fault.faultCode != Faults.NOT_RUNNING:
                raise StackError(f"{name} cannot be stopped: {fault.faultString}") from fault
        deadline = time.monotonic() + seconds + START_SECONDS
        while self.process(name).running:
            if time.monotonic() > deadline:
                raise StackError(f"{name} did not end within {seconds + START_SECONDS:.0f} s, though it was killed.")
            time.sleep(_POLL_SECONDS)

    def process(self, name: str) -> Process:
        """The state of one server."""
        try:
            info = self._request(lambda rpc: rpc.getProcessInfo(name))
        except (OSError, xmlrpc.Fault):
            return _NEVER
        ended = str(info["spawnerr"]) or (f"exit status {info['exitstatus']}" if info["stop"] else "")
        return Process(str(info["statename"]), int(info["pid"]), "" if info["pid"] else ended)

    def shut_down(self, seconds: float) -> None:
        """Ends the supervisor; its servers should be stopped already, otherwise it stops them."""
        started = self._state.supervisor
        if started is not None and (process := started.alive()) is not None:
            with suppress(OSError, xmlrpc.Fault):
                self._request(lambda rpc: rpc.shutdown())
            end([process], seconds)
        self._forget_socket()
        self._state.supervisor = None

    def _forget_socket(self) -> None:
        if not self._state.socket:
            return
        path = Path(self._state.socket)
        path.unlink(missing_ok=True)
        if path.parent != self._folder:
            with suppress(OSError):
                path.parent.rmdir()
        self._state.socket = ""

    def _request(self, call: Callable[[Any], Answer]) -> Answer:
        transport = SupervisorTransport(None, None, f"unix://{self._state.socket}")
        try:
            proxy = xmlrpc.ServerProxy("http://127.0.0.1", transport=cast("xmlrpc.Transport", transport))
            return call(proxy.supervisor)
        finally:
            transport.close()

    def _script(self, name: str) -> Path:
        return self._folder / "conf" / "launch" / f"{name}.sh"

    def _configuration(self, names: list[str], stop_seconds: Mapping[str, float]) -> str:
        # Paths are relative to the stack's folder, where the supervisor runs: it would interpret a % or ; in that one's
        # name.
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        socket = Path(self._state.socket)
        inside = socket.is_relative_to(self._folder)
        sections: dict[str, dict[str, object]] = {
            "unix_http_server": {"file": socket.relative_to(self._folder) if inside else socket, "chmod": "0700"},
            "supervisord": {
                **daemon("dataco-stack", log="logs/supervisord.log"),
                "pidfile": "supervisord.pid",
            },
            "rpcinterface:supervisor": {
                "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
            },
        }
        for name in names:
            sections[f"program:{name}"] = {
                **program(name, int(stop_seconds[name])),
                "autostart": "false",
                "autorestart": "false",
                "startsecs": 0,
                "startretries": 0,
            }
        return "".join(section(title, values) for title, values in sections.items())


def daemon(identifier: str, *, log: str) -> dict[str, object]:
    """The configuration that every supervisord of a stack has; paths are relative to the stack's folder."""
    user = {"user": "root"} if os.geteuid() == 0 else {}
    return {"logfile": log, "childlogdir": "logs", "identifier": identifier, **user}


def program(name: str, stop_seconds: int) -> dict[str, object]:
    """The configuration that every program of supervisord has: its script, its log, and how it is stopped."""
    return {
        "command": f"/bin/sh conf/launch/{name}.sh",
        "stopwaitsecs": stop_seconds,
        "killasgroup": "true",
        "redirect_stderr": "true",
        "stdout_logfile": f"logs/{name}.log",
        "stdout_logfile_maxbytes": "32MB",
        "stdout_logfile_backups": 2,
    }


def script(launch: Launch) -> str:
    """A shell script that becomes the server's process, so that the pid the supervisor knows is the server's."""
    lines = ["#!/bin/sh"]
    if launch.directory is not None:
        lines.append(f"cd {shlex.quote(str(launch.directory))} || exit 1")
    lines += [f"export {name}={shlex.quote(value)}" for name, value in launch.environment.items()]
    return "\n".join([*lines, f"exec {shlex.join(launch.command)}"]) + "\n"


def end(processes: list[psutil.Process], seconds: float) -> None:
    """Terminates processes, kills those that still run after `seconds`, and returns when all are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    _, remaining = psutil.wait_procs(processes, timeout=seconds)
    for process in remaining:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(remaining, timeout=START_SECONDS)


def section(title: str, values: Mapping[str, object]) -> str:
    """One section of a configuration file of supervisord."""
    lines = [f"{key} = {value}" for key, value in values.items()]
    return "\n".join([f"[{title}]", *lines, "", ""])


def _socket_path(folder: Path) -> Path:
    inside = folder / "supervisor.sock"
    if len(str(inside).encode()) <= SOCKET_CHARACTERS:
        return inside
    return Path(tempfile.mkdtemp(prefix="dataco-")) / "supervisor.sock"
