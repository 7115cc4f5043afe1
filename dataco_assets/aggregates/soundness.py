"""What is wrong with hours of aggregates, check by check.

Belongs here: reading each table once for all checks. Does not belong here: the rules (`schema.py`), and what a broken
one leads to.
"""

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


def find_problems(aggregate: Aggregate, tables: "Iterable[tuple[int, pa.Table]]") -> Problems:
    """Looks at each hour's table once; few are held at a time.

    Args:
        aggregate: Whose rows they are.
        tables: Start (epoch ms) and aggregates of each hour.
    """
    import pyarrow.compute as pc

    found = Problems()

    def each() -> "Iterator[tuple[int, pa.Table]]":
        unique, average = pc.field("unique_users"), pc.field("average_time_spent_seconds")
        for hour, table in tables:
            out_of_order = table.filter((pc.field("entering_users") > unique) | (unique > pc.field("click_count")))
            if out_of_order.num_rows:
                found.users[hour] = [f"{out_of_order.num_rows} rows without {_IN_ORDER}"]
            outside = table.filter((average < 0) | (average > LONGEST_SECONDS))
            if outside.num_rows:
                found.averages[hour] = [f"{outside.num_rows} rows outside 0 to 1,800 s"]
            yield hour, table

    found.schema = {
        hour: [str(each) for each in broken] for hour, broken in problems_by_hour(aggregate, each()).items()
    }
    return found
