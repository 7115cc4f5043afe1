"""Examines the whole platform, part by part, for `dataco doctor`: what is wrong with it, and what mends it.

A part that cannot be examined, because a server is away, is said to be so and keeps no other from being examined.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.connect import Connect, Connector
from dataco_assets.clients.elasticsearch import connect_at_once
from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.index.indices import Index
from dataco_assets.index.restatements import check_restatements
from dataco_assets.index.setup import check_index
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.offsets import Mode, OffsetLedger
from dataco_assets.monitoring.orchestration import heartbeat_at, stopped_sensors, storage_errors
from dataco_assets.monitoring.state import State, ask
from dataco_assets.provisioning import check_tables, check_topics
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

Storage = Callable[[], "dg.DagsterInstance"]

_SECONDS: Final = 5.0
_HEARTBEAT_SECONDS: Final = 120.0
"""Longest acceptable silence of Dagster's daemon; `docker/prometheus/alerts.yaml` alerts after the same."""
_HEADROOM_SECONDS: Final = 6 * 3_600
"""Least time until retention removes a click that waits, before that is worth a warning."""
_CLOCKS_MS: Final = 10_000
"""Largest difference of clocks that makes no hour end visibly early or late."""
_FREE_SHARE: Final = 0.05
_FREE_BYTES: Final = 2 * 1024**3


