"""Checks that clicks are conserved: an hour's aggregates count as many clicks as HBase has rows of the hour.

Pure; `spark_resources/row_counts.py` counts the rows.
"""

from collections.abc import Mapping


def conservation_problems(
    clicks: Mapping[int, int], before: Mapping[int, int], after: Mapping[int, int]
) -> dict[int, list[str]]:
    """Compares the clicks of aggregates with the rows counted before and after they were computed.

    While rows are only added, the scan behind the aggregates saw at least those counted before it and at most those
    counted after it; while they are only removed, the reverse. No clock is involved. Where rows came and went, as when
    a user is erased while new clicks arrive, the two counts limit nothing: an hour that is reported here is at fault
    only if it did not change meanwhile (`dataco_assets.ledgers.hours.HourLedger.changed_since`).

    Args:
        clicks: Sum of `click_count` by hour (epoch ms).
        before: Rows of the same hours, counted before the aggregation began to read.
        after: Rows of the same hours, counted after it.

    Returns:
        What is wrong, by hour; hours without a problem are absent.
    """
    return {
        hour: [
            f"the aggregates count {found:,} clicks, HBase had {before[hour]:,} rows before they were computed and "
            f"{after[hour]:,} afterwards"
        ]
        for hour, found in clicks.items()
        if not min(before[hour], after[hour]) <= found <= max(before[hour], after[hour])
    }
