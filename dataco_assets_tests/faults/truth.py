"""Records what was produced, and computes the expected result, without any code of the pipeline."""

import json
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple
from urllib.parse import urlsplit
from zlib import crc32

from dataco_assets.sources.generator import SentClick
from dataco_assets_tests.oracle import OracleClick

_HOUR = 60 * 60 * 1000
_HALF_HOUR = 30 * 60 * 1000


class Logged(NamedTuple):
    """A message of the clicks topic, as a plain consumer reads it."""

    partition: int
    offset: int
    value: bytes | None


@dataclass
class Truth:
    """Everything that was produced, without transactions that were rolled back.

    Attributes:
        times: Event time (epoch ms) of every valid click, by event id.
        keys: Row key of every valid click, by event id.
        broken: How often each invalid message was sent, by its bytes.
        messages: Total number of messages.
        originals: The JSON of valid clicks that were sent in another format, by the bytes that were sent.
    """

    times: dict[str, int] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    broken: Counter[bytes | None] = field(default_factory=Counter)
    messages: int = 0
    originals: dict[bytes | None, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, sent: SentClick, written: bytes | None = None) -> None:
        """Records a message, and what it was sent as if not in JSON; thread-safe."""
        with self._lock:
            self.messages += 1
            if not sent.valid:
                self.broken[sent.value] += 1
                return
            assert sent.value is not None
            event_id, event_ms = event_of(sent.value)
            assert event_id == sent.event_id
            self.times[event_id] = event_ms
            self.keys[event_id] = row_key(sent.value)
            if written is not None:
                self.originals[written] = sent.value

    def add_broken(self, values: Iterable[bytes]) -> None:
        """Records messages that are no clicks."""
        with self._lock:
            for value in values:
                self.messages += 1
                self.broken[value] += 1

    def event_of(self, value: bytes | None) -> tuple[str, int]:
        """Event id and time (epoch ms) of a valid click, in whatever format it was sent."""
        return event_of(self.originals.get(value, value or b""))

    def is_broken(self, value: bytes | None) -> bool:
        """Whether these bytes were sent as an invalid message."""
        return value in self.broken


def event_of(value: bytes) -> tuple[str, int]:
    """Event id and time (epoch ms) of a valid click's bytes."""
    fields = json.loads(value)
    return fields["event_id"], _epoch_ms(fields["timestamp"])


def row_key(value: bytes) -> bytes:
    """The row key of a valid click's bytes."""
    fields = json.loads(value)
    user_id, event_id, time = fields["user_id"], fields["event_id"], _epoch_ms(fields["timestamp"])
    return f"{crc32(user_id.encode()) % 16:02x}-{time:013}-{_identity(user_id, event_id)}".encode()


def oracle_click(value: bytes) -> OracleClick:
    """A valid click as input of the aggregates' oracle."""
    fields = json.loads(value)
    user_id, time = fields["user_id"], _epoch_ms(fields["timestamp"])
    # As in the row key, this decides between clicks of the same millisecond.
    order = f"{time:013}-{_identity(user_id, fields['event_id'])}"
    agent = {name: fields.get(name) or None for name in ("browser", "device")}
    return OracleClick(order, user_id, time, _page(fields["url"]), fields.get("country") or None, **agent)


def _identity(user_id: str, event_id: str) -> str:
    return blake2b(f"{user_id}\x1f{event_id}".encode(), digest_size=16).hexdigest()


def _epoch_ms(stamp: str | int) -> int:
    if isinstance(stamp, int):
        return stamp
    moment = datetime.fromisoformat(stamp)
    return int(moment.replace(microsecond=0).timestamp()) * 1000 + moment.microsecond // 1000


def _page(url: str) -> str:
    """The page of a URL of the generator's site, whose URLs have no credentials and no empty paths."""
    parts = urlsplit(url)
    default_port = {"http": ":80", "https": ":443"}[parts.scheme]
    kept = [
        part
        for part in parts.query.split("&")
        if part.partition("=")[0] not in {"gclid", "fbclid", "msclkid"} and not part.startswith("utm_")
    ]
    query = f"?{'&'.join(kept)}" if any(kept) else ""
    return f"{parts.scheme}://{parts.netloc.lower().removesuffix(default_port)}{parts.path}{query}"


def own_hours(times: Iterable[int]) -> set[int]:
    """Hours that hold clicks of these times, epoch ms."""
    return {time // _HOUR * _HOUR for time in times}


def touched_hours(times: Iterable[int]) -> set[int]:
    """Hours these clicks change: their own, and the one before for a click in the first half of its hour.

    The one after, for a click in the second half, changes only if it has clicks of its own.
    """
    hours: set[int] = set()
    for time in times:
        start = time // _HOUR * _HOUR
        hours.add(start)
        if time - start < _HALF_HOUR:
            hours.add(start - _HOUR)
    return hours
