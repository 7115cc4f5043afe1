"""What a publication is told and reports: which documents there are, and how an hour's new ones differ from them."""

from collections.abc import Callable, Collection, Iterable, Sequence
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


@dataclass(frozen=True)
class Held:
    """Hours (epoch ms) of which the index has documents.

    Attributes:
        hours: The hours.
        rewritten: Those of them whose documents are all written, also where they are the same.
    """

    hours: Collection[int]
    rewritten: Collection[int] = ()


@dataclass(frozen=True)
class Restated:
    """Hours (epoch ms) whose differences are reported before documents are written.

    Attributes:
        hours: The hours.
        note: Is given the differences of a month's hours; nothing of them is written before it returns.
    """

    hours: Collection[int]
    note: Callable[[Sequence[HourDifference]], None]


@dataclass(frozen=True)
class Written:
    """What a publication did, and what is left to do.

    Attributes:
        documents: Number of documents written.
        stale: Ids of documents that the index held and the aggregates do not; to be read once, in the same session of
            Spark.
    """

    documents: int
    stale: Iterable[str]
