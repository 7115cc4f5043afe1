"""What the Kafka lag sensor does while Kafka Connect stores the clicks: observes, and restarts failed tasks. Pure.

Belongs here: decisions and texts. Does not belong here: asking Kafka Connect (`clients/connect.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from dataco_assets.clients.connect import Connector, Task
from dataco_assets.sensors.back_off import back_off_seconds

OBSERVED_EVERY_SECONDS = 60.0
_FORGOTTEN_AFTER_SECONDS = 1_800.0
"""Restarts so long ago do not count for the back-off: twice its longest."""


class Memory(msgspec.Struct, frozen=True):
    """What the sensor remembers between two looks.

    Attributes:
        observed_at: When it last reported an observation, epoch seconds.
        passed: Sum of the offset ledger's positions then.
        rejected: Records that the rejected topic had ever got by then.
        restarts: Restarts in a row of failed tasks.
        restarted_at: When the last of them was, epoch seconds.
    """

    observed_at: float = 0.0
    passed: int = 0
    rejected: int = 0
    restarts: int = 0
    restarted_at: float = 0.0


class _Cursor(msgspec.Struct, frozen=True):
    """The part of the sensor's cursor that is not the watch of waiting clicks."""

    memory: Memory = Memory()


def memory_of(cursor: str | None) -> Memory:
    """The memory in a cursor of the sensor; an empty one when there is none, as after a time with the drain."""
    try:
        return msgspec.json.decode(cursor or "{}", type=_Cursor).memory
    except msgspec.DecodeError:
        return Memory()


def with_memory(cursor: str, memory: Memory) -> str:
    """A cursor (the watch as JSON) with the memory added; who reads the watch ignores it."""
    return msgspec.json.encode({**msgspec.json.decode(cursor), "memory": memory}).decode()


@dataclass(frozen=True)
class Look:
    """What the sensor sees.

    Attributes:
        connector: As Kafka Connect reports it; None when it is not known.
        problem: Why it is not known; empty otherwise.
        waiting: Clicks that wait.
        seconds_behind: How long one of them has been seen to wait.
        passed: Sum of the offset ledger's positions.
        rejected: Records that the rejected topic has ever got.
        now: Epoch seconds.
    """

    connector: Connector | None
    problem: str
    waiting: int
    seconds_behind: float
    passed: int
    rejected: int
    now: float


def tasks_to_restart(look: Look, memory: Memory) -> Sequence[Task]:
    """Failed tasks that a restart may help, once the back-off is over. Others wait for a person."""
    failed = [task for task in _failed(look) if task.passing]
    return failed if look.now >= memory.restarted_at + back_off_seconds(_restarts(look, memory)) else []


def after(look: Look, memory: Memory, *, restarted: bool, observed: bool) -> Memory:
    """The memory for the next look."""
    if restarted:
        memory = msgspec.structs.replace(memory, restarts=_restarts(look, memory) + 1, restarted_at=look.now)
    if observed:
        memory = msgspec.structs.replace(memory, observed_at=look.now, passed=look.passed, rejected=look.rejected)
    return memory


def is_due(look: Look, memory: Memory) -> bool:
    """Whether an observation is to be reported."""
    return look.now - memory.observed_at >= OBSERVED_EVERY_SECONDS


def metadata(look: Look, memory: Memory) -> dict[str, int | float | str]:
    """The metadata of an observation; numbers, so that Dagster plots them."""
    found: dict[str, int | float | str] = {
        "lag": look.waiting,
        "seconds behind": round(look.seconds_behind, 1),
        "ingested by": "Kafka Connect",
    }
    if memory.observed_at:
        rejected = max(0, look.rejected - memory.rejected)
        found["clicks rejected"] = rejected
        found["clicks stored"] = max(0, look.passed - memory.passed - rejected)
    if look.connector is not None:
        found["tasks running"] = sum(task.runs for task in look.connector.tasks)
        found["tasks failed"] = len(_failed(look))
    return found


def summary(look: Look, restarted: Sequence[Task]) -> str:
    """What the sensor says, and what a person must do."""
    parts = [f"Kafka Connect stores the clicks; {look.waiting:,} wait."]
    if look.problem:
        parts.append(look.problem)
    for task in _failed(look):
        if task in restarted:
            parts.append(f"Task {task.number} failed and is restarted: {task.error}")
        elif task.passing:
            parts.append(f"Task {task.number} failed and is restarted later: {task.error}")
        else:
            parts.append(
                f"Task {task.number} failed and waits for a person: {task.error} When the cause is gone, "
                "`dataco ingest use connect` restarts it (docs/connect.md)."
            )
    return " ".join(parts)


def _failed(look: Look) -> list[Task]:
    return [task for task in look.connector.tasks if task.failed] if look.connector else []


def _restarts(look: Look, memory: Memory) -> int:
    return memory.restarts if look.now - memory.restarted_at < _FORGOTTEN_AFTER_SECONDS else 0
