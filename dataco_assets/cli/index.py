"""`dataco index …`: maintains the index.

`dataco_assets.index.rebuild` does the work; it is imported when a command runs, so that `--help` stays quick.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.cli.output import Json, print_json, stderr_console
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.index.indices import Index
    from dataco_assets.index.rebuild import Rebuilt

app = typer.Typer(help="Look after the index that readers search.", no_args_is_help=True)

_STEP = 500  # documents between two updates of a progress bar


class MonthUnclear(WrongUsage):
    """A month was given in a form that is none."""


@app.callback()
def index() -> None:
    """Look after the index that readers search."""


@app.command()
def rebuild(
    *,
    month: Annotated[list[str] | None, typer.Option(help="Only that month, like 2026.01; may be repeated.")] = None,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="First delete what an interrupted rebuild left. Only when none is running."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the indices with the current template and settings.

    Readers see no gap. Documents are copied with their versions. Hours published meanwhile are copied again; for
    moments the index accepts no writes, and a publication at such a moment fails and is retried.
    """
    from dataco_assets.clients.elasticsearch import connect_at_once
    from dataco_assets.index.indices import Index
    from dataco_assets.index.rebuild import GRACE_SECONDS
    from dataco_assets.index.rebuild import rebuild as replaced

    console, config = Console(highlight=False), settings()
    months = [_month(text) for text in month or ()]
    results: list[Rebuilt] = []
    tasks: dict[str, TaskID] = {}
    options = {"restart": restart, "grace_seconds": GRACE_SECONDS}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    client = connect_at_once(config)
    indices = [Index.of(client, config, aggregate) for aggregate in AGGREGATES]
    with Progress(*columns, console=stderr_console()) as bars:

        def show(old: str, done: int, total: int) -> None:
            if old not in tasks:
                tasks[old] = bars.add_task(old, total=total)
            if done % _STEP == 0 or done == total:
                bars.update(tasks[old], completed=done, total=total)

        def rebuilt() -> "Iterator[Rebuilt]":
            for index in indices:
                chosen = _months_of(index, months)
                if chosen or not months:
                    yield from replaced(index, config, months=chosen, progress=show, **options)

        for result in rebuilt():
            results.append(result)
            again = f", {result.hours_copied_again:,} hours copied again" if result.hours_copied_again else ""
            bars.console.print(f"  {result.old} → {result.new}: {result.documents:,} documents{again}", highlight=False)
    aliases = [index.alias for index in indices]
    shown = " and ".join(f"alias {alias}" for alias in aliases)
    if as_json:
        print_json({"aliases": aliases, "replaced": [_document(result) for result in results]})
    elif results:
        console.print(f"Indices of {shown} replaced: {len(results)}; the old ones are deleted.")
    else:
        console.print(f"There is no index behind {shown} yet; the templates are up to date.")


def _months_of(index: "Index", months: list[str]) -> list[str]:
    """The months to rebuild; of the audience, only those that it has: it may be younger than the pages."""
    if not index.aggregate.came_later:
        return months
    return [month for month in months if index.of_month(month)]


def _document(result: "Rebuilt") -> dict[str, Any]:
    return {
        "old": result.old,
        "new": result.new,
        "documents": result.documents,
        "hours_copied_again": result.hours_copied_again,
    }


def _month(text: str) -> str:
    from dataco_assets.index.layout import parse_name

    if parse_name("x", f"x-{text}") is None or len(text) != len("2026.01"):
        raise MonthUnclear(f"--month {text[:40]!r} is not a month like 2026.01.")
    return text
