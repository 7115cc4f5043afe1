"""Generates clicks in Avro on which two codecs could differ, with their schemas; the same for the same seed.

A schema takes the fields of the contract in any type, order and name, adds others, and is now and then damaged. The
records are written by an encoder of this module's own, which also writes what no encoder should: numbers in more bytes
than needed, branches that do not exist. A part of the bytes is then damaged. Whether a record is valid is nobody's
business here.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from dataco_assets_tests.codecs.payloads import FIRST, NOW, iso_time, short_text, unusual_address, unusual_url

_REQUIRED = ("user_id", "timestamp", "url", "ip_address", "user_agent")
_OPTIONAL = ("event_id", "country", "city", "browser", "operating_system", "device", "referrer")
_USUAL = {
    "url": "https://example.com/a?b=1",
    "ip_address": "203.0.113.7",
    "country": "DE",
    "user_agent": "Mozilla/5.0",
}
_UUID = {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}
_KIND = {"type": "enum", "name": "K", "symbols": ["DE", "FR", "lower"]}
_DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
_TEXTS: list[Any] = [
    *["string"] * 12,
    *("bytes", {"type": "string"}, {"type": "string", "logicalType": "uuid"}, {"type": "bytes", "logicalType": "acme"}),
    *(_UUID, _KIND),
]
_NO_TEXTS: list[Any] = [
    *(
        "long",
        "boolean",
        "double",
        _DECIMAL,
        {"type": "bytes", "logicalType": "uuid"},
        {"type": "array", "items": "int"},
    ),
    *({"type": "fixed", "name": "F", "size": 3}, {"type": "record", "name": "R", "fields": []}),
]
_TIMES: list[Any] = [
    *[{"type": "long", "logicalType": "timestamp-millis"}] * 8,
    *("long", "int", "string", {"type": "long", "logicalType": "acme"}),
    *({"type": "long", "logicalType": f"timestamp-{unit}"} for unit in ("micros", "nanos")),
]
_NO_TIMES: list[Any] = [
    *(
        "double",
        "boolean",
        "bytes",
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "time-micros"},
    ),
    *({"type": "long", "logicalType": "local-timestamp-millis"}, _KIND, _UUID),
]
_MEMBERS = ("type", "name", "fields", "items", "values", "symbols", "size", "aliases", "default", "namespace", "scale")
_NAMES = ("name", "namespace")
_ODD: list[Any] = [
    *(None, 0, 1, -1, 1.5, "", "x", "null", "string", "error", "record", "a.b", "K", "x.K", 10**30),
    *(
        [],
        {},
        ["null"],
        ["a", "a"],
        ["string"],
        {"type": "string"},
        {"type": "error", "name": "E", "fields": []},
        "1.5",
    ),
]


@dataclass(frozen=True)
class Written:
    """Records in one schema.

    Attributes:
        schema: Its text.
        references: Texts of schemas that it refers to.
        records: Value, header and whether a source knows the schema it names.
    """

    schema: str
    references: tuple[str, ...]
    records: tuple[tuple[bytes | None, bytes | None, bool], ...]


def written(random: Random, schemas: int, *, records: int) -> Iterator[Written]:
    """Yields so many schemas, with so many records in each."""
    for _ in range(schemas):
        names = _Names(random)
        references = [_definition(names, random) for _ in range(random.choice((0, 0, 0, 1)))]
        schema: Any = _schema(names, random)
        for _ in range(random.choice((*[0] * 8, 1, 2))):
            schema = _damaged_schema(random, schema)
        made = tuple(_record(random, _Encoder(random, [*references, schema]), schema) for _ in range(records))
        text = json.dumps(schema)
        if random.random() < 0.02:
            at = random.randrange(len(text))
            text = text[:at] + random.choice(("", "[", "}", "NaN", '"', " ")) + text[at + 1 :]
        yield Written(text, tuple(map(json.dumps, references)), made)


class _Names:
    """Gives each definition of a named type a name of its own, mostly, and knows those given."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._made: list[str] = []

    def renamed(self, schema: Any) -> Any:
        """The type with a new name, if it has one."""
        if not isinstance(schema, dict) or "name" not in schema:
            return schema
        if self._random.random() < 0.995:
            schema = {**schema, "name": f"{schema['name']}{len(self._made)}"}
        space = self._random.choice(("", "", "y", None))
        if space != "":
            schema["namespace"] = space
        self._made.append(f"{space}.{schema['name']}" if space else schema["name"])
        return schema

    def known(self) -> str | None:
        """The name of a type made before, which may not be the one it has where it is used."""
        return self._random.choice(self._made) if self._made else None


def _definition(names: _Names, random: Random) -> Any:
    made = names.renamed(random.choice((_UUID, _KIND, {"type": "record", "name": "R", "fields": []})))
    return made if random.random() < 0.9 else [made, names.renamed(dict(_KIND))]


