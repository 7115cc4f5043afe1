"""Live runs: an unbroken sequence of micro-batches, with one checkpoint and one index.

A run ends when its checkpoint or its index is lost, or when a setting changed that its numbers depend on. Then a new
one begins: with a new id, checkpoint and index, and with the records of the hours that it computes. Which run it is, is
kept beside the checkpoint, in `run.json`.
"""

import json
import secrets
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_of
from dataco_assets.index.live import LiveIndex

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.clients.kafka.topics import KafkaAdmin, TopicState
    from dataco_assets.settings import Settings

_VERSION: Final = 3
"""Raised when the state or the numbers of a run change their meaning."""


@dataclass(frozen=True)
class LiveRun:
    """A live run.

    Attributes:
        run_id: Its id, part of the name of its index and of the folder of its checkpoint.
        first_hour: First hour that it computes, epoch ms.
        starts: First offset that it reads, by partition.
        depends_on: What its numbers depend on; with anything else, another run begins.
    """

    run_id: str
    first_hour: int
    starts: dict[int, int] = field(default_factory=dict)
    depends_on: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The content of `run.json`."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> "LiveRun":
        """From the content of `run.json`."""
        found = json.loads(text)
        starts = {int(partition): offset for partition, offset in found.pop("starts").items()}
        return cls(starts=starts, **found)


def folder_of(settings: "Settings") -> str:
    """The folder of the live runs of these settings' alias, a URI."""
    return f"{settings.live_checkpoint_uri.rstrip('/')}/{settings.index_alias}"


def checkpoint_of(settings: "Settings", run: LiveRun) -> str:
    """The folder of a run's checkpoint, a URI."""
    return f"{folder_of(settings)}/{run.run_id}/checkpoint"


def erased_users_of(settings: "Settings", run: LiveRun) -> str:
    """The folder of the files from which a run learns of erased users, a URI."""
    return f"{folder_of(settings)}/{run.run_id}/erased"


def open_run(
    session: "SparkSession", settings: "Settings", client: "SearchClient", admin: "KafkaAdmin", *, now_ms: int
) -> LiveRun:
    """The run to go on with, or a new one with an empty index.

    Args:
        session: Reaches the file system of the checkpoints.
        settings: Topic, alias, and what a run depends on.
        client: Elasticsearch.
        admin: Kafka.
        now_ms: Now, epoch ms: a new run computes the hour of this time and those before it.

    Raises:
        CheckpointUnavailable, KafkaFailure, ElasticsearchError, IndexMismatch
    """
    from spark_resources.live.files import make_folder, read_text, remove_others, write_text

    topic = admin.topic(settings.clicks_topic)
    depends_on = _depends_on(settings, topic)
    text = read_text(session, _note(settings))
    if text is not None:
        run = LiveRun.from_json(text)
        index = LiveIndex(client, settings.index_alias, run.run_id)
        # A run that began and did nothing yet has no checkpoint; one that is lost has documents.
        began = read_text(session, f"{checkpoint_of(settings, run)}/metadata") is not None
        if run.depends_on == depends_on and index.exists() and (began or index.is_empty()):
            return run
    run = _new_run(settings, admin, topic, depends_on, now_ms)
    LiveIndex(client, settings.index_alias, run.run_id).create(settings)
    make_folder(session, erased_users_of(settings, run))
    write_text(session, _note(settings), run.to_json())
    remove_others(session, folder_of(settings), run.run_id)
    return run


def forget_run(session: "SparkSession", settings: "Settings") -> None:
    """Makes the next `open_run` begin a new run.

    Raises:
        CheckpointUnavailable
    """
    from spark_resources.live.files import remove

    remove(session, _note(settings))


def _note(settings: "Settings") -> str:
    return f"{folder_of(settings)}/run.json"


def _depends_on(settings: "Settings", topic: "TopicState") -> dict[str, Any]:
    return {
        "version": _VERSION,
        "topic": topic.name,
        "topic_id": topic.topic_id,
        "alias": settings.index_alias,
        "hours": settings.live_hours,
        "partitions_start_ms": settings.partitions_start_ms,
        "live_partitions": settings.live_partitions,
        "bot_rule": settings.bot_rule.fingerprint,
    }


def _new_run(
    settings: "Settings", admin: "KafkaAdmin", topic: "TopicState", depends_on: dict[str, Any], now_ms: int
) -> LiveRun:
    first_hour = max(settings.partitions_start_ms, hour_of(now_ms) - (settings.live_hours - 1) * HOUR_MS)
    # No click happens later than this after its record's time, so all that the first hour depends on are behind it.
    from_ms = first_hour - VISIT_GAP_MS - MAX_AHEAD_MS
    found, end, earliest = (
        admin.first_at_or_after(topic, max(from_ms, 0)),
        admin.stable_end(topic),
        admin.earliest(topic),
    )
    starts = {partition: end[partition] if offset is None else offset for partition, offset in found.items()}
    if any(found[partition] == kept and kept > 0 for partition, kept in earliest.items()):
        # Records of these hours may have left the topic: only hours that have not begun yet are surely whole.
        first_hour = hour_of(now_ms) + 2 * HOUR_MS
    run_id = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d%H%M%S}-{secrets.token_hex(3)}"
    return LiveRun(run_id, first_hour, starts, depends_on)
