"""Runs the programs that prepare servers (Maven, javac, storage formatters) with a deadline and a useful error."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from local_stack.errors import StackError
from local_stack.text import error_line


def run(
    what: str, command: Sequence[str | Path], *, seconds: float, environment: Mapping[str, str] | None = None
) -> str:
    """Runs a program to its end and returns its standard output.

    Args:
        what: What the program does, as the start of the error message, such as `kafka: formatting its storage`.
        command: The command line.
        seconds: How long it may take.
        environment: Its environment; None: that of this process.

    Raises:
        StackError: It failed or did not end in time; with the line of its output that explains it.
    """
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"{what} did not end within {seconds:.0f} s.") from error
    if done.returncode:
        output = [*done.stdout.splitlines(), *done.stderr.splitlines()]
        raise StackError(f"{what} failed with exit code {done.returncode}: {error_line(output)}")
    return done.stdout
