"""Tests the contract as schemas and table against the vectors, and `dataco contract`."""

import io
import json
from pathlib import Path
from typing import Any, cast

import avro.schema
import fastavro
import jsonschema
import pytest
from typer.testing import CliRunner, Result

from dataco_assets.cli.contract import SampleFileError, app
from dataco_assets.clicks import contract
from dataco_assets.clicks.avro import fingerprint_of
from dataco_assets_tests.unit.test_click_vectors import VECTORS, payload_of

PAGE = Path(__file__).parents[2] / "docs" / "clicks.md"
FINGERPRINTS = {1: "e55451aa660bf2cb", 2: "deb9b87c3f08496c"}
"""Of each version of the contract. A producer's records carry them, so none may ever change."""
SHAPE = {"not_an_object", "missing_field", "wrong_type", "wrong_length", "control_character"}
CLICK = {
    "user_id": "u-1",
    "timestamp": 1_431_857_103_000,
    "url": "https://example.com/a",
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
}


def run(*arguments: str | Path, **options: Any) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], **options)


def test_no_version_of_the_avro_schema_changes() -> None:
    found = {version: fingerprint_of(contract.avro_schema(version)).hex() for version in FINGERPRINTS}
    assert found == FINGERPRINTS
    assert max(FINGERPRINTS) == contract.VERSION, "a new version needs its fingerprint here, and a vector"


def test_apaches_library_takes_the_avro_schema() -> None:
    parsed = avro.schema.parse(json.dumps(contract.avro_schema()))
    taken = cast("Any", parsed.to_json())["fields"]
    assert [field["name"] for field in taken] == [field.name for field in contract.fields()]


def json_of(vector: dict[str, Any]) -> Any:
    """What a vector's payload is in JSON; None when it is not, so that no schema can judge it."""
    try:
        return json.loads(payload_of(vector) or b"")
    except (ValueError, RecursionError):
        return None


def is_for_a_schema(vector: dict[str, Any]) -> bool:
    """Whether a JSON Schema can judge a vector: 1.0 is an integer to it."""
    click = json_of(vector)
    return click is not None and not (isinstance(click, dict) and isinstance(click.get("timestamp"), float))


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["name"]) for v in VECTORS if is_for_a_schema(v)])
def test_the_json_schema_agrees_with_the_vectors(vector: dict[str, Any]) -> None:
    checker = jsonschema.Draft202012Validator(
        contract.json_schema(), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    click = json_of(vector)
    if "expect" in vector:
        checker.validate(click)
    elif vector["reject"]["reason"] in SHAPE:
        assert not checker.is_valid(click)


def test_the_page_has_the_table_of_the_code() -> None:
    table = contract.markdown_table()
    assert table in PAGE.read_text(encoding="utf-8"), f"The table in docs/clicks.md must be:\n\n{table}"


def test_what_is_shown_can_be_used() -> None:
    assert json.loads(run("show", "--format", "avro").stdout) == contract.avro_schema()
    jsonschema.Draft202012Validator.check_schema(json.loads(run("show", "--format", "json-schema").stdout))
    assert contract.markdown_table() in run("show").stdout


def written(path: Path, *clicks: dict[str, Any]) -> Path:
    with path.open("wb") as stream:
        fastavro.writer(stream, contract.avro_schema(), clicks, codec="deflate")
    return path


def test_a_check_says_of_each_item_whether_it_is_a_click(tmp_path: Path) -> None:
    lines = tmp_path / "clicks.jsonl"
    lines.write_text("\n".join(map(json.dumps, [CLICK, {**CLICK, "url": "x"}, {**CLICK, "user_id": 7}])))
    container = written(tmp_path / "clicks.avro", CLICK, {**CLICK, "country": "xx"}, CLICK)
    schema = tmp_path / "wrong.avsc"
    schema.write_text('{"type": "record", "name": "X", "fields": [{"name": "user_id", "type": "string"}]}')

    result = run("check", lines, container, schema)
    assert result.exit_code == 1
    assert [line.removeprefix(f"{tmp_path}/") for line in result.stdout.splitlines()] == [
        "clicks.jsonl: line 2: invalid_url: url is not absolute with http or https: 'x'",
        "clicks.jsonl: line 3: wrong_type: user_id: Expected `str`, got `int`",
        "clicks.jsonl: 3 clicks, 1 accepted, 2 refused",
        "clicks.avro: record 2: invalid_country: country: expected two letters A to Z, found 'xx'",
        "clicks.avro: 3 clicks, 2 accepted, 1 refused",
        "wrong.avsc: schema: unsuitable_schema: no field timestamp, url, ip_address, user_agent",
        "wrong.avsc: 1 schema, 0 accepted, 1 refused",
    ]
    document = json.loads(run("check", container, "--json").stdout)
    assert document["ok"] is False
    assert [each["where"] for each in document["files"][0]["refused"]] == ["record 2"]


def test_a_check_of_what_is_right_succeeds(tmp_path: Path) -> None:
    schema = tmp_path / "click.avsc"
    schema.write_text(run("show", "--format", "avro").stdout)
    single = tmp_path / "click.bin"
    body = io.BytesIO()
    fastavro.schemaless_writer(body, fastavro.parse_schema(contract.avro_schema()), CLICK)
    single.write_bytes(b"\xc3\x01" + bytes.fromhex(FINGERPRINTS[contract.VERSION]) + body.getvalue())
    assert run("check", schema, written(tmp_path / "c.avro", CLICK), single).exit_code == 0
    assert run("check", "-", input=json.dumps(CLICK)).exit_code == 0


@pytest.mark.parametrize("content", [b"", b"\n\n", b"Obj\x01\x04"])
def test_a_file_that_cannot_be_checked_is_an_error(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "sample"
    file.write_bytes(content)
    for each in (file, tmp_path / "missing"):
        assert isinstance(run("check", each).exception, SampleFileError)
