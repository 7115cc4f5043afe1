"""The progress bar of commands that work through hours: on a terminal only, on standard error."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dataco_assets.cli.output import stderr_console


@contextmanager
def hours_done(hours: int) -> Iterator[Callable[[], None]]:
    """Shows how many of some hours are done; the function that the context gives counts one more."""
    console = stderr_console()
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("hours", total=hours)
        yield lambda: progress.advance(task)
