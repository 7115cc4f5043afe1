"""Reads clicks in Avro's binary encoding by the schema they were written with.

The writer's schema decides where a value is, the contract (`event.Fields`) what it must be. A field of the contract is
the writer's field of that name, or else the one that has the name among its aliases; the record's own name does not
count, fields unknown to the contract are read over. docs/clicks.md has the rules with their reasons.

Own code, and not a library's reader, for three reasons: it takes some 60 % of fastavro's time; the libraries do not
agree on damaged bytes, and ten bytes can keep fastavro busy for ever (an array of 2^62 items without bytes); and they
turn UUIDs and times into objects, of which the text as sent cannot be had again. Schemas are parsed by fastavro.
"""

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from dataco_assets.clicks.event import (
    MAX_DEPTH,
    Broken,
    Fields,
    Reason,
    refuse_control_characters,
    refuse_depth,
    shaped,
)

_FIELDS = Fields.__struct_fields__
_TIMESTAMP = _FIELDS.index("timestamp")
_REQUIRED = _FIELDS[: len(_FIELDS) - len(Fields.__struct_defaults__)]
_UNUSED = len(_FIELDS)
"""The slot of values that the contract does not know."""

Schema = Any
"""A schema as fastavro parses it: a name, a list (union), or a dict."""
_Reader = Callable[[bytes, int, int], tuple[Any, int]]
"""Reads a value: takes the bytes, where it begins and how deep it lies; returns it and where it ends."""


class UnsuitableSchema(Exception):
    """Nothing that is written with this schema can be a click; the text says why."""


class WriterSchema(NamedTuple):
    """A schema that records were written with, as text.

    Attributes:
        text: The schema.
        references: Texts of the schemas that it refers to by name, each before those that need it.
        kind: `AVRO`, or another type of schema that a registry holds.
    """

    text: str
    references: tuple[str, ...] = ()
    kind: str = "AVRO"


def fingerprint_of(schema: Schema) -> bytes:
    """The CRC-64-AVRO fingerprint of a schema, 8 bytes in the order of Avro's single-object encoding.

    Raises:
        UnsuitableSchema: it is no schema.
    """
    from fastavro.schema import fingerprint, to_parsing_canonical_form

    _parsed(schema, {})
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


class ClickReader:
    """Reads the clicks that were written with one schema.

    Args:
        schema: The schema.

    Raises:
        UnsuitableSchema
    """

    def __init__(self, schema: WriterSchema) -> None:
        if schema.kind != "AVRO":
            raise UnsuitableSchema(f"a schema of type {schema.kind}, not AVRO")
        named: dict[str, Schema] = {}
        for text in schema.references:
            _parsed(loaded(text), named)
        record = _parsed(loaded(schema.text), named)
        if not isinstance(record, dict) or record.get("type") != "record":
            raise UnsuitableSchema(f"{_described(record)}, not a record")
        try:
            self._steps = _steps(record, _Types(named))
        except _WRONG_STRUCTURE as error:
            raise _no_schema(error) from None

    def read(self, data: bytes, start: int = 0) -> Fields:
        """Decodes the click that the bytes from `start` on hold, right in type and length, without control characters.

        Raises:
            Broken: the bytes are damaged, or a field breaks a rule.
        """
        values, end = self.values(data, start)
        if end != len(data):
            raise Broken(Reason.MALFORMED_AVRO, f"{len(data) - end} bytes behind the record")
        return fields_of(values)

    def values(self, data: bytes, start: int) -> tuple[list[Any], int]:
        """The values of the contract's fields as they are, None where there is none; and where the record ends.

        Raises:
            Broken: the bytes are damaged.
        """
        try:
            values, end = self._values(data, start)
        except IndexError:
            values, end = [], len(data) + 1
        except UnicodeDecodeError as error:
            raise Broken(Reason.MALFORMED_AVRO, f"a text is not UTF-8: {error.reason}") from None
        if end > len(data):
            raise Broken(Reason.MALFORMED_AVRO, f"the record goes on behind its {len(data) - start} bytes")
        return values, end

    def _values(self, data: bytes, at: int) -> tuple[list[Any], int]:
        # Nearly all fields are texts, hence without a call for each. A text that ends behind the data is cut short by
        # its slice, and then `at` lies behind the data, too.
        values: list[Any] = [None] * (_UNUSED + 1)
        for text_branch, slot, read in self._steps:
            if read is not None:
                values[slot], at = read(data, at, 1)
                continue
            size = data[at]
            at += 1
            if text_branch is not None:  # a union of null and a text
                if size > 0x7F:  # in more bytes than it needs
                    branch, at = _long(data, at - 1)
                    size = branch << 1
                if size != text_branch:
                    if size != 2 - text_branch:
                        raise _no_branch(size)
                    continue
                size = data[at]
                at += 1
            if not size & 0x81:
                size >>= 1
            elif not size & 1 and (high := data[at]) < 0x80:  # in two bytes
                size = (size & 0x7E | high << 7) >> 1
                at += 1
            else:
                size, at = _size(data, at - 1)
            end = at + size
            values[slot] = data[at:end].decode()
            at = end
        del values[_UNUSED]
        return values, at


