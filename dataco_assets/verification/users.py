"""Counts the distinct users of stored clicks, exactly, without Spark."""

from dataco_assets.clicks.row import key_ranges
from dataco_assets.clients.hbase import HBase

_USER_ID, _PAGE, _COUNTRY = b"click_data:user_id", b"click_data:page", b"geo_data:country"


def count_users(
    hbase: HBase, table: str, start_ms: int, end_ms: int, *, page: str | None = None, country: str | None = None
) -> int:
    """The number of distinct user ids in the clicks of [start, end), epoch ms; all of them are held in memory.

    Args:
        hbase: Client.
        table: The clicks.
        start_ms: Start.
        end_ms: End, not included.
        page: Only clicks on this page.
        country: Only clicks from there; ZZ: unknown.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    asked = {_PAGE: page, _COUNTRY: country}
    wanted = {column: text.encode() for column, text in asked.items() if text is not None}
    users: set[bytes] = set()
    for bounds in key_ranges(start_ms, end_ms):
        for _, cells in hbase.scan(table, *bounds, columns=[_USER_ID, *wanted]):
            if all(cells[column] == value for column, value in wanted.items()):
                users.add(cells[_USER_ID])
    return len(users)
