"""What a command prints: tables for people, the same as tab-separated lines for a pipe, and JSON for programs."""

import io
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dataco_assets import logs
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document; docs/cli.md describes it.")]


def note(message: str, level: int = logging.INFO) -> None:
    """Says something beside the result, on standard error: as text, or as a line of a structured log.

    Args:
        message: What to say.
        level: Its level in the structured log.
    """
    if logs.are_structured():
        logging.getLogger(logs.NAME).log(level, message)
    else:
        typer.echo(message, err=True)


def stderr_console() -> "Console":
    """Standard error for what is drawn, such as a progress bar; in a structured log, its lines are lines of that."""
    from rich.console import Console

    if logs.are_structured():
        return Console(file=_LogLines(), highlight=False, color_system=None, soft_wrap=True)
    return Console(stderr=True, highlight=False)


class _LogLines(io.StringIO):
    """A file whose lines are noted."""

    def __init__(self) -> None:
        super().__init__()
        self._begun = ""

    def write(self, text: str, /) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, map(str.strip, lines)):
            note(line)
        return len(text)


def print_json(document: Mapping[str, Any]) -> None:
    """Prints one document to standard output, in ASCII: no text in it can control a terminal."""
    typer.echo(json.dumps(document, indent=2))


def iso_time(epoch_ms: int | None) -> str | None:
    """A time in UTC as JSON documents hold it, to the millisecond where it has any; None stays None.

    A time outside of the calendar, which only a producer can have written, is its number as text.
    """
    if epoch_ms is None:
        return None
    try:
        seconds, milliseconds = divmod(epoch_ms, 1000)
        moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=milliseconds * 1000, tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return str(epoch_ms)
    return moment.isoformat(timespec="milliseconds" if milliseconds else "seconds") + "Z"


def on_terminal() -> bool:
    """Whether standard output is a terminal, or is to be treated as one (`FORCE_COLOR`)."""
    from rich.console import Console

    return Console().is_terminal


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Prints a table to standard output: drawn and wrapped on a terminal, else tab-separated and never cut.

    Args:
        columns: The headers.
        rows: A cell for each column; untrusted text may be among them.
        numbers: The columns whose cells are aligned to the right.
    """
    if on_terminal():
        from rich.console import Console

        Console(highlight=False).print(drawn_table(columns, rows, numbers=numbers))
        return
    for line in (columns, *([printable(cell) for cell in row] for row in rows)):
        typer.echo("\t".join(line))


def drawn_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> "Table":
    """A table for a terminal; the arguments are those of `print_table`."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in columns:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table
