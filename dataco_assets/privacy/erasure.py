"""Erasing users: deletes every stored click of theirs, and marks the hours they were in to be computed again.

Belongs here: deleting, and the order of the steps. Does not belong here: finding the clicks (`stored.py`), asking for
confirmation (`cli/erase_user.py`), and who may not come back (`ledgers/suppression.py`).

The order, each step durable before the next:

    users on the suppression list → hours noted as unfinished → hours dirty → rows deleted and read back →
    hours dirty again → rejected clicks marked → note removed

Hours are marked before, so that they do not count as up to date while rows are deleted; and after, because a refresh in
between may have read rows that are deleted now. A process that dies in between leaves the note: the next erasure of the
same user deletes what is left and marks all hours that the first one had touched.

One pass over the users' salts finds all rows: a drain that stores clicks of the user meanwhile finds the user on the
list at its next checkpoint and removes them itself (`ingest/erased_clicks.py`).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import VISIT_GAP_MS, touched_hours
from dataco_assets.clicks.row import timestamp_of
from dataco_assets.clients.hbase import HBase
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.privacy.stored import find_clicks
from dataco_assets.rejected.replay import erase_from_rejected

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_ROWS_AT_ONCE = 1_000
_USER_ID = b"click_data:user_id"
_TRIES = 3
"""Number of attempts to delete rows that can still be read afterwards."""


class ErasureIncomplete(DatacoError):
    """Clicks of the users can still be read after they were deleted."""

    kind = ErrorKind.PASSING


@dataclass
class Erasure:
    """What was removed, or would be.

    Attributes:
        clicks: Rows of the clicks table.
        times: The half hours that the clicks are in, epoch ms.
        hours: Hours that have to be computed anew, epoch ms.
        first_ms: Time of the earliest click, epoch ms; None without any.
        last_ms: Time of the latest.
        resumed: Hours that an interrupted erasure left unfinished.
        expired: Hours that cannot be computed anew, since HBase may have dropped clicks of others: their counts stay.
        rejected: Rejected clicks taken out of what can be listed and sent back.
    """

    clicks: int = 0
    times: set[int] = field(default_factory=set)
    hours: set[int] = field(default_factory=set)
    first_ms: int | None = None
    last_ms: int | None = None
    resumed: set[int] = field(default_factory=set)
    expired: set[int] = field(default_factory=set)
    rejected: int = 0

    def take(self, timestamp: int) -> None:
        """Adds a click."""
        self.clicks += 1
        self.times.add(timestamp - timestamp % VISIT_GAP_MS)
        self.first_ms = timestamp if self.first_ms is None else min(self.first_ms, timestamp)
        self.last_ms = timestamp if self.last_ms is None else max(self.last_ms, timestamp)


def preview(settings: "Settings", hbase: HBase, user_ids: Collection[str]) -> Erasure:
    """What an erasure would remove from HBase; changes nothing.

    Raises:
        HBaseUnavailable, HBaseRefused
    """
    found = Erasure()
    for key, _ in find_clicks(hbase, settings.clicks_table, user_ids):
        found.take(timestamp_of(key))
    suppression = SuppressionList(hbase, settings.suppressed_table)
    found.resumed = set().union(*(suppression.unfinished(user) for user in user_ids))
    ledger = HourLedger(hbase, settings.hours_table)
    found.hours = ledger.touched_by(found.times)
    found.expired = ledger.expired(found.hours | found.resumed, ttl_days=settings.clicks_ttl_days)
    return found


def erase(
    settings: "Settings",
    hbase: HBase,
    user_ids: Collection[str],
    *,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Erasure:
    """Erases users; run again after it broke off, it ends what was begun.

    All users share one pass over the table and one over the rejected topic. Memory holds the users, the hours they were
    in and a portion of rows.

    Args:
        settings: Names of tables and topics.
        hbase: The client.
        user_ids: Whom.
        on_progress: Receives the number of clicks deleted so far.

    Raises:
        ErasureIncomplete: clicks can still be read.
        HBaseUnavailable, HBaseRefused: and what Kafka's clients raise. Nothing is lost: run it again.
    """
    suppression = SuppressionList(hbase, settings.suppressed_table)
    ledger = HourLedger(hbase, settings.hours_table)
    hbase.require_table(settings.suppressed_table)
    now_ms = ledger.server_time_ms()
    hours: dict[str, set[int]] = {}
    for user in user_ids:
        suppression.suppress(user, now_ms)
        hours[user] = suppression.unfinished(user)
    erasure = Erasure(resumed=set().union(*hours.values()))
    left: list[bytes] = []
    found = find_clicks(hbase, settings.clicks_table, user_ids)
    while portion := dict(islice(found, _ROWS_AT_ONCE)):
        changed = ledger.touched_by(map(timestamp_of, portion))
        for user, touched in _hours_by_user(portion).items():
            suppression.begin(user, touched & changed - hours[user])
            hours[user] |= touched & changed
        for key in portion:
            erasure.take(timestamp_of(key))
        erasure.hours |= changed
        _mark(settings, ledger, changed)
        left += _delete(hbase, settings.clicks_table, list(portion))
        _mark(settings, ledger, changed)  # within MARKED_WITHIN_SECONDS, however many clicks follow
        on_progress(erasure.clicks)
    # Once more: clicks of others may have come into an hour after theirs while theirs were deleted. Of an erasure that
    # broke off only the hours are known, so any hour after one of them counts.
    erasure.hours |= ledger.touched_by(erasure.times)
    resumed = erasure.resumed | ledger.touched_by(hour + VISIT_GAP_MS for hour in erasure.resumed)
    erasure.expired = _mark(settings, ledger, erasure.hours | resumed)
    if left:
        raise ErasureIncomplete(
            f"{len(left):,} of {erasure.clicks:,} clicks can still be read in HBase table {settings.clicks_table} "
            f"after they were deleted {_TRIES} times, for example row {min(left).decode()}. The users are on the "
            "suppression list; run the command again."
        )
    erasure.rejected = erase_from_rejected(settings, user_ids)
    for user, touched in hours.items():
        suppression.finish(user, touched)
    return erasure


def _hours_by_user(portion: Mapping[bytes, str]) -> dict[str, set[int]]:
    hours: dict[str, set[int]] = {}
    for key, user in portion.items():
        hours.setdefault(user, set()).update(touched_hours(timestamp_of(key)))
    return hours


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
    ledger.mark_dirty(computed, holding_clicks=(), stored_since_ms=0, cause=Cause.ERASURE)
    return expired
