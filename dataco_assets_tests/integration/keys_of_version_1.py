"""Writes rows of the clicks table as versions before row key 2 did, using only hashlib, zlib and happybase."""

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass

import happybase

from dataco_assets_tests.platforms import Platform


@dataclass(frozen=True)
class OldRow:
    """A row as it was stored: an unknown value had no cell."""

    key: bytes
    cells: Mapping[bytes, bytes]


def old_row(event_id: str, *, user: str, at: int, city: str = "", browser: str = "", device: str = "") -> OldRow:
    """The row of a click."""
    salt = zlib.crc32(user.encode()) % 16
    key = f"{salt:02x}-{at:013d}-{hashlib.blake2b(event_id.encode(), digest_size=16).hexdigest()}"
    cells = {
        "click_data:event_id": event_id,
        "click_data:user_id": user,
        "click_data:timestamp": str(at),
        "click_data:url": f"https://shop.example/{event_id[-1]}",
        "click_data:page": f"https://shop.example/{event_id[-1]}",
        "click_data:ip_address": "192.0.2.1",
        "click_data:user_agent": "",
        "geo_data:country": "DE",
        "geo_data:city": city,
        "user_agent_data:browser": browser,
        "user_agent_data:device": device,
    }
    written = {c.encode(): v.encode() for c, v in cells.items() if v or c == "click_data:user_agent"}
    return OldRow(key.encode(), written)


def new_key(cells: Mapping[bytes, bytes]) -> bytes:
    """The key of version 2 of a row with these cells."""
    user, event, at = (cells[f"click_data:{name}".encode()] for name in ("user_id", "event_id", "timestamp"))
    digest = hashlib.blake2b(user + b"\x1f" + event, digest_size=16).hexdigest()
    return f"{zlib.crc32(user) % 16:02x}-{int(at):013d}-{digest}".encode()


def put_old_rows(platform: Platform, rows: Iterable[OldRow]) -> None:
    """Writes rows to the platform's clicks table."""
    settings = platform.settings
    with closing(happybase.Connection(settings.hbase_thrift_host, settings.hbase_thrift_port)) as connection:
        batch = connection.table(settings.clicks_table).batch()
        for row in rows:
            batch.put(row.key, dict(row.cells))
        batch.send()
