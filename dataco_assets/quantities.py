"""Counts with their nouns, for messages."""


def quantity(count: int, singular: str, plural: str = "") -> str:
    """A count with its noun: `1 click`, `2,000 clicks`.

    Args:
        count: How many.
        singular: The noun for one.
        plural: The noun for any other number; default: the singular with an `s`.
    """
    return f"{count:,} {singular if count == 1 else plural or f'{singular}s'}"
