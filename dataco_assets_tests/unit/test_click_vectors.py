"""Tests the vectors that every implementation of the click shares (docs/clicks.md)."""

import base64
import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from dataco_assets.clicks.event import Click, Reason, parse
from dataco_assets.clicks.row import COLUMNS, cells, row_key

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "vectors" / "clicks.json").read_text(encoding="utf-8")
)


def text(value: str | list[Any]) -> str:
    """A text of the file: a string, or a list of strings and repetitions."""
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else part["repeat"][0] * part["repeat"][1] for part in value)


def payload_of(vector: dict[str, Any]) -> bytes | None:
    if "payload_base64" in vector:
        return base64.b64decode(vector["payload_base64"], validate=True)
    return None if vector["payload"] is None else text(vector["payload"]).encode()


def expected_cells(vector: dict[str, Any]) -> list[tuple[str, str]]:
    return [(column, text(value)) for column, value in vector["expect"]["cells"].items()]


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS])
def test_vector(vector):
    parsed = parse(payload_of(vector), record_time_ms=vector["record_time_ms"], earliest_ms=vector["earliest_ms"])
    if "reject" in vector:
        assert not isinstance(parsed, Click)
        assert parsed.reason == vector["reject"]["reason"]
    else:
        assert isinstance(parsed, Click), parsed
        key = row_key(parsed.user_id, parsed.timestamp, parsed.event_id)
        assert key.decode() == vector["expect"]["row_key"]
        assert [(column.decode(), value.decode()) for column, value in cells(parsed)] == expected_cells(vector)


def test_vectors_agree_with_the_design():
    """Recomputes every expected key from the expected cells with nothing but the standard library."""
    for vector in VECTORS:
        if "expect" not in vector:
            continue
        row = dict(expected_cells(vector))
        salt = zlib.crc32(row["click_data:user_id"].encode()) % 16
        identity = f"{row['click_data:user_id']}\x1f{row['click_data:event_id']}"
        event_hash = hashlib.blake2b(identity.encode(), digest_size=16).hexdigest()
        expected = f"{salt:02x}-{int(row['click_data:timestamp']):013d}-{event_hash}"
        assert vector["expect"]["row_key"] == expected, vector["name"]


def test_vectors_cover_every_reason_and_every_row_has_all_columns():
    rejected = {vector["reject"]["reason"] for vector in VECTORS if "reject" in vector}
    avro = {Reason.INCOMPLETE_HEADER, Reason.UNKNOWN_SCHEMA, Reason.UNSUITABLE_SCHEMA, Reason.MALFORMED_AVRO}
    assert rejected == set(Reason) - avro - {Reason.REFUSED_BY_STORE}
    for vector in VECTORS:
        if "expect" in vector:
            assert [column for column, _ in expected_cells(vector)] == [column.decode() for column in COLUMNS]
    known = {column for vector in VECTORS if "expect" in vector for column, value in expected_cells(vector) if value}
    assert known == {column.decode() for column in COLUMNS}
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