def encoded_text(text: str) -> bytes:
    """A text as it lies in a record: its length in bytes, then UTF-8."""
    data, prefix = text.encode(), bytearray()
    number = len(data) << 1
    while number > 0x7F:
        prefix.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*prefix, number]) + data


def fields_of(values: Sequence[Any]) -> Fields:
    """The fields that the values are, right in type and length, without control characters.

    Raises:
        Broken: a field breaks a rule.
    """
    fields = shaped(values)
    user_id, time, url, ip, agent, event_id, country, city, browser, system, device, referrer = values
    # One test of all texts together; most texts that are not printable have no control character either.
    texts = f"{user_id}{time}{url}{ip}{agent}{event_id}{country}{city}{browser}{system}{device}{referrer}"
    if not texts.isprintable():
        refuse_control_characters(fields)
    return fields


class _Step(NamedTuple):
    """How one field of the writer is read.

    Attributes:
        text_branch: First byte of a text in a union of null and a text; None for a text that is always there.
        slot: Where its value goes.
        read: Reads any other type; None for a text.
    """

    text_branch: int | None
    slot: int
    read: _Reader | None


def _steps(record: Mapping[str, Any], types: "_Types") -> tuple[_Step, ...]:
    slots = _slots(record)
    missing = [name for slot, name in enumerate(_REQUIRED) if slot not in slots.values()]
    if missing:
        raise UnsuitableSchema(f"no field {', '.join(missing)}")
    return tuple(_step(field["type"], slots.get(field["name"], _UNUSED), types) for field in record["fields"])


def _slots(record: Mapping[str, Any]) -> dict[str, int]:
    """Which fields of the writer are which of the contract, by the writer's name."""
    own = {field["name"] for field in record["fields"]}
    if not all(isinstance(name, str) for name in own):
        raise UnsuitableSchema("no Avro schema: the name of a field is no text")
    if len(own) < len(record["fields"]):
        raise UnsuitableSchema("no Avro schema: two fields of the same name")
    slots: dict[str, int] = {}
    for slot, name in enumerate(_FIELDS):
        if name in own:
            slots[name] = slot
            continue
        found = [field["name"] for field in record["fields"] if name in field.get("aliases", ())]
        if len(found) > 1 or any(each in slots or each in _FIELDS for each in found):
            raise UnsuitableSchema(f"{name} is an alias of {' and '.join(sorted(found))}, so it is not clear which")
        slots.update(dict.fromkeys(found, slot))
    return slots


def _step(schema: Schema, slot: int, types: "_Types") -> _Step:
    schema = types.resolved(schema)
    if slot == _UNUSED:
        return _Step(None, slot, types.reader(schema))
    _require_suitable(slot, schema, types)
    if slot == _TIMESTAMP:
        return _Step(None, slot, types.reader(schema, _time_reader, _foreign))
    if not isinstance(schema, list):
        return _Step(None, slot, None if _kind(schema) in _TEXTS else types.reader(schema, _text_reader))
    branches = [types.resolved(branch) for branch in schema]
    kinds = ["text" if _kind(each) in _TEXTS and _text_reader(each) else _kind(each) for each in branches]
    if sorted(kinds) == ["null", "text"]:
        return _Step(0 if kinds[0] == "text" else 2, slot, None)
    return _Step(None, slot, types.reader(schema, _text_reader))


