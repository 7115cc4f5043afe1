"""Finds the stored clicks of users, in one pass over the parts of the table that can hold them.

The region servers filter, so only the users' rows cross the network. A user id is somebody else's text and goes into a
filter only when it consists of harmless characters; a salt with any other user is read whole, user ids only. Whatever
the servers return is compared here once more.

A filtered scan returns nothing while it reads rows of others, and a call that takes too long fails. So a salt is read
in slices of time that are made longer or shorter by how long the last one took; times without any row are skipped.
"""

import re
import time
from collections.abc import Collection, Iterator

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.row import salt, salt_range, timestamp_of
from dataco_assets.clients.hbase import Cells, HBase

_USER_ID = b"click_data:user_id"
_HARMLESS = re.compile(r"[A-Za-z0-9._@+-]+")
_USERS_PER_FILTER = 500
_FIRST_SLICE_MS = HOUR_MS
_SHORT_SECONDS, _LONG_SECONDS = 1.0, 5.0
_FACTOR = 4


def find_clicks(hbase: HBase, table: str, user_ids: Collection[str]) -> Iterator[tuple[bytes, str]]:
    """Row key and user id of each stored click of the users, in no particular order.

    Args:
        hbase: The client.
        table: The clicks table.
        user_ids: Whose clicks.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    by_salt: dict[int, set[str]] = {}
    for user in user_ids:
        by_salt.setdefault(salt(user), set()).add(user)
    for number, users in sorted(by_salt.items()):
        wanted = {user.encode(): user for user in users}
        filter_string = _filter(users)
        if filter_string is None:
            start, stop = salt_range(number)
            rows = hbase.scan(table, start, stop, columns=[_USER_ID])
        else:
            rows = _filtered(hbase, table, number, filter_string)
        yield from ((key, wanted[cells[_USER_ID]]) for key, cells in rows if cells[_USER_ID] in wanted)


def _filter(users: Collection[str]) -> bytes | None:
    """The filter that only rows of these users pass; None where their ids must not be part of one, or are too many."""
    if len(users) > _USERS_PER_FILTER or not all(_HARMLESS.fullmatch(user) for user in users):
        return None
    family, qualifier = _USER_ID.decode().split(":")
    # The last two arguments: leave out rows without the cell, and look at its newest version only.
    ids = (f"SingleColumnValueFilter('{family}', '{qualifier}', =, 'binary:{user}', true, true)" for user in users)
    return " OR ".join(sorted(ids)).encode()


def _filtered(hbase: HBase, table: str, number: int, filter_string: bytes) -> Iterator[tuple[bytes, Cells]]:
    width = _FIRST_SLICE_MS
    start_ms = _next_time(hbase, table, number, 0)
    while start_ms is not None:
        end_ms = min(start_ms + width, MAX_TIMESTAMP_MS + 1)
        start, stop = salt_range(number, start_ms, end_ms)
        rows = hbase.scan(table, start, stop, columns=[_USER_ID], filter_string=filter_string)
        begun, seconds = time.monotonic(), 0.0
        for row in rows:
            seconds += time.monotonic() - begun
            yield row
            begun = time.monotonic()  # what the caller does with a row is not the scan's time
        seconds += time.monotonic() - begun
        if seconds < _SHORT_SECONDS:
            width *= _FACTOR
        elif seconds > _LONG_SECONDS:
            width = max(width // _FACTOR, 1)
        start_ms = _next_time(hbase, table, number, end_ms)


def _next_time(hbase: HBase, table: str, number: int, from_ms: int) -> int | None:
    """Time of a salt's first row from a time on, epoch ms; None when there is none."""
    start, stop = salt_range(number, from_ms)
    first = next(hbase.scan(table, start, stop, columns=[_USER_ID], page_rows=1), None)
    return None if first is None else timestamp_of(first[0])
