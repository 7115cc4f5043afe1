"""Functions that turn a valid click into an invalid payload, one per rule of the contract.

Every implementation of the contract must reject every result, so a case that the contract leaves open is not here.
"""

from collections.abc import Callable
from typing import Any

import msgspec

Members = dict[str, Any]

_YEAR_2100_MS = 4_102_444_800_000


def _without(name: str) -> Callable[[Members], bytes]:
    return lambda click: msgspec.json.encode({key: value for key, value in click.items() if key != name})


def _with(name: str, value: object) -> Callable[[Members], bytes]:
    return lambda click: msgspec.json.encode({**click, name: value})


def _spliced(name: str, literal: bytes) -> Callable[[Members], bytes]:
    """Replaces the member's value by bytes that no JSON encoder writes."""
    marker = "\N{REPLACEMENT CHARACTER}"
    return lambda click: msgspec.json.encode({**click, name: marker}).replace(msgspec.json.encode(marker), literal)


MALFORMED: dict[str, Callable[[Members], bytes | None]] = {
    "tombstone": lambda _: None,
    "empty": lambda _: b"",
    "truncated_json": lambda click: msgspec.json.encode(click)[:-7],
    "not_json": lambda _: b"GET /products/lamp-1 HTTP/1.1",
    "not_utf8": _spliced("user_id", b'"caf\xe9"'),
    "raw_control_character": _spliced("user_agent", b'"Mozilla\x00/5.0"'),
    "lone_surrogate": _spliced("user_id", b'"\\ud83d"'),
    "not_a_number": _spliced("timestamp", b"NaN"),
    "array": lambda click: msgspec.json.encode([click]),
    "string": lambda click: msgspec.json.encode(str(click["url"])),
    "null": lambda _: b"null",
    "missing_user_id": _without("user_id"),
    "missing_timestamp": _without("timestamp"),
    "missing_url": _without("url"),
    "missing_ip_address": _without("ip_address"),
    "missing_user_agent": _without("user_agent"),
    "empty_user_id": _with("user_id", ""),
    "long_user_id": _with("user_id", "u" * 257),
    "number_as_user_id": _with("user_id", 42),
    "long_event_id": _with("event_id", "e" * 129),
    "relative_url": _with("url", "/products/lamp-1"),
    "ftp_url": _with("url", "ftp://www.example.com/"),
    "url_without_host": _with("url", "https:///products"),
    "url_with_bad_port": _with("url", "https://www.example.com:99999/"),
    "long_url": _with("url", "https://www.example.com/" + "x" * 8_192),
    "ip_out_of_range": _with("ip_address", "203.0.113.256"),
    "ip_as_name": _with("ip_address", "unknown"),
    "long_user_agent": _with("user_agent", "M" * 2_049),
    "timestamp_in_words": _with("timestamp", "yesterday"),
    "timestamp_without_offset": _with("timestamp", "2026-01-01T10:00:00"),
    "timestamp_of_no_day": _with("timestamp", "2026-02-30T10:00:00Z"),
    "timestamp_in_the_future": _with("timestamp", _YEAR_2100_MS),
    "negative_timestamp": _with("timestamp", -1),
    "country_in_words": _with("country", "Germany"),
    "long_city": _with("city", "x" * 257),
    "list_as_browser": _with("browser", ["Firefox"]),
}
"""By kind: a function from the members of a valid click to a payload (None: a tombstone)."""
