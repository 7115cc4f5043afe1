"""`dataco ingest …`: who stores the clicks, the drain or Kafka Connect, and how far they are."""

import logging
from typing import Annotated, Any

import typer

from dataco_assets.cli.first_contact import connect_at_once
from dataco_assets.cli.output import Json, note, print_json, print_table
from dataco_assets.clients.connect import Connect, Connector, ConnectorMissing, ConnectUnavailable
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.ingest.log import measure_lag
from dataco_assets.ledgers.offsets import Mode, OffsetLedger
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings, settings

app = typer.Typer(help="Choose who stores the clicks: the drain or Kafka Connect.", no_args_is_help=True)

NEEDS_A_HAND = 1


@app.command()
def use(
    mode: Annotated[Mode, typer.Argument(help="drain: runs of Dagster; connect: the sink in Kafka Connect.")],
    *,
    as_json: Json = False,
) -> None:
    """Give the clicks topic to the drain or to Kafka Connect.

    The other one can move no offset any more when this returns, even if it is at work; what it has read since its last
    checkpoint is read again, and nothing is lost or stored twice. With DATACO_CONNECT_URL, `connect` also restarts the
    connector's failed tasks.
    """
    config = settings()
    with connect_at_once(config) as hbase:
        owner = OffsetLedger(hbase, config.offsets_table).change_owner(config.clicks_topic, mode)
    if as_json:
        print_json({"topic": config.clicks_topic, "mode": owner.mode.value, "epoch": owner.epoch})
    else:
        typer.echo(f"Topic {config.clicks_topic} is ingested by {owner.mode.described} now (epoch {owner.epoch}).")
    if owner.mode is Mode.CONNECT and config.connect_url:
        try:
            _connect(config).restart_failed()
        except ConnectorMissing as missing:  # it is created afterwards
            note(f"Note: {missing}", logging.WARNING)


@app.command()
def status(*, as_json: Json = False) -> None:
    """Show who stores the clicks, with what lag.

    With DATACO_CONNECT_URL, also the connector and its tasks.

    Exit code: 0 all is well, 1 something needs manual intervention: Kafka Connect is to store the clicks, and not all
    tasks of its connector run.
    """
    config = settings()
    with connect_at_once(config) as hbase:
        ledger = OffsetLedger(hbase, config.offsets_table)
        owner = ledger.owner(config.clicks_topic)
        admin = KafkaAdmin(Brokers.of(config), refused_seconds=PERSON_SECONDS)
        lag = measure_lag(admin, ledger, config.clicks_topic, config.kafka_group)
    connector, problem = _connector(config)
    problems = (connector.problems if connector else [problem]) if owner.mode is Mode.CONNECT else []
    if as_json:
        print_json(
            {
                "ok": not problems,
                "problems": problems,
                "topic": config.clicks_topic,
                "mode": owner.mode.value,
                "epoch": owner.epoch,
                "waiting": lag.total,
                "connector": connector and _document(connector),
            }
        )
    else:
        rows = [("topic", config.clicks_topic), ("ingested by", f"{owner.mode.described}, epoch {owner.epoch}")]
        rows += [("waiting in Kafka", quantity(lag.total, "click"))]
        rows += [("connector", f"{connector.name}: {connector.state}" if connector else problem)]
        rows += [
            (f"task {task.number}", f"{task.state} on {task.worker}") for task in (connector.tasks if connector else ())
        ]
        print_table(("what", "state"), rows)
        for each in problems:
            typer.echo(f"Needs a hand: {each}")
    if problems:
        raise typer.Exit(NEEDS_A_HAND)


def _connect(config: Settings) -> Connect:
    return Connect(config.connect_url, config.connect_connector)


def _connector(config: Settings) -> tuple[Connector | None, str]:
    if not config.connect_url:
        return None, "not known: DATACO_CONNECT_URL is empty"
    try:
        return _connect(config).status(), ""
    except (ConnectorMissing, ConnectUnavailable) as error:
        return None, str(error)


def _document(connector: Connector) -> dict[str, Any]:
    tasks = [{"task": t.number, "state": t.state, "worker": t.worker, "error": t.error} for t in connector.tasks]
    return {"name": connector.name, "state": connector.state, "tasks": tasks}