def _require_suitable(slot: int, schema: Schema, types: "_Types") -> None:
    """Refuses a type no value of which the contract could take."""
    readable = _time_reader if slot == _TIMESTAMP else _text_reader
    name = _FIELDS[slot]
    branches = [types.resolved(branch) for branch in schema] if isinstance(schema, list) else [schema]
    if any(readable(branch) is not None for branch in branches):
        return
    if name in _REQUIRED or not any(_kind(branch) == "null" for branch in branches):
        what = "a timestamp" if slot == _TIMESTAMP else "a text"
        raise UnsuitableSchema(f"field {name}: {_described(schema)} holds no value that is {what}")


class _Types:
    """Makes the readers of a schema's types, each named one once.

    Args:
        named: The named types by full name, as fastavro collects them.
    """

    def __init__(self, named: Mapping[str, Schema]) -> None:
        self._named = named
        self._made: dict[str, _Reader] = {}
        self._empty: dict[str, bool] = {}

    def resolved(self, schema: Schema) -> Schema:
        """The type itself in place of its name."""
        return self._named.get(schema, schema) if isinstance(schema, str) else schema

    def reader(
        self,
        schema: Schema,
        first: Callable[[Schema], _Reader | None] = lambda _: None,
        other: Callable[[_Reader], _Reader] = lambda reader: reader,
    ) -> _Reader:
        """A reader of any type.

        Args:
            schema: The type.
            first: Asked for a reader of the type, or of each branch of a union, before.
            other: Changes a reader that `first` does not have.
        """
        schema = self.resolved(schema)
        if isinstance(schema, list):
            return _union_reader([self.reader(branch, first, other) for branch in schema])
        return first(schema) or other(self._other_reader(schema))

    def _other_reader(self, schema: Schema) -> _Reader:
        kind = _kind(schema)
        if kind == "record":
            return self._record_reader(schema)
        if kind == "array":
            items = schema["items"]
            return _empties_reader if self._is_empty(items) else _blocks_reader(self.reader(items), [])
        if kind == "map":
            return _blocks_reader(_entry_reader(self.reader(schema["values"])), {})
        if kind == "enum":
            return _enum_reader(schema["symbols"])
        if kind == "fixed":
            return _fixed_reader(schema["size"])
        if kind not in _PRIMITIVES:
            raise UnsuitableSchema(f"a type {kind}, which Avro does not have")
        return _PRIMITIVES[kind]

    def _is_empty(self, schema: Schema) -> bool:
        """Whether the values of a type have no bytes."""
        schema = self.resolved(schema)
        kind = _kind(schema)
        if kind != "record":
            return kind == "null" or (kind == "fixed" and schema["size"] == 0)
        name = schema["name"]
        if name not in self._empty:
            self._empty[name] = False  # for a record inside itself
            self._empty[name] = all(self._is_empty(field["type"]) for field in schema["fields"])
        return self._empty[name]

    def _record_reader(self, schema: Mapping[str, Any]) -> _Reader:
        name = schema["name"]
        if self._is_empty(schema):  # as its fields may be such records again, and theirs
            return lambda _, at, __: ({}, at)
        if name not in self._made:
            members: list[_Reader] = []

            def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
                _refuse_depth(depth)
                for member in members:
                    _, at = member(data, at, depth + 1)
                return {}, at

            self._made[name] = read  # before its fields, among which it may be
            members += [self.reader(field["type"]) for field in schema["fields"]]
        return self._made[name]


def _text_reader(schema: Schema) -> _Reader | None:
    """A reader of a text, if the type is one: what a string may be promoted from, and the names of an enumeration."""
    kind, logical = _kind(schema), _logical(schema)
    if kind == "string" or (kind == "bytes" and logical is None):
        return _read_text
    if kind == "enum":
        return _enum_reader(schema["symbols"])
    if kind == "fixed" and logical == "uuid" and schema["size"] == 16:
        return _read_uuid
    return None


