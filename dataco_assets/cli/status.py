"""`dataco status`: shows servers, lag, dirty hours and parked work; exits with 1 when manual intervention is needed."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.clock import now_ms
from dataco_assets.index.reading import IncompleteHours
from dataco_assets.ledgers.parked import Parked
from dataco_assets.monitoring.state import State, ask
from dataco_assets.monitoring.summary import addresses, status_rows
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
        print_table(("what", "state"), [*status_rows(settings(), state)])
        for problem in problems:
            typer.echo(f"Needs a hand: {printable(problem)}")
    if problems:
        raise typer.Exit(NEEDS_A_HAND)


def _document(config: Settings, state: State, problems: Sequence[str]) -> dict[str, Any]:
    lag, hours = state.ingest and state.ingest.lag, state.hours
    return {
        "time": iso_time(now_ms()),
        "ok": not problems,
        "problems": list(problems),
        "servers": [
            {"name": name, "address": address, "ok": state.servers[name] is None, "error": state.servers[name]}
            for name, address in addresses(config).items()
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
