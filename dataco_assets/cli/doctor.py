"""`dataco doctor`: examines every part of the platform; exits with 1 when something is wrong."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.clock import now_ms
from dataco_assets.settings import settings

FOUND_PROBLEMS = 1
"""Exit code: something is wrong."""


def doctor(
    *,
    max_wait: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="Clicks or dirty hours that wait longer are a problem.")
    ] = 15.0,
    as_json: Json = False,
) -> None:
    """Examine every part, say what is wrong and what to do.

    It looks at the servers and what is expected on them (topics, tables, index templates), who stores clicks, what
    waits and what is parked, live, clocks, disks and, where DAGSTER_HOME is set, Dagster's daemon and sensors. It mends
    nothing.

    Exit code: 0 no problem was found, 1 something is wrong.
    """
    import dagster as dg

    from dataco_assets.monitoring.doctor import Verdict, examine

    storage = dg.DagsterInstance.get if os.environ.get("DAGSTER_HOME") else None
    found = examine(settings(), storage, max_wait)
    problems = [each for each in found if each.verdict is Verdict.PROBLEM]
    if as_json:
        parts = [{**asdict(each), "verdict": str(each.verdict)} for each in found]
        print_json({"ok": not problems, "time": iso_time(now_ms()), "parts": parts})
    else:
        print_table(("verdict", "part", "found"), [(str(each.verdict), each.part, each.found) for each in found])
    if problems:
        raise typer.Exit(FOUND_PROBLEMS)
