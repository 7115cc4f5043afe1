"""Tests the vectors of clicks in Avro that every implementation shares (docs/clicks.md)."""

import io
import json
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import pytest

from dataco_assets.clicks import event
from dataco_assets.clicks.avro import WriterSchema
from dataco_assets.clicks.event import Click, Reason
from dataco_assets.clicks.framing import RefersBy, SchemaReference
from dataco_assets.clicks.record import ClickParser

FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "avro.json").read_text(encoding="utf-8"))
VECTORS: list[dict[str, Any]] = FILE["vectors"]
_BY = {RefersBy.ID: "ids", RefersBy.GUID: "guids", RefersBy.FINGERPRINT: "fingerprints"}


class FileSchemas:
    """The schemas of the file; counts what is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find(self, reference: SchemaReference) -> WriterSchema | None:
        self.asked.append(str(reference))
        name = FILE[_BY[reference.by]].get(reference.value)
        return None if name is None else WriterSchema(json.dumps(FILE["schemas"][name]))


def value_of(vector: dict[str, Any]) -> bytes | None:
    parts = vector["value_hex"]
    if parts is None:
        return None
    parts = [parts] if isinstance(parts, str) else parts
    return b"".join(
        bytes.fromhex(part) if isinstance(part, str) else bytes.fromhex(part["repeat"][0]) * part["repeat"][1]
        for part in parts
    )


def header_of(vector: dict[str, Any]) -> bytes | None:
    return bytes.fromhex(vector["header_hex"]) if "header_hex" in vector else None


def without_logical_types(schema: Any) -> Any:
    """The schema as Apache's writer takes the numbers, texts and bytes of a vector."""
    if isinstance(schema, dict):
        return {k: without_logical_types(v) for k, v in schema.items() if k not in ("logicalType", "precision")}
    return [without_logical_types(each) for each in schema] if isinstance(schema, list) else schema


def datum(value: Any) -> Any:
    """A datum of the file: `{"hex": …}` stands for bytes."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else {k: datum(v) for k, v in value.items()}
    return [datum(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("vector", [pytest.param(vector, id=vector["name"]) for vector in VECTORS])
def test_vector(vector: dict[str, Any]) -> None:
    times = {"record_time_ms": vector["record_time_ms"], "earliest_ms": vector["earliest_ms"]}
    parsed = ClickParser(FileSchemas()).parse(value_of(vector), header_of(vector), **times)
    if "json" in vector:  # the same click in JSON: the same row, the same derived id, the same reason
        same = event.parse(vector["json"].encode(), **times)
        assert getattr(parsed, "reason", parsed) == getattr(same, "reason", same)
    if "reject" in vector:
        assert not isinstance(parsed, Click)
        assert parsed.reason == vector["reject"]["reason"], parsed.detail
    else:
        assert isinstance(parsed, Click), parsed
        assert "json" in vector


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in VECTORS if "datum" in v])
def test_the_bytes_are_what_apaches_writer_makes_of_the_datum(vector: dict[str, Any]) -> None:
    schema = avro.schema.parse(json.dumps(without_logical_types(FILE["schemas"][vector["schema"]])))
    written = io.BytesIO()
    avro.io.DatumWriter(schema).write(datum(vector["datum"]), avro.io.BinaryEncoder(written))
    value = value_of(vector)
    assert value is not None
    assert value[vector.get("datum_at", 0) :] == written.getvalue()


def test_the_vectors_cover_every_reason_of_avro_and_their_names_are_unique() -> None:
    own = {Reason.INCOMPLETE_HEADER, Reason.UNKNOWN_SCHEMA, Reason.UNSUITABLE_SCHEMA, Reason.MALFORMED_AVRO}
    assert own <= {vector["reject"]["reason"] for vector in VECTORS if "reject" in vector}
    assert len({vector["name"] for vector in VECTORS}) == len(VECTORS)
    used = {vector.get("schema") for vector in VECTORS}
    assert used >= FILE["schemas"].keys()


def test_each_schema_is_asked_for_once_also_one_that_does_not_exist() -> None:
    schemas = FileSchemas()
    parser = ClickParser(schemas)
    for vector in [*VECTORS, *VECTORS]:
        parser.parse(value_of(vector), header_of(vector), record_time_ms=0, earliest_ms=0)
    assert len(schemas.asked) == len(set(schemas.asked)) > len(FILE["schemas"])


def test_the_last_thousand_schemas_are_kept() -> None:
    schemas = FileSchemas()
    parser = ClickParser(schemas)
    first, *others = (b"\0" + number.to_bytes(4, "big") for number in range(5_000, 6_000))
    for value in (first, *others, first, b"\0" + (6_000).to_bytes(4, "big")):
        parser.parse(value, None, record_time_ms=0, earliest_ms=0)
    assert len(schemas.asked) == 1_001
    parser.parse(first, None, record_time_ms=0, earliest_ms=0)
    assert len(schemas.asked) == 1_001, "it was used lately"
    parser.parse(others[0], None, record_time_ms=0, earliest_ms=0)
    assert len(schemas.asked) == 1_002


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_any_damage_is_a_rejection_and_never_an_error(cut: int) -> None:
    parser = ClickParser(FileSchemas())
    for vector in VECTORS:
        value = value_of(vector)
        if value is None or len(value) > 1_000:
            continue
        for damaged in (value[:cut], value[:cut] + b"\xff" + value[cut + 1 :], value[:cut] + value[cut + 1 :]):
            parser.parse(damaged, header_of(vector), record_time_ms=0, earliest_ms=0)
            parser.user_id(damaged, header_of(vector))
