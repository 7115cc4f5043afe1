"""What an exception of the JVM says, without the trace.

Belongs here: reading py4j's and Spark's exceptions. Does not belong here: what they mean.
"""

from typing import Any

from py4j.protocol import Py4JJavaError

_MOST_CAUSES = 10


def reported(error: Exception) -> str:
    """What the JVM reported, with the causes behind it; not the trace, which is full of other words."""
    if not isinstance(error, Py4JJavaError):
        return str(error)
    messages: list[str] = []
    cause: Any = error.java_exception
    seen = 0
    while cause is not None and seen < _MOST_CAUSES:
        seen += 1
        text = str(cause.toString())
        # A failed task's report carries its whole stack; the lines that are not frames say what was wrong.
        messages += [line for line in text.splitlines() if not line.lstrip().startswith("at ")]
        cause = cause.getCause()
    return "\n".join(messages)
