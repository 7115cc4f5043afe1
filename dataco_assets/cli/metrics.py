"""`dataco metrics`: the state of the platform for Prometheus."""

import os
import threading
from typing import Annotated

import typer

from dataco_assets.cli.listening import CannotListen
from dataco_assets.settings import settings


def metrics(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 9464,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics and exit.")] = False,
    max_wait: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="Dirty hours that wait longer are overdue.")
    ] = 15.0,
) -> None:
    """Serve the state of the platform as metrics for Prometheus.

    Every scrape queries all servers, so once or twice a minute is enough. What Dagster knows is included where
    DAGSTER_HOME is set. With DATACO_CANARY_SECONDS, it also sends clicks of its own, and measures how long they take to
    readers. docs/monitoring.md lists the metrics and the alerts that go with them.
    """
    import dagster as dg
    from prometheus_client import generate_latest, start_http_server

    from dataco_assets.clients.elasticsearch import connect
    from dataco_assets.monitoring.canary import Canary
    from dataco_assets.monitoring.exporter import Exporter

    instance = dg.DagsterInstance.get() if os.environ.get("DAGSTER_HOME") else None
    if once:
        registry = Exporter(settings(), instance, max_wait).registry()
        typer.echo(generate_latest(registry).decode(), nl=False)
        return
    canary = (
        Canary(settings(), connect(settings(), request_seconds=5.0, retry_seconds=0.0))
        if settings().canary_seconds
        else None
    )
    try:
        start_http_server(port, host, Exporter(settings(), instance, max_wait, canary).registry())
    except OSError as error:
        raise CannotListen.at(host, port, error) from error
    typer.echo(f"Metrics are served at http://{host}:{port}/metrics; Ctrl-C ends it.")
    forever = threading.Event()
    if canary:
        typer.echo(f"A click on {canary.page} is sent every {settings().canary_seconds} s.")
        canary.run(forever)
    forever.wait()
