"""The `dataco` command.

Belongs here: putting the command groups together, and how errors reach a person. Does not belong here: any command;
each group has a module beside this one.
"""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from dataco_assets.cli import backfill, clicks, demo, erase_user, index, rejected, setup, status, top, verify
from dataco_assets.errors import DatacoError
from local_stack import cli as stack
from local_stack.errors import StackError

app = typer.Typer(
    name="dataco",
    help="DataCo's clickstream platform: clicks from Kafka, once each in HBase, hourly aggregates in Elasticsearch.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(stack.app, name="stack")
app.add_typer(clicks.app, name="clicks")
app.add_typer(rejected.app, name="rejected")
app.add_typer(index.app, name="index")
app.command()(setup.setup)
app.command()(status.status)
app.command()(top.top)
app.command()(verify.verify)
app.command()(backfill.backfill)
app.command()(erase_user.erase_user)
app.command()(demo.demo)


def main() -> None:
    """Runs the command line; a `DatacoError` or `StackError` ends it with its message and exit code 1."""
    try:
        app()
    except (DatacoError, StackError) as error:
        Console(stderr=True).print(f"[bold red]Error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(1)
