"""`dataco status`: shows servers, lag, dirty hours and parked work; exits with 1 when manual intervention is needed."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.clicks.finality import in_words
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clock import now_ms
from dataco_assets.index.reading import IncompleteHours
from dataco_assets.ledgers.parked import Parked
from dataco_assets.monitoring.state import LIVE_SILENT_SECONDS, State, ask
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings, settings
from dataco_assets.untrusted import printable

NEEDS_A_HAND = 1
"""Exit code: a server is away, or something waits for a person or for too long."""


def status(
    *,
    max_wait: Annotated[
        float, typer.Option(metavar="MINUTES", min=0, help="Clicks or dirty hours that wait longer need a hand.")
    ] = 15.0,
    as_json: Json = False,
) -> None:
    """Show servers, lag, dirty hours, parked work, newest hour.

    Each server is queried directly; the newest hour is the one that readers find in the index.

    Exit code: 0 all is well, 1 something needs manual intervention. That is a server that does not answer, parked work,
    clicks lost before they were stored, or clicks or dirty hours that have waited for longer than --max-wait.
    """
    state = ask(settings(), max_wait, asked_at_ms=now_ms())
    problems = list(state.problems())
    if as_json:
        print_json(_document(settings(), state, problems))
    else:
        print_table(("what", "state"), [*_rows(settings(), state)])
        for problem in problems:
            typer.echo(f"Needs a hand: {printable(problem)}")
    if problems:
        raise typer.Exit(NEEDS_A_HAND)


def _age(state: State) -> str:
    if not state.ingest or state.ingest.oldest_ms is None:
        return ""
    seconds = max(0, state.asked_at_ms - state.ingest.oldest_ms) // 1000
    return f", the oldest for {timedelta(seconds=seconds)}"


def _addresses(config: Settings) -> dict[str, str]:
    return {
        "Kafka": config.kafka_bootstrap_servers,
        "HBase": f"{config.hbase_thrift_host}:{config.hbase_thrift_port}",
        "Elasticsearch": config.elasticsearch_url,
    }


def _rows(config: Settings, state: State) -> Iterator[tuple[str, str]]:
    yield "time", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    for name, address in _addresses(config).items():
        yield name, f"{address} {'answers' if state.servers[name] is None else 'needs manual intervention'}"
    if state.ingest:
        lag = state.ingest.lag
        yield (
            f"topic {config.clicks_topic}",
            f"{quantity(len(lag.topic.partitions), 'partition')}, id {lag.topic.topic_id}",
        )
        yield "waiting in Kafka", quantity(lag.total, "click") + _age(state)
        for partition, start in sorted(lag.start.items()):
            yield f"partition {partition}", f"next offset {start:,}, {lag.waiting[partition]:,} waiting"
    if state.hours:
        dirty = state.hours.dirty
        yield "hours in the ledger", f"{state.hours.known:,}"
        yield "dirty hours", _count_and_oldest(dirty.waiting)
        if dirty.expired:
            yield "  not computed again", f"{_count_and_oldest(dirty.expired)}: HBase may have dropped earlier clicks"
        if dirty.outside:
            yield "  before the first partition", f"{_count_and_oldest(dirty.outside)}: no run computes them"
        yield "parked", f"{len(state.hours.parked):,}"
    if state.index:
        newest = state.index.newest_hour
        yield "newest hour in the index", "none yet" if newest is None else hour_key(newest)
        yield "how final the hours are", in_words(state.index.hours.counted(state.asked_at_ms))
        if state.index.incomplete:
            yield "  lacking measures", str(state.index.incomplete)
        if state.index.without_audience:
            yield "  lacking the audience", str(state.index.without_audience)
        yield "live", _live(state)


def _live(state: State) -> str:
    report = state.live
    if report is None:
        return "has never run; the batch serves all hours"
    if report.stopped:
        return "stopped; the batch serves all hours"
    if state.live_silent_seconds > LIVE_SILENT_SECONDS:
        return f"has not reported for {timedelta(seconds=round(state.live_silent_seconds))}"
    served = "has not caught up" if report.running_from is None else f"serves {hour_key(report.running_from)} and later"
    earlier = f" and {quantity(len(report.closed), 'hour')} before" if report.closed else ""
    last = "" if report.batch_seconds is None else f", last micro-batch {report.batch_seconds:.1f} s"
    if report.latency_seconds is not None:
        last += f", p95 from Kafka to readers {report.latency_seconds:.1f} s"
    behind = "" if report.behind is None else f", {quantity(report.behind, 'record')} behind"
    return f"{served}{earlier}{behind}{last}"


def _document(config: Settings, state: State, problems: Sequence[str]) -> dict[str, Any]:
    lag, hours = state.ingest and state.ingest.lag, state.hours
    return {
        "time": iso_time(now_ms()),
        "ok": not problems,
        "problems": list(problems),
        "servers": [
            {"name": name, "address": address, "ok": state.servers[name] is None, "error": state.servers[name]}
            for name, address in _addresses(config).items()
        ],
        "ingest": lag
        and {
            "topic": config.clicks_topic,
            "topic_id": lag.topic.topic_id,
            "waiting": lag.total,
            "oldest_waiting": iso_time(state.ingest and state.ingest.oldest_ms),
            "partitions": [
                {"partition": partition, "next_offset": start, "waiting": lag.waiting[partition]}
                for partition, start in sorted(lag.start.items())
            ],
            "losses": [{"partition": loss.partition, "why": loss.why} for loss in lag.losses],
        },
        "hours": hours
        and {
            "known": hours.known,
            "dirty": len(hours.dirty.waiting),
            "oldest_dirty": iso_time(hours.dirty.waiting[0]) if hours.dirty.waiting else None,
            "expired": len(hours.dirty.expired),
            "before_first_partition": len(hours.dirty.outside),
            "waiting_too_long": len(hours.waiting),
        },
        "parked": hours and [_parked(entry) for entry in hours.parked],
        "index": {
            "alias": config.index_alias,
            "newest_hour": iso_time(state.index and state.index.newest_hour),
            "hours": state.index and state.index.hours.counted(state.asked_at_ms),
            "lacking_measures": _incomplete(state.index and state.index.incomplete),
            "lacking_audience": _incomplete(state.index and state.index.without_audience),
        },
        "live": state.live
        and {
            "run_id": state.live.run_id,
            "reported": iso_time(state.live.reported_at_ms),
            "stopped": state.live.stopped,
            "behind": state.live.behind,
            "batch_seconds": state.live.batch_seconds,
            "latency_seconds": state.live.latency_seconds,
            "users": state.live.users,
            "newest_click": iso_time(state.live.newest_ms),
            "serves_from": iso_time(state.live.running_from),
            "serves_also": [iso_time(hour) for hour in state.live.closed],
            "given_up": [iso_time(hour) for hour in state.live.given_up],
        },
    }


def _parked(entry: Parked) -> dict[str, Any]:
    kept = {key: value for key, value in asdict(entry).items() if key in ("name", "error", "message", "run_id")}
    return kept | {"since": iso_time(int(entry.since * 1000))}


def _incomplete(hours: IncompleteHours | None) -> dict[str, Any] | None:
    if hours is None:
        return None
    return {
        "hours": hours.count,
        "first_hour": iso_time(hours.first_hour),
        "last_hour": iso_time(hours.last_hour),
    }


def _count_and_oldest(hours: Sequence[int]) -> str:
    return f"{len(hours):,}" + (f", oldest {hour_key(hours[0])}" if hours else "")
