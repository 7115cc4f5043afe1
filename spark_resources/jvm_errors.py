"""Reads the messages of py4j's and Spark's exceptions, without their stack traces."""

from typing import Any

from py4j.protocol import Py4JJavaError

_MOST_CAUSES = 10


def reported(error: Exception) -> str:
    """The messages of an exception and its causes, without stack traces, whose words could be mistaken for messages."""
    if not isinstance(error, Py4JJavaError):
        return str(error)
    messages: list[str] = []
    cause: Any = error.java_exception
    seen = 0
    while cause is not None and seen < _MOST_CAUSES:
        seen += 1
        text = str(cause.toString())
        # A failed task's report contains its whole stack; the lines that are not frames are the message.
        messages += [line for line in text.splitlines() if not line.lstrip().startswith("at ")]
        cause = cause.getCause()
    return "\n".join(messages)
