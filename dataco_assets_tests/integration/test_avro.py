"""Tests clicks in Avro from the topic to HBase and the rejected topic, on real Kafka and HBase.

The registry is the tests' own small server: none can be had here (`registries.py`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.clicks import contract
from dataco_assets.clients.schema_registry import RegistryMissing, RegistryUnavailable
from dataco_assets.privacy.erasure import erase
from dataco_assets.rejected.contents import read_rejected
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.platforms import NOON, Platform, click, headers_of, make_platform
from dataco_assets_tests.registries import Registry, registry
from local_stack.stack import Stack

pytestmark = pytest.mark.stack
UNKNOWN = 999


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as made:
        yield made


@pytest.fixture
def platform(stack: Stack, server: Registry, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform with a registry."""
    made = make_platform(stack.env(), schema_registry_url=server.url, schema_registry_retry_seconds=0.5).create(1)
    monkeypatch.setattr("dataco_assets.cli.rejected.settings", lambda: made.settings)
    yield made
    made.drop()


class Sender:
    """Sends the same clicks in every way, with Confluent's own serializers."""

    def __init__(self, platform: Platform, server: Registry) -> None:
        self._topic = platform.settings.clicks_topic
        self._producer = Producer({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
        client, schema = SchemaRegistryClient({"url": server.url}), json.dumps(contract.avro_schema())
        made: Any = AvroSerializer  # its types know no argument
        self._serializers = {
            "id": made(client, schema),
            "guid": made(client, schema, conf={"schema.id.serializer": header_schema_id_serializer}),
        }

    def send(self, way: str, payload: bytes) -> None:
        headers: Any = []
        value: Any = payload
        if way == "single":
            value = AvroEncoder().encode(payload)
        elif way != "json":
            context = SerializationContext(self._topic, MessageField.VALUE, headers)
            value = self._serializers[way](json.loads(payload), context)
        self._producer.produce(self._topic, value, headers=headers)
        assert self._producer.flush(30) == 0


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["rejected", *arguments])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_clicks_in_every_way_are_stored_once_or_rejected_and_can_be_repaired_and_erased(
    platform: Platform, server: Registry, tmp_path: Path
) -> None:
    sender = Sender(platform, server)
    for way in ("json", "id", "guid", "single"):
        sender.send(way, click("same"))  # one row, whichever way it came
        sender.send(way, click("", url=f"https://shop.example/{way}", user="u2"))
        sender.send(way, click(f"bad-{way}", url="ftp://x/", user=f"bad-{way}"))
    platform.produce([b"\0" + UNKNOWN.to_bytes(4, "big") + b"\x06bob\0", b"\xc3\x01"])
    result = platform.drain()
    assert (result.stored, result.rejected) == (8, {"invalid_url": 4, "unknown_schema": 1, "incomplete_header": 1})
    rows = sorted(platform.rows().values(), key=lambda cells: cells[b"click_data:url"])
    assert [cells[b"click_data:url"] for cells in rows] == [
        b"https://shop.example/",
        *(f"https://shop.example/{way}".encode() for way in ("guid", "id", "json", "single")),
    ]
    assert [path for path in server.asked if path.startswith("/schemas/ids/")] == ["/schemas/ids/1", "/schemas/ids/999"]

    entries = read_rejected(platform.settings, platform.hbase).entries
    assert [entry.record.reason for entry in entries] == ["invalid_url"] * 4 + ["unknown_schema", "incomplete_header"]
    by_guid = entries[2]
    assert by_guid.record.schema_header is not None
    assert '"user_id": "bad-guid"' in run("show", by_guid.record_id)
    shown = json.loads(run("show", by_guid.record_id, "--json"))["decoded"]
    assert (shown["event_id"], shown["timestamp"]) == ("bad-guid", NOON)
    assert "unknown_schema" in run("list")

    file = tmp_path / "click.json"
    file.write_text(json.dumps({**shown, "url": "https://shop.example/repaired"}))
    run("replay", by_guid.record_id, "--with", str(file), "--yes")
    assert platform.drain().stored == 1
    assert "bad-guid" in platform.event_ids()

    erased = erase(platform.settings, platform.hbase, ["bob", "bad-single"])
    assert erased.rejected == 2, "one by its fields, one by its bytes, as its schema is unknown"
    contents = read_rejected(platform.settings, platform.hbase)
    assert len(contents.erased) == 2
    sender.send("single", click("again", url="ftp://x/", user="bad-single", at=NOON))
    # It comes after the erasure, and nothing but its time can tell that it is new: a rejected click counts by arrival.
    assert platform.drain().rejected == {"invalid_url": 1}


def test_a_registry_that_is_away_fails_the_run_and_nothing_is_rejected(platform: Platform, server: Registry) -> None:
    sender = Sender(platform, server)
    sender.send("json", click("first"))
    sender.send("id", click("second"))
    server.answers = [503] * 100
    with pytest.raises(RegistryUnavailable):
        platform.drain()
    assert platform.positions().get(0, 0) == 0
    assert platform.rejected() == []
    server.answers = []
    assert platform.drain().stored == 2
    assert sorted(platform.event_ids()) == ["first", "second"]


def test_without_a_registry_a_record_that_needs_one_stops_ingest_until_a_person_decides(stack: Stack) -> None:
    platform = make_platform(stack.env()).create(1)
    platform.produce([click("e"), b"\0\0\0\0\x01\x06bob\0"])
    with pytest.raises(RegistryMissing, match="without_registry: reject"):
        platform.drain()
    assert platform.positions().get(0, 0) == 0
    result = platform.drain(without_registry="reject")
    assert (result.stored, result.rejected) == (1, {"unknown_schema": 1})
    (rejected,) = platform.rejected()
    assert headers_of(rejected)["dataco.reason"] == b"unknown_schema"
    platform.drop()
