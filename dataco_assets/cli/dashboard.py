"""`dataco dashboard`: the site's traffic on a page, and how far it can be relied on.

What needs the extra `dashboard` is imported when the command runs.
"""

import logging
import os
from typing import TYPE_CHECKING, Annotated

import typer

from dataco_assets.cli.listening import CannotListen
from dataco_assets.errors import DatacoError
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from dataco_assets.dashboard.parts import Others
    from dataco_assets.monitoring.state import Checks
    from dataco_assets.settings import Settings

_THREADS = 8
_FRESH_SECONDS, _SELDOM_SECONDS = 5.0, 30.0
"""How long an answer is shown to everybody before it is asked for again."""
_SERVER_SECONDS = 10.0
_REJECTED_READ = 5_000
"""Rejected clicks of each partition that are read at most: half a second's work."""


class ExtraMissing(DatacoError):
    """The packages that the page is made with are not installed."""


def dashboard(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8050,
    max_wait: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="Clicks or dirty hours that wait longer are a problem.")
    ] = 15.0,
) -> None:
    """Serve the site's traffic as pages for the browser.

    The traffic is read from Elasticsearch alone; two more pages tell how far its numbers can be relied on, and what the
    platform is doing. It asks nobody to log in, and listens on this machine only unless --host says otherwise:
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
        pages = application(Reader(settings()), others=other_servers(settings(), max_wait))
        server = create_server(pages, host=host, port=port, threads=_THREADS, ident=None)
    except OSError as error:
        raise CannotListen.at(host, port, error) from error
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a request that waits for a thread is no news
    typer.echo(f"The dashboard is at http://{host}:{port}/; Ctrl-C ends it.")
    server.run()


def other_servers(config: "Settings", max_wait: float) -> "Others":
    """What the pages Trust and Operations ask of other servers than Elasticsearch.

    Args:
        config: Addresses and names.
        max_wait: Longest acceptable wait of clicks and of dirty hours, minutes.
    """
    import dagster as dg

    from dataco_assets.clients.hbase import connect
    from dataco_assets.clock import now_ms
    from dataco_assets.dashboard.latest import Latest
    from dataco_assets.dashboard.parts import Others
    from dataco_assets.dashboard.trust import RECENT_MS
    from dataco_assets.monitoring.doctor import examine_further
    from dataco_assets.monitoring.state import ask, read_checks
    from dataco_assets.monitoring.summary import status_rows
    from dataco_assets.monitoring.versions import versions
    from dataco_assets.rejected.contents import read_rejected
    from dataco_assets.rejected.summary import RejectedSummary, summary

    storage = dg.DagsterInstance.get if os.environ.get("DAGSTER_HOME") else None
    state = Latest(lambda: ask(config, max_wait, asked_at_ms=now_ms()), fresh_seconds=_FRESH_SECONDS)

    def rejected() -> RejectedSummary:
        with connect(config, timeout_seconds=_SERVER_SECONDS, retry_seconds=0) as hbase:
            since_ms = now_ms() - RECENT_MS
            return summary(read_rejected(config, hbase, since_ms=since_ms, newest=_REJECTED_READ))

    def checks() -> "Checks":
        with connect(config, timeout_seconds=_SERVER_SECONDS, retry_seconds=0) as hbase:
            return read_checks(config, hbase, now_ms())

    return Others(
        state=state,
        status=lambda found: [*status_rows(config, found)],
        diagnoses=Latest(lambda: examine_further(config, storage, state().value), fresh_seconds=_FRESH_SECONDS),
        versions=Latest(lambda: versions(config), fresh_seconds=_SELDOM_SECONDS),
        rejected=Latest(rejected, fresh_seconds=_SELDOM_SECONDS),
        checks=Latest(checks, fresh_seconds=_FRESH_SECONDS),
    )
