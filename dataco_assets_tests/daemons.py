"""Runs Dagster's daemon, for tests of what its sensors start and retry."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from local_stack.stack import DAGSTER_CONFIG


def dagster_home(folder: Path) -> Path:
    """A new instance folder, configured like a local stack's."""
    home = folder / "dagster"
    home.mkdir()
    shutil.copy(DAGSTER_CONFIG, home / "dagster.yaml")
    return home


@contextmanager
def running_daemon(module: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Runs the daemon on the definitions of a module.

    Args:
        module: The module.
        environment: The daemon's whole environment.
        log: File that its output is added to.
    """
    command = [str(Path(sys.executable).with_name("dagster-daemon")), "run", "-m", module]
    with log.open("a") as file:
        process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)
