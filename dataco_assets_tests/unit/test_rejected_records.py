"""Tests the rejected record: the original bytes, and headers with the reason and the origin."""

import hashlib

import pytest
from confluent_kafka import Message

from dataco_assets.clicks.event import Reason, Rejection
from dataco_assets.rejected.records import (
    HEADERS,
    ROOM_BYTES,
    RejectedClick,
    record_headers,
    record_key,
    send_rejected,
)
from dataco_assets_tests.platforms import headers_of
from dataco_assets_tests.unit.recording_producer import RecordingProducer

Headers = list[tuple[str, str | bytes | None]]
LIMIT = 1_048_588
"""Kafka's default limit of a message, bytes."""


def rejected(value: bytes | None = b"{", *, key: bytes | None = None, headers: Headers | None = None) -> RejectedClick:
    message = Message(
        topic="clicks",
        partition=3,
        offset=4711,
        key=key,
        value=value,
        headers=headers,
        timestamp=(1, 1_767_225_600_123),
    )
    return RejectedClick(message, Rejection(Reason.MALFORMED_JSON, "not JSON"))


def test_headers_say_why_and_from_where() -> None:
    assert record_headers(rejected(key=b"k\xff")) == [
        ("dataco.reason", b"malformed_json"),
        ("dataco.detail", b"not JSON"),
        ("dataco.topic", b"clicks"),
        ("dataco.partition", b"3"),
        ("dataco.offset", b"4711"),
        ("dataco.record_time", b"1767225600123"),
        ("dataco.key", b"k\xff"),
    ]


def test_every_documented_header_is_written_and_every_written_one_documented() -> None:
    assert [name for name, _ in record_headers(rejected(key=b"k"))] == list(HEADERS)


def test_a_message_without_a_key_has_no_key_header() -> None:
    assert "dataco.key" not in dict(record_headers(rejected()))


def test_the_originals_headers_follow_in_order_repeated_ones_too() -> None:
    own: Headers = [("trace", b"\x00\xff"), ("b", b""), ("none", None), ("trace", b"2")]
    assert record_headers(rejected(headers=own))[6:] == own


def test_an_original_header_cannot_pass_for_one_of_ours() -> None:
    forged: Headers = [("dataco.reason", b"harmless"), ("dataco.offset", b"1")]
    headers = record_headers(rejected(headers=forged))
    assert [value for name, value in headers if name == "dataco.reason"] == [b"malformed_json"]
    assert [value for name, value in headers if name == "dataco.offset"] == [b"4711"]


@pytest.mark.parametrize(
    "value", [None, b"", b"\x00\xff\xfe", "{\ud83d".encode("utf-8", "surrogatepass"), b"x" * 70_000]
)
def test_the_value_is_the_originals_bytes(value: bytes | None) -> None:
    producer = RecordingProducer()
    send_rejected(producer, rejected(value), limit_bytes=LIMIT)
    assert producer.messages[0].value() == value


def test_a_retried_run_writes_the_same_record_again() -> None:
    producer = RecordingProducer()
    send_rejected(producer, rejected(), limit_bytes=LIMIT)
    send_rejected(producer, rejected(), limit_bytes=LIMIT)
    first, second = producer.messages
    assert (first.key(), first.value(), first.headers()) == (second.key(), second.value(), second.headers())
    assert first.key() == record_key("clicks", 3, 4711) == b"clicks/3/4711"


def test_the_first_message_of_a_topic_has_a_whole_key() -> None:
    # Partition 0 and offset 0 are values, not absences.
    producer = RecordingProducer()
    message = Message(topic="clicks", partition=0, offset=0, value=b"")
    send_rejected(producer, RejectedClick(message, Rejection(Reason.MALFORMED_JSON, "")), limit_bytes=LIMIT)
    assert producer.messages[0].key() == b"clicks/0/0"


def test_reason_and_detail_are_safe_in_a_header_whatever_the_click_held() -> None:
    nasty = Rejection(Reason.INVALID_URL, "\x1b[31m\n\r\u202e" + "é" * 1_000)
    detail = dict(record_headers(RejectedClick(rejected().message, nasty)))["dataco.detail"]
    assert detail is not None
    assert len(detail) <= 200
    assert all(0x20 <= byte < 0x7F for byte in detail)


def test_size_counts_everything_that_is_held_in_memory() -> None:
    big = rejected(None, key=b"k" * 1_000, headers=[("h", b"v" * 2_000)])
    assert big.size >= 3_000
    assert rejected(b"x" * 500).size >= 500


@pytest.mark.parametrize("large", ["value", "key", "header"])
def test_what_the_topic_cannot_hold_is_kept_by_reference(large: str) -> None:
    value = b"v" * (LIMIT if large == "value" else 1)
    key = b"k" * (LIMIT if large == "key" else 1)
    header = b"h" * (LIMIT if large == "header" else 1)
    producer = RecordingProducer()
    send_rejected(producer, rejected(value, key=key, headers=[("own", header)]), limit_bytes=LIMIT)
    (record,) = producer.messages
    found = headers_of(record)
    assert record.key() == b"clicks/3/4711"
    assert record.value() is None
    assert (found["dataco.reason"], found["dataco.offset"]) == (b"malformed_json", b"4711")
    assert found["dataco.value_bytes"] == str(len(value)).encode()
    assert found["dataco.value_hash"] == hashlib.blake2b(value, digest_size=16).hexdigest().encode()
    assert sum(len(name) + len(text) for name, text in found.items()) < 1_000


def test_a_message_that_just_fits_is_kept_whole() -> None:
    producer = RecordingProducer()
    send_rejected(producer, rejected(b"v" * (LIMIT - ROOM_BYTES)), limit_bytes=LIMIT)
    assert len(producer.messages[0].value() or b"") == LIMIT - ROOM_BYTES


def test_no_click_can_pass_for_a_reference() -> None:
    forged: Headers = [("dataco.value_bytes", b"7"), ("dataco.value_hash", b"0" * 32), ("own", b"stays")]
    names = [name for name, _ in record_headers(rejected(None, headers=forged))]
    assert "own" in names
    assert not {"dataco.value_bytes", "dataco.value_hash"} & set(names)
