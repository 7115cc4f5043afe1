"""A Kafka record of the clicks topic, in JSON or in Avro, as a click or the reason why it is none.

The same click has the same row, and the same fault the same reason, in either format. Pure but for asking the given
source for a writer's schema; its errors pass through.
"""

from functools import lru_cache
from typing import Any, Protocol

from dataco_assets.clicks import event
from dataco_assets.clicks.avro import ClickReader, UnsuitableSchema, WriterSchema
from dataco_assets.clicks.event import Broken, Click, Fields, Reason, Rejection
from dataco_assets.clicks.framing import SchemaReference, frame_of, is_json, reference_of

_CACHED = 1_000
"""Schemas whose readers are kept, and ids that no schema has."""


class WriterSchemas(Protocol):
    """Where the schemas are that records were written with."""

    def find(self, reference: SchemaReference) -> WriterSchema | None:
        """The schema of that name; None when there is none.

        Raises:
            DatacoError: the source cannot say.
        """
        ...


class ClickParser:
    """Parses records of the clicks topic. Asks once for each schema, and keeps the last thousand.

    Args:
        schemas: The source of schemas.
    """

    def __init__(self, schemas: WriterSchemas) -> None:
        self._schemas = schemas
        self._reader = lru_cache(_CACHED)(self._found_reader)

    def parse(
        self, value: bytes | None, header: bytes | None, *, record_time_ms: int, earliest_ms: int
    ) -> Click | Rejection:
        """Decodes and validates one record.

        Args:
            value: The record's value; None is a tombstone.
            header: What its header `framing.SCHEMA_HEADER` holds; None: it has none.
            record_time_ms: The record's Kafka timestamp, epoch ms.
            earliest_ms: Start of the first partition, epoch ms; older clicks are rejected.

        Raises:
            DatacoError: the source of schemas cannot say which schema it is. That is no fault of the record.
        """
        if value is None or is_json(value, header):
            return event.parse(value, record_time_ms=record_time_ms, earliest_ms=earliest_ms)
        try:
            event.require_value(value)
            prefix, start = frame_of(value, header)
            fields = self._required_reader(prefix).read(value, start)
            return event.validate(fields, record_time_ms=record_time_ms, earliest_ms=earliest_ms)
        except Broken as broken:
            return Rejection(broken.reason, broken.detail)

    def user_id(self, value: bytes | None, header: bytes | None) -> str | None:
        """The user id in a value, which need not be a valid click; None without a readable one.

        Raises:
            DatacoError: as `parse`.
        """
        if value is None or is_json(value, header):
            return event.readable_user_id(value)
        found = self.known_values(value, header)
        user_id = found and found.get("user_id")
        return None if user_id is None or isinstance(user_id, bool | float) else str(user_id)

    def known_values(self, value: bytes, header: bytes | None) -> dict[str, Any] | None:
        """What a value in Avro says of the contract's fields, whatever their types; None when it cannot be read.

        Raises:
            DatacoError: as `parse`.
        """
        try:
            prefix, start = frame_of(value, header)
            values, end = self._required_reader(prefix).values(value, start)
        except Broken:
            return None
        if end != len(value):
            return None
        named = zip(Fields.__struct_fields__, values, strict=True)
        return {name: each for name, each in named if isinstance(each, str | int | float)}

    def _required_reader(self, prefix: bytes) -> ClickReader:
        reader = self._reader(prefix)
        if isinstance(reader, ClickReader):
            return reader
        raise Broken(reader.reason, reader.detail)

    def _found_reader(self, prefix: bytes) -> ClickReader | Rejection:
        reference = reference_of(prefix)
        schema = self._schemas.find(reference)
        if schema is None:
            return Rejection(Reason.UNKNOWN_SCHEMA, f"no schema is known by {reference}")
        try:
            return ClickReader(schema)
        except UnsuitableSchema as error:
            return Rejection(Reason.UNSUITABLE_SCHEMA, f"schema {reference}: {error}")
