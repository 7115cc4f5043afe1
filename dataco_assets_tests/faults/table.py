"""A pytest plugin that prints a table of the injected faults at the end, also from tests in several processes."""

from dataclasses import asdict, dataclass
from typing import Any

import pytest


@dataclass(frozen=True)
class Tried:
    """One line of the table of faults."""

    fault: str
    times: int
    in_flight: int
    messages: int


TRIED = pytest.StashKey[list[Tried]]()
_OUTPUT_KEY = "faults tried"


def pytest_configure(config: pytest.Config) -> None:
    """Creates the empty table."""
    config.stash[TRIED] = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Adds the lines of a process of `pytest -n`; one that crashed has none."""
    node.config.stash[TRIED] += [Tried(**line) for line in getattr(node, "workeroutput", {}).get(_OUTPUT_KEY, ())]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Sends the lines to the process that prints the table, if this is another."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output[_OUTPUT_KEY] = [asdict(line) for line in session.config.stash[TRIED]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table."""
    tried = config.stash[TRIED]
    if not tried:
        return
    terminalreporter.section("faults: nothing lost, doubled or invented")
    for line in tried:
        terminalreporter.write_line(
            f"{line.fault:<52} {line.times:>4} times {line.in_flight:>9,} in flight {line.messages:>10,} messages"
        )