_PER_MILLISECOND = {None: 1, "timestamp-millis": 1, "timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}


def _time_reader(schema: Schema) -> _Reader | None:
    """A reader of a timestamp, if the type is one: a time with offset, as epoch ms or as a text in ISO 8601."""
    kind, logical = _kind(schema), _logical(schema)
    if kind == "string":
        return _read_text
    if kind not in ("int", "long") or logical not in _PER_MILLISECOND or (kind == "int" and logical is not None):
        return None
    number, units = _PRIMITIVES[kind], _PER_MILLISECOND[logical]
    if units == 1:
        return number

    def read(data: bytes, at: int, depth: int) -> tuple[int, int]:
        value, at = number(data, at, depth)
        return value // units, at

    return read


def _foreign(reader: _Reader) -> _Reader:
    """A reader whose values are none that a timestamp can be: not the number of a date, not the text of a symbol."""

    def read(data: bytes, at: int, depth: int) -> tuple[object, int]:
        value, at = reader(data, at, depth)
        return None if value is None else {}, at

    return read


def _piece(data: bytes, at: int, size: int) -> bytes:
    """So many bytes; raises IndexError where there are fewer."""
    if at + size > len(data):
        raise IndexError
    return data[at : at + size]


def _size(data: bytes, at: int) -> tuple[int, int]:
    size, at = _long(data, at)
    if size < 0:
        raise Broken(Reason.MALFORMED_AVRO, f"a text or bytes of length {size}")
    return size, at


def _long(data: bytes, at: int, _: int = 0) -> tuple[int, int]:
    """A number in variable length, zigzag: at most 10 bytes and 64 bits."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
        if shift > 63:  # before a megabyte of digits is put together
            break
    if number >> 64 or shift > 63:
        raise Broken(Reason.MALFORMED_AVRO, "a number of more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


def _union_reader(branches: Sequence[_Reader]) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        branch, at = _long(data, at)
        if not 0 <= branch < len(branches):
            raise Broken(Reason.MALFORMED_AVRO, f"no branch {branch} in a union of {len(branches)}")
        return branches[branch](data, at, depth)

    return read


def _blocks_reader(item: _Reader, found: object) -> _Reader:
    """A reader of an array or a map; what its items are does not matter, so it returns the same for all."""

    def read(data: bytes, at: int, depth: int) -> tuple[object, int]:
        _refuse_depth(depth)
        while True:
            count, at = _long(data, at)
            if count == 0:
                return found, at
            if count < 0:
                _, at = _long(data, at)  # the size of the block, for those that skip it
            for _ in range(abs(count)):
                _, at = item(data, at, depth + 1)

    return read


def _empties_reader(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    """The same for items without bytes, of which a few bytes can announce any number."""
    _refuse_depth(depth)
    while True:
        count, at = _long(data, at)
        if count == 0:
            return [], at
        if count < 0:
            _, at = _long(data, at)


def _entry_reader(value: _Reader) -> _Reader:
    def read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
        _, at = _read_text(data, at, depth)
        return value(data, at, depth)

    return read


def _enum_reader(symbols: Sequence[str]) -> _Reader:
    if not isinstance(symbols, list):
        raise UnsuitableSchema(f"no Avro schema: symbols {symbols!r}")

    def read(data: bytes, at: int, _: int) -> tuple[str, int]:
        number, at = _long(data, at)
        if not 0 <= number < len(symbols):
            raise Broken(Reason.MALFORMED_AVRO, f"no symbol {number} in an enumeration of {len(symbols)}")
        return symbols[number], at

    return read


def _fixed_reader(size: int) -> _Reader:
    if not isinstance(size, int) or size < 0:
        raise UnsuitableSchema(f"no Avro schema: a fixed of size {size!r}")
    return lambda data, at, _: (_piece(data, at, size), at + size)


def _decimal_reader(form: str) -> _Reader:
    numbers = struct.Struct(form)
    return lambda data, at, _: (numbers.unpack(_piece(data, at, numbers.size))[0], at + numbers.size)


def _read_uuid(data: bytes, at: int, _: int) -> tuple[str, int]:
    return str(UUID(bytes=_piece(data, at, 16))), at + 16


def _read_text(data: bytes, at: int, _: int) -> tuple[str, int]:
    size, at = _size(data, at)
    return _piece(data, at, size).decode(), at + size


def _read_bytes(data: bytes, at: int, _: int) -> tuple[bytes, int]:
    size, at = _size(data, at)
    return _piece(data, at, size), at + size


def _read_int(data: bytes, at: int, _: int) -> tuple[int, int]:
    number, at = _long(data, at)
    if not -(1 << 31) <= number < 1 << 31:
        raise Broken(Reason.MALFORMED_AVRO, "an int of more than 32 bits")
    return number, at


_TEXTS = ("string", "bytes")
_PRIMITIVES: Mapping[str, _Reader] = {
    "null": lambda _, at, __: (None, at),
    "boolean": lambda data, at, _: (data[at] != 0, at + 1),
    "int": _read_int,
    "long": _long,
    "float": _decimal_reader("<f"),
    "double": _decimal_reader("<d"),
    "bytes": _read_bytes,
    "string": _read_text,
}


def _no_branch(byte: int) -> Broken:
    return Broken(Reason.MALFORMED_AVRO, f"byte {byte:#04x} names neither branch of a union of null and a text")


def _refuse_depth(depth: int) -> None:
    if depth >= MAX_DEPTH:
        raise Broken(Reason.MALFORMED_AVRO, f"more than {MAX_DEPTH} records, arrays and maps inside each other")


def _kind(schema: Schema) -> str:
    """The name of a type without what it holds; empty for a union."""
    if isinstance(schema, list):
        return ""
    return schema if isinstance(schema, str) else schema["type"]


def _logical(schema: Schema) -> str | None:
    """The logical type, as far as Avro's specification defines it: others do not change the meaning of a value."""
    found = schema.get("logicalType") if isinstance(schema, dict) else None
    return found if isinstance(found, str) and found in _LOGICAL_TYPES else None


_LOGICAL_TYPES = frozenset(
    {
        *("decimal", "uuid", "date", "duration", "time-millis", "time-micros"),
        *("timestamp-millis", "timestamp-micros", "timestamp-nanos"),
        *("local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos"),
    }
)


def _described(schema: Schema) -> str:
    if isinstance(schema, list):
        return f"a union of {', '.join(map(_described, schema)) or 'nothing'}"
    if isinstance(schema, str):
        return schema
    return schema.get("logicalType") or schema["type"]


def loaded(text: str) -> Schema:
    """A schema from its text.

    Raises:
        UnsuitableSchema: it is no JSON, or objects and lists lie more than `MAX_DEPTH` deep in it.
    """
    try:
        refuse_depth(text.encode())
        schema = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, Broken):
        raise UnsuitableSchema("no JSON") from None
    if isinstance(schema, dict):
        schema.pop("__fastavro_parsed", None)  # it would be taken as parsed already
    return schema


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and the infinities, which JSON does not have


