"""What the dashboard's components say."""

from typing import Any


def words_of(element: Any) -> str:
    """All text of a component, or of several, as JSON has them; in order."""
    if isinstance(element, dict):
        return words_of(element.get("props", {}).get("children"))
    if isinstance(element, list):
        return " ".join(map(words_of, element))
    return "" if element is None else str(element)
