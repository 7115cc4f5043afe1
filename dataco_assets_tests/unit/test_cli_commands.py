"""Tests what all commands have in common: help, JSON, exit codes, and plain text in a pipe."""

import itertools
import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from dataco_assets.cli import app, main
from dataco_assets.settings import Settings, settings

NOT_PLAIN = re.compile("[\x1b\u2500-\u259f]")
"""Escape sequences and box drawing."""
LONGEST_SECONDS = 10
"""Three on a quiet machine; a run retries a refused port for half a minute and more."""
SHOWING = [
    ["status"],
    ["top"],
    ["verify"],
    ["account"],
    ["setup"],
    ["backfill", "2026-01-31", "2026-01-31"],
    ["rejected", "list"],
    ["rejected", "show", "clicks/0/1"],
    ["rules", "diff"],
    ["rules", "refresh"],
    ["index", "rebuild"],
    ["ingest", "status"],
]
REPORTING = [
    ["rules", "show"],
    ["resume", "all"],
    ["ingest", "use", "drain"],
    ["erase-user", "ann"],
    ["clicks", "send", "-"],
    ["clicks", "generate"],
    ["clicks", "from-access-log", "-"],
    ["stack", "status"],
    ["stack", "env"],
]
ON_SERVERS = [
    *(command for command in SHOWING if command[0] != "backfill"),
    ["resume", "all"],
    ["ingest", "use", "connect"],
    ["erase-user", "ann", "--yes"],
    ["rejected", "replay", "--yes"],
]
WRONG = [
    ["--no-such-option"],
    ["no-such-command"],
    ["top", "--since", "yesterday"],
    ["top", "--country", "Germany"],
    ["top", "--limit", "0"],
    ["verify", "yesterday"],
    ["account", "yesterday"],
    ["rules", "diff", "yesterday"],
    ["rules", "diff", "--clicks-per-minute", "-1"],
    ["backfill", "yesterday", "2026-01-31"],
    ["backfill", "2026-01-31", "2026-01-30"],
    ["backfill", "2026-01-31", "2026-01-31", "--submit", "foo"],
    ["backfill"],
    ["rejected", "list", "--since", "yesterday"],
    ["rejected", "list", "--reason", "none"],
    ["rejected", "show", "clicks"],
    ["rejected", "show", "clicks/0/1", "--raw", "--json"],
    ["clicks", "generate", "--until", "yesterday"],
    ["clicks", "send"],
    ["clicks", "generate", "--json", "--out", "-"],
    ["index", "rebuild", "--month", "june"],
    ["erase-user", ""],
    ["status", "--max-wait", "-1"],
]


def commands() -> Iterator[list[str]]:
    """Every command and group, as typed."""

    def below(command: object, path: list[str]) -> Iterator[list[str]]:
        yield path
        for name, sub in getattr(command, "commands", {}).items():
            yield from below(sub, [*path, name])

    yield from below(typer.main.get_command(app), [])


@pytest.fixture
def nothing_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Addresses of servers at which nothing listens."""
    sockets = [socket.socket() for _ in range(3)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    kafka, thrift, search = (each.getsockname()[1] for each in sockets)
    monkeypatch.setenv("DATACO_KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{kafka}")
    monkeypatch.setenv("DATACO_HBASE_THRIFT_PORT", str(thrift))
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", f"http://127.0.0.1:{search}")
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    yield
    settings.cache_clear()
    for each in sockets:
        each.close()


def call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit code of `dataco` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["dataco", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_is_wrapped_once(command: list[str], width: int) -> None:
    for option in ("-h", "--help"):
        result = CliRunner().invoke(app, [*command, option], terminal_width=width)
        assert result.exit_code == 0
        lines = result.output.splitlines()
        assert not NOT_PLAIN.search(result.output)
        assert max(map(len, lines)) <= width
        assert not any(line.endswith("...") for line in lines[1:]), "a command's first line is cut"
        described = lines[2 : lines.index("", 2)]
        for line, following in itertools.pairwise(described):
            assert len(line) + len(following.split()[0]) + 1 > width, f"broken too early: {line!r}"


@pytest.mark.parametrize("command", SHOWING + REPORTING, ids=" ".join)
def test_commands_that_show_something_have_json(command: list[str]) -> None:
    assert "--json" in CliRunner().invoke(app, [command[0], *command[1:2], "--help"]).output


@pytest.mark.usefixtures("nothing_answers")
@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_usage_ends_with_2(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(arguments, monkeypatch) == 2
    told = capfd.readouterr()
    assert "Error: " in told.err or "Usage: " in told.err
    assert told.out == ""
    assert not NOT_PLAIN.search(told.err)


@pytest.mark.usefixtures("nothing_answers")
@pytest.mark.parametrize("arguments", ON_SERVERS, ids=" ".join)
def test_a_refused_port_is_not_retried_for_long(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    CliRunner().invoke(app, [*arguments, "--help"])  # imports
    started = time.monotonic()
    code = call(arguments, monkeypatch)
    assert time.monotonic() - started < LONGEST_SECONDS
    assert code == (2 if arguments[0] == "verify" else 1)
    told = capfd.readouterr()
    assert "does not answer" in told.out + told.err
    assert not NOT_PLAIN.search(told.out + told.err)


@pytest.mark.usefixtures("nothing_answers")
def test_status_reports_every_server_in_one_document(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(["status", "--json"], monkeypatch) == 1
    document = json.loads(capfd.readouterr().out)
    assert [server["name"] for server in document["servers"]] == ["Kafka", "HBase", "Elasticsearch"]
    assert not any(server["ok"] for server in document["servers"])
    assert all("does not answer" in server["error"] for server in document["servers"])
    assert document["ok"] is False
    assert len(document["problems"]) == 3


def test_a_local_stack_beside_is_hinted_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "HBASE_THRIFT_HOST", "HBASE_THRIFT_PORT", "ELASTICSEARCH_URL"):
        monkeypatch.delenv(f"DATACO_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    from dataco_assets.cli import hints
    from dataco_assets.errors import ErrorKind

    assert hints.local_stack_hint(ErrorKind.PASSING) == ""
    (tmp_path / ".stack").mkdir()
    assert 'eval "$(dataco stack env)"' in hints.local_stack_hint(ErrorKind.PASSING)
    assert hints.local_stack_hint(ErrorKind.PERMANENT) == ""
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", "http://search:9200")
    assert hints.local_stack_hint(ErrorKind.PASSING) == ""


def test_the_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert re.fullmatch(r"dataco \d+\.\d+\.\d+\n", result.output)


def test_the_program_itself_reports_wrong_usage() -> None:
    program = str(Path(sys.executable).with_name("dataco"))
    done = subprocess.run([program, "top", "--since", "x"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: --since 'x' is not a time")


@pytest.mark.usefixtures("nothing_answers")
def test_a_command_reads_the_settings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Settings] = []
    load = Settings.load

    def counting() -> Settings:
        read.append(load())
        return read[-1]

    monkeypatch.setattr(Settings, "load", counting)
    assert call(["restatements"], monkeypatch) == 1
    assert len(read) == 1
