"""How many distinct users rows of the aggregates stand for: mostly an estimate, by merging the sketches in the rows.

Belongs here: merging, the bounds of the estimate, and when the rows give the number itself. Does not belong here:
reading rows (`reading.py`), and exact counts out of the clicks (`verification/users.py`).

A user who is in many rows is counted once: merging takes of each register the maximum, so merging a sketch twice
changes nothing. Adding estimates up would count the user once per row.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, floor
from typing import Final, Self

import pyarrow as pa

from dataco_assets.aggregates.columns import SKETCH_LG_K, USERS_SKETCH

_DEVIATIONS: Final = 2
"""Standard deviations from an estimate to its bounds: 95 of 100 true numbers are within them."""


@dataclass(frozen=True)
class Users:
    """A number of distinct users.

    Attributes:
        number: How many.
        is_exact: Whether it is the number itself, not an estimate.
        lower: Not fewer; of an estimate, in 95 of 100 cases.
        upper: Not more; of an estimate, in 95 of 100 cases.
        hours_without_sketch: Hours (epoch ms) whose users are missing, because an earlier version computed them.
    """

    number: int
    is_exact: bool
    lower: int
    upper: int
    hours_without_sketch: frozenset[int] = field(default=frozenset())

    @classmethod
    def exactly(cls, number: int) -> Self:
        """That number itself."""
        return cls(number, is_exact=True, lower=number, upper=number)


class UserSketches:
    """A union of sketches; takes 4 KB, however many are merged.

    Args:
        sketches: Sketches as the column `users_sketch` holds them.
    """

    def __init__(self, sketches: Iterable[bytes] = ()) -> None:
        from datasketches import hll_union  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

        self._union = hll_union(SKETCH_LG_K)
        self.merge(sketches)

    def merge(self, sketches: Iterable[bytes]) -> None:
        """Adds the users of more sketches."""
        from datasketches import hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs

        for sketch in sketches:
            self._union.update(hll_sketch.deserialize(sketch))

    def estimate(self, hours_without_sketch: Iterable[int] = ()) -> Users:
        """The number of distinct users in all sketches, with its bounds."""
        union = self._union
        return Users(
            round(union.get_estimate()),
            is_exact=False,
            lower=floor(union.get_lower_bound(_DEVIATIONS)),
            upper=ceil(union.get_upper_bound(_DEVIATIONS)),
            hours_without_sketch=frozenset(hours_without_sketch),
        )


def users_of(batches: Iterable[pa.RecordBatch], *, is_whole_hour: bool) -> Users:
    """The distinct users of rows of the aggregates.

    A single row has their number, and so have all rows of one hour together: each user enters it once. Of any other
    rows it is estimated.

    Args:
        batches: Rows with the columns `reading.USERS_COLUMNS`.
        is_whole_hour: Whether these are all rows of one hour.
    """
    sketches = UserSketches()
    rows = unique = entering = 0
    lacking: set[int] = set()
    for batch in batches:
        rows += batch.num_rows
        unique += sum(batch["unique_users"].to_pylist())
        entering += sum(batch["entering_users"].to_pylist())
        stored = batch[USERS_SKETCH.name]
        sketches.merge(stored.drop_null().to_pylist())
        if stored.null_count:
            hours = batch["hour"].filter(stored.is_null()).unique()
            lacking |= {hour // 1000 for hour in hours.cast(pa.int64()).to_pylist()}
    if is_whole_hour or rows <= 1:
        return Users.exactly(entering if is_whole_hour else unique)
    return sketches.estimate(lacking)
