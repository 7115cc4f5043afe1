"""The HBase row of a click: its key and its cells.

Belongs here: everything a reader or writer of the `clicks` table must know about its bytes. Does not belong here:
talking to HBase, and the rules a click keeps (`event`).

The key, byte by byte, in ASCII so that every tool can read it (49 bytes):

    SS-TTTTTTTTTTTTT-HHHHHHHHHHHHHHHHHHHHHHHHHHHHHHHH
    |  |             the event id: its BLAKE2b-128, 32 hex digits; the same event is the same row
    |  time of the click, epoch ms, 13 digits: rows of a salt are in time order
    salt, 2 hex digits: crc32(user id) % 16; a user's clicks share one

The cells are UTF-8 text. A value that is unknown has no cell.
"""

import re
from binascii import hexlify
from hashlib import blake2b
from zlib import crc32

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS, Click

SALTS = 16
TIMESTAMP_DIGITS = 13
"""Digits of the time in a row key; `MAX_TIMESTAMP_MS` is the last that fits."""
TABLE_FAMILIES = ("click_data", "geo_data", "user_agent_data")

_SALT_DIGITS = [b"%02x" % number for number in range(SALTS)]
_SALT_PREFIXES = [digits + b"-" for digits in _SALT_DIGITS]
_EVENT_ID, _USER_ID, _TIMESTAMP = b"click_data:event_id", b"click_data:user_id", b"click_data:timestamp"
_URL, _PAGE = b"click_data:url", b"click_data:page"
_IP_ADDRESS, _USER_AGENT = b"click_data:ip_address", b"click_data:user_agent"
_COUNTRY, _CITY = b"geo_data:country", b"geo_data:city"
_BROWSER, _OPERATING_SYSTEM = b"user_agent_data:browser", b"user_agent_data:operating_system"
_DEVICE = b"user_agent_data:device"
COLUMNS = (
    *(_EVENT_ID, _USER_ID, _TIMESTAMP, _URL, _PAGE, _IP_ADDRESS, _USER_AGENT),
    *(_COUNTRY, _CITY),
    *(_BROWSER, _OPERATING_SYSTEM, _DEVICE),
)
"""Every qualified column there is, in the order `cells` gives them."""

_ROW_KEY = re.compile(rb"0[0-9a-f]-([0-9]{13})-[0-9a-f]{32}")


def salt(user_id: str) -> int:
    """The salt of a user's rows, 0 to 15."""
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
    """The same row key, of what is bytes already.

    Args:
        user_id: UTF-8.
        timestamp: Its 13 digits.
        event_id: UTF-8.

    Raises:
        ValueError: these are not 13 digits.
    """
    if len(timestamp) != TIMESTAMP_DIGITS or not timestamp.isdigit():
        raise ValueError(f"timestamp {timestamp[:60]!r} is not within 0 to {MAX_TIMESTAMP_MS} ms, in 13 digits")
    event_hash = hexlify(blake2b(event_id, digest_size=16).digest())
    return b"".join((_SALT_PREFIXES[crc32(user_id) % SALTS], timestamp, b"-", event_hash))


def cells(click: Click) -> list[tuple[bytes, bytes]]:
    """The cells of a click: qualified column (`family:qualifier`) and value, always in the order of `COLUMNS`."""
    found = [
        (_EVENT_ID, click.event_id.encode()),
        (_USER_ID, click.user_id.encode()),
        (_TIMESTAMP, b"%d" % click.timestamp),
        (_URL, click.url.encode()),
        (_PAGE, click.page.encode()),
        (_IP_ADDRESS, click.ip_address.encode()),
        (_USER_AGENT, click.user_agent.encode()),
        (_COUNTRY, click.country.encode()),
    ]
    if click.city is not None:
        found.append((_CITY, click.city.encode()))
    if click.browser is not None:
        found.append((_BROWSER, click.browser.encode()))
    if click.operating_system is not None:
        found.append((_OPERATING_SYSTEM, click.operating_system.encode()))
    if click.device is not None:
        found.append((_DEVICE, click.device.encode()))
    return found


def split_keys() -> list[bytes]:
    """Where the table is split when it is created: one region per salt."""
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


def user_range(user_id: str) -> tuple[bytes, bytes]:
    """The row range [start row, stop row) that holds all clicks of a user, and those of others with the same salt."""
    digits = _SALT_DIGITS[salt(user_id)]
    return digits + b"-", digits + b"."


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
