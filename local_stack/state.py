"""The state that a stack keeps between commands: its ports, its supervisor and the processes it started.

One JSON file, `state.json`, which is replaced atomically.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil

from local_stack.errors import StackError

FILE = "state.json"
FORMAT = 1


@dataclass(frozen=True)
class Started:
    """A process, identified by its pid and start time, because pids are reused."""

    pid: int
    created: float  # epoch seconds, as the kernel reports it
    answered: bool = False  # whether it has been ready since it was started

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The running process with this pid, or None."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def alive(self) -> psutil.Process | None:
        """The process if it still runs, or None."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass
class State:
    """The contents of `state.json`."""

    ports: dict[str, int] = field(default_factory=dict)  # "kafka.broker" → 9092
    supervisor: Started | None = None
    socket: str = ""  # the supervisor's unix socket
    servers: dict[str, Started] = field(default_factory=dict)
    first_hour: str = ""  # "2026-01-31-00:00", UTC; empty in stacks that were made before it was recorded

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reads the state of a stack; an empty one when the stack was never up.

        Raises:
            StackError: the file is damaged or of another format.
        """
        path = folder / FILE
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            raise StackError(f"{path} is damaged ({error}). Delete the folder {folder}, data included.") from error
        try:
            return cls._of(content)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise StackError(f"{path} is from another version. Delete the folder {folder}, data included.") from error

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Self:
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        supervisor = content["supervisor"]
        return cls(
            ports={str(name): int(port) for name, port in content["ports"].items()},
            supervisor=Started(**supervisor) if supervisor else None,
            socket=str(content["socket"]),
            servers={str(name): Started(**process) for name, process in content["servers"].items()},
            first_hour=str(content.get("first_hour", "")),
        )

    def save(self, folder: Path) -> None:
        """Writes the state of a stack atomically."""
        path = folder / FILE
        staged = path.with_suffix(".tmp")
        staged.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=2) + "\n")
        staged.replace(path)