_WRONG_STRUCTURE = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What fastavro's parser, and what is built from its result, end with where a schema is not made like one."""


def _no_schema(error: Exception) -> UnsuitableSchema:
    return UnsuitableSchema(f"no Avro schema: {type(error).__name__}: {error}")


def _refuse_loose_types(schema: Schema) -> None:
    """Refuses what fastavro takes because Python does: other types than a name, a number or a list of fields has."""
    if isinstance(schema, list):
        for branch in schema:
            _refuse_loose_types(branch)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in ("record", "error", "enum", "fixed") and not (
        isinstance(schema.get("name"), str) and isinstance(schema.get("namespace"), str | None)
    ):
        raise UnsuitableSchema(f"no Avro schema: the name of a type {kind} is no text")
    numbers = ["size"] if kind == "fixed" else []
    if schema.get("logicalType") == "decimal":
        numbers += ["scale", "precision"]
    if found := [name for name in numbers if isinstance(schema.get(name), bool)]:
        raise UnsuitableSchema(f"no Avro schema: {found[0]} is no number")
    for part in _inner_types(schema):
        _refuse_loose_types(part)


def _inner_types(schema: Mapping[str, Any]) -> list[Any]:
    kind = schema.get("type")
    if kind in ("array", "map"):
        return [schema.get("items" if kind == "array" else "values")]
    if kind not in ("record", "error"):
        return []
    fields = schema.get("fields")
    if not isinstance(fields, list):
        raise UnsuitableSchema("no Avro schema: the fields of a record are no list")
    return [field.get("type") for field in fields if isinstance(field, dict)]


def _parsed(schema: Schema, named: dict[str, Schema]) -> Schema:
    from fastavro.schema import SchemaParseException, UnknownType, parse_schema

    _refuse_loose_types(schema)
    try:
        return parse_schema(schema, named_schemas=named)
    except (SchemaParseException, UnknownType) as error:
        raise UnsuitableSchema(f"no Avro schema: {error}") from None
    except _WRONG_STRUCTURE as error:
        raise _no_schema(error) from None