def _schema(names: _Names, random: Random) -> Any:
    fields = [_field(names, random, name) for name in _REQUIRED if random.random() < 0.995]
    fields += [_field(names, random, name) for name in _OPTIONAL if random.random() < 0.7]
    fields += [
        {"name": random.choice(("added", "other", "x", "y", "z")) + str(i), "type": _any_type(names, random)}
        for i in range(random.choice((0, 0, 1, 2, 4)))
    ]
    if random.random() < 0.5:
        random.shuffle(fields)
    return {"type": "record", "name": "Click", "namespace": "x", "fields": fields}


def _field(names: _Names, random: Random, name: str) -> dict[str, Any]:
    kind = _type_of(names, random, name)
    field: dict[str, Any] = {"name": name, "type": kind}
    if random.random() < 0.08:
        field = {"name": f"{name}_sent", "type": kind, "aliases": [*random.choice(((), ("a",), ("city",))), name]}
    if random.random() < 0.02:
        field["default"] = random.choice((None, "", "a", 0, 1.5, True, [], {}))
    return field


def _type_of(names: _Names, random: Random, name: str) -> Any:
    good, bad = (_TIMES, _NO_TIMES) if name == "timestamp" else (_TEXTS, _NO_TEXTS)
    kind = names.renamed(random.choice(good if random.random() < 0.995 else bad))
    if random.random() < (0.1 if name in _REQUIRED else 0.7):
        kinds = [kind, "null"] if random.random() < 0.8 else [kind]
        if random.random() < 0.2:
            kinds.append(names.renamed(random.choice([*bad, *good])))
        random.shuffle(kinds)
        kind = kinds
    return kind


def _any_type(names: _Names, random: Random, depth: int = 0) -> Any:
    kind = random.random()
    if depth > 2 or kind < 0.5:
        primitives = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
        return names.renamed(random.choice([*primitives, *_TEXTS, *_NO_TEXTS, *_TIMES]))
    if kind < 0.6:
        return {"type": "array", "items": _any_type(names, random, depth + 1)}
    if kind < 0.7:
        return {"type": "map", "values": _any_type(names, random, depth + 1)}
    if kind < 0.8:
        return [_any_type(names, random, depth + 1) for _ in range(random.randrange(1, 4))]
    if kind < 0.85 and (known := names.known()):
        return known
    made = names.renamed({"type": "record", "name": "T", "fields": []})
    made["fields"] = [
        {"name": f"f{i}", "type": _any_type(names, random, depth + 1)} for i in range(random.randrange(4))
    ]
    if random.random() < 0.3:
        made["fields"].append({"name": "next", "type": ["null", made["name"]]})
    return made


def _damaged_schema(random: Random, schema: Any) -> Any:
    """The schema with one of its parts left out or replaced."""
    schema = json.loads(json.dumps(schema))
    _damage(random, random.choice(list(_parts(schema))))
    return schema


def _damage(random: Random, part: Any) -> None:
    is_list = isinstance(part, list)
    places: list[Any] = list(range(len(part))) if is_list else [*part, *_MEMBERS]
    if not places:
        return
    at = random.choice(places)
    if random.random() < 0.3:
        if is_list or at in part:
            del part[at]
        return
    # Nobody's schema has a number or a list for a name, and fastavro's words for one are Python's.
    part[at] = random.choice([each for each in _ODD if isinstance(each, str) or not each] if at in _NAMES else _ODD)


def _parts(schema: Any) -> Iterator[Any]:
    if isinstance(schema, dict | list):
        yield schema
        for each in schema.values() if isinstance(schema, dict) else schema:
            yield from _parts(each)


def _record(random: Random, encoder: "_Encoder", schema: Any) -> tuple[bytes | None, bytes | None, bool]:
    try:
        body = encoder.record(schema)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):  # a damaged schema
        body = random.randbytes(random.randrange(60))
    for _ in range(random.choice((*[0] * 8, 1, 2))):
        body = _damaged(random, body)
    known = random.random() < 0.99
    number = random.randrange(1, 1 << 32).to_bytes(4, "big")
    prefix = random.choice((b"\0" + number, b"\1" + number * 4, b"\xc3\1" + number * 2))
    if random.random() < 0.02:
        prefix = prefix[: random.randrange(len(prefix))]
        body = b"" if random.random() < 0.5 else body
    if random.random() < 0.2:
        return (body if random.random() < 0.97 else None), prefix, known
    return prefix + body, None, known


def _damaged(random: Random, body: bytes) -> bytes:
    at = random.randrange(len(body) + 1)
    end = at + random.choice((0, 0, 1, 1, 5))
    change = random.random()
    if change < 0.3:
        return body[:at] + random.randbytes(1) + body[end:]
    if change < 0.6:
        tokens = (
            b"\0",
            b"\1",
            b"\2",
            b"\x80",
            b"\xff" * 9 + b"\1",
            b"\xff" * 10 + b"\0",
            b"\xed\xa0\x80",
            b"\x7f",
            b"a\0",
        )
        return body[:at] + random.choice(tokens) + body[end:]
    return body[:at] if change < 0.8 else body[:at] + body[end:]


