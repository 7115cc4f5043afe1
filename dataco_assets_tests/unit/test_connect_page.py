"""Tests that what docs/connect.md and the README tell a user of Kafka Connect to type is what there is."""

import json
import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from dataco_assets.cli import app

_ROOT = Path(__file__).parents[2]
_CONNECTOR = json.loads((_ROOT / "kafka_connect" / "src" / "assembly" / "connector.json").read_text())


def test_the_page_shows_the_configuration_of_the_archive() -> None:
    shown = re.search(r"-d '(\{.*?\})'", (_ROOT / "docs" / "connect.md").read_text(), re.DOTALL)
    assert shown
    assert json.loads(shown[1]) == _CONNECTOR


def test_the_readme_goes_from_the_archive_to_rows_in_ten_lines() -> None:
    section = (_ROOT / "README.md").read_text().partition("## Clicks by Kafka Connect")[2]
    lines = section.split("```")[1].strip().splitlines()
    assert len(lines) == 10
    commands = [line.partition("#")[0].split() for line in lines if line.startswith("dataco ")]
    assert [command[1:3] for command in commands] == [
        ["setup", "--only-clicks"],
        ["ingest", "use"],
        ["clicks", "generate"],
        ["ingest", "status"],
    ]
    for _, *arguments in commands:
        _parse(arguments)
    assert lines[0].split()[:2] == ["make", "connect"]
    assert "kafka_connect/target/dataco-clicks.zip" in (_ROOT / "Makefile").read_text()


def _parse(arguments: list[str]) -> None:
    """Fails unless the command line is one that `dataco` takes; runs nothing."""
    command = typer.main.get_command(app)
    while sub := getattr(command, "commands", None):
        name, *arguments = arguments
        command = sub[name]
    with command.make_context(command.name, arguments):
        pass


@pytest.mark.parametrize("other", [["--this-machine"], ["--import-aggregates", "."]])
def test_setup_for_clicks_alone_goes_with_nothing_that_is_about_more(other: list[str]) -> None:
    result = CliRunner().invoke(app, ["setup", "--only-clicks", *other])
    assert result.exit_code == 2
    assert "--only-clicks" in result.stderr
