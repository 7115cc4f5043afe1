"""Kafka Connect's REST interface: the state of the connector that stores the clicks, and restarting it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import requests

from dataco_assets.errors import DatacoError, ErrorKind

_FAILED, _RUNNING = "FAILED", "RUNNING"
_PASSING = "dataco.connect.PassingFailureException: "
"""In the trace of a task of the sink that ended because a server was away."""


class ConnectUnavailable(DatacoError):
    """Kafka Connect does not answer, or not in the way its REST interface is documented."""

    kind = ErrorKind.PASSING


class ConnectorMissing(DatacoError):
    """Kafka Connect has no connector of that name."""


@dataclass(frozen=True)
class Task:
    """One task of a connector.

    Attributes:
        number: Its number.
        state: `RUNNING`, `FAILED`, `PAUSED`, `UNASSIGNED` or `RESTARTING`.
        worker: Where it runs, `host:port`.
        error: First line of what a failed task reports; empty otherwise.
        passing: Whether it failed because a server was away, so that a restart may help.
    """

    number: int
    state: str
    worker: str
    error: str = ""
    passing: bool = False

    @property
    def failed(self) -> bool:
        """Whether it has ended and will not go on by itself."""
        return self.state == _FAILED

    @property
    def runs(self) -> bool:
        """Whether it stores clicks."""
        return self.state == _RUNNING


@dataclass(frozen=True)
class Connector:
    """A connector as Kafka Connect reports it."""

    name: str
    state: str
    tasks: tuple[Task, ...]

    @property
    def runs(self) -> bool:
        """Whether it has been started and not paused or stopped; its tasks may be in another state."""
        return self.state == _RUNNING

    @property
    def problems(self) -> list[str]:
        """Why clicks may wait, and what to do; empty where every task runs."""
        failed = [f"Task {task.number} of {self.name} failed: {task.error}" for task in self.tasks if task.failed]
        if self.runs and self.tasks and all(task.runs or task.failed for task in self.tasks):
            return failed
        states = Counter(task.state for task in self.tasks)
        tasks = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
        return [
            *failed,
            f"Connector {self.name} is {self.state}, its tasks: {tasks}. Clicks wait for tasks that do not run. If "
            "somebody paused or stopped it, resume it (PUT …/resume). A rebalance takes a minute at most; if this "
            "lasts longer, look at the log of Connect's workers.",
        ]


class Connect:
    """A client of one worker, which answers for its whole group.

    Args:
        url: `http(s)://host:port`.
        connector: Name of the connector.
        timeout_seconds: Most one call may take.
    """

    def __init__(self, url: str, connector: str, *, timeout_seconds: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout_seconds
        self._connector = connector

    def status(self) -> Connector:
        """The connector and its tasks.

        Raises:
            ConnectorMissing, ConnectUnavailable
        """
        found = self._call("GET", "status").json()
        tasks = (
            Task(task["id"], task["state"], task["worker_id"], _error(trace), _PASSING in trace)
            for task in found["tasks"]
            for trace in [task.get("trace", "")]
        )
        return Connector(self._connector, found["connector"]["state"], tuple(tasks))

    def restart_failed(self) -> None:
        """Restarts the tasks that have failed, and the connector if it has; others go on undisturbed.

        Raises:
            ConnectorMissing, ConnectUnavailable
        """
        self._call("POST", "restart?includeTasks=true&onlyFailed=true")

    def restart_task(self, number: int) -> None:
        """Restarts one task.

        Raises:
            ConnectorMissing, ConnectUnavailable
        """
        self._call("POST", f"tasks/{number}/restart")

    def _call(self, method: str, action: str) -> requests.Response:
        try:
            answer = requests.request(
                method,
                f"{self._url}/connectors/{self._connector}/{action}",
                timeout=self._timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise ConnectUnavailable(
                f"Kafka Connect at {self._url} does not answer ({type(error).__name__}). DATACO_CONNECT_URL names it."
            ) from error
        if answer.status_code == requests.codes.not_found:
            raise ConnectorMissing(
                f"Kafka Connect at {self._url} has no connector {self._connector} (DATACO_CONNECT_CONNECTOR). A worker "
                "that has just started answers so, too."
            )
        if not answer.ok:
            raise ConnectUnavailable(f"Kafka Connect at {self._url} answered {answer.status_code}: {_message(answer)}")
        return answer


def _message(answer: requests.Response) -> str:
    try:
        document: Any = answer.json()
        return str(document["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return answer.text[:200]


def _error(trace: str) -> str:
    """What a task says itself: the innermost of the exceptions that Connect wraps, or the first line."""
    lines = trace.splitlines()
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    own = causes[0] if causes else (lines[0] if lines else "")
    return own.partition(": ")[2] or own
