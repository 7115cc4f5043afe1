"""Erasing a user: every stored click of theirs goes, and the hours they were in are computed anew.

Belongs here: finding, deleting, and the order of things. Does not belong here: asking a person whether to
(`cli/erase_user.py`), and who may not come back (`ledgers/suppression.py`).

The order, each step durable before the next:

    user on the suppression list → hours noted as unfinished → hours dirty → rows deleted and read back →
    hours dirty again → rejected clicks marked → note removed

Hours are marked before, so that nobody takes them for true while rows go; and after, because a refresh in between may
have seen rows that are gone now. Whoever dies in between leaves the note: the next erasure of the same user deletes
what is left and marks all hours that the first one had touched.

One pass over the user's salt finds all rows: a drain that stores clicks of the user meanwhile finds the user on the
list at its next checkpoint and removes them itself (`ingest/erased_clicks.py`).
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from dataco_assets.clicks.hour import touched_hours
from dataco_assets.clicks.row import timestamp_of, user_range
from dataco_assets.clients.hbase import HBase
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.rejected.replay import erase_from_rejected

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_ROWS_AT_ONCE = 1_000
_USER_ID = b"click_data:user_id"
_TRIES = 3
"""How often rows are deleted that can still be read afterwards."""


class ErasureIncomplete(DatacoError):
    """Clicks of the user can still be read after they were deleted."""

    kind = ErrorKind.PASSING


@dataclass
class Erasure:
    """What was removed, or would be.

    Attributes:
        clicks: Rows of the clicks table.
        hours: Hours that have to be computed anew, epoch ms.
        first_ms: Time of the earliest click, epoch ms; None without any.
        last_ms: Time of the latest.
        resumed: Hours that an earlier erasure had left undone.
        expired: Hours that cannot be computed anew, since HBase may have dropped clicks of others: their counts stay.
        rejected: Rejected clicks taken out of what can be listed and sent back.
    """

    clicks: int = 0
    hours: set[int] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    resumed: set[int] = field(default_factory=set)
    expired: set[int] = field(default_factory=set)
    rejected: int = 0

    def take(self, timestamp: int) -> None:
        """Adds a click."""
        self.clicks += 1
        self.hours.update(touched_hours(timestamp))
        self.first_ms = timestamp if self.first_ms is None else min(self.first_ms, timestamp)
        self.last_ms = timestamp if self.last_ms is None else max(self.last_ms, timestamp)


def find_clicks(hbase: HBase, table: str, user_id: str) -> Iterator[bytes]:
    """Row keys of a user's clicks: reads the one salt that can hold them, user ids only, and compares here.

    The user id is never part of a filter: it is somebody else's text.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    wanted = user_id.encode()
    for key, cells in hbase.scan(table, *user_range(user_id), columns=[_USER_ID]):
        if cells[_USER_ID] == wanted:
            yield key


def preview(settings: "Settings", hbase: HBase, user_id: str) -> Erasure:
    """What an erasure would remove from HBase; changes nothing.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    found = Erasure()
    for key in find_clicks(hbase, settings.clicks_table, user_id):
        found.take(timestamp_of(key))
    found.resumed = SuppressionList(hbase, settings.suppressed_table).unfinished(user_id)
    ledger = HourLedger(hbase, settings.hours_table)
    found.expired = ledger.expired(found.hours | found.resumed, ttl_days=settings.clicks_ttl_days)
    return found


def erase(
    settings: "Settings", hbase: HBase, user_id: str, *, on_progress: Callable[[int], None] = lambda _: None
) -> Erasure:
    """Erases a user; run again after it broke off, it ends what was begun.

    Args:
        settings: Names of tables and topics.
        hbase: The client.
        user_id: Whom.
        on_progress: Told the number of clicks deleted so far.

    Raises:
        ErasureIncomplete: clicks can still be read.
        HBaseUnavailable, HBaseRefused: and what Kafka's clients raise. Nothing is lost: run it again.
    """
    suppression = SuppressionList(hbase, settings.suppressed_table)
    ledger = HourLedger(hbase, settings.hours_table)
    hbase.require_table(settings.suppressed_table)
    suppression.suppress(user_id, ledger.server_time_ms())
    erasure = Erasure(resumed=suppression.unfinished(user_id))
    left: list[bytes] = []
    found = find_clicks(hbase, settings.clicks_table, user_id)
    while keys := list(islice(found, _ROWS_AT_ONCE)):
        known = set(erasure.hours)
        for key in keys:
            erasure.take(timestamp_of(key))
        suppression.begin(user_id, erasure.hours - known)
        _mark(settings, ledger, {hour for key in keys for hour in touched_hours(timestamp_of(key))})
        left += _delete(hbase, settings.clicks_table, keys)
        on_progress(erasure.clicks)
    concerned = erasure.hours | erasure.resumed
    erasure.expired = _mark(settings, ledger, concerned)
    if left:
        raise ErasureIncomplete(
            f"{len(left):,} of {erasure.clicks:,} clicks can still be read in HBase table {settings.clicks_table} "
            f"after they were deleted {_TRIES} times, for example row {min(left).decode()}. The user is on the "
            "suppression list; run the command again."
        )
    erasure.rejected = erase_from_rejected(settings, user_id)
    suppression.finish(user_id, concerned)
    return erasure


def _delete(hbase: HBase, table: str, keys: list[bytes]) -> list[bytes]:
    """Deletes rows and reads them back; returns those that can still be read."""
    for _ in range(_TRIES):
        hbase.delete_rows(table, keys)
        keys = list(hbase.rows(table, keys, [_USER_ID]))
        if not keys:
            break
    return keys


def _mark(settings: "Settings", ledger: HourLedger, hours: Collection[int]) -> set[int]:
    """Marks the hours dirty that a run can compute; returns those that must not be computed again."""
    expired = ledger.expired(hours, ttl_days=settings.clicks_ttl_days)
    computed = {hour for hour in hours if hour >= settings.partitions_start_ms} - expired
    ledger.mark_dirty(computed, holding_clicks=(), stored_since_ms=0)
    return expired
