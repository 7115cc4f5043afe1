"""Which clicks of erased users are dropped, and by what an erased user is known. Pure.

The list itself is in `dataco_assets/ledgers/suppression.py`.

The rule: a click is dropped when it happened *or* arrived in Kafka up to the erasure. So a redelivery, a replay, a late
click and a file sent again bring nothing back; what the user does afterwards is stored.
"""

from collections.abc import Mapping
from hashlib import blake2b

_PERSON = b"dataco-erased"  # makes these hashes different from those of anybody else

ErasedUsers = Mapping[bytes, int]
"""When each erased user was erased (epoch ms), by `user_hash`."""


def user_hash(user_id: str) -> bytes:
    """Returns the row key of a user in the list: 64 hex digits."""
    return blake2b(user_id.encode(), digest_size=32, person=_PERSON).hexdigest().encode()


def is_suppressed(erased: ErasedUsers, user_id: str, *times_ms: int) -> bool:
    """Whether a click must not be stored or sent back.

    Args:
        erased: The list.
        user_id: The click's user.
        times_ms: Epoch ms at which it happened, and at which it came to Kafka; those that are known.
    """
    if not erased:  # nearly always, and this runs for every click
        return False
    erased_at = erased.get(user_hash(user_id))
    return erased_at is not None and min(times_ms) <= erased_at


def is_suppressed_message(erased: ErasedUsers, user_id: str | None, key: bytes | None, record_time_ms: int) -> bool:
    """The same for a message that is not a valid click; its key or a readable user id names the user.

    Args:
        erased: The list.
        user_id: The user id in the message's value; None when none can be read.
        key: Its key.
        record_time_ms: When it came to Kafka, epoch ms.
    """
    return bool(erased) and any(is_suppressed(erased, user, record_time_ms) for user in owners(user_id, key))


def owners(user_id: str | None, key: bytes | None) -> set[str]:
    """Users whom a message concerns: the one its key names, and the one its value names where that can be read."""
    named = None if key is None else key.decode(errors="replace")
    return {user for user in (named, user_id) if user is not None}
