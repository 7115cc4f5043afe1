"""`dataco status`: shows servers, lag, dirty hours and parked work; exits with 1 when manual intervention is needed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

import typer

from dataco_assets.cli.output import Json, iso_time, print_json, print_table
from dataco_assets.clicks.hour import hour_from_key, hour_key
from dataco_assets.clients.elasticsearch import connect_at_once
from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.clock import now_ms
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.errors import DatacoError
from dataco_assets.index.indices import Index
from dataco_assets.index.reading import IncompleteHours, incomplete_hours, span
from dataco_assets.ingest.log import Lag, has_waited_since, measure_lag
from dataco_assets.ledgers.hours import Collecting, DirtyHours, HourLedger
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.ledgers.parked import Parked, ParkedWork, active, why_parked
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings, settings
from dataco_assets.untrusted import printable

NEEDS_A_HAND = 1
"""Exit code: a server is away, or something waits for a person or for too long."""
_SECONDS = 10.0
_DIRTY = b"h:dirty"

T = TypeVar("T")


class Answer(NamedTuple):
    """The result of querying one server: its part of the state, or the error."""

    value: Any
    error: str | None


@dataclass(frozen=True)
class Hours:
    """The hours in the ledger.

    Attributes:
        known: Hours with clicks near them.
        dirty: Hours of which readers do not see all clicks yet, by whether a refresh can mend them.
        waiting: Those that wait for a refresh, and have for too long since their last click, epoch ms.
        parked: Work that is parked, oldest first.
    """

    known: int
    dirty: DirtyHours
    waiting: Sequence[int]
    parked: Sequence[Parked]


@dataclass(frozen=True)
class Ingest:
    """What waits in Kafka.

    Attributes:
        lag: Clicks waiting, by partition.
        overdue: Whether one of them has waited for too long.
    """

    lag: Lag
    overdue: bool


@dataclass(frozen=True)
class Readable:
    """What readers find in the index.

    Attributes:
        newest_hour: The newest hour, epoch ms; None when it is empty.
        incomplete: Hours that lack measures.
    """

    newest_hour: int | None = None
    incomplete: IncompleteHours | None = None


@dataclass(frozen=True)
class State:
    """State of the platform. A part whose server does not answer is None.

    Attributes:
        servers: Each server's error, by its name; None when it answers.
        ingest: What waits in Kafka.
        hours: The hours in the ledger.
        index: What readers find in the index.
        max_wait_minutes: Longest acceptable wait.
    """

    servers: dict[str, str | None]
    ingest: Ingest | None
    hours: Hours | None
    index: Readable | None
    max_wait_minutes: float

    def problems(self) -> Iterator[str]:
        """What needs manual intervention, one sentence each."""
        yield from (error for error in self.servers.values() if error is not None)
        if self.ingest:
            for loss in self.ingest.lag.losses:
                yield f"Clicks were lost in partition {loss.partition}: {loss.why}."
            if self.ingest.overdue:
                yield f"Clicks wait in Kafka for more than {self.max_wait_minutes:g} minutes: does ingest run?"
        if self.hours:
            for entries in _by_run(self.hours.parked):
                yield why_parked(entries)
            if waiting := self.hours.waiting:
                yield (
                    f"{quantity(len(waiting), 'hour')} got no click for more than {self.max_wait_minutes:g} minutes "
                    f"and still wait for a refresh, the oldest is {hour_key(waiting[0])}: does dirty_hours_sensor run?"
                )


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
    state = _ask(settings(), max_wait, asked_at_ms=now_ms())
    problems = list(state.problems())
    if as_json:
        print_json(_document(settings(), state, problems))
    else:
        print_table(("what", "state"), [*_rows(settings(), state)])
        for problem in problems:
            typer.echo(f"Needs a hand: {printable(problem)}")
    if problems:
        raise typer.Exit(NEEDS_A_HAND)


def _ask(config: Settings, max_wait_minutes: float, *, asked_at_ms: int) -> State:
    """Queries all servers concurrently, so that one that is down delays the result by its own timeout only."""
    cutoff_ms = asked_at_ms - int(max_wait_minutes * 60_000)
    with (
        connect(config, timeout_seconds=_SECONDS, retry_seconds=0) as hbase,
        ThreadPoolExecutor(max_workers=3) as threads,
    ):
        admin = KafkaAdmin(Brokers.of(config), timeout_seconds=_SECONDS, refused_seconds=PERSON_SECONDS)
        kafka = threads.submit(_answer, lambda: admin.topic(config.clicks_topic))
        hours = threads.submit(_answer, lambda: _hours(config, hbase, cutoff_ms))
        index = threads.submit(_answer, lambda: _readable(config))
        answers = {"Kafka": kafka.result(), "HBase": hours.result(), "Elasticsearch": index.result()}
        if answers["Kafka"].error is None and answers["HBase"].error is None:
            ingest = _answer(lambda: _ingest(config, admin, hbase, cutoff_ms))
        else:
            ingest = Answer(None, None)
    errors = {name: answer.error for name, answer in answers.items()}
    errors["Kafka"] = errors["Kafka"] or ingest.error
    return State(errors, ingest.value, answers["HBase"].value, answers["Elasticsearch"].value, max_wait_minutes)


def _answer(question: Callable[[], object]) -> Answer:
    try:
        return Answer(question(), None)
    except DatacoError as error:
        return Answer(None, str(error))


def _ingest(config: Settings, admin: KafkaAdmin, hbase: HBase, cutoff_ms: int) -> Ingest:
    lag = measure_lag(admin, OffsetLedger(hbase, config.offsets_table), config.clicks_topic, config.kafka_group)
    return Ingest(lag, has_waited_since(admin, lag, cutoff_ms))


def _hours(config: Settings, hbase: HBase, cutoff_ms: int) -> Hours:
    ledger = HourLedger(hbase, config.hours_table)
    dirty = ledger.dirty(earliest_ms=config.partitions_start_ms, ttl_days=config.clicks_ttl_days)
    parked = active(ParkedWork(hbase, config.hours_table).all().values())
    rule = Collecting.of(config)
    collecting = ledger.collecting(dirty.reopened, rule)
    due = [hour for hour in dirty.waiting if hour not in collecting]
    return Hours(ledger.count(), dirty, _unchanged_since(config, hbase, due, cutoff_ms), parked)


def _unchanged_since(config: Settings, hbase: HBase, dirty: Sequence[int], cutoff_ms: int) -> list[int]:
    """The dirty hours whose last mark HBase stored before a time."""
    if not dirty:
        return []
    first, last = (hour_key(hour).encode() for hour in (dirty[0], dirty[-1]))
    rows = hbase.scan_with_times(config.hours_table, first, last + b"\0")
    marked = {hour_from_key(key.decode()): cells[_DIRTY][1] for key, cells in rows if _DIRTY in cells}
    return [hour for hour in dirty if marked.get(hour, cutoff_ms) < cutoff_ms]


def _readable(config: Settings) -> Readable:
    index = Index(connect_at_once(config), config.index_alias)
    try:
        held = span(index)
        return Readable(held.last_hour, incomplete_hours(index)) if held else Readable()
    except IndexMissing:
        return Readable()  # before the first publication


def _by_run(parked: Sequence[Parked]) -> Iterator[list[Parked]]:
    runs: dict[str, list[Parked]] = {}
    for entry in parked:
        runs.setdefault(entry.run_id, []).append(entry)
    yield from runs.values()


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
        yield "waiting in Kafka", quantity(lag.total, "click")
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
        if state.index.incomplete:
            yield "  lacking measures", str(state.index.incomplete)


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
            "lacking_measures": _incomplete(state.index and state.index.incomplete),
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
