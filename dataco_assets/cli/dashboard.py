"""`dataco dashboard`: the site's traffic on a page.

What needs the extra `dashboard` is imported when the command runs.
"""

import logging
from typing import Annotated

import typer

from dataco_assets.cli.listening import CannotListen
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings

_THREADS = 8


class ExtraMissing(DatacoError):
    """The packages that the page is made with are not installed."""


def dashboard(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8050,
) -> None:
    """Serve the site's traffic as a page for the browser.

    It reads Elasticsearch alone, asks nobody to log in, and listens on this machine only unless --host says otherwise:
    put a proxy that asks for a password in front of it before others can reach it. Needs the optional extra
    "dashboard". docs/dashboard.md explains the page.
    """
    try:
        from waitress.server import create_server

        from dataco_assets.dashboard.app import application
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("dataco_assets"):
            raise
        raise ExtraMissing(
            f'The package {error.name} is missing. The page needs the optional extra "dashboard": '
            "pip install 'dataco-clickstream[dashboard]'"
        ) from error
    from dataco_assets.dashboard.reading import Reader

    try:
        server = create_server(application(Reader(settings())), host=host, port=port, threads=_THREADS, ident=None)
    except OSError as error:
        raise CannotListen.at(host, port, error) from error
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a request that waits for a thread is no news
    typer.echo(f"The dashboard is at http://{host}:{port}/; Ctrl-C ends it.")
    server.run()
