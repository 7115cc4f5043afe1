"""Tests that clicks sent as Avro are the clicks that they were in JSON."""

from collections import Counter

import pytest

from dataco_assets.cli.clicks import Encoding, OptionsContradict, generate
from dataco_assets.clicks import event
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clicks.samples import ContractSchemas
from dataco_assets.sources import generator
from dataco_assets.sources.avro import AvroEncoder

NOW = 1_790_000_000_000
TIMES = {"record_time_ms": NOW, "earliest_ms": NOW - 10 * 3_600_000}


def test_every_made_up_click_has_the_same_verdict_in_avro() -> None:
    spec = generator.GeneratorSpec(
        count=4_000, hours=3, until_ms=NOW, malformed=0.2, late=0.1, event_ids=0.5, iso_timestamps=0.3
    )
    encode, parser, ways = AvroEncoder().encode, ClickParser(ContractSchemas()), Counter[str]()
    for message in generator.generate(spec):
        sent = encode(message.value)
        in_json = event.parse(message.value, **TIMES)
        in_avro = parser.parse(sent, None, **TIMES)
        assert getattr(in_avro, "reason", in_avro) == getattr(in_json, "reason", in_json), message.value
        ways["avro" if sent != message.value else "as it was"] += 1
        if isinstance(in_json, event.Click):
            assert sent is not None
            assert sent.startswith(b"\xc3\x01")
    assert ways["avro"] > 3_000
    assert ways["as it was"] > 100


def test_avro_is_not_written_to_a_file_of_lines() -> None:
    with pytest.raises(OptionsContradict, match="--format avro"):
        generate(out="clicks.jsonl", encoding=Encoding.AVRO)
