"""Removes clicks of erased users that an ingest run stored before it knew of the erasure.

A run stores clicks by the suppression list it has read. When a user is erased meanwhile, or the run dies before it
reads the list again, rows of theirs can be stored after the erasure has scanned the table. Their
messages are then read once more, by this run or the next one, and dropped: that is when their rows are removed.
"""

from collections.abc import Sequence

from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.row import timestamp_of
from dataco_assets.clients.hbase import HBase
from dataco_assets.ledgers.hours import HourLedger

_ROWS_AT_ONCE = 1_000
_READ = b"click_data:event_id"  # every row has it


def delete_stored(
    hbase: HBase, ledger: HourLedger, table: str, keys: Sequence[bytes], *, earliest_ms: int, stored_since_ms: int
) -> set[int]:
    """Deletes those of the rows that are stored; returns their times (epoch ms): what they touched is marked once more.

    The hours are marked dirty before, so that none counts as up to date if the run dies in between.

    Args:
        hbase: The client.
        ledger: The hour ledger.
        table: The clicks table.
        keys: Row keys of clicks that must not be there.
        earliest_ms: Start of the first partition: hours before it are not marked.
        stored_since_ms: See `HourLedger.mark_dirty`.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    removed: set[int] = set()
    for start in range(0, len(keys), _ROWS_AT_ONCE):
        stored = list(hbase.rows(table, keys[start : start + _ROWS_AT_ONCE], [_READ]))
        if not stored:
            continue
        times = {timestamp_of(key) for key in stored}
        hours = {hour for hour in ledger.touched_by(times) if hour >= earliest_ms}
        ledger.mark_dirty(hours, holding_clicks=(), stored_since_ms=stored_since_ms, cause=Cause.ERASURE)
        hbase.delete_rows(table, stored)
        removed |= times
    return removed
