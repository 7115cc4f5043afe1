"""`parked_work_sensor`: tells a webhook, and people by mail, of parked and resumed work."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import dagster as dg

from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.parked import Parked, ParkedWork, Receiver, names, why_parked
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.sensors.receivers import NOBODY, Message, deliver, receivers, summary
from dataco_assets.settings import Settings

_CALL_SECONDS = 4.0
_INTERVAL_SECONDS = 15


@dg.sensor(
    minimum_interval_seconds=_INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports each failure that parked work, and its end, to DATACO_WEBHOOK_URL and through "
    "DATACO_SMTP_HOST, whichever is set. Starts no runs.",
)
def parked_work_sensor(settings: dg.ResourceParam[Settings], hbase: HBaseResource) -> dg.SkipReason:
    """Sends each receiver one message for each failed run that parked work, and one when that work is resumed.

    Work that is resumed and parked again between two evaluations is reported as parked again only.
    """
    told = receivers(settings)
    if not told:
        return dg.SkipReason(NOBODY)
    try:
        with hbase.client(timeout_seconds=_CALL_SECONDS, retry_seconds=0) as client:
            work = ParkedWork(client, settings.hours_table)
            entries = work.all().values()
            said = [_tell(settings, receiver, entries, work) for receiver in told]
    except DatacoError as error:
        return dg.SkipReason(f"Cannot report; tried again at the next evaluation. {error}")
    return dg.SkipReason(summary(said))


def _tell(settings: Settings, receiver: Receiver, entries: Iterable[Parked], work: ParkedWork) -> str:
    return deliver(
        settings,
        receiver,
        unreported(entries, receiver),
        lambda group: message(group, settings.clicks_topic),
        lambda group: work.mark_reported(group, receiver),
    )


def unreported(entries: Iterable[Parked], receiver: Receiver) -> list[list[Parked]]:
    """Entries whose state a receiver does not know yet, grouped by failed run; oldest first."""
    groups: dict[tuple[str, bool, str], list[Parked]] = {}
    for entry in sorted(entries, key=lambda entry: (entry.since, entry.name)):
        if entry.is_active != entry.is_known_to(receiver):
            groups.setdefault((entry.run_id, entry.is_active, entry.ended_by), []).append(entry)
    return list(groups.values())


def message(entries: Sequence[Parked], topic: str) -> Message:
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
        "parked_at": iso(first.since),
        "resumed_at": None if first.ended_at is None else iso(first.ended_at),
        "resumed_by": first.ended_by or None,
    }


def iso(seconds: float) -> str:
    """A time, epoch seconds, as messages have it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
