"""The HBase row of a click: its key and its cells.

Everything that a reader or writer of the `clicks` table must know about its bytes. Pure: nothing here talks to HBase.

The key, byte by byte, in ASCII so that every tool can read it (49 bytes):

    SS-TTTTTTTTTTTTT-HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH
    |  |             BLAKE2b-128 of `user id U+001F event id`, 32 hex digits: the same event of a user is the same row
    |  time of the click, epoch ms, 13 digits: rows of a salt are in time order
    salt, 2 hex digits: crc32(user id) % 16; a user's clicks share one

The cells are UTF-8 text. A row always has all of them, so that a put replaces the whole row: an unknown value is an
empty cell.
"""

import re
from binascii import hexlify
from collections.abc import Mapping
from hashlib import blake2b
from zlib import crc32

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS, Click

SALTS = 16
"""Salts of a table. A table keeps the number it was created with: at most 256, for it has two hex digits in the key."""
KEY_VERSION = 2
"""Version of the row key, kept in the table's metadata. Keys of version 1 hashed the event id alone."""
TIMESTAMP_DIGITS = 13
"""Digits of the time in a row key; `MAX_TIMESTAMP_MS` is the last that fits."""
TABLE_FAMILIES = ("click_data", "geo_data", "user_agent_data")

_SALT_DIGITS = [b"%02x" % number for number in range(SALTS)]
_SALT_PREFIXES = [digits + b"-" for digits in _SALT_DIGITS]
_EVENT_ID, _USER_ID, _TIMESTAMP = b"click_data:event_id", b"click_data:user_id", b"click_data:timestamp"
_URL, _PAGE = b"click_data:url", b"click_data:page"
_IP_ADDRESS, _USER_AGENT = b"click_data:ip_address", b"click_data:user_agent"
_REFERRER, _REFERRER_HOST = b"click_data:referrer", b"click_data:referrer_host"
_COUNTRY, _CITY = b"geo_data:country", b"geo_data:city"
_BROWSER, _OPERATING_SYSTEM = b"user_agent_data:browser", b"user_agent_data:operating_system"
_DEVICE = b"user_agent_data:device"
COLUMNS = (
    *(_EVENT_ID, _USER_ID, _TIMESTAMP, _URL, _PAGE, _IP_ADDRESS, _USER_AGENT, _REFERRER, _REFERRER_HOST),
    *(_COUNTRY, _CITY),
    *(_BROWSER, _OPERATING_SYSTEM, _DEVICE),
)
"""Every qualified column there is, in the order in which `cells` returns them."""

KEY_COLUMNS = (_USER_ID, _TIMESTAMP, _EVENT_ID)
"""The columns from which the row key is made."""
OPTIONAL_COLUMNS = (_REFERRER, _REFERRER_HOST, _CITY, _BROWSER, _OPERATING_SYSTEM, _DEVICE)
"""The columns whose value may be unknown, which is an empty cell.

Rows with keys of version 1 lacked the cell, and rows written before clicks had a referrer lack those two.
"""
_HASH_BYTES = 16
_SALT_END = 2
_ROW_KEY = re.compile(rb"[0-9a-f]{2}-([0-9]{13})-[0-9a-f]{32}")
_SEPARATOR = b"\x1f"  # a control character, which no field of a click can hold


def salt(user_id: str) -> int:
    """The salt of a user's rows, 0 to `SALTS` - 1."""
    return crc32(user_id.encode()) % SALTS


def row_key(user_id: str, timestamp: int, event_id: str) -> bytes:
    """The row key of a click.

    Args:
        user_id: The click's user id.
        timestamp: Epoch ms.
        event_id: The click's event id.

    Raises:
        ValueError: the timestamp does not fit into 13 digits.
    """
    return key_of(user_id.encode(), b"%013d" % timestamp, event_id.encode())


def key_of(user_id: bytes, timestamp: bytes, event_id: bytes) -> bytes:
    """The same row key, from bytes.

    Args:
        user_id: UTF-8.
        timestamp: Its 13 digits.
        event_id: UTF-8.

    Raises:
        ValueError: these are not 13 digits.
    """
    if len(timestamp) != TIMESTAMP_DIGITS or not timestamp.isdigit():
        raise ValueError(f"timestamp {timestamp[:60]!r} is not within 0 to {MAX_TIMESTAMP_MS} ms, in 13 digits")
    event_hash = _hash(user_id + _SEPARATOR + event_id)
    return b"".join((_SALT_PREFIXES[crc32(user_id) % SALTS], timestamp, b"-", event_hash))


