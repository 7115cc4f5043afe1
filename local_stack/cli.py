"""`dataco stack …`: runs the local servers from the command line."""

import json
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
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local_stack.dagster_ui import DEFAULT_PORT, DagsterUI, Interrupted, interruptible
from local_stack.errors import StackError
from local_stack.servers import ALL, EXTRAS, OPTIONAL
from local_stack.stack import Phase, Report, Stack, Status

FAILED = 1  # exit code, also of `status` when a server does not answer

app = typer.Typer(no_args_is_help=True, help="Run Kafka, HDFS, HBase and Elasticsearch on this machine.")
_out = Console()

Folder = Annotated[
    Path, typer.Option("--dir", envvar="DATACO_STACK_DIR", help="Folder of the stack: data, logs, conf, state.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; docs/cli.md describes it.")]
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
    CONNECT = "connect"
    SPARK = "spark"
    SPARK_WORKER_1 = "spark-worker-1"
    SPARK_WORKER_2 = "spark-worker-2"


class Extra(StrEnum):
    """Optional servers."""

    CONNECT = "connect"
    SPARK = "spark"


def _server(name: str) -> str:
    # Not of type `Name`: help would list all names on one line, which is wider than a terminal.
    if name not in {known.value for known in Name}:
        raise typer.BadParameter(f"{name!a} is none of {', '.join(Name)}.")
    return name


@app.command()
def up(
    folder: Folder = DEFAULT_FOLDER,
    ports: Annotated[
        Ports | None, typer.Option(help="Free ports or the well-known ones. Default: the same as last time.")
    ] = None,
    only: Annotated[
        list[Name] | None,
        typer.Option(metavar="<server>", help="Only this server and those it needs; repeatable."),
    ] = None,
    extra: Annotated[
        list[Extra] | None,
        typer.Option(
            "--with",
            help="Also a Kafka Connect worker with the sink (`make connect` builds it), or a Spark cluster of a master "
            "and two workers; repeatable.",
        ),
    ] = None,
) -> None:
    """Start the servers that do not run; return when all answer."""
    stack = Stack(folder, ports.value if ports else None)
    began = time.monotonic()
    with _errors_reported(), _progress() as report:
        stack.up(
            only=[name.value for name in only] if only else None,
            report=report,
            extra=[server.name for name in extra or () for server in EXTRAS[name.value]],
        )
    typer.echo(f"Up after {time.monotonic() - began:.0f} s. Endpoints: dataco stack env")


@app.command()
def down(
    folder: Folder = DEFAULT_FOLDER,
    wipe: Annotated[bool, typer.Option("--wipe", help="Also remove data, logs, configuration and state.")] = False,
) -> None:
    """Stop the servers that `up` started; their data is kept."""
    with _errors_reported():
        Stack(folder).down(wipe=wipe)
    typer.echo("Down, data removed." if wipe else "Down; its data is kept.")


