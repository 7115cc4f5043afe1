"""Gives every row of a clicks table from an earlier version the row key of this one.

HBase can rename neither rows nor tables, so the rows are copied to a second table, which then replaces the first by
way of a snapshot:

    old table read-only → second table → rows copied → both counted → snapshot → old table deleted →
    snapshot restored under the old name → hours marked → second table and snapshot deleted

If it is killed at any step and started again, the outcome is the same: until the snapshot exists, the old table is
complete and copying starts over; from then on the snapshot is complete, and the tables that exist show which steps
remain. No click can be stored and then lost in the meantime, since HBase refuses writes to a read-only table. Each row
keeps the time at which it was stored, from which its time to live counts.

A user's clicks of the same millisecond are ordered by their keys, and that order decides which of them is followed by
the time to the next click. Hours with such clicks are therefore marked dirty.
"""

from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, pairwise
from threading import Lock
from typing import TYPE_CHECKING

from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import VISIT_GAP_MS
from dataco_assets.clicks.row import KEY_VERSION, OPTIONAL_COLUMNS, split_keys, timestamp_of, with_current_key
from dataco_assets.clients.hbase import HBase, TimedCells
from dataco_assets.clients.mutations import encode_row
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.hours import HourLedger

if TYPE_CHECKING:
    from dataco_assets.settings import Settings
    from spark_resources.clicks_admin import ClicksAdmin

_ROWS_HELD = 10_000
"""Rows collected before they are written. Rows stored at the same time share a call, so larger batches need fewer."""
_ROWS_PER_CALL = 2_000
_EVENT_ID, _USER_ID = b"click_data:event_id", b"click_data:user_id"
_SALT_RANGES = tuple(pairwise([None, *split_keys(), None]))  # together, the whole table
_COUNTED = b"geo_data:country"  # every row has it, in a small family


class RekeyingFailed(DatacoError):
    """The clicks table cannot be given new keys as it is; nothing was deleted."""


class RekeyingUnfinished(DatacoError):
    """The clicks table was about to be given new keys, and that was interrupted."""


class RekeyingStep(StrEnum):
    """The points at which a test may interrupt it."""

    READ_ONLY = "read_only"
    COPY_CREATED = "copy_created"
    COPIED = "copied"
    COUNTED = "counted"
    SNAPSHOT_TAKEN = "snapshot_taken"
    OLD_DELETED = "old_deleted"
    RESTORED = "restored"
    HOURS_MARKED = "hours_marked"
    COPY_DELETED = "copy_deleted"


@dataclass(frozen=True)
class Rekeyed:
    """What was done.

    Attributes:
        rows: Rows copied; None when an earlier attempt had copied them.
        hours: Hours that are computed again, since a user has several clicks of one millisecond there.
    """

    rows: int | None
    hours: int


def copy_name(table: str) -> str:
    """Name of the second table, and of the snapshot, while a clicks table is given new keys."""
    return f"{table}-rekeyed"


def refuse_unfinished(admin: "ClicksAdmin", table: str) -> None:
    """Makes sure that no interrupted attempt waits to be finished.

    Raises:
        RekeyingUnfinished: one does.
        ClicksTableError: HBase cannot be reached.
    """
    name = copy_name(table)
    if admin.exists(name) or name in admin.snapshots():
        raise RekeyingUnfinished(
            f"HBase holds a table or a snapshot {name}: giving the rows of {table} new keys was interrupted. Nothing "
            "is lost; `dataco setup --rekey-clicks` finishes it."
        )


def rekey_clicks(
    settings: "Settings",
    hbase: HBase,
    admin: "ClicksAdmin",
    *,
    on_progress: Callable[[int], None] = lambda _: None,
    on_step: Callable[[RekeyingStep], None] = lambda _: None,
) -> Rekeyed | None:
    """Gives every row of the clicks table the key of this version; after an interruption, start it again.

    Args:
        settings: Names of the tables, and how many connections copy.
        hbase: Client that copies.
        admin: Administers the clicks tables.
        on_progress: Receives the number of rows copied so far.
        on_step: Called after each step; tests use it to interrupt the process there.

    Returns:
        None when there is nothing to do: the table has these keys already, or there is none.

    Raises:
        RekeyingFailed: a row is not a click, the counts differ, or the table was written to after it had been copied.
        ClicksTableError, HBaseUnavailable, HBaseRefused
    """
    table, copy = settings.clicks_table, copy_name(settings.clicks_table)
    rows: int | None = None
    if copy not in admin.snapshots():
        if not admin.exists(table) or admin.describe(table).key_version == KEY_VERSION:
            return None
        rows = _copy_table(settings, hbase, admin, on_progress, on_step)
    _replace(admin, table, copy, on_step)
    hours = _mark_hours(settings, hbase)
    on_step(RekeyingStep.HOURS_MARKED)
    admin.delete(copy)
    on_step(RekeyingStep.COPY_DELETED)
    admin.delete_snapshot(copy)
    return Rekeyed(rows, hours)