class _Encoder:
    """Writes values of a schema as it stands, without having it parsed."""

    def __init__(self, random: Random, schemas: list[Any]) -> None:
        self._random = random
        self._named: dict[str, Any] = {}
        for schema in schemas:
            for part in _parts(schema):
                named = isinstance(part, dict) and part.get("type") in ("record", "enum", "fixed")
                if named and isinstance(part.get("name"), str):
                    self._named.setdefault(part["name"].rpartition(".")[2], part)

    def record(self, schema: Any) -> bytes:
        return b"".join(self._value(field["type"], _known_name(field), 0) for field in schema["fields"])

    def _value(self, schema: Any, name: str, depth: int) -> bytes:
        if depth > 40:
            raise ValueError
        if not isinstance(schema, list):
            return self._of_type(schema, name, depth)
        branch = self._branch(schema, name, depth)
        return self.number(branch) + (self._value(schema[branch], name, depth + 1) if branch < len(schema) else b"")

    def _of_type(self, schema: Any, name: str, depth: int) -> bytes:
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in ("array", "map"):
            return self._blocks(schema, kind, depth)
        if kind == "record":
            return b"".join(self._value(field["type"], "", depth + 1) for field in schema["fields"])
        if kind == "enum":
            return self.number(self._random.randrange(len(schema["symbols"]) + (self._random.random() < 0.02)))
        if kind == "fixed":
            return self._random.randbytes(schema["size"])
        if kind in ("int", "long"):
            return self.number(self._whole(schema, kind, name))
        return self._plain(kind, name, depth)

    def _branch(self, schema: list[Any], name: str, depth: int) -> int:
        if self._random.random() < 0.005:
            return len(schema)
        if depth > 4 and "null" in schema:
            return schema.index("null")
        if name in _REQUIRED and self._random.random() < 0.95:
            usable = [i for i, branch in enumerate(schema) if branch != "null"]
            return self._random.choice(usable or [0])
        return self._random.randrange(len(schema))

    def _plain(self, kind: Any, name: str, depth: int) -> bytes:
        if kind == "null":
            return b""
        if kind == "boolean":
            return self._random.choice((b"\0", b"\1", b"\2"))
        if kind == "float":
            return struct.pack("<f", 1.5)
        if kind == "double":
            return struct.pack("<d", float(NOW))
        if kind in ("bytes", "string"):
            data = self._text(name).encode()
            if self._random.random() < 0.01:
                data += self._random.choice((b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xc3"))
            return self.number(len(data)) + data
        return self._value(self._named[kind.rpartition(".")[2]], name, depth + 1)

    def _text(self, name: str) -> str:
        if name == "timestamp":
            return iso_time(self._random, broken=self._random.random() < 0.1)
        if self._random.random() < 0.9:
            return _USUAL.get(name, "text")
        made = {"url": unusual_url, "ip_address": unusual_address}.get(name, short_text)(self._random)
        return made.encode(errors="replace").decode()

    def _whole(self, schema: Any, kind: str, name: str) -> int:
        if name != "timestamp" or self._random.random() < 0.03:
            return self._random.choice((0, -1, 1, 2**31 - 1, -(2**31), 2**31, 2**63 - 1, -(2**63)))
        logical = schema.get("logicalType") if isinstance(schema, dict) else None
        units = {"timestamp-micros": 1_000, "timestamp-nanos": 1_000_000}.get(str(logical), 1)
        time = self._random.choice((*[NOW] * 6, FIRST, NOW + 300_000, NOW + 300_001, FIRST - 1, 0, -1))
        if kind == "int":
            return min(time, 2**31 - 1)
        return time * units + self._random.choice((0, 0, units - 1, -1))

    def _blocks(self, schema: Any, kind: str, depth: int) -> bytes:
        items = schema["items" if kind == "array" else "values"]
        out = b""
        for _ in range(self._random.choice((0, 1, 1, 2)) if depth < 4 else 0):
            count = self._random.choice((1, 1, 2))
            values = b"".join(
                (self.number(1) + b"k" if kind == "map" else b"") + self._value(items, "", depth + 1)
                for _ in range(count)
            )
            if self._random.random() < 0.03:
                count = self._random.choice((2**62, -(2**63), 2**63 - 1))
            sized = self._random.random() < 0.3
            out += (
                self.number(-count) + self.number(len(values)) if sized and count > 0 else self.number(count)
            ) + values
        return out + self.number(0)

    def number(self, value: int) -> bytes:
        """A number in variable length, now and then in more bytes than it needs."""
        rest, out = (value << 1) ^ (value >> 63), bytearray()
        rest &= (1 << 64) - 1
        while rest > 0x7F:
            out.append(rest & 0x7F | 0x80)
            rest >>= 7
        if self._random.random() < 0.995:
            return bytes([*out, rest])
        return bytes([*out, rest | 0x80, *[0x80] * self._random.randrange(3), 0])


def _known_name(field: Any) -> str:
    for name in (field["name"], *field.get("aliases", ())):
        if name in _REQUIRED or name in _OPTIONAL:
            return name
    return ""
