"""Erased users: whose clicks of the past the drain must not store again.

Belongs here: the list of them and the rule. Does not belong here: erasing (`dataco_assets/privacy/erasure.py`).

HBase table, one row per erased user. The row key is a BLAKE2b hash of the user id, so that the list of those who asked
to be forgotten does not hold them. (It is a pseudonym, not an anonym: who can guess an id can look it up.)
    * `s:erased_at`: epoch ms as text;
    * `p:<hour>`: an hour of clicks that are being deleted, until it is marked dirty: what an erasure that died left to
      do. Empty once it ended.

The rule: a click is dropped when it happened *or* arrived in Kafka up to the erasure. So a redelivery, a replay, a late
click and a file sent again bring nothing back; what the user does afterwards is a new matter and is stored.
"""

from collections.abc import Collection, Iterable, Mapping
from hashlib import blake2b
from typing import ClassVar

import msgspec

from dataco_assets.clicks.hour import hour_from_key, hour_key
from dataco_assets.ledgers.table import LedgerTable

_ERASED_AT = b"s:erased_at"
_PENDING = b"p:"
_PERSON = b"dataco-erased"  # makes these hashes different from those of anybody else
_HOURS_PER_CALL = 1_000

ErasedUsers = Mapping[bytes, int]
"""When each erased user was erased (epoch ms), by `user_hash`."""


class _Owned(msgspec.Struct):
    user_id: str | int


def user_hash(user_id: str) -> bytes:
    """Under which a user is in the list: 64 hex digits."""
    return blake2b(user_id.encode(), digest_size=32, person=_PERSON).hexdigest().encode()


def is_suppressed(erased: ErasedUsers, user_id: str, *times_ms: int) -> bool:
    """Whether a click must not be stored or sent back.

    Args:
        erased: The list.
        user_id: The click's user.
        times_ms: Epoch ms at which it happened, and at which it came to Kafka; those that are known.
    """
    if not erased:  # nearly always, and this is asked of every click
        return False
    erased_at = erased.get(user_hash(user_id))
    return erased_at is not None and min(times_ms) <= erased_at


def is_suppressed_message(erased: ErasedUsers, value: bytes | None, key: bytes | None, record_time_ms: int) -> bool:
    """The same of a message that is no valid click: whose it is, its key or a readable user id says.

    Args:
        erased: The list.
        value: The message's value.
        key: Its key.
        record_time_ms: When it came to Kafka, epoch ms.
    """
    return bool(erased) and any(is_suppressed(erased, user, record_time_ms) for user in _owners(value, key))


def _owners(value: bytes | None, key: bytes | None) -> Iterable[str]:
    if key is not None:
        yield key.decode(errors="replace")
    try:
        yield str(msgspec.json.decode(value or b"", type=_Owned).user_id)
    except (msgspec.MsgspecError, UnicodeError):
        return


class SuppressionList(LedgerTable):
    """The list in HBase; see the module.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"s": {"max_versions": 1}, "p": {"max_versions": 1}}

    def read(self) -> dict[bytes, int]:
        """All erased users.

        Raises:
            HBaseRefused: there is no such table. An empty list would be the wrong answer.
        """
        self._hbase.require_table(self._table)
        rows = self._hbase.scan(self._table, columns=[_ERASED_AT])
        return {key: int(cells[_ERASED_AT]) for key, cells in rows}

    def suppress(self, user_id: str, at_ms: int) -> None:
        """Notes a user as erased at that time; an earlier erasure is superseded."""
        self._hbase.put(self._table, user_hash(user_id), {_ERASED_AT: str(at_ms).encode()})

    def unfinished(self, user_id: str) -> set[int]:
        """Hours (epoch ms) that an erasure of the user may have left undone."""
        key = user_hash(user_id)
        cells = self._hbase.rows(self._table, [key]).get(key, {})
        return {hour_from_key(name.removeprefix(_PENDING).decode()) for name in cells if name.startswith(_PENDING)}

    def begin(self, user_id: str, hours: Collection[int]) -> None:
        """Notes hours whose clicks are about to be deleted."""
        for columns in _columns(hours):
            self._hbase.put(self._table, user_hash(user_id), dict.fromkeys(columns, b""))

    def finish(self, user_id: str, hours: Collection[int]) -> None:
        """Notes that these hours are marked dirty."""
        for columns in _columns(hours):
            self._hbase.delete_cells(self._table, user_hash(user_id), columns)


def _columns(hours: Collection[int]) -> Iterable[list[bytes]]:
    columns = [_PENDING + hour_key(hour).encode() for hour in sorted(hours)]
    for start in range(0, len(columns), _HOURS_PER_CALL):
        yield columns[start : start + _HOURS_PER_CALL]
