"""The same comparison for clicks in Avro: any schema, and any bytes that claim to be written with it.

Environment variables: those of `test_same_verdict.py`; of DATACO_CODEC_RECORDS, a tenth is tried. The default seed is
always the same: schemas can differ in more ways than a short run meets, so another seed is a search, not a check.
"""

import os
import random
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from dataco_assets.clicks.avro import WriterSchema
from dataco_assets.clicks.event import Reason
from dataco_assets.clicks.framing import SchemaReference
from dataco_assets.clicks.record import ClickParser
from dataco_assets_tests.codecs import verdicts
from dataco_assets_tests.codecs.avro_payloads import Written, written
from dataco_assets_tests.codecs.payloads import FIRST, NOW
from dataco_assets_tests.java_harness import answered_bytes

_HARNESS = "dataco.clicks.AvroHarness"
_JUDGING_SECONDS = 300
_BATCH, _RECORDS = 1_000, 10
_ENOUGH = 10_000
"""Of so many records each reason of Avro is among them."""
_SHOWN = 10
_SEED = 1457588401
"""One at which a record's name was an object."""
_NEEDED = {"click", *Reason} - {Reason.REFUSED_BY_STORE, Reason.TOO_LARGE, Reason.NOT_AN_OBJECT}

Answer = tuple[bytes, bytes | None]
"""A verdict, and the user id that can be read."""


class _Source:
    """Knows one schema by every name, or none."""

    def __init__(self, schema: WriterSchema | None) -> None:
        self._schema = schema

    def find(self, reference: SchemaReference) -> WriterSchema | None:
        assert reference.value
        return self._schema


def answers_of_python(group: Written) -> Iterator[Answer]:
    knowing = ClickParser(_Source(WriterSchema(group.schema, group.references)))
    ignorant = ClickParser(_Source(None))
    for value, header, known in group.records:
        parser = knowing if known else ignorant
        user = parser.user_id(value, header)
        verdict = parser.parse(value, header, record_time_ms=NOW, earliest_ms=FIRST)
        yield verdicts.written(verdict), None if user is None else user.encode()


def answers_of_java(class_path: str, batch: Sequence[Written], folder: Path) -> Iterator[Answer]:
    content = struct.pack(">qq", NOW, FIRST) + b"".join(map(_framed, batch))
    with answered_bytes(class_path, [_HARNESS], content, folder, seconds=_JUDGING_SECONDS).open("rb") as answers:
        while (verdict := verdicts.read(answers)) is not None:
            (size,) = struct.unpack(">i", answers.read(4))
            yield verdict, None if size < 0 else answers.read(size)


def _framed(group: Written) -> bytes:
    parts = [struct.pack(">i", len(group.references)), *map(_sized, map(str.encode, group.references))]
    parts += [_sized(group.schema.encode()), struct.pack(">i", len(group.records))]
    for value, header, known in group.records:
        parts += [_sized(value), _sized(header), bytes([known])]
    return b"".join(parts)


def _sized(content: bytes | None) -> bytes:
    return struct.pack(">i", -1) if content is None else struct.pack(">i", len(content)) + content


def _described(group: Written, number: int, python: Answer, java: Answer) -> str:
    value, header, known = group.records[number]
    return (
        f"{group.schema}\n  references {group.references}, known {known}\n"
        f"  value {value and value.hex()} header {header and header.hex()}\n  Python: {python}\n  Java:   {java}"
    )


@pytest.mark.timeout(1_200)
def test_any_schema_and_record_have_the_same_verdict_bytes_and_user(class_path: str, tmp_path: Path) -> None:
    number = int(os.environ.get("DATACO_CODEC_RECORDS", "100000")) // 10
    seed = int(os.environ.get("DATACO_CODEC_SEED", _SEED))
    print(f"DATACO_CODEC_SEED={seed} DATACO_CODEC_RECORDS={number * 10}")
    generated = written(random.Random(seed), number // _RECORDS, records=_RECORDS)
    kinds: Counter[str] = Counter()
    while batch := list(islice(generated, _BATCH)):
        mine = [answer for group in batch for answer in answers_of_python(group)]
        theirs = list(answers_of_java(class_path, batch, tmp_path))
        assert len(theirs) == len(mine)
        kinds.update(verdicts.kind(verdict) for verdict, _ in mine)
        places = [(group, i) for group in batch for i in range(len(group.records))]
        differing = [each for each in zip(places, mine, theirs, strict=True) if each[1] != each[2]]
        assert not differing, "\n".join(
            [
                f"seed {seed}: {len(differing)} of {len(mine)} differ",
                *(_described(*place, python, java) for place, python, java in differing[:_SHOWN]),
            ]
        )
    print(dict(kinds.most_common()))
    if number >= _ENOUGH:  # otherwise the generator has lost its way to a rule
        assert set(kinds) >= _NEEDED
        assert kinds["click"] > number / 20