def _hash(identity: bytes) -> bytes:
    return hexlify(blake2b(identity, digest_size=_HASH_BYTES).digest())


def cells(click: Click) -> list[tuple[bytes, bytes]]:
    """The cells of a click: qualified column (`family:qualifier`) and value of each of `COLUMNS`, in that order."""
    return [
        (_EVENT_ID, click.event_id.encode()),
        (_USER_ID, click.user_id.encode()),
        (_TIMESTAMP, b"%d" % click.timestamp),
        (_URL, click.url.encode()),
        (_PAGE, click.page.encode()),
        (_IP_ADDRESS, click.ip_address.encode()),
        (_USER_AGENT, click.user_agent.encode()),
        (_REFERRER, (click.referrer or "").encode()),
        (_REFERRER_HOST, click.referrer_host.encode()),
        (_COUNTRY, click.country.encode()),
        (_CITY, (click.city or "").encode()),
        (_BROWSER, (click.browser or "").encode()),
        (_OPERATING_SYSTEM, (click.operating_system or "").encode()),
        (_DEVICE, (click.device or "").encode()),
    ]


def key_problem(key: bytes, stored: Mapping[bytes, bytes]) -> str | None:
    """Why the key of a stored row is not the one that this code computes from the row's cells; None when it is.

    Args:
        key: The row key.
        stored: The row's cells; those of `KEY_COLUMNS` are read.
    """
    missing = [column.decode() for column in KEY_COLUMNS if not stored.get(column)]
    if missing:
        return f"it has no {missing[0]}"
    user_id, timestamp, event_id = (stored[column] for column in KEY_COLUMNS)
    try:
        expected = key_of(user_id, timestamp.zfill(TIMESTAMP_DIGITS), event_id)
    except ValueError as error:
        return str(error)
    if key == expected:
        return None
    if key[_SALT_END:] == expected[_SALT_END:]:
        return f"its salt is not crc32(user id) % {SALTS}: the table was created with another number of salts"
    if key == expected[: -2 * _HASH_BYTES] + _hash(event_id):
        return "its key is of version 1, which hashes the event id alone"
    return "its key is not made from its cells"


def with_current_key(stored: Mapping[bytes, bytes]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """The key and the complete cells of a row that was stored with an older key.

    Args:
        stored: The row's cells; an optional one may be absent.

    Raises:
        ValueError: the cells are not those of a click.
    """
    missing = [column.decode() for column in COLUMNS if column not in OPTIONAL_COLUMNS and column not in stored]
    if missing:
        raise ValueError(f"it has no {missing[0]}")
    user_id, timestamp, event_id = (stored[column] for column in KEY_COLUMNS)
    key = key_of(user_id, timestamp.zfill(TIMESTAMP_DIGITS), event_id)
    return key, [(column, stored.get(column, b"")) for column in COLUMNS]


def split_keys() -> list[bytes]:
    """The keys at which a new table is split: one region per salt."""
    return _SALT_DIGITS[1:]


def key_ranges(start_ms: int, end_ms: int) -> list[tuple[bytes, bytes]]:
    """The row ranges that hold exactly the clicks of a time span.

    Args:
        start_ms: Epoch ms, inclusive.
        end_ms: Epoch ms, exclusive.

    Returns:
        One half-open range [start row, stop row) per salt, in key order. None for an empty span: HBase reads equal
        start and stop rows as "this one row".
    """
    start_ms, end_ms = max(start_ms, 0), min(end_ms, MAX_TIMESTAMP_MS + 1)
    if start_ms >= end_ms:
        return []
    return [(_bound(digits, start_ms), _bound(digits, end_ms)) for digits in _SALT_DIGITS]


def salt_range(number: int, start_ms: int = 0, end_ms: int = MAX_TIMESTAMP_MS + 1) -> tuple[bytes, bytes]:
    """The row range [start row, stop row) of a salt's clicks with a time in [start, end), epoch ms."""
    return _bound(_SALT_DIGITS[number], start_ms), _bound(_SALT_DIGITS[number], end_ms)


def timestamp_of(key: bytes) -> int:
    """The time in a row key, epoch ms.

    Raises:
        ValueError: it is not the row key of a click.
    """
    found = _ROW_KEY.fullmatch(key)
    if not found:
        raise ValueError(f"not the row key of a click: {key[:60]!r}")
    return int(found[1])


def _bound(salt_digits: bytes, time_ms: int) -> bytes:
    if time_ms > MAX_TIMESTAMP_MS:
        return salt_digits + b"."  # "." follows "-": behind every row of the salt
    return b"%b-%013d" % (salt_digits, time_ms)
