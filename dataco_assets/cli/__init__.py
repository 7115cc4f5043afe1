"""The `dataco` command: its groups, each in a module of this package, and the reporting of errors."""

import logging
import sys
from contextlib import suppress
from importlib.metadata import entry_points, version
from typing import Annotated

import typer

from dataco_assets.cli import (
    account,
    backfill,
    clicks,
    contract,
    dashboard,
    demo,
    doctor,
    erase_user,
    index,
    ingest,
    live,
    metrics,
    rejected,
    restatements,
    resume,
    rules,
    setup,
    status,
    top,
    users,
    verify,
)
from dataco_assets.cli.hints import local_stack_hint
from dataco_assets.cli.output import note
from dataco_assets.cli.usage import WrongUsage
from dataco_assets.errors import DatacoError
from dataco_assets.logs import configure, new_run_id
from dataco_assets.settings import SettingsError, settings

FAILED, WRONG_USAGE = 1, 2
"""Exit codes: something failed or needs manual intervention; wrong usage."""

app = typer.Typer(
    name="dataco",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: paragraphs are wrapped once, square brackets stay, and a pipe gets no box drawing.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"dataco {version('dataco-clickstream')}")
        raise typer.Exit


@app.callback()
def dataco(
    *,
    version: Annotated[  # noqa: ARG001  # its callback acts
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """DataCo's clickstream platform: clicks from Kafka, once each in HBase, hourly aggregates in Elasticsearch."""
    with suppress(SettingsError):  # a command that needs the settings reports it
        configure(settings().log_format, run_id=new_run_id())


app.add_typer(clicks.app, name="clicks")
app.add_typer(contract.app, name="contract")
app.add_typer(rejected.app, name="rejected")
app.add_typer(index.app, name="index")
app.add_typer(ingest.app, name="ingest")
app.add_typer(rules.app, name="rules")
app.command()(setup.setup)
app.command()(live.live)
app.command()(status.status)
app.command()(doctor.doctor)
app.command()(metrics.metrics)
app.command()(dashboard.dashboard)
app.command()(resume.resume)
app.command()(top.top)
app.command()(users.users)
app.command()(restatements.restatements)
app.command()(account.account)
app.command()(verify.verify)
app.command()(backfill.backfill)
app.command()(erase_user.erase_user)
app.command()(demo.demo)
for point in entry_points(group="dataco.commands"):
    # Command groups of other packages: the local stack adds `stack` where it is installed.
    app.add_typer(point.load(), name=point.name)


def main() -> None:
    """Runs the command line; a `DatacoError` ends it with its message and exit code 1 or, for wrong usage, 2."""
    try:
        app()
    except DatacoError as error:
        note(f"Error: {error}", logging.ERROR)
        if hint := local_stack_hint(error.kind):
            note(hint)
        sys.exit(WRONG_USAGE if isinstance(error, WrongUsage) else FAILED)