@app.command()
def status(*, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Show every server; exit code 1 unless all answer requests."""
    with _errors_reported():
        servers = Stack(folder).status()
    if as_json:
        typer.echo(json.dumps(_document(servers, folder.resolve()), indent=2))
    else:
        _print_servers(servers, folder.resolve())
    if not all(server.ready for server in servers):
        raise typer.Exit(FAILED)


@app.command()
def stop(
    name: Annotated[str, typer.Argument(callback=_server, help="The server, as `dataco stack status` names it.")],
    folder: Folder = DEFAULT_FOLDER,
) -> None:
    """Stop one server, to try an outage.

    `dataco stack up` starts it again with its data.
    """
    with _errors_reported():
        Stack(folder).stop(name)
    typer.echo(f"{name} is stopped. Start it again with: dataco stack up --only {name}")


@app.command()
def ui(
    folder: Folder = DEFAULT_FOLDER,
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the web server.")] = DEFAULT_PORT,
    module: Annotated[
        str, typer.Option("--module", "-m", help="Python module with Dagster's definitions.")
    ] = "dataco_assets.definitions",
    location: Annotated[str, typer.Option(help="Name of the code location.")] = "dataco",
    live: Annotated[
        bool, typer.Option("--live/--no-live", help="Whether to run `dataco live` too (2 GB of memory).")
    ] = True,
) -> None:
    """Run Dagster on the stack until Ctrl-C.

    Runs code location, daemon, web server and `dataco live`, and restarts each when it ends. Starts the servers first
    if they do not run.
    """
    stack = Stack(folder)
    with _errors_reported(), suppress(Interrupted), interruptible():
        if not all(server.ready for server in stack.status()):
            with _progress() as report:
                stack.up(report=report)
        beside = {"live": [str(Path(sys.executable).with_name("dataco")), "live"]} if live else {}
        dagster = DagsterUI(stack.folder, stack.settings(), port, module, location, beside)
        typer.echo("Starting Dagster.")
        with dagster.running() as supervisor:
            typer.echo(f"Log files: {stack.folder}/logs/dagster-*.log")
            typer.echo(f"Open {dagster.url} (Ctrl-C ends Dagster; the servers keep running).")
            supervisor.wait()


@app.command()
def logs(
    name: Annotated[str, typer.Argument(callback=_server, help="The server, as `dataco stack status` names it.")],
    folder: Folder = DEFAULT_FOLDER,
    lines: Annotated[int, typer.Option("-n", min=0, help="Number of lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show new lines until Ctrl-C.")] = False,
) -> None:
    """Show the end of a server's log."""
    path = Stack(folder).log(name)
    with _errors_reported():
        tail = shutil.which("tail")
        if tail is None:
            raise StackError(f"There is no `tail` on this machine; the log is {path}")
        if not path.is_file():
            raise StackError(f"{name} has no log yet: {path}")
    command = [tail, "-n", str(lines), *(["-F"] if follow else []), str(path)]
    try:
        raise typer.Exit(subprocess.run(command, check=False).returncode)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@app.command()
def env(*, folder: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Print the endpoints as shell exports: eval "$(dataco stack env)"."""
    with _errors_reported():
        variables = Stack(folder).settings()
    if as_json:
        typer.echo(json.dumps(variables, indent=2))
        return
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@contextmanager
def _errors_reported() -> Iterator[None]:
    try:
        yield
    except StackError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(FAILED) from None


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
        for server in (*ALL, *OPTIONAL):
            if server.name in rows:
                phase, detail, began = rows[server.name]
                spent = f"{time.monotonic() - began:.0f} s" if phase is Phase.STARTING else ""
                table.add_row(server.name, f"[{self._STYLES.get(phase, 'dim')}]{phase.value}[/]", spent, Text(detail))
        return table


_COLUMNS = ("server", "state", "pid", "port", "memory", "uptime")


def _print_servers(servers: list[Status], folder: Path) -> None:
    """Prints a table on a terminal, tab-separated lines elsewhere, and problems to standard error."""
    rows = [_row(server) for server in servers]
    if _out.is_terminal:
        total = sum(server.memory_bytes for server in servers)
        table = Table(box=box.SIMPLE_HEAD, caption=Text(f"{_megabytes(total)} in all, in {folder}"))
        for title in _COLUMNS:
            right = title in ("pid", "port", "memory", "uptime")
            table.add_column(title, justify="right" if right else "left")
        for server, (name, state, *cells) in zip(servers, rows, strict=True):
            table.add_row(name, Text(state, "green" if server.ready else "red"), *cells)
        _out.print(table, highlight=False)
    else:
        for row in (_COLUMNS, *rows):
            typer.echo("\t".join(row))
    for server in servers:
        if server.problem:
            typer.echo(f"{server.name} runs but does not answer: {server.problem}", err=True)


def _row(server: Status) -> tuple[str, ...]:
    return (
        server.name,
        server.state,
        str(server.pid or ""),
        str(server.ports[0]) if server.ports else "",
        _megabytes(server.memory_bytes) if server.running else "",
        _duration(server.uptime_seconds) if server.running else "",
    )


def _document(servers: list[Status], folder: Path) -> dict[str, Any]:
    return {
        "ok": all(server.ready for server in servers),
        "folder": str(folder),
        "servers": [
            {
                "name": server.name,
                "ok": server.ready,
                "state": server.state,
                "error": server.problem or None,
                "pid": server.pid or None,
                "ports": list(server.ports),
                "memory_bytes": server.memory_bytes,
                "uptime_seconds": round(server.uptime_seconds, 1),
                "log": str(server.log),
            }
            for server in servers
        ],
    }


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
