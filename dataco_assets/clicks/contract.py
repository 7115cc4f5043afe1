"""The contract of a click for producers: as an Avro schema, as a JSON Schema, and as a table in Markdown.

All three are made from the fields that `event.Fields` declares, so they cannot differ from what is validated. A schema
says less than the contract: the rules on a page, on control characters and on times are only in `event` and
docs/clicks.md.

A new field raises `VERSION` and is declared with `Meta(extra={"since": VERSION})`. Clicks in the schema of an earlier
version stay readable for good.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from dataco_assets.clicks.event import Fields

VERSION = 2
"""Of the fields: raised with each that is added."""
NAMESPACE, NAME = "dataco", "Click"

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TITLE = "A click: one visit of one user to one page."
_CONTROL_CHARACTER = {"pattern": "[\\u0000-\\u001f\\u007f]"}
_TIMESTAMP = {"type": "long", "logicalType": "timestamp-millis"}


class Field(NamedTuple):
    """One field of the contract.

    Attributes:
        name: In JSON and in Avro.
        required: Whether a click must have it.
        is_timestamp: Whether it is a time; every other field is a text.
        least: Fewest characters of a text.
        most: Most characters; None: no limit of its own.
        about: Its rule in Markdown.
        since: The version of the contract that brought it.
    """

    name: str
    required: bool
    is_timestamp: bool
    least: int
    most: int | None
    about: str
    since: int


def fields(version: int = VERSION) -> tuple[Field, ...]:
    """The fields of a version of the contract, in their order."""
    declared = inspect.type_info(Fields)
    assert isinstance(declared, inspect.StructType)  # noqa: S101  # for the type checker
    return tuple(field for each in declared.fields if (field := _field(each)).since <= version)


def avro_schema(version: int = VERSION) -> dict[str, Any]:
    """The contract as an Avro schema, of this version or an earlier one."""
    return {
        "type": "record",
        "namespace": NAMESPACE,
        "name": NAME,
        "doc": f"{_TITLE} Version {version} of the contract.",
        "fields": [_avro_field(field) for field in fields(version)],
    }


def json_schema() -> dict[str, Any]:
    """The contract as a JSON Schema (draft 2020-12)."""
    _, definitions = msgspec.json.schema_components([Fields])
    (definition,) = definitions.values()
    properties: dict[str, dict[str, Any]] = definition["properties"]
    for field in fields():
        for schema in _texts(properties[field.name]):
            schema["not"] = _CONTROL_CHARACTER
    return {
        "$schema": _DRAFT,
        "$id": f"urn:dataco:click:{VERSION}",
        "title": NAME,
        "description": f"{_TITLE} Version {VERSION} of the contract. Other members are ignored.",
        "type": "object",
        "properties": properties,
        "required": definition["required"],
    }


def markdown_table() -> str:
    """The table of the fields, as docs/clicks.md has it."""
    lines = ["| field | in JSON | in Avro | rule |", "|---|---|---|---|"]
    lines += [f"| `{field.name}` | {_json_type(field)} | {_avro_type(field)} | {_rule(field)} |" for field in fields()]
    return "\n".join(lines) + "\n"


def _field(declared: inspect.Field) -> Field:
    annotation = declared.type
    assert isinstance(annotation, inspect.Metadata)  # noqa: S101  # for the type checker
    types = list(_types(annotation))
    (text,) = (each for each in types if isinstance(each, inspect.StrType))
    return Field(
        name=declared.name,
        required=declared.required,
        is_timestamp=any(isinstance(each, inspect.IntType) for each in types),
        least=text.min_length or 0,
        most=text.max_length,
        about=(annotation.extra_json_schema or {})["description"],
        since=(annotation.extra or {}).get("since", 1),
    )


def _types(declared: inspect.Type) -> Iterator[inspect.Type]:
    """The types that a declaration is made of, without unions and annotations."""
    if isinstance(declared, inspect.Metadata):
        yield from _types(declared.type)
    elif isinstance(declared, inspect.UnionType):
        for each in declared.types:
            yield from _types(each)
    else:
        yield declared


def _avro_field(field: Field) -> dict[str, Any]:
    kind: Any = _TIMESTAMP if field.is_timestamp else "string"
    if field.required:
        return {"name": field.name, "type": kind, "doc": _rule(field)}
    return {"name": field.name, "type": ["null", kind], "default": None, "doc": _rule(field)}


def _texts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if schema.get("type") == "string":
        yield schema
    for branch in schema.get("anyOf", ()):
        yield from _texts(branch)


def _rule(field: Field) -> str:
    need = "required" if field.required else "optional"
    most = "" if field.most is None else f"{field.least:,} to {field.most:,} characters; "
    return f"{need}; {most}{field.about}"


def _json_type(field: Field) -> str:
    kind = "integer epoch milliseconds, or ISO 8601 string with offset (below)" if field.is_timestamp else "string"
    return kind if field.required else f"{kind} or null"


def _avro_type(field: Field) -> str:
    kind = "`long`, `timestamp-millis`" if field.is_timestamp else "`string`"
    return kind if field.required else f"union of `null` and {kind}"
