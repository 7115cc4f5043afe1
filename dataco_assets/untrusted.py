"""Text that somebody else wrote, made fit for messages: on a terminal or in a log it is shown, never interpreted.

Belongs here: escaping and shortening for people. Does not belong here: the escapes of a format (Markdown, JSON), and
the detail of a rejection, which is part of the click's contract (`clicks/event.py`).
"""

import re

_PERHAPS_NOT_PRINTABLE = re.compile(r"[^ -~]")


def printable(untrusted: str, limit: int | None = None) -> str:
    """Untrusted text with everything escaped that a terminal would interpret or hide; other characters stay.

    Args:
        untrusted: Text that a producer, a server or a file wrote.
        limit: Most characters of the text to show; None: all.
    """
    text = untrusted if limit is None or len(untrusted) <= limit else untrusted[:limit] + "…"
    return _PERHAPS_NOT_PRINTABLE.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def on_one_line(untrusted: str, limit: int) -> str:
    """The same, with each run of white space, such as the end of a line, as one space."""
    return printable(" ".join(untrusted.split()), limit)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
