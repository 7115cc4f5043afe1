"""The `dataco` command.

Belongs here: putting the command groups together, and how errors reach a person. Does not belong here: any command;
each group has a module beside this one.
"""

import sys
from importlib.metadata import entry_points

import typer
from rich.console import Console
from rich.markup import escape

from dataco_assets.cli import backfill, clicks, demo, erase_user, index, rejected, resume, setup, status, top, verify
from dataco_assets.errors import DatacoError

app = typer.Typer(
    name="dataco",
    help="DataCo's clickstream platform: clicks from Kafka, once each in HBase, hourly aggregates in Elasticsearch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(clicks.app, name="clicks")
app.add_typer(rejected.app, name="rejected")
app.add_typer(index.app, name="index")
app.command()(setup.setup)
app.command()(status.status)
app.command()(resume.resume)
app.command()(top.top)
app.command()(verify.verify)
app.command()(backfill.backfill)
app.command()(erase_user.erase_user)
app.command()(demo.demo)
for point in entry_points(group="dataco.commands"):
    # Command groups of other packages: the local stack adds `stack` where it is installed.
    app.add_typer(point.load(), name=point.name)


def main() -> None:
    """Runs the command line; a `DatacoError` ends it with its message and exit code 1."""
    try:
        app()
    except DatacoError as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
