"""`dataco stack …`: the local servers on the command line.

Does not belong here: anything but asking `local_stack.stack` and showing the answer.
"""

import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from local_stack.dagster_ui import DEFAULT_PORT, DagsterUI, Interrupted, interruptible
from local_stack.errors import StackError
from local_stack.servers import ALL
from local_stack.stack import Phase, Report, Stack, Status

NOT_ALL_READY = 3  # exit code of `status`

app = typer.Typer(no_args_is_help=True, help="Real servers on this machine: Kafka, HDFS, HBase, Thrift, Elasticsearch.")
_out = Console()
_err = Console(stderr=True, soft_wrap=True)

Folder = Annotated[
    Path, typer.Option("--dir", envvar="DATACO_STACK_DIR", help="Folder of the stack: data, logs, conf, state.")
]
DEFAULT_FOLDER = Path(".stack")


class Ports(StrEnum):
    """Which ports to listen on."""

    AUTO = "auto"
    DEFAULT = "default"


class Name(StrEnum):
    """A server."""

    KAFKA = "kafka"
    NAMENODE = "namenode"
    DATANODE = "datanode"
    HBASE = "hbase"
    THRIFT = "thrift"
    ELASTICSEARCH = "elasticsearch"


@app.command()
def up(
    folder: Folder = DEFAULT_FOLDER,
    ports: Annotated[
        Ports | None, typer.Option(help="Free ports or the well-known ones; otherwise those of last time.")
    ] = None,
    only: Annotated[list[Name] | None, typer.Option(help="Only this server and those it needs; repeatable.")] = None,
) -> None:
    """Bring up what does not run; return when every server answers."""
    stack = Stack(folder, ports.value if ports else None)
    began = time.monotonic()
    with _errors_reported(), _progress() as report:
        stack.up(only=[name.value for name in only] if only else None, report=report)
    _out.print(f"Up after {time.monotonic() - began:.0f} s. Endpoints: [bold]dataco stack env[/]", highlight=False)


@app.command()
def down(
    folder: Folder = DEFAULT_FOLDER,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove its data, logs, configuration and state.")] = False,
) -> None:
    """Stop what `up` started, and nothing else; data is kept."""
    with _errors_reported():
        Stack(folder).down(wipe=wipe)
    _out.print("Down, data removed." if wipe else "Down; its data is kept.")


@app.command()
def status(folder: Folder = DEFAULT_FOLDER) -> None:
    """Show every server; exit code 3 unless all answer real requests."""
    with _errors_reported():
        servers = Stack(folder).status()
    _out.print(_status_table(servers, folder))
    for server in servers:
        if server.problem:
            _out.print(f"{server.name} runs but does not answer: {server.problem}", markup=False, highlight=False)
    if not all(server.ready for server in servers):
        raise typer.Exit(NOT_ALL_READY)


