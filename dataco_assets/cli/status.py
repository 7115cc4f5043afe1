"""`dataco status`: where the platform stands, in one table."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.hbase import connect
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.ingest.log import Lag, measure_lag
from dataco_assets.ledgers.hours import HourLedger, HourState
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.ledgers.parked import Parked, ParkedWork, active, why_parked
from dataco_assets.settings import Settings, settings

NEEDS_A_PERSON = 3
"""Exit code: something waits for a person."""
_SECONDS = 10.0


def status() -> None:
    """Show the lag, the offsets, the dirty hours, what is parked, and the newest hour in the index.

    Exit code 3 says that something waits for a person: parked work, or clicks lost before they were stored.
    """
    chosen = settings()
    admin = KafkaAdmin(chosen.kafka_bootstrap_servers, timeout_seconds=_SECONDS, refused_seconds=PERSON_SECONDS)
    with connect(chosen, timeout_seconds=_SECONDS, retry_seconds=0) as hbase:
        lag = measure_lag(admin, OffsetLedger(hbase, chosen.offsets_table), chosen.clicks_topic, chosen.kafka_group)
        hours = HourLedger(hbase, chosen.hours_table).all()
        parked = active(ParkedWork(hbase, chosen.hours_table).all().values())
    table = Table(title=f"DataCo clickstream, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in [*_ingest_rows(chosen, lag), *_hour_rows(hours), *_parked_rows(parked)]:
        table.add_row(name, value)
    Console(highlight=False).print(table)
    if parked or lag.losses:
        raise typer.Exit(NEEDS_A_PERSON)


def _parked_rows(parked: Sequence[Parked]) -> Iterator[tuple[str, str]]:
    by_run: dict[str, list[Parked]] = {}
    for entry in parked:
        by_run.setdefault(entry.run_id, []).append(entry)
    for entries in by_run.values():
        yield "[red]parked[/]", escape(why_parked(entries))


def _ingest_rows(chosen: Settings, lag: Lag) -> Iterator[tuple[str, str]]:
    yield f"topic {chosen.clicks_topic}", f"{len(lag.topic.partitions)} partitions, id {lag.topic.topic_id}"
    yield "waiting in Kafka", f"{lag.total:,} clicks"
    for partition, start in sorted(lag.start.items()):
        yield f"  partition {partition}", f"next offset {start:,}, {lag.waiting[partition]:,} waiting"
    for loss in lag.losses:
        yield "[red]lost[/]", f"partition {loss.partition}: {loss.why}"


def _hour_rows(hours: Sequence[HourState]) -> Iterator[tuple[str, str]]:
    dirty = [state.hour for state in hours if state.is_dirty]
    done = [state.hour for state in hours if state.done]
    yield "hours in the ledger", f"{len(hours):,}"
    yield "dirty hours", f"{len(dirty):,}" + (f", oldest {hour_key(dirty[0])}" if dirty else "")
    yield "newest hour in the index", hour_key(max(done)) if done else "none yet"
