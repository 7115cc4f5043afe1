"""The root of the errors that a person reads, and the three kinds by which code acts on them.

Each room defines its own errors beside the code that raises them. Programming errors stay what Python raises.
"""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import ClassVar


class ErrorKind(StrEnum):
    """What has to happen before the same request can succeed."""

    PASSING = "passing"
    """Time: a server is away, busy or full. Retried with back-off."""
    PERMANENT = "permanent"
    """A person: data lost, a contract or layout broken, a wrong setting. Never retried unchanged."""
    DATA = "data"
    """Another record: this one is invalid. Rejected, and the run goes on."""


class DatacoError(Exception):
    """An error meant for a person: its message names the thing, its value and the way out.

    The command line prints the message alone, without a traceback.

    Args:
        message: What a person reads.
        hours: The hours it is about, as starts in epoch ms; none when it is not about single hours.

    Attributes:
        kind: What has to happen before the same request can succeed.
        hours: The hours it is about. A run of several hours fails for these alone.
    """

    kind: ClassVar[ErrorKind] = ErrorKind.PERMANENT

    def __init__(self, message: object = "", *, hours: Iterable[int] = ()) -> None:
        super().__init__(message)
        self.hours = tuple(hours)


def combine(errors: Sequence[DatacoError]) -> DatacoError:
    """One error in place of several: the first permanent one, else the first, with the text of all.

    Its hours are those of the errors of its kind: an hour with a passing error is not taken for one with a permanent.

    Args:
        errors: At least one.
    """
    first = min(errors, key=lambda error: error.kind is not ErrorKind.PERMANENT)
    others = [error for error in errors if error is not first]
    first.args = ("\n".join(map(str, [first, *others])),)
    first.hours = tuple(sorted({hour for error in errors if error.kind is first.kind for hour in error.hours}))
    return first
