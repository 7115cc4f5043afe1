"""Tells how a Kafka record says by which schema it was written: not at all (JSON), or in one of Avro's three ways.

    00, schema id (4 bytes, big endian)                          Confluent's wire format, version 0
    01, schema GUID (16 bytes)                                   Confluent's wire format, version 1
    C3 01, CRC-64-AVRO of the schema (8 bytes, little endian)    Avro's single-object encoding

Either of Confluent's may be the record's header `SCHEMA_HEADER` instead, and then the value is Avro alone.

No JSON text can be mistaken for one of them: it begins with white space or a character of `{["-0123456789tfn`, all of
which are above 08, and in UTF-8 a byte C3 is followed by one from 80 to BF. A record that begins like Avro is therefore
no JSON either, and needs no setting to be told apart.
"""

from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from dataco_assets.clicks.event import Broken, Reason

SCHEMA_HEADER = "__value_schema_id"
"""Header in which Confluent's serializers put the schema of a value; its last one counts."""

_ID, _GUID = 0x00, 0x01
SINGLE_OBJECT = b"\xc3\x01"
_ENDS = {_ID: 5, _GUID: 17, SINGLE_OBJECT[0]: 10}
"""Bytes that name a schema, by the first of them."""


class RefersBy(StrEnum):
    """How a record names the schema it was written with."""

    ID = "id"
    GUID = "GUID"
    FINGERPRINT = "fingerprint"


class SchemaReference(NamedTuple):
    """Names a writer's schema.

    Attributes:
        by: How.
        value: The decimal id, the GUID as text, or the fingerprint as 16 hex digits in the order of the bytes.
    """

    by: RefersBy
    value: str

    def __str__(self) -> str:
        return f"{self.by} {self.value}"


def is_json(value: bytes, header: bytes | None) -> bool:
    """Whether a value names no schema, so that it can only be JSON."""
    return header is None and (not value or (value[0] > _GUID and not value.startswith(SINGLE_OBJECT)))


def frame_of(value: bytes, header: bytes | None) -> tuple[bytes, int]:
    """The bytes that name the schema of a value that is not JSON, and where the value in Avro begins.

    Args:
        value: The record's value.
        header: What its header `SCHEMA_HEADER` holds; None: it has none.

    Raises:
        Broken: what names the schema is cut short, or of a form that does not exist.
    """
    if header is not None:
        return _required_header(header), 0
    end = _ENDS[value[0]]
    if len(value) < end:
        raise Broken(Reason.INCOMPLETE_HEADER, f"{value.hex(' ')}: {len(value)} of the {end} bytes that name a schema")
    return value[:end], end


def reference_of(prefix: bytes) -> SchemaReference:
    """The schema that these bytes name."""
    first = prefix[0]
    if first == _ID:
        return SchemaReference(RefersBy.ID, str(int.from_bytes(prefix[1:], "big")))
    if first == _GUID:
        return SchemaReference(RefersBy.GUID, str(UUID(bytes=prefix[1:])))
    return SchemaReference(RefersBy.FINGERPRINT, prefix[len(SINGLE_OBJECT) :].hex())


def _required_header(header: bytes) -> bytes:
    if header and header[0] in (_ID, _GUID) and len(header) == _ENDS[header[0]]:
        return header
    shown = header[: _ENDS[_GUID]].hex(" ") or "none"
    raise Broken(
        Reason.INCOMPLETE_HEADER,
        f"header {SCHEMA_HEADER}: expected 00 and 4 bytes, or 01 and 16 bytes; found {len(header)} bytes: {shown}",
    )
