"""The state of the platform: what each server answers when it is asked directly, and what of that needs a person.

`dataco status` shows it, `dataco metrics` exports it. What Dagster knows is in `orchestration.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from dataco_assets.aggregates.columns import AUDIENCE, PAGES
from dataco_assets.clicks.finality import HeldHours
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, hour_key
from dataco_assets.clients.elasticsearch import connect_at_once
from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.errors import DatacoError
from dataco_assets.index.indices import Index
from dataco_assets.index.live_state import LiveReport, read_report
from dataco_assets.index.reading import IncompleteHours, held_hours, hours_without_audience, incomplete_hours
from dataco_assets.ingest.account import Account
from dataco_assets.ingest.accounting import read_account
from dataco_assets.ingest.log import Lag, has_waited_since, measure_lag, oldest_waiting_ms
from dataco_assets.ledgers.hours import Collecting, DirtyHours, HourLedger
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.ledgers.parked import Parked, ParkedWork, active, why_parked
from dataco_assets.ledgers.verified import LastVerification, Verification
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings

_SECONDS = 10.0
_NO_LIMIT = -1
ACCOUNTED_MS = 7 * DAY_MS
"""How far back the account of the clicks is looked at."""
LIVE_SILENT_SECONDS = 60.0
"""Longest time without a report of live; it reports every few seconds, but by its own machine's clock."""


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
        oldest_ms: Record time of the oldest that waits, epoch ms; None when none does.
        retention_ms: How long the topic keeps a click; None: without a limit.
    """

    lag: Lag
    overdue: bool
    oldest_ms: int | None
    retention_ms: int | None


@dataclass(frozen=True)
class Readable:
    """What readers find in the index.

    Attributes:
        hours: Its hours, and what tells how final they are.
        incomplete: Hours that lack measures.
        without_audience: Hours that lack the audience.
        live: What live last said of itself; None when it never ran.
    """

    hours: HeldHours = field(default_factory=HeldHours)
    incomplete: IncompleteHours | None = None
    without_audience: IncompleteHours | None = None
    live: LiveReport | None = None

    @property
    def newest_hour(self) -> int | None:
        """The newest hour, epoch ms; None when there is none."""
        return self.hours.hours[-1] if self.hours.hours else None


@dataclass(frozen=True)
class Checks:
    """What checks of the clicks say.

    Attributes:
        account: The account of the messages ingested in the last 7 days, by the offset ledger.
        verified: What the last `dataco verify` found; None when none was ever noted.
    """

    account: Account
    verified: Verification | None = None


@dataclass(frozen=True)
class State:
    """State of the platform. A part whose server does not answer is None.

    Attributes:
        servers: Each server's error, by its name; None when it answers.
        ingest: What waits in Kafka.
        hours: The hours in the ledger.
        index: What readers find in the index.
        max_wait_minutes: Longest acceptable wait.
        asked_at_ms: When the servers were asked, epoch ms.
        checks: What checks of the clicks say.
        checks_error: Why that cannot be read, though HBase answers.
    """

    servers: dict[str, str | None]
    ingest: Ingest | None
    hours: Hours | None
    index: Readable | None
    max_wait_minutes: float
    asked_at_ms: int
    checks: Checks | None = None
    checks_error: str | None = None

    def problems(self) -> Iterator[str]:
        """What needs manual intervention, one sentence each."""
        yield from (error for error in self.servers.values() if error is not None)
        yield from self.ingest_problems()
        yield from self.hour_problems()
        yield from self.parked_problems()
        yield from self.live_problems()
        yield from self.account_problems()

    def ingest_problems(self) -> Iterator[str]:
        """Those of the clicks that wait in Kafka."""
        if self.ingest:
            for loss in self.ingest.lag.losses:
                yield f"Clicks were lost in partition {loss.partition}: {loss.why}."
            if self.ingest.overdue:
                yield f"Clicks wait in Kafka for more than {self.max_wait_minutes:g} minutes: does ingest run?"

    def hour_problems(self) -> Iterator[str]:
        """Those of the hours that wait for a refresh."""
        if self.hours and (waiting := self.hours.waiting):
            yield (
                f"{quantity(len(waiting), 'hour')} got no click for more than {self.max_wait_minutes:g} minutes "
                f"and still wait for a refresh, the oldest is {hour_key(waiting[0])}: does dirty_hours_sensor run?"
            )

    def parked_problems(self) -> Iterator[str]:
        """Work that is parked, and what ends it."""
        if self.hours:
            for entries in _by_run(self.hours.parked):
                yield why_parked(entries)

    def live_problems(self) -> Iterator[str]:
        """Those of live."""
        if (live := self.live) and not live.stopped and self.live_silent_seconds > LIVE_SILENT_SECONDS:
            yield (
                f"Live has not reported for {self.live_silent_seconds:.0f} s: does `dataco live` run? If it was "
                "killed, live_sensor gives readers all hours from the batch."
            )
        if live and live.given_up:
            yield (
                f"Live and the batch did not agree about {quantity(len(live.given_up), 'hour')} that live gave up, "
                f"the last is {hour_key(live.given_up[-1])}: readers get the batch's numbers. `dataco verify` tells "
                "whether these are right."
            )

    def account_problems(self) -> Iterator[str]:
        """Those of the account of the clicks."""
        if self.checks_error:
            yield self.checks_error
        if self.checks and (problems := self.checks.account.problems):
            more = f" ({quantity(len(problems) - 1, 'more problem')})" if problems[1:] else ""
            yield f"{problems[0]}{more} `dataco account` shows all (docs/reliability.md)."

    @property
    def oldest_waiting_seconds(self) -> float | None:
        """For how long the oldest click has waited in Kafka; None when none does, or it is not known."""
        if self.ingest is None or self.ingest.oldest_ms is None:
            return None
        return max(0, self.asked_at_ms - self.ingest.oldest_ms) / 1000

    @property
    def retention_headroom_seconds(self) -> float | None:
        """How long until Kafka removes the oldest click that waits; None: it never does, or it is not known."""
        if self.ingest is None or self.ingest.retention_ms is None:
            return None
        return self.ingest.retention_ms / 1000 - (self.oldest_waiting_seconds or 0.0)

    @property
    def oldest_dirty_seconds(self) -> float | None:
        """How long ago the oldest hour ended that waits for a refresh; None when none waits, or it is not known."""
        if self.hours is None or not self.hours.dirty.waiting:
            return None
        return max(0, self.asked_at_ms - self.hours.dirty.waiting[0] - HOUR_MS) / 1000

    @property
    def live(self) -> LiveReport | None:
        """What live last said of itself; None when it never ran or Elasticsearch does not answer."""
        return self.index.live if self.index else None

    @property
    def live_silent_seconds(self) -> float:
        """How long ago that was, by the clocks of two machines."""
        return max(0, self.asked_at_ms - self.live.reported_at_ms) / 1000 if self.live else 0.0


def ask(config: Settings, max_wait_minutes: float, *, asked_at_ms: int) -> State:
    """Queries all servers concurrently, so that one that is down delays the result by its own timeout only.

    Args:
        config: Addresses and names.
        max_wait_minutes: Longest acceptable wait of clicks and of dirty hours.
        asked_at_ms: Now, epoch ms.
    """
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
        checks = Answer(None, None)
        if answers["HBase"].error is None:
            checks = _answer(lambda: read_checks(config, hbase, asked_at_ms))
    errors = {name: answer.error for name, answer in answers.items()}
    errors["Kafka"] = errors["Kafka"] or ingest.error
    return State(
        errors,
        ingest.value,
        answers["HBase"].value,
        answers["Elasticsearch"].value,
        max_wait_minutes,
        asked_at_ms,
        checks.value,
        checks.error,
    )


def _answer(question: Callable[[], object]) -> Answer:
    try:
        return Answer(question(), None)
    except DatacoError as error:
        return Answer(None, str(error))


def _ingest(config: Settings, admin: KafkaAdmin, hbase: HBase, cutoff_ms: int) -> Ingest:
    lag = measure_lag(admin, OffsetLedger(hbase, config.offsets_table), config.clicks_topic, config.kafka_group)
    retention_ms = int(admin.topic_config(config.clicks_topic)["retention.ms"])
    return Ingest(
        lag,
        has_waited_since(admin, lag, cutoff_ms),
        oldest_waiting_ms(Brokers.of(config), lag, stall_seconds=_SECONDS),
        None if retention_ms == _NO_LIMIT else retention_ms,
    )


def _hours(config: Settings, hbase: HBase, cutoff_ms: int) -> Hours:
    ledger = HourLedger(hbase, config.hours_table)
    dirty = ledger.dirty(earliest_ms=config.partitions_start_ms, ttl_days=config.clicks_ttl_days)
    parked = active(ParkedWork(hbase, config.hours_table).all().values())
    rule = Collecting.of(config)
    collecting = ledger.collecting(dirty.reopened, rule)
    due = [hour for hour in dirty.waiting if hour not in collecting]
    return Hours(ledger.count(), dirty, ledger.not_marked_since(cutoff_ms, due), parked)


def read_checks(config: Settings, hbase: HBase, asked_at_ms: int) -> Checks:
    """What checks of the clicks say.

    Args:
        config: Names of the ledgers.
        hbase: Where they are.
        asked_at_ms: Now, epoch ms.

    Raises:
        TallyUnreadable, HBaseUnavailable, HBaseRefused
    """
    account = read_account(config, hbase, now_ms=asked_at_ms, since_ms=asked_at_ms - ACCOUNTED_MS)
    return Checks(account, LastVerification(hbase, config.hours_table).read())


def _readable(config: Settings) -> Readable:
    client = connect_at_once(config)
    index, audience = Index.of(client, config, PAGES), Index.of(client, config, AUDIENCE)
    live = read_report(client, config.index_alias)
    try:
        held = held_hours(index, config)
        if not held.hours:
            return Readable(live=live)
        return Readable(held, incomplete_hours(index), hours_without_audience(index, audience), live)
    except IndexMissing:
        return Readable(live=live)  # before the first publication


def _by_run(parked: Sequence[Parked]) -> Iterator[list[Parked]]:
    runs: dict[str, list[Parked]] = {}
    for entry in parked:
        runs.setdefault(entry.run_id, []).append(entry)
    yield from runs.values()
