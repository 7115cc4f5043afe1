"""Turns clicks in JSON into Avro's single-object encoding, in the schema of the contract."""

import io
from typing import Any

import msgspec

from dataco_assets.clicks import contract
from dataco_assets.clicks.avro import fingerprint_of
from dataco_assets.clicks.event import Broken, Fields, milliseconds
from dataco_assets.clicks.framing import SINGLE_OBJECT


class AvroEncoder:
    """Encodes clicks. Fields that the contract does not know are left out."""

    def __init__(self) -> None:
        from fastavro import parse_schema, schemaless_writer

        schema = contract.avro_schema()
        self._prefix = SINGLE_OBJECT + fingerprint_of(schema)
        self._schema: Any = parse_schema(schema)
        self._write: Any = schemaless_writer
        self._decode = msgspec.json.Decoder(Fields).decode

    def encode(self, payload: bytes | None) -> bytes | None:
        """The same click in Avro; bytes that the schema cannot express, as malformed ones, stay what they are."""
        try:
            fields = self._decode(payload or b"")
            if isinstance(fields.timestamp, str):
                fields.timestamp = milliseconds(fields.timestamp)
            body = io.BytesIO()
            self._write(body, self._schema, msgspec.structs.asdict(fields))
        except (msgspec.MsgspecError, UnicodeDecodeError, Broken, OverflowError, ValueError):
            return payload
        return self._prefix + body.getvalue()
