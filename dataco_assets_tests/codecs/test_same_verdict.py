"""The click codecs in Python and Java against each other: the same verdict and the same bytes for any payload.

Environment variables: DATACO_CODEC_RECORDS, how many payloads are tried (100,000); DATACO_CODEC_SEED, which ones (drawn
by chance, and printed).
"""

import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from dataco_assets.clicks.event import Reason, parse
from dataco_assets_tests.codecs import verdicts
from dataco_assets_tests.codecs.payloads import Record, records
from dataco_assets_tests.java_harness import answered

_HARNESS = "dataco.clicks.CodecHarness"
_JUDGING_SECONDS = 300
_BATCH = 20_000
_ENOUGH = 100_000
"""Of so many payloads each reason is among them: the rarest, `too_large`, about fifteen times."""
_SHOWN = 10
_NOT_OF_JSON = {
    Reason.REFUSED_BY_STORE,
    *(Reason.INCOMPLETE_HEADER, Reason.UNKNOWN_SCHEMA, Reason.UNSUITABLE_SCHEMA, Reason.MALFORMED_AVRO),
}


def verdict_of_python(record: Record) -> bytes:
    """What the Python codec makes of a record."""
    return verdicts.written(parse(record.payload, record_time_ms=record.record_time_ms, earliest_ms=record.earliest_ms))


def verdicts_of_java(class_path: str, batch: Sequence[Record], folder: Path) -> Iterator[bytes]:
    """What the Java codec makes of the records, in their order."""
    with answered(class_path, [_HARNESS], batch, folder, seconds=_JUDGING_SECONDS).open("rb") as answers:
        while (verdict := verdicts.read(answers)) is not None:
            yield verdict


def described(record: Record, python: bytes, java: bytes) -> str:
    """A record on which the codecs disagree, ready to become a vector."""
    return f"{json.dumps(record.as_vector())}\n  Python: {python[:300]!r}\n  Java:   {java[:300]!r}"


def test_any_payload_has_the_same_verdict_and_bytes(class_path: str, tmp_path: Path) -> None:
    number = int(os.environ.get("DATACO_CODEC_RECORDS", "100000"))
    seed = int(os.environ.get("DATACO_CODEC_SEED", random.SystemRandom().randrange(2**32)))
    print(f"DATACO_CODEC_SEED={seed} DATACO_CODEC_RECORDS={number}")
    generated = records(random.Random(seed), number)
    kinds: Counter[str] = Counter()
    while batch := list(islice(generated, _BATCH)):
        mine = [verdict_of_python(record) for record in batch]
        theirs = list(verdicts_of_java(class_path, batch, tmp_path))
        assert len(theirs) == len(batch)
        kinds.update(map(verdicts.kind, mine))
        differing = [trio for trio in zip(batch, mine, theirs, strict=True) if trio[1] != trio[2]]
        assert not differing, "\n".join(
            [
                f"seed {seed}: {len(differing)} of {len(batch)} differ",
                *(described(*trio) for trio in differing[:_SHOWN]),
            ]
        )
    print(dict(kinds.most_common()))
    if number >= _ENOUGH:  # otherwise the generator has lost its way to a rule
        assert set(kinds) == {"click", *Reason} - _NOT_OF_JSON
        assert kinds["click"] > number / 5
