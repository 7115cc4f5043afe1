"""The keepers of warm Spark drivers that tests have started: they outlive the runs that did."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

_MODULE = "spark_resources.driver_keeper"


def keepers_in(folder: Path) -> list[psutil.Process]:
    """The keepers whose sockets are below a folder."""
    return list(_keepers(lambda keeper: any(Path(part).is_relative_to(folder) for part in keeper.cmdline())))


def keepers_with(variable: str, value: str) -> list[psutil.Process]:
    """The keepers that were started with an environment variable of this value."""
    return list(_keepers(lambda keeper: keeper.environ().get(variable) == value))


def _keepers(which: Callable[[psutil.Process], bool]) -> Iterator[psutil.Process]:
    """The keepers that run on this machine and meet a condition."""
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if _MODULE in process.cmdline() and which(process):
                yield process
