"""Counts with their nouns."""


def plural(count: int, thing: str) -> str:
    """A count with its noun: `1 click`, `2,000 clicks`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
