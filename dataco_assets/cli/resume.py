"""`dataco resume`: has the sensors try again what is parked."""

import time
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from dataco_assets.cli.output import Json, print_json
from dataco_assets.clients.hbase import connect
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.parked import Parked, ParkedWork, active, names
from dataco_assets.settings import settings

EVERYTHING = "all"
_SECONDS = 10.0

What = Annotated[
    list[str],
    typer.Argument(
        metavar="WHAT...",
        help="ingest; an hour, like 2026-01-31-12:00; a day with all its hours, like 2026-01-31; or all.",
    ),
]


class NotParked(DatacoError):
    """Nothing of that name is parked."""


def resume(what: What, *, as_json: Json = False) -> None:
    """Try parked work again: the cause of its failure is gone.

    Work is parked when a run failed for a reason that only a person can end; `dataco status` shows it. The sensors
    start a run for it at their next evaluation, without back-off. If the cause is still there, it is parked again.
    """
    config = settings()
    with connect(config, timeout_seconds=_SECONDS, retry_seconds=0) as hbase:
        work = ParkedWork(hbase, config.hours_table)
        resumed = list(_named(what, active(work.all().values())))
        work.write(entry.ended("a person, with `dataco resume`", time.time()) for entry in resumed)
    if as_json:
        print_json({"resumed": [{"name": entry.name, "error": entry.error} for entry in resumed]})
        return
    for entry in resumed:
        typer.echo(f"{entry.name} is resumed; it was parked by {entry.error}.")


def _named(what: Sequence[str], parked: Sequence[Parked]) -> Iterator[Parked]:
    """What the arguments name, each entry once.

    Raises:
        NotParked: an argument names nothing that is parked.
    """
    found = {word: [entry for entry in parked if _is_named(word, entry.name)] for word in what}
    for word, entries in found.items():
        if not entries:
            listed = f"Parked are: {names(parked)}." if parked else "Nothing is."
            raise NotParked(f"{word[:40]!r} is not parked. {listed}")
    yield from {entry.name: entry for entries in found.values() for entry in entries}.values()


def _is_named(word: str, name: str) -> bool:
    is_day_of_hour = name.startswith(f"{word}-") and len(word) == len("2026-01-31")
    return word in (name, EVERYTHING) or is_day_of_hour
