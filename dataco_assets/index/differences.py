"""How an hour's new documents differ from those that readers had, in plain numbers."""

from dataclasses import dataclass
from typing import Final

SHOWN_ROWS: Final = 5
"""Most rows of an hour that are named."""


@dataclass(frozen=True)
class ChangedRow:
    """A document that was added, changed or removed.

    Attributes:
        page: Its page.
        country: Its country.
        clicks_before: Clicks that readers saw; 0: there was no document.
        clicks: Clicks that they see now; 0: there is none any more.
        seconds_before: Seconds spent that readers saw.
        seconds: Seconds spent that they see now.
    """

    page: str
    country: str
    clicks_before: int
    clicks: int
    seconds_before: float
    seconds: float


@dataclass(frozen=True)
class HourDifference:
    """What changes of an hour.

    Attributes:
        hour: Its start, epoch ms.
        groups: Documents that are added, changed or removed.
        clicks: Clicks more than before.
        users: Users more than before.
        rows: Those whose clicks change most, then those whose time does; at most `SHOWN_ROWS`.
    """

    hour: int
    groups: int
    clicks: int
    users: int
    rows: tuple[ChangedRow, ...]
