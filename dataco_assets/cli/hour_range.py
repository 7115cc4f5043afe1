"""FROM and TO of commands about hours, as a person types them.

Belongs here: from text to hours. Does not belong here: which hours a command accepts.
"""

import re
from typing import Annotated

import typer

from dataco_assets.cli.top import TimeUnclear, moment
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of

FORMS = "2026-01-31 (a day, UTC), 2026-01-31-12:00 (an hour as Dagster writes it) or 2026-01-31T12:00Z"
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")

From = Annotated[str, typer.Argument(metavar="FROM", help=f"First hour: {FORMS}. A day: its first hour.")]
To = Annotated[
    str, typer.Argument(metavar="TO", help="Last hour, included, in the same forms. A day: its last hour, 23:00.")
]


def hour_range(first: str, last: str) -> tuple[int, int]:
    """The first and the last hour that FROM and TO name, both included, epoch ms.

    A time within an hour names that hour; a day as TO its last hour.

    Raises:
        TimeUnclear: one is no time, or TO is before FROM.
    """
    start, end = hour_of(moment("FROM", first)), hour_of(moment("TO", last))
    if _DAY.fullmatch(last.strip()):
        end += 23 * HOUR_MS
    if end < start:
        raise TimeUnclear(f"TO ({hour_key(end)}) is before FROM ({hour_key(start)}).")
    return start, end
