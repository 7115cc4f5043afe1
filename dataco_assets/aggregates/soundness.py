"""What is wrong with hours of aggregates, check by check.

Belongs here: looking at each row once for all checks. Does not belong here: the rules (`schema.py`), and what a broken
one leads to.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.rules import LONGEST_SECONDS
from dataco_assets.aggregates.schema import problems_by_hour

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

_IN_ORDER = "entering_users ≤ unique_users ≤ click_count"


@dataclass
class Problems:
    """Problems in words, by hour (epoch ms); an hour that passed has no entry.

    Attributes:
        schema: Broken rules of the schema.
        users: Rows in which the numbers of users and clicks are out of order.
        averages: Rows whose average time is none that a visit can have.
    """

    schema: dict[int, list[str]] = field(default_factory=dict)
    users: dict[int, list[str]] = field(default_factory=dict)
    averages: dict[int, list[str]] = field(default_factory=dict)


def find_problems(aggregate: Aggregate, pieces: "Iterable[tuple[int, pa.Table]]") -> Problems:
    """Looks at each row once; few are held at a time.

    Args:
        aggregate: Whose rows they are.
        pieces: Start of an hour (epoch ms) and some of its rows, or all; an hour's pieces come one after another.
    """
    import pyarrow.compute as pc

    users, averages = Counter[int](), Counter[int]()

    def each() -> "Iterator[tuple[int, pa.Table]]":
        unique, average = pc.field("unique_users"), pc.field("average_time_spent_seconds")
        for hour, piece in pieces:
            out_of_order = piece.filter((pc.field("entering_users") > unique) | (unique > pc.field("click_count")))
            users[hour] += out_of_order.num_rows
            averages[hour] += piece.filter((average < 0) | (average > LONGEST_SECONDS)).num_rows
            yield hour, piece

    broken = problems_by_hour(aggregate, each())
    return Problems(
        {hour: [str(problem) for problem in problems] for hour, problems in broken.items()},
        {hour: [f"{rows} rows without {_IN_ORDER}"] for hour, rows in users.items() if rows},
        {hour: [f"{rows} rows outside 0 to 1,800 s"] for hour, rows in averages.items() if rows},
    )
