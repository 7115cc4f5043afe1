"""What a table holds of hours: which computation each is of and what it adds up to, while its rows are looked at once.

Belongs here: reading hours piece by piece for those who look at the rows. Does not belong here: what they look for.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from dataco_assets.aggregates.reading import HourRows, read_hours
from dataco_assets.aggregates.totals import Computed, HourTotals, Origin, no_totals, table_totals

if TYPE_CHECKING:
    import pyarrow as pa

    from dataco_assets.aggregates.table import TablePlace


class StoredHours:
    """Hours of a table, which are read while `pieces` is iterated; the attributes are complete after that.

    Args:
        place: The table.
        hours: Starts of the hours, epoch ms.
        passes_over: Whether an hour's rows are not read.

    Attributes:
        origins: Generation and time of computing of each hour that was read, by its start.
        totals: What each of them adds up to.
        missing: Hours that were never computed.
    """

    def __init__(
        self, place: "TablePlace", hours: Sequence[int], *, passes_over: Callable[[HourRows], bool] = lambda _: False
    ) -> None:
        self._place, self._hours, self._passes_over = place, hours, passes_over
        self.origins: dict[int, Origin] = {}
        self.totals: dict[int, HourTotals] = {}
        self.missing: list[int] = []

    @property
    def computed(self) -> dict[int, Computed]:
        """Origin and totals of each hour that was read."""
        return {hour: (self.origins[hour], totals) for hour, totals in self.totals.items()}

    def pieces(self) -> "Iterator[tuple[int, pa.Table]]":
        """Start and rows of each hour, a large one's in several tables; an hour without clicks has none.

        Raises:
            AggregatesUnavailable: catalog or storage do not answer.
            AggregatesUnreadable: the table's metadata, or an hour's data file, cannot be read.
        """
        for hour, stored in read_hours(self._place, self._hours):
            if stored is None:
                self.missing.append(hour)
            elif not self._passes_over(stored):
                self.origins[hour] = stored.origin
                self.totals[hour] = no_totals(self._place.aggregate)
                for piece in stored.pieces:
                    self.totals[hour] = self.totals[hour].plus(table_totals(self._place.aggregate, piece))
                    yield hour, piece

    def read(self) -> "StoredHours":
        """Reads all hours, for their totals alone."""
        for _ in self.pieces():
            pass
        return self
