"""Whether clicks are conserved: as many in an hour's aggregates as HBase has rows of the hour.

Belongs here: the comparison. Does not belong here: counting the rows (`stored_clicks.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dataco_assets.clients.hbase import HBase
from dataco_assets.verification.stored_clicks import count_rows


@dataclass(frozen=True)
class CountedHour:
    """What an hour's aggregates say.

    Attributes:
        clicks: Sum of click_count.
        computed_at_ms: When they were computed, epoch ms, by HBase's clock.
    """

    clicks: int
    computed_at_ms: int


def conservation_problems(hbase: HBase, table: str, hours: Mapping[int, CountedHour]) -> dict[int, list[str]]:
    """Counts the rows of the hours in HBase, without Spark; what does not fit, by hour.

    A click stored since the hour was computed may be in it or not, and one stored again since (a redelivery) counts as
    new here: hence two bounds. Both times are servers' of HBase, but of different ones: where their clocks differ by
    more than a scan takes, a click that arrives while the hour is computed can be taken for an older one.

    Args:
        hbase: The client.
        table: The clicks table.
        hours: What the aggregates of each hour (epoch ms) say.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    counted = count_rows(hbase, table, {hour: each.computed_at_ms for hour, each in hours.items()})
    return {
        hour: [
            f"the aggregates count {hours[hour].clicks:,} clicks, HBase has {rows.all:,} rows, "
            f"{rows.stored_before:,} of them from before the hour was computed"
        ]
        for hour, rows in counted.items()
        if not rows.stored_before <= hours[hour].clicks <= rows.all
    }