@app.command()
def stop(
    name: Annotated[Name, typer.Argument(help="The server.")],
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Stop one server, to try an outage; `up` starts it again with its data."""
    with _errors_reported():
        Stack(folder).stop(name.value)
    _out.print(f"{name.value} is stopped. Start it again with: dataco stack up --only {name.value}", highlight=False)


@app.command()
def ui(
    folder: Folder = DEFAULT_FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the web server.")] = DEFAULT_PORT,
    module: Annotated[
        str, typer.Option("--module", "-m", help="Python module with Dagster's definitions.")
    ] = "dataco_assets.definitions",
    location: Annotated[str, typer.Option(help="Name of the code location.")] = "dataco",
) -> None:
    """Run Dagster on the stack until Ctrl-C: code location, daemon, web server; each is restarted when it dies.

    Brings up the servers first, where they do not run.
    """
    stack = Stack(folder)
    with _errors_reported(), suppress(Interrupted), interruptible():
        if not all(server.ready for server in stack.status()):
            with _progress() as report:
                stack.up(report=report)
        dagster = DagsterUI(stack.folder, stack.env(), port, module, location)
        _out.print("Starting Dagster.")
        with dagster.running() as supervisor:
            _out.print(f"Dagster's log files: {stack.folder}/logs/dagster-*.log", soft_wrap=True, highlight=False)
            _out.print(f"Open {dagster.url} (Ctrl-C ends Dagster; the servers go on).", highlight=False)
            supervisor.wait()


@app.command()
def logs(
    name: Annotated[Name, typer.Argument(help="The server.")],
    folder: Folder = DEFAULT_FOLDER,
    lines: Annotated[int, typer.Option("-n", min=0, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing new lines until Ctrl-C.")] = False,
) -> None:
    """Show the end of a server's log."""
    path = Stack(folder).log(name.value)
    with _errors_reported():
        tail = shutil.which("tail")
        if tail is None:
            raise StackError(f"There is no `tail` on this machine; the log is {path}")
        if not path.is_file():
            raise StackError(f"{name.value} has no log yet: {path}")
    command = [tail, "-n", str(lines), *(["-F"] if follow else []), str(path)]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def env(folder: Folder = DEFAULT_FOLDER) -> None:
    """Print the endpoints as shell exports: eval "$(dataco stack env)"."""
    with _errors_reported():
        endpoints = Stack(folder).env()
    for name, value in endpoints.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@contextmanager
def _errors_reported() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        _err.print(str(error), markup=False, highlight=False)
        raise typer.Exit(1) from None


@contextmanager
def _progress() -> Iterator[Report]:
    if _out.is_terminal:
        board = _Board()
        with Live(board, console=_out, refresh_per_second=8):
            yield board.report
    else:
        yield _Lines().report


class _Lines:
    """Progress for a file or a pipe: one line per step."""

    def __init__(self) -> None:
        self._last: dict[str, Phase] = {}
        self._mutex = threading.Lock()

    def report(self, name: str, phase: Phase, detail: str) -> None:
        with self._mutex:
            if self._last.get(name) == phase or phase in (Phase.FETCHING, Phase.FAILED):
                return
            self._last[name] = phase
            suffix = f" ({detail})" if detail and phase is not Phase.STARTING else ""
            sys.stdout.write(f"{name}: {phase.value}{suffix}\n")
            sys.stdout.flush()


class _Board:
    """Progress for a terminal: one row per server, redrawn in place."""

    _STYLES = {Phase.READY: "green", Phase.FAILED: "red", Phase.STARTING: "yellow"}  # noqa: RUF012 -- never changed

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Phase, str, float]] = {}
        self._mutex = threading.Lock()

    def report(self, name: str, phase: Phase, detail: str) -> None:
        with self._mutex:
            before = self._rows.get(name)
            began = before[2] if before and before[0] is phase else time.monotonic()
            self._rows[name] = (phase, detail.splitlines()[0] if detail else "", began)

    def __rich__(self) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("server", "", "", ""):
            table.add_column(title, no_wrap=True, overflow="ellipsis")
        with self._mutex:
            rows = dict(self._rows)
        for server in ALL:
            if server.name in rows:
                phase, detail, began = rows[server.name]
                spent = f"{time.monotonic() - began:.0f} s" if phase is Phase.STARTING else ""
                table.add_row(server.name, f"[{self._STYLES.get(phase, 'dim')}]{phase.value}[/]", spent, _plain(detail))
        return table


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _status_table(servers: list[Status], folder: Path) -> Table:
    total = sum(server.memory_bytes for server in servers)
    table = Table(caption=f"{total / 2**20:,.0f} MB in all, in {_plain(str(folder))}")
    for title in ("server", "state", "pid", "port", "memory", "uptime", "log"):
        table.add_column(title, justify="right" if title in ("pid", "port", "memory", "uptime") else "left")
    for server in servers:
        colour = "green" if server.ready else "red"
        table.add_row(
            server.name,
            f"[{colour}]{_plain(server.state)}[/]",
            str(server.pid or ""),
            str(server.ports[0]) if server.ports else "",
            f"{server.memory_bytes / 2**20:,.0f} MB" if server.running else "",
            _duration(server.uptime_seconds) if server.running else "",
            _plain(str(server.log.relative_to(folder.resolve()))),
        )
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