class Verdict(StrEnum):
    """What an examination says of a part."""

    FINE = "ok"
    WARNING = "warning"
    PROBLEM = "problem"
    UNKNOWN = "not checked"


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one part of the platform.

    Attributes:
        part: The part.
        verdict: How it is.
        found: What was found and, unless all is well, what to do about it.
    """

    part: str
    verdict: Verdict
    found: str


def examine(config: Settings, storage: Storage | None, max_wait_minutes: float) -> list[Diagnosis]:
    """Examines all parts: first each server, then what is expected on those that answer.

    Args:
        config: Addresses and names.
        storage: Opens Dagster's storage; None: Dagster is not examined.
        max_wait_minutes: Longest acceptable wait of clicks and of dirty hours.
    """
    return examine_further(config, storage, ask(config, max_wait_minutes, asked_at_ms=now_ms()))


def examine_further(config: Settings, storage: Storage | None, state: State) -> list[Diagnosis]:
    """The same, of a state that is known.

    Args:
        config: Addresses and names.
        storage: Opens Dagster's storage; None: Dagster is not examined.
        state: What each server answered.
    """
    with (
        connect(config, timeout_seconds=_SECONDS, retry_seconds=0) as hbase,
        ThreadPoolExecutor(max_workers=4) as threads,
    ):
        questions: list[tuple[str, str, Callable[[str], Diagnosis]]] = [
            ("topics", "Kafka", lambda part: _checked(part, lambda: _topics(config))),
            ("HBase tables", "HBase", lambda part: _checked(part, lambda: _tables(config, hbase))),
            ("index", "Elasticsearch", lambda part: _checked(part, lambda: _index(config))),
            ("who stores clicks", "HBase", lambda part: _checked(part, lambda: _owner(config, hbase))),
            ("clocks", "HBase", lambda part: _clocks(part, config, hbase)),
        ]

        def examined(part: str, server: str, question: Callable[[str], Diagnosis]) -> Diagnosis:
            return question(part) if state.servers[server] is None else _not_checked(part, _because_of(server))

        found = list(threads.map(lambda each: examined(*each), questions))
    return [*_servers(state), *found, *of_state(state), *of_dagster(storage), *of_disks(config)]


def _servers(state: State) -> Iterator[Diagnosis]:
    for name, error in state.servers.items():
        yield Diagnosis(name, Verdict.FINE, "answers") if error is None else Diagnosis(name, Verdict.PROBLEM, error)


def of_state(state: State) -> Iterator[Diagnosis]:
    """What waits, what is parked, and live."""
    if state.ingest is None:
        yield _not_checked("ingest", _because_of("Kafka or HBase"))
    else:
        waiting = f"{quantity(state.ingest.lag.total, 'click')} waiting in Kafka"
        yield from _told("ingest", state.ingest_problems(), waiting)
        yield from _retention(state)
    if state.hours is None:
        yield _not_checked("hours", _because_of("HBase"))
        yield _not_checked("parked work", _because_of("HBase"))
        yield _not_checked("accounts", _because_of("HBase"))
        yield _not_checked("last verification", _because_of("HBase"))
    else:
        dirty = f"{state.hours.known:,} in the ledger, {len(state.hours.dirty.waiting):,} to be refreshed"
        yield from _told("hours", state.hour_problems(), dirty)
        yield from _told("parked work", state.parked_problems(), "none")
        yield from _checks(state)
    if state.index is None:
        yield _not_checked("live", _because_of("Elasticsearch"))
    else:
        live = "runs" if state.live and not state.live.stopped else "does not run; the batch serves all hours"
        yield from _told("live", state.live_problems(), live)
        lacking = [str(hours) for hours in (state.index.incomplete, state.index.without_audience) if hours]
        yield from (Diagnosis("index", Verdict.WARNING, text) for text in lacking)


def _checks(state: State) -> Iterator[Diagnosis]:
    checks = state.checks
    if checks is None:
        yield from _told("accounts", state.account_problems(), "")
        return
    counts, produced = checks.account.counts, quantity(checks.account.produced, "message")
    told = f"{produced} of 7 days: {counts.stored + counts.repeated:,} stored, {counts.rejected:,} rejected"
    told += f", {counts.suppressed:,} suppressed, {counts.lost:,} lost"
    yield from _told("accounts", state.account_problems(), told)
    if (verified := checks.verified) is None:
        yield Diagnosis("last verification", Verdict.FINE, "none yet: `dataco verify` compares hours with the clicks")
        return
    at = f"{datetime.fromtimestamp(verified.at, UTC):%Y-%m-%d %H:%M} UTC"
    span = f"{hour_key(verified.first_hour)} to {hour_key(verified.last_hour)}"
    found = f"{at}, {span}: {quantity(verified.compared, 'hour')} compared, {verified.different:,} different"
    if verified.different:
        found += ". Run `dataco verify` again, and `dataco backfill` for hours that still differ."
    yield Diagnosis("last verification", Verdict.WARNING if verified.different else Verdict.FINE, found)


def _retention(state: State) -> Iterator[Diagnosis]:
    ingest, seconds = state.ingest, state.retention_headroom_seconds
    if ingest is None or ingest.retention_ms is None or seconds is None:
        return
    if seconds < min(_HEADROOM_SECONDS, ingest.retention_ms // 2_000):
        yield Diagnosis(
            "retention",
            Verdict.WARNING,
            f"Kafka removes the oldest click that waits in {timedelta(seconds=max(0, int(seconds)))}: let ingest "
            "catch up, or raise the topic's retention.ms.",
        )


def of_dagster(storage: Storage | None) -> Iterator[Diagnosis]:
    """Dagster's daemon and its sensors.

    Args:
        storage: Opens Dagster's storage; None: there is none to be examined.
    """
    if storage is None:
        yield _not_checked("Dagster", "DAGSTER_HOME is not set, so its daemon and sensors are not known")
        return
    try:
        with storage() as instance:
            heard, stopped = heartbeat_at(instance), stopped_sensors(instance)
    except storage_errors() as error:
        first = str(error).splitlines()[0]
        yield Diagnosis("Dagster", Verdict.PROBLEM, f"Its storage (dagster.yaml) cannot be read: {first}")
        return
    silent = None if heard is None else now_ms() / 1000 - heard
    if silent is None:
        told = "Its daemon has never run on this storage"
    elif silent > _HEARTBEAT_SECONDS:
        told = f"Its daemon was last heard {timedelta(seconds=round(silent))} ago"
    else:
        told = ""
    if told:
        yield Diagnosis(
            "Dagster", Verdict.PROBLEM, f"{told}: no sensor is evaluated, no queued run starts. Start dagster-daemon."
        )
    else:
        yield Diagnosis("Dagster", Verdict.FINE, "its daemon runs")
    for name in stopped:
        yield Diagnosis(name, Verdict.WARNING, "is turned off. Turn it on under Automation in Dagster's UI.")


def of_disks(config: Settings) -> Iterator[Diagnosis]:
    """Free space where this machine keeps aggregates and checkpoints; other file systems are left out."""
    seen: set[int] = set()
    for variable, uri in (
        ("DATACO_AGGREGATES_URI", config.aggregates_uri),
        ("DATACO_LIVE_CHECKPOINT_URI", config.live_checkpoint_uri),
    ):
        parts = urlsplit(uri)
        if parts.scheme != "file":
            continue
        wanted = Path(unquote(parts.path))
        folder = next(each for each in (wanted, *wanted.parents) if each.exists())
        if folder.stat().st_dev in seen:
            continue
        seen.add(folder.stat().st_dev)
        total, _, free = shutil.disk_usage(folder)
        told = f"{free / 1024**3:,.1f} of {total / 1024**3:,.1f} GiB free at {folder}"
        if free < min(_FREE_BYTES, total * _FREE_SHARE):
            yield Diagnosis("disk", Verdict.PROBLEM, f"Only {told} ({variable}): make room or choose another place.")
        else:
            yield Diagnosis("disk", Verdict.FINE, told)


def _topics(config: Settings) -> str:
    check_topics(config, KafkaAdmin(Brokers.of(config), timeout_seconds=_SECONDS, refused_seconds=PERSON_SECONDS))
    names = filter(None, (config.clicks_topic, config.rejected_topic, config.restatements_topic))
    return f"{', '.join(names)} are as expected"


def _tables(config: Settings, hbase: HBase) -> str:
    check_tables(config, hbase)
    return f"those of {config.clicks_table} and its ledgers are as expected"


def _index(config: Settings) -> str:
    client = connect_at_once(config)
    for aggregate in AGGREGATES:
        check_index(Index.of(client, config, aggregate), config, now_ms=now_ms())
    check_restatements(client, config)
    return f"templates and indices of {config.index_alias} are as expected"


def _owner(config: Settings, hbase: HBase) -> str:
    if OffsetLedger(hbase, config.offsets_table).owner(config.clicks_topic).mode is Mode.DRAIN:
        return "the drain (runs of Dagster)"
    if not config.connect_url:
        return "Kafka Connect (DATACO_CONNECT_URL is not set, so its tasks are not looked at)"
    return check_connector(Connect(config.connect_url, config.connect_connector, timeout_seconds=_SECONDS).status())


def check_connector(connector: Connector) -> str:
    """Says how a connector that stores the clicks is; pure.

    Raises:
        ConnectorIdle: not all of its tasks run, so clicks may wait.
    """
    if found := connector.problems:
        if any(task.failed for task in connector.tasks):
            found = [*found, "kafka_lag_sensor restarts tasks whose cause passes."]
        raise ConnectorIdle(" ".join(found))
    return f"Kafka Connect, {quantity(len(connector.tasks), 'task')}, {connector.state}"


class ConnectorIdle(DatacoError):
    """Tasks of the connector do not run."""


def _clocks(part: str, config: Settings, hbase: HBase) -> Diagnosis:
    began = now_ms()
    try:
        server = HourLedger(hbase, config.hours_table).server_time_ms()
    except DatacoError as error:
        return _not_checked(part, str(error))
    ended = now_ms()
    # The server answered between the two, so only what lies outside of them is a difference.
    ahead = began - server if server < began else min(0, ended - server)
    if abs(ahead) > _CLOCKS_MS:
        which = "ahead of" if ahead > 0 else "behind"
        return Diagnosis(
            part,
            Verdict.WARNING,
            f"This machine's clock is {timedelta(seconds=abs(ahead) // 1000)} {which} HBase's: set both by NTP.",
        )
    return Diagnosis(part, Verdict.FINE, "this machine's and HBase's agree")


def _checked(part: str, question: Callable[[], str]) -> Diagnosis:
    try:
        return Diagnosis(part, Verdict.FINE, question())
    except DatacoError as error:
        return Diagnosis(part, Verdict.PROBLEM, str(error))


def _told(part: str, problems: Iterator[str], otherwise: str) -> Sequence[Diagnosis]:
    found = [Diagnosis(part, Verdict.PROBLEM, problem) for problem in problems]
    return found or [Diagnosis(part, Verdict.FINE, otherwise)]


def _not_checked(part: str, why: str) -> Diagnosis:
    return Diagnosis(part, Verdict.UNKNOWN, why)


def _because_of(server: str) -> str:
    return f"because of the problem with {server}"
