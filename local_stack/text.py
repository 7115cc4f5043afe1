"""Makes untrusted text safe for a terminal, and finds the line of a log that explains a failure."""

import re
from collections.abc import Iterable
from pathlib import Path

TAIL_BYTES = 256 * 1024
LINE_CHARACTERS = 300

_SERIOUS = re.compile(r"\b(ERROR|FATAL|SEVERE)\b|^Caused by: |^Exception in thread|^[\w.$]+(Exception|Error)\b")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


def shown(text: str, limit: int = LINE_CHARACTERS) -> str:
    """The text on one line, printable ASCII only, at most `limit` characters."""
    clean = _UNPRINTABLE.sub("?", text.strip())
    return clean if len(clean) <= limit else f"{clean[: limit - 3]}..."


def last_error_line(log: Path, since: int = 0) -> str:
    """The last line of a log that reports an error; without one, its last line; without a log, says so.

    Args:
        log: the log file; it may be missing.
        since: bytes to skip at its start, which hold the errors of an earlier run.
    """
    try:
        size = log.stat().st_size
        with log.open("rb") as file:
            start = since if since <= size else 0  # a rotated log starts at 0 again
            file.seek(max(start, size - TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"(no log: {error.strerror})"
    return error_line(lines) or "(the log is empty)"


def error_line(lines: Iterable[str]) -> str:
    """The last line that reports an error; without one, the last line that is not blank; otherwise nothing."""
    written = [line for line in lines if line.strip()]
    serious = [line for line in written if _SERIOUS.search(line)]
    return next((shown(found[-1]) for found in (serious, written) if found), "")
