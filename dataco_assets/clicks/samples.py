"""Checks samples of a producer's clicks, and its schema, against the contract."""

import io
import json
from collections.abc import Iterator
from typing import NamedTuple

from dataco_assets.clicks import contract, event
from dataco_assets.clicks.avro import ClickReader, UnsuitableSchema, WriterSchema, fields_of, fingerprint_of
from dataco_assets.clicks.event import Broken, Reason, Rejection
from dataco_assets.clicks.framing import SINGLE_OBJECT, SchemaReference
from dataco_assets.clicks.record import ClickParser

_CONTAINER = b"Obj\x01"


class SampleUnreadable(Exception):
    """The content is nothing that can be checked; the text says why."""


class Finding(NamedTuple):
    """What the contract refuses of a sample, and where it is."""

    where: str
    rejection: Rejection


class Sample(NamedTuple):
    """The result of a check.

    Attributes:
        kind: What the items are: `click` or `schema`.
        items: Number of them.
        refused: Those that the contract refuses, in their order.
    """

    kind: str
    items: int
    refused: tuple[Finding, ...]


class ContractSchemas:
    """The schemas of all versions of the contract, by fingerprint."""

    def __init__(self) -> None:
        schemas = [contract.avro_schema(version) for version in range(1, contract.VERSION + 1)]
        self._texts = {fingerprint_of(schema).hex(): json.dumps(schema) for schema in schemas}

    def find(self, reference: SchemaReference) -> WriterSchema | None:
        """The schema of that fingerprint; see `record.WriterSchemas`."""
        text = self._texts.get(reference.value)
        return None if text is None else WriterSchema(text)


def check_sample(content: bytes, *, is_schema: bool, now_ms: int) -> Sample:
    """Checks a file.

    Args:
        content: Its content: JSON lines, an Avro container file, one click in single-object encoding, or a schema.
        is_schema: Whether it is a schema.
        now_ms: The time at which its clicks count as sent, epoch ms.

    Raises:
        SampleUnreadable
    """
    if is_schema:
        return _check_schema(content)
    if content.startswith(_CONTAINER):
        verdicts = list(_container(content, now_ms))
    elif content.startswith(SINGLE_OBJECT):
        click = ClickParser(ContractSchemas()).parse(content, None, record_time_ms=now_ms, earliest_ms=0)
        verdicts = [("record 1", click)]
    else:
        lines = [(n, line) for n, line in enumerate(content.split(b"\n"), start=1) if line.strip()]
        verdicts = [(f"line {n}", event.parse(line, record_time_ms=now_ms, earliest_ms=0)) for n, line in lines]
    refused = tuple(Finding(where, found) for where, found in verdicts if isinstance(found, Rejection))
    return Sample("click", len(verdicts), refused)


def _check_schema(content: bytes) -> Sample:
    try:
        ClickReader(WriterSchema(content.decode()))
    except UnicodeDecodeError:
        raise SampleUnreadable("it is not UTF-8 text") from None
    except UnsuitableSchema as error:
        return Sample("schema", 1, (Finding("schema", Rejection(Reason.UNSUITABLE_SCHEMA, str(error))),))
    return Sample("schema", 1, ())


def _container(content: bytes, now_ms: int) -> Iterator[tuple[str, event.Click | Rejection]]:
    """The verdict on each record of a container file."""
    import fastavro

    number = 0
    try:
        blocks = fastavro.block_reader(io.BytesIO(content))
        reader = ClickReader(WriterSchema(blocks.metadata["avro.schema"]))
        for block in blocks:
            data = block.bytes_.getvalue()  # pyright: ignore[reportAttributeAccessIssue]  # missing in its types
            at = 0
            for _ in range(block.num_records):
                number += 1
                values, at = reader.values(data, at)
                yield f"record {number}", _verdict(values, now_ms)
    except UnsuitableSchema as error:
        yield "schema", Rejection(Reason.UNSUITABLE_SCHEMA, str(error))
    except Broken as broken:  # where the next record begins is not known
        yield f"record {number}", Rejection(broken.reason, broken.detail)
    except (ValueError, EOFError, KeyError) as error:
        raise SampleUnreadable(f"as an Avro container file it is damaged ({error})") from None


def _verdict(values: list[object], now_ms: int) -> event.Click | Rejection:
    try:
        return event.validate(fields_of(values), record_time_ms=now_ms, earliest_ms=0)
    except Broken as broken:
        return Rejection(broken.reason, broken.detail)