def _copy_table(
    settings: "Settings",
    hbase: HBase,
    admin: "ClicksAdmin",
    on_progress: Callable[[int], None],
    on_step: Callable[[RekeyingStep], None],
) -> int:
    """Copies all rows to a second table and takes its snapshot; returns how many there were."""
    table, copy = settings.clicks_table, copy_name(settings.clicks_table)
    admin.make_read_only(table)
    on_step(RekeyingStep.READ_ONLY)
    admin.delete(copy)  # of an earlier attempt, which may have copied rows that are erased by now
    admin.create_like(table, copy)
    on_step(RekeyingStep.COPY_CREATED)
    copied = _copy_rows(hbase, table, copy, settings.ingest_connections, on_progress)
    on_step(RekeyingStep.COPIED)
    _compare_counts(hbase, table, copy, copied)
    on_step(RekeyingStep.COUNTED)
    admin.take_snapshot(copy, copy)
    on_step(RekeyingStep.SNAPSHOT_TAKEN)
    return copied


def _copy_rows(hbase: HBase, table: str, copy: str, connections: int, on_progress: Callable[[int], None]) -> int:
    copied, lock = 0, Lock()

    def copy_range(bounds: tuple[bytes | None, bytes | None]) -> None:
        nonlocal copied
        stored = hbase.scan_with_times(table, *bounds)
        while rows := list(islice(stored, _ROWS_HELD)):
            for time_ms, encoded in _by_time(rows).items():
                for start in range(0, len(encoded), _ROWS_PER_CALL):
                    hbase.put_rows(copy, encoded[start : start + _ROWS_PER_CALL], time_ms=time_ms)
            with lock:
                copied += len(rows)
                on_progress(copied)

    with ThreadPoolExecutor(connections, thread_name_prefix="rekeying") as pool:
        for _ in pool.map(copy_range, _SALT_RANGES):
            pass
    return copied


def _by_time(rows: list[tuple[bytes, TimedCells]]) -> dict[int, list[bytes]]:
    """The rows with their new keys, encoded, by the time at which each was stored (epoch ms)."""
    encoded: dict[int, list[bytes]] = defaultdict(list)
    for key, cells in rows:
        try:
            stored_at = cells[_EVENT_ID][1] if _EVENT_ID in cells else 0
            # An optional cell of another time is left over from an earlier message with the same key.
            current = {c: v for c, (v, time) in cells.items() if time == stored_at or c not in OPTIONAL_COLUMNS}
            encoded[stored_at].append(encode_row(*with_current_key(current)))
        except ValueError as error:
            raise RekeyingFailed(
                f"Row {key[:60]!r} is not a click: {error}. Repair it or delete it in the HBase shell, and start again."
            ) from None
    return encoded


def _compare_counts(hbase: HBase, table: str, copy: str, copied: int) -> None:
    """Makes sure that no row is missing or double. Rows may expire meanwhile, in both tables alike."""
    in_copy, in_table = _count(hbase, copy), _count(hbase, table)
    if not in_table <= in_copy <= copied:
        raise RekeyingFailed(
            f"HBase table {table} has {in_table:,} rows, {copied:,} were read and {in_copy:,} are in {copy}. Nothing "
            "was deleted. Start again; if the numbers differ again, two rows have the same new key."
        )


def _count(hbase: HBase, table: str) -> int:
    return sum(1 for _ in hbase.scan_times(table, column=_COUNTED))


def _replace(admin: "ClicksAdmin", table: str, copy: str, on_step: Callable[[RekeyingStep], None]) -> None:
    """Puts the snapshot in the place of the old table, from whatever point an earlier attempt reached."""
    if admin.exists(table):
        found = admin.describe(table)
        if found.key_version != KEY_VERSION:
            if not found.read_only:
                raise RekeyingFailed(
                    f"HBase table {table} can be written to although it was copied to {copy}. Delete the table and the "
                    f"snapshot {copy} in the HBase shell and start again, so that no click is lost."
                )
            admin.delete(table)
            on_step(RekeyingStep.OLD_DELETED)
    if not admin.exists(table):
        admin.restore(copy, table)
    on_step(RekeyingStep.RESTORED)


def _mark_hours(settings: "Settings", hbase: HBase) -> int:
    """Marks the hours dirty in which a user has several clicks of one millisecond; returns how many there are."""
    with ThreadPoolExecutor(settings.ingest_connections, thread_name_prefix="rekeying") as pool:
        found = pool.map(lambda bounds: _ties(hbase, settings.clicks_table, *bounds), _SALT_RANGES)
        times = {time for part in found for time in part}
    ledger = HourLedger(hbase, settings.hours_table)
    hours = {hour for hour in ledger.touched_by(times) if hour >= settings.partitions_start_ms}
    hours -= ledger.expired(hours, ttl_days=settings.clicks_ttl_days)
    ledger.mark_dirty(hours, holding_clicks=(), stored_since_ms=0, cause=Cause.RECOMPUTED)
    return len(hours)


def _ties(hbase: HBase, table: str, start: bytes | None, stop: bytes | None) -> set[int]:
    """Half hours (epoch ms) with a millisecond in which a user has several clicks; rows are in the order of time."""
    ties: set[int] = set()
    time, users = -1, set[bytes]()
    for key, cells in hbase.scan(table, start, stop, columns=[_USER_ID]):
        timestamp, user = timestamp_of(key), cells[_USER_ID]
        if timestamp != time:
            time, users = timestamp, set()
        elif user in users:
            ties.add(timestamp - timestamp % VISIT_GAP_MS)
        users.add(user)
    return ties
