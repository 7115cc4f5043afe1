"""Writes clicks in Avro as a producer with its own schema does: with Apache's writer, and no code of the platform."""

import io
import itertools
import json
import struct
import uuid
from datetime import datetime
from typing import Any

import avro.io
import avro.schema

from dataco_assets_tests.registries import Registry

_MICROSECONDS = 1_000_000


class AvroProducer:
    """Encodes clicks by turns in JSON, and in Avro by the id and the GUID of a schema.

    Args:
        registry: Where its schema is registered.
        version: Makes the schema differ from others.
    """

    def __init__(self, registry: Registry, version: int = 1) -> None:
        schema = _schema(version)
        self.id = registry.add(schema)
        # Apache's writer takes no number for a time, so it does not know that this one is.
        plain = json.dumps(schema).replace('"logicalType": "timestamp-micros"', '"unit": "microsecond"')
        self._writer = avro.io.DatumWriter(avro.schema.parse(plain))
        guid = uuid.UUID(registry.schemas[self.id]["guid"])
        self._prefixes = itertools.cycle([None, b"\0" + struct.pack(">I", self.id), b"\1" + guid.bytes])

    def encode(self, click: bytes) -> bytes | None:
        """The click in the next format; None: this one stays in JSON."""
        prefix = next(self._prefixes)
        return None if prefix is None else prefix + self.body(click)

    def body(self, click: bytes) -> bytes:
        """The click in the producer's schema, without what names that."""
        fields = json.loads(click)
        sent = fields["timestamp"]
        time = sent * 1_000 if isinstance(sent, int) else _microseconds(sent)
        datum = {
            "sequence": 1,
            "at": time,
            "tags": ["a", "b"],
            **{name: fields[name] for name in ("url", "user_id", "ip_address", "user_agent", "event_id")},
            **{name: fields.get(name) or None for name in ("country", "city", "browser", "operating_system", "device")},
        }
        written = io.BytesIO()
        self._writer.write(datum, avro.io.BinaryEncoder(written))
        return written.getvalue()


def _schema(version: int) -> dict[str, Any]:
    texts = ("url", "user_id", "ip_address", "user_agent", "event_id")
    optional = ("country", "city", "browser", "operating_system", "device")
    fields: list[dict[str, Any]] = [
        {"name": "sequence", "type": "long"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "aliases": ["timestamp"]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        *({"name": name, "type": "string"} for name in texts),
        *({"name": name, "type": ["string", "null"]} for name in optional),
    ]
    return {"type": "record", "name": f"Visit{version}", "namespace": "shop", "fields": fields}


def _microseconds(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return int(moment.replace(microsecond=0).timestamp()) * _MICROSECONDS + moment.microsecond
