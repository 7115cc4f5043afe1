"""Tests the client of the schema registry on a small real server, beside Confluent's own client and serializer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from dataco_assets.clicks import contract, event
from dataco_assets.clicks.avro import fingerprint_of
from dataco_assets.clicks.event import Click, Reason
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clients.schema_registry import (
    RegistryDenied,
    RegistryFailure,
    RegistryMissing,
    RegistryTlsRefused,
    RegistryUnavailable,
    SchemaRegistry,
)
from dataco_assets.clients.writer_schemas import KnownSchemas, SchemaFileUnusable
from dataco_assets.errors import ErrorKind
from dataco_assets.settings import Settings, SettingsError
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.certificates import Authority
from dataco_assets_tests.registries import Registry, registry
from dataco_assets_tests.unit.test_contract import CLICK

TIMES = {"record_time_ms": 1_431_857_103_000, "earliest_ms": 0}
SAME = event.parse(json.dumps(CLICK).encode(), **TIMES)


@pytest.fixture
def server() -> Iterator[Registry]:
    with registry() as made:
        yield made


def client(server: Registry, **more: Any) -> SchemaRegistry:
    return SchemaRegistry(server.url, retry_seconds=more.pop("retry_seconds", 0), **more)


def settings(**values: Any) -> Settings:
    return Settings(**values)  # pyright: ignore[reportCallIssue]


@pytest.mark.parametrize("header", [False, True])
def test_what_confluents_serializer_writes_is_read(server: Registry, header: bool) -> None:
    conf = {"schema.id.serializer": header_schema_id_serializer} if header else {}
    theirs = SchemaRegistryClient({"url": server.url})
    serialize: Any = AvroSerializer
    serialize = serialize(theirs, json.dumps(contract.avro_schema()), conf=conf)  # its types know no argument
    headers: Any = []
    value = serialize(CLICK, SerializationContext("clicks", MessageField.VALUE, headers))
    assert isinstance(value, bytes)
    assert ([name for name, _ in headers] == [SCHEMA_HEADER]) is header

    server.asked.clear()
    with KnownSchemas(client(server)) as schemas:
        parser = ClickParser(schemas)
        for _ in range(3):
            assert parser.parse(value, dict(headers).get(SCHEMA_HEADER), **TIMES) == SAME
    assert len(server.asked) == 1
    assert server.asked[0].startswith("/schemas/guids/" if header else "/schemas/ids/1")


def test_a_schema_that_refers_to_others_is_read_with_them(server: Registry) -> None:
    server.add({"type": "enum", "name": "Kind", "namespace": "x", "symbols": ["A"]}, "kind")
    inner = [{"name": "x.Kind", "subject": "kind", "version": 1}]
    place = {"type": "record", "name": "Place", "namespace": "x", "fields": [{"name": "kind", "type": "x.Kind"}]}
    server.add(place, "place", references=inner)
    both = [{"name": "x.Place", "subject": "place", "version": 1}, *inner]
    schema = contract.avro_schema()
    fields = [{"name": "place", "type": "x.Place"}, {"name": "again", "type": "x.Kind"}, *schema["fields"]]
    number = server.add({**schema, "fields": fields}, references=both)
    encoded = AvroEncoder().encode(json.dumps(CLICK).encode())
    assert encoded is not None
    with KnownSchemas(client(server)) as schemas:
        value = b"\0" + number.to_bytes(4, "big") + b"\0\0" + encoded[10:]
        assert ClickParser(schemas).parse(value, None, **TIMES) == SAME


def test_what_the_registry_does_not_have_is_unknown(server: Registry) -> None:
    with client(server) as asked:
        assert asked.by_id(7) is None
        assert asked.by_guid("6ab6d0f0-7b7e-4f0e-9f55-0c7a3b1d2e4f") is None


def test_a_schema_of_another_type_is_unsuitable(server: Registry) -> None:
    number = server.add("{}", schemaType="JSON")
    with KnownSchemas(client(server)) as schemas:
        found = ClickParser(schemas).parse(b"\0" + number.to_bytes(4, "big") + b"{}", None, **TIMES)
    assert not isinstance(found, Click)
    assert (found.reason, found.detail) == (Reason.UNSUITABLE_SCHEMA, "schema id 1: a schema of type JSON, not AVRO")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_busy_registry_is_asked_again_and_then_a_passing_failure(server: Registry, status: int) -> None:
    server.add(contract.avro_schema())
    server.answers = [status, status]
    with client(server, retry_seconds=30) as asked:
        assert asked.by_id(1) is not None
    assert len(server.asked) == 3
    server.answers = [status] * 9
    with client(server) as asked, pytest.raises(RegistryUnavailable, match=str(status)) as raised:
        asked.by_id(1)
    assert raised.value.kind is ErrorKind.PASSING


def test_a_registry_that_is_away_is_a_passing_failure_and_no_record_is_judged() -> None:
    with KnownSchemas(SchemaRegistry("http://127.0.0.1:1", retry_seconds=0)) as schemas:
        parser = ClickParser(schemas)
        for _ in range(2):  # it is not remembered
            with pytest.raises(RegistryUnavailable, match="DATACO_SCHEMA_REGISTRY_URL"):
                parser.parse(bytes(20), None, **TIMES)


@pytest.mark.parametrize(("status", "error"), [(401, RegistryDenied), (403, RegistryDenied), (404, RegistryFailure)])
def test_what_time_does_not_cure_is_permanent(server: Registry, status: int, error: type[RegistryFailure]) -> None:
    server.answers = [status] * 9
    with client(server, retry_seconds=30) as asked, pytest.raises(error, match=str(status)) as raised:
        asked.by_id(1)
    assert raised.value.kind is ErrorKind.PERMANENT
    assert len(server.asked) == 1


def test_a_wrong_path_is_no_unknown_schema(server: Registry) -> None:
    with SchemaRegistry(f"{server.url}/api", retry_seconds=0) as asked, pytest.raises(RegistryFailure, match="404"):
        asked.by_id(1)


@pytest.mark.parametrize("way", ["basic", "bearer"])
def test_credentials_are_sent_and_never_shown(server: Registry, way: str) -> None:
    server.add(contract.avro_schema())
    if way == "basic":
        server.basic("ünser", "geh:eim")
        right = {"schema_registry_username": "ünser", "schema_registry_password": "geh:eim"}
    else:
        server.authorization = "Bearer geheim"
        right = {"schema_registry_token": "geheim"}
    for values, passes in ((right, True), (dict.fromkeys(right, "wrong"), False), ({}, False)):
        made = SchemaRegistry.of(settings(schema_registry_url=server.url, schema_registry_retry_seconds=0, **values))
        assert made is not None
        with made:
            if passes:
                assert made.by_id(1) is not None
                continue
            with pytest.raises(RegistryDenied) as raised:
                made.by_id(1)
            assert "wrong" not in str(raised.value)


def test_a_certificate_is_checked_against_the_given_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority, other = Authority.make("ours"), Authority.make("other")
    ours, others = str(authority.write(tmp_path)), str(other.write(tmp_path))
    files = tmp_path / "certificate", tmp_path / "key"
    for file, content in zip(files, reversed(authority.issue("127.0.0.1")), strict=True):
        file.write_bytes(content)
    with registry(files) as server:
        server.add(contract.avro_schema())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", others)
        with client(server, ca_file=ours) as asked:
            assert asked.by_id(1) is not None
        with client(server, ca_file=others) as asked, pytest.raises(RegistryTlsRefused, match="_CA_FILE"):
            asked.by_id(1)


def test_without_a_registry_a_record_that_needs_one_is_a_permanent_error_or_unknown() -> None:
    with pytest.raises(RegistryMissing, match="DATACO_SCHEMA_REGISTRY_URL is not set") as raised:
        ClickParser(KnownSchemas(None)).parse(bytes(20), None, **TIMES)
    assert raised.value.kind is ErrorKind.PERMANENT
    found = ClickParser(KnownSchemas(None, registry_needed=False)).parse(bytes(20), None, **TIMES)
    assert not isinstance(found, Click)
    assert found.reason is Reason.UNKNOWN_SCHEMA


def test_a_folder_has_the_schemas_of_single_object_encoding(tmp_path: Path) -> None:
    own = {**contract.avro_schema(), "name": "PageView"}
    (tmp_path / "page_view.avsc").write_text(json.dumps(own))
    encoded = AvroEncoder().encode(json.dumps(CLICK).encode())
    assert encoded is not None
    value = b"\xc3\x01" + fingerprint_of(own) + encoded[10:]
    parser = ClickParser(KnownSchemas(None, str(tmp_path)))
    assert parser.parse(value, None, **TIMES) == SAME == parser.parse(encoded, None, **TIMES)
    found = ClickParser(KnownSchemas(None)).parse(value, None, **TIMES)
    assert not isinstance(found, Click)
    assert found.reason is Reason.UNKNOWN_SCHEMA
    for wrong in ("{", '{"type": "record"}', "[]x"):
        (tmp_path / "wrong.avsc").write_text(wrong)
        with pytest.raises(SchemaFileUnusable, match=r"wrong\.avsc"):
            ClickParser(KnownSchemas(None, str(tmp_path))).parse(value, None, **TIMES)


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    file = Authority.make("ours").write(tmp_path)
    with pytest.raises(SettingsError, match="nothing would be encrypted"):
        settings(schema_registry_url="http://registry:8081", schema_registry_ca_file=str(file))
    with pytest.raises(SettingsError, match="keep one"):
        settings(schema_registry_username="u", schema_registry_token="t")  # noqa: S106  # a made-up one
    assert SchemaRegistry.of(settings()) is None
