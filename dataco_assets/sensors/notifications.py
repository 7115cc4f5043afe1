"""`parked_work_sensor`: reports parked and resumed work to a webhook."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.parked import Parked, ParkedWork, names, why_parked
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.settings import Settings

_CALL_SECONDS = 4.0
_INTERVAL_SECONDS = 15
_MESSAGES_PER_TICK = 3
"""Limits an evaluation with a stalled webhook to 30 s, half of the 60 s that Dagster allows."""


@dg.sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports to DATACO_WEBHOOK_URL, if that is set, each failure that parked work, and its end. Starts no "
    "runs.",
)
def parked_work_sensor(settings: dg.ResourceParam[Settings], hbase: HBaseResource) -> dg.SkipReason:
    """Posts one message for each failed run that parked work, and one when that work is resumed.

    Work that is resumed and parked again between two evaluations is reported as parked again only.
    """
    url = settings.webhook_url.get_secret_value()
    if not url:
        return dg.SkipReason("Nothing is reported: DATACO_WEBHOOK_URL is not set.")
    try:
        with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
            work = ParkedWork(client, settings.hours_table)
            groups = unreported(work.all().values())
            for entries in groups[:_MESSAGES_PER_TICK]:
                _report(url, entries, settings.clicks_topic)
                work.mark_reported(entries)
    except DatacoError as error:
        return dg.SkipReason(f"Cannot report; tried again at the next evaluation. {error}")
    return dg.SkipReason(f"{len(groups)} messages were sent." if groups else "There is nothing to report.")


def unreported(entries: Iterable[Parked]) -> list[list[Parked]]:
    """Entries whose state has not been reported yet, grouped by failed run; oldest first."""
    groups: dict[tuple[str, bool, str], list[Parked]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.since, entry.name)):
        if entry.is_active != entry.is_reported:
            groups.setdefault((entry.run_id, entry.is_active, entry.ended_by), []).append(entry)
    return list(groups.values())


def message(entries: Sequence[Parked], topic: str) -> dict[str, Any]:
    """The message about the entries of one failed run. `text` is the part that chats display."""
    first = entries[0]
    return {
        "event": "parked" if first.is_active else "resumed",
        "text": why_parked(entries) if first.is_active else f"Resumed: {names(entries)}, since {first.ended_by}.",
        "topic": topic,
        "what": [entry.name for entry in entries],
        "error": first.error,
        "message": first.message,
        "run_id": first.run_id,
        "parked_at": _iso(first.since),
        "resumed_at": None if first.ended_at is None else _iso(first.ended_at),
        "resumed_by": first.ended_by or None,
    }


def _report(url: str, entries: Sequence[Parked], topic: str) -> None:
    from dataco_assets.clients.webhook import post

    post(url, message(entries, topic))


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
