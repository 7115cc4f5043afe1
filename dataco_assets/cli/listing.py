"""A title, a table and an explanation, printed once or kept up to date."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from dataco_assets.cli.output import drawn_table, on_terminal, print_table
from dataco_assets.errors import DatacoError, ErrorKind

if TYPE_CHECKING:
    from rich.console import RenderableType


@dataclass(frozen=True)
class Listing:
    """What a command lists.

    Attributes:
        title: What it is; without rows, why there are none.
        columns: Headers of the table.
        rows: A cell for each column; untrusted text may be among them.
        numbers: The columns whose cells are aligned to the right.
        legend: Explains the columns on a terminal.
    """

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    numbers: Sequence[str] = ()
    legend: str = ""


def print_listing(listing: Listing) -> None:
    """Prints a listing to standard output; its legend only on a terminal."""
    typer.echo(listing.title)
    if listing.rows:
        print_table(listing.columns, listing.rows, numbers=listing.numbers)
        if on_terminal():
            typer.echo(listing.legend)


def watch(look: Callable[[], Listing], seconds: float) -> None:
    """Shows a listing until Ctrl-C: redrawn in place on a terminal, otherwise each below the one before.

    An error that passes, such as a server that is away, is shown in place of the listing, which is then tried again.

    Args:
        look: Reads what to list.
        seconds: Pause between two looks.

    Raises:
        DatacoError: the first look failed, or a later one with an error that does not pass.
    """
    first = look()
    try:
        if on_terminal():
            _redraw(first, look, seconds)
        else:
            _repeat(first, look, seconds)
    except KeyboardInterrupt:
        return


def _repeat(first: Listing, look: Callable[[], Listing], seconds: float) -> None:
    print_listing(first)
    while True:
        time.sleep(seconds)
        print_listing(_next(look))


def _redraw(first: Listing, look: Callable[[], Listing], seconds: float) -> None:
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False) as screen:
        screen.update(_drawn(first), refresh=True)
        while True:
            time.sleep(seconds)
            screen.update(_drawn(_next(look)), refresh=True)


def _next(look: Callable[[], Listing]) -> Listing:
    try:
        return look()
    except DatacoError as error:
        if error.kind is not ErrorKind.PASSING:
            raise
        return Listing(f"Tried again: {error}")


def _drawn(listing: Listing) -> "RenderableType":
    from rich.console import Group
    from rich.text import Text

    if not listing.rows:
        return Text(listing.title)
    table = drawn_table(listing.columns, listing.rows, numbers=listing.numbers)
    return Group(Text(listing.title), table, Text(listing.legend))
