"""Text for people: counted things, and text that somebody else wrote."""

import re

_PERHAPS_NOT_PRINTABLE = re.compile(r"[^ -~]")


def plural(count: int, thing: str) -> str:
    """A count with its noun: `1 click`, `2,000 clicks`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def printable(untrusted: str, limit: int | None = None) -> str:
    """Untrusted text with everything escaped that a terminal would interpret or hide; other characters stay.

    Args:
        untrusted: Text that a producer, a server or a file wrote.
        limit: Most characters of the text to show; None: all.
    """
    text = untrusted if limit is None or len(untrusted) <= limit else untrusted[:limit] + "…"
    return _PERHAPS_NOT_PRINTABLE.sub(lambda found: found[0] if found[0].isprintable() else _escaped(found[0]), text)


def _escaped(character: str) -> str:
    return ascii(character)[1:-1]
