"""`dataco contract …`: shows the contract of a click, and checks a producer's samples and schema against it.

Needs no server and no setting, so that it can run in a producer's own CI.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dataco_assets.cli.output import Json, print_json
from dataco_assets.clicks import contract
from dataco_assets.clicks.event import Rejection
from dataco_assets.clicks.samples import Finding, SampleUnreadable, check_sample
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.quantities import quantity
from dataco_assets.untrusted import printable

app = typer.Typer(help="The contract of a click, for producers.", no_args_is_help=True)

STANDARD_STREAM = "-"
_SHOWN = 20
"""Refused items that are listed of each file."""
_FAILED = 1


class Format(StrEnum):
    """What the contract can be shown as."""

    AVRO = "avro"
    JSON_SCHEMA = "json-schema"
    MARKDOWN = "markdown"


class SampleFileError(DatacoError):
    """A file cannot be read, or is nothing that can be checked."""


@dataclass(frozen=True)
class _Checked:
    """What was found in one file."""

    file: str
    kind: str
    items: int
    refused: tuple[Finding, ...]


@app.command()
def show(
    output: Annotated[Format, typer.Option("--format", help="As what.")] = Format.MARKDOWN,
) -> None:
    """Show the contract as an Avro schema, a JSON Schema or a table.

    docs/clicks.md has the rules that no schema can express.
    """
    if output is Format.MARKDOWN:
        typer.echo(f"Version {contract.VERSION}\n\n{contract.markdown_table()}", nl=False)
        return
    document = contract.avro_schema() if output is Format.AVRO else contract.json_schema()
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="Samples, or a schema; `-` reads standard input.")],
    *,
    as_json: Json = False,
) -> None:
    """Check samples and schemas against the contract.

    A file is JSON lines (one click a line), an Avro container file (.avro), one click in Avro's single-object
    encoding, or a writer's schema (.avsc). Clicks are judged as ingest does it, as if they were sent now, save for the
    first partition, which each platform sets. Exit code 1: something was refused.
    """
    checked = [_checked(file) for file in files]
    refused = any(each.refused for each in checked)
    if as_json:
        print_json({"ok": not refused, "files": [_document(each) for each in checked]})
    else:
        for line in (line for each in checked for line in _lines(each)):
            typer.echo(line)
    if refused:
        raise typer.Exit(_FAILED)


def _checked(file: str) -> _Checked:
    try:
        content = sys.stdin.buffer.read() if file == STANDARD_STREAM else Path(file).read_bytes()
    except OSError as error:
        raise SampleFileError(f"The file {file} cannot be read: {error.strerror}.") from error
    try:
        sample = check_sample(content, is_schema=file.endswith(".avsc"), now_ms=now_ms())
    except SampleUnreadable as error:
        raise SampleFileError(f"The file {printable(file)} cannot be checked: {error}") from error
    if not sample.items:
        raise SampleFileError(f"The file {printable(file)} holds nothing that could be checked.")
    return _Checked(file, sample.kind, sample.items, sample.refused)


def _lines(checked: _Checked) -> Iterator[str]:
    file = printable(checked.file)
    for finding in checked.refused[:_SHOWN]:
        yield f"{file}: {finding.where}: {_why(finding.rejection)}"
    if len(checked.refused) > _SHOWN:
        yield f"{file}: and {len(checked.refused) - _SHOWN:,} more"
    accepted = checked.items - len(checked.refused)
    yield f"{file}: {quantity(checked.items, checked.kind)}, {accepted:,} accepted, {len(checked.refused):,} refused"


def _why(rejection: Rejection) -> str:
    return f"{rejection.reason.value}: {rejection.detail}"


def _document(checked: _Checked) -> dict[str, Any]:
    return {
        "file": checked.file,
        "kind": checked.kind,
        "items": checked.items,
        "refused": [
            {"where": each.where, "reason": each.rejection.reason.value, "detail": each.rejection.detail}
            for each in checked.refused
        ],
    }
