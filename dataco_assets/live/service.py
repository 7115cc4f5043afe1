"""The process behind `dataco live`: the streaming query, its index, and what readers get from it.

In a loop, once a micro-batch is done or some seconds have passed: learn of erased users, report (which renews the
lease), decide which hours readers get from live, and set the alias's filters.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from dataco_assets import clock
from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.live_sums import Group, Sums
from dataco_assets.clicks.suppressed import ErasedUsers
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.elasticsearch_errors import ElasticsearchError
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index.handover import KEPT_MS, Decision, LiveHours, Reach, compare, give_back, serve, whole_from
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import is_live_index, live_index_name
from dataco_assets.index.live import LiveIndex, LiveTakenOver
from dataco_assets.index.live_state import RENEWAL_SECONDS, Lease, LiveReport
from dataco_assets.live.kafka_access import java_options
from dataco_assets.live.runs import LiveRun, checkpoint_of, erased_users_of, forget_run, open_run

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming.query import StreamingQuery

    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.settings import Settings

logger = logging.getLogger(__name__)

_POLL_SECONDS: Final = 0.2
_COMPARE_SECONDS: Final = 5.0
_ERASURES_SECONDS: Final = 5.0
_REMEMBERED: Final = 20
_LATENCY_SECONDS: Final = 60.0
"""For how long the latency of a micro-batch counts."""


class LiveFailed(DatacoError):
    """The streaming query ended with an error; trying again goes on from its checkpoint."""

    kind = ErrorKind.PASSING


class RecordsLost(LiveFailed):
    """Records left the topic before live read them: its run cannot go on, and a new one begins."""


class Step(StrEnum):
    """The points of a micro-batch at which a test may end the process."""

    COMPUTED = "computed"
    ADDED = "added"
    SHOWN = "shown"


@dataclass(frozen=True)
class Progress:
    """What Spark reports of a micro-batch.

    Attributes:
        batch_id: Its number.
        seconds: How long it took; None: nothing came, and there was none.
        behind: Records that were in Kafka when it was planned, and are not in it.
        users: Users in the state.
        newest_ms: Time of the newest click so far as this report says, epoch ms; 0: it does not.
        arrived_ms: 95 % of its records had arrived in Kafka since then, epoch ms; None: it had none.
    """

    batch_id: int
    seconds: float | None
    behind: int
    users: int
    newest_ms: int
    arrived_ms: int | None = None

    @classmethod
    def of(cls, report: Mapping[str, Any], delay_ms: int) -> "Progress":
        """From Spark's report.

        Args:
            report: `StreamingQuery.lastProgress`.
            delay_ms: How far the watermark stays behind the newest click.
        """
        from spark_resources.live.application import ARRIVALS, FIRST_ARRIVED

        kafka = report["sources"][0]
        times = report.get("eventTime", {})
        watermark = _epoch_ms(times.get("watermark"))
        newest = max(_epoch_ms(times.get("max")), watermark + delay_ms if watermark else 0)
        operators = report.get("stateOperators", [])
        return cls(
            int(report["batchId"]),
            _seconds(report.get("durationMs", {})),
            # Without an end, no micro-batch has run yet since nothing was there.
            max(0, _offsets(kafka.get("latestOffset")) - _offsets(kafka["endOffset"])) if kafka.get("endOffset") else 0,
            sum(operator.get("numRowsTotal", 0) for operator in operators),
            newest,
            report.get("observedMetrics", {}).get(ARRIVALS, {}).get(FIRST_ARRIVED),
        )


def _seconds(durations_ms: Mapping[str, int]) -> float | None:
    # Spark reports also when it looked for records and found none: then it had nothing to add.
    return durations_ms["triggerExecution"] / 1000 if "addBatch" in durations_ms else None


def _epoch_ms(text: str | None) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000) if text else 0


def _offsets(of_topics: Mapping[str, Mapping[str, int]] | None) -> int:
    return sum(offset for partitions in (of_topics or {}).values() for offset in partitions.values())


class Latency:
    """How long clicks took from Kafka to readers in the micro-batches of the last minute.

    The sink's thread notes when a micro-batch was shown; another one, what Spark reports of it.
    """

    def __init__(self) -> None:
        self._shown: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)
        self._seconds: deque[tuple[float, float]] = deque()

    def shown(self, batch_id: int, at_ms: int) -> None:
        """Notes when readers could see a micro-batch, epoch ms."""
        self._shown.append((batch_id, at_ms))

    def progressed(self, progress: Progress, now: float) -> None:
        """Notes a micro-batch that Spark has reported, at a time of the monotonic clock."""
        at_ms = dict(self._shown).get(progress.batch_id)
        if at_ms is not None and progress.arrived_ms is not None:
            self._seconds.append((now, max(0.0, (at_ms - progress.arrived_ms) / 1000)))

    def p95(self, now: float) -> float | None:
        """Within how many seconds of their arrival in Kafka readers could see 95 % of the clicks of each micro-batch.

        None if no click came in the last minute. The time of arrival is Kafka's, by default the producer's clock.
        """
        while self._seconds and now - self._seconds[0][0] > _LATENCY_SECONDS:
            self._seconds.popleft()
        return max((seconds for _, seconds in self._seconds), default=None)


class Live:
    """Runs live until it is told to stop or fails.

    Args:
        settings: Everything that can be set.
        session: The Spark session.
        client: Elasticsearch.
        erased: Reads the suppression list.
        on_step: Called at the steps of each micro-batch with its number; tests end the process there.
    """

    def __init__(
        self,
        settings: "Settings",
        session: "SparkSession",
        client: "SearchClient",
        erased: Callable[[], ErasedUsers],
        *,
        on_step: Callable[[Step, int], None] = lambda *_: None,
    ) -> None:
        self._settings = settings
        self._session = session
        self._client = client
        self._index = Index.of(client, settings, PAGES)
        self._lease = Lease(client, settings, settings.index_alias)
        self._report = LiveReport(owner=uuid4().hex)
        self._erased = erased
        self._known: dict[bytes, int] = {}
        self._latency = Latency()
        self._on_step = on_step
        self._failure: Exception | None = None

    def run(self, stopped: Event, *, now_ms: int | None = None) -> None:
        """Runs until `stopped` is set; then, and after a failure, readers get all hours from the batch.

        Args:
            stopped: Ends it.
            now_ms: A new run computes the hour of this time and those before it, epoch ms; None: now.

        Raises:
            LiveTakenOver: another process runs live.
            LiveFailed, MicroBatchFailed, CheckpointUnavailable, KafkaFailure, ElasticsearchError, HBaseError: what else
                went wrong.
        """
        self._failure = None
        admin = KafkaAdmin(Brokers.of(self._settings))
        run = open_run(
            self._session, self._settings, self._client, admin, now_ms=clock.now_ms() if now_ms is None else now_ms
        )
        self._take(run)
        with ExitStack() as ending:
            ending.callback(self._end)
            self._learn_of_erased(run, required=True)
            query = self._start(run)
            ending.callback(query.stop)
            try:
                self._watch(run, query, stopped)
            except RecordsLost:
                forget_run(self._session, self._settings)
                raise

    def _take(self, run: LiveRun) -> None:
        if run.run_id != self._report.run_id:
            self._known = {}  # a new run has to learn of all
        self._report = replace(self._report, run_id=run.run_id, stopped=False)
        self._lease.take(self._next_report())
        live = live_index_name(self._index.alias, run.run_id)
        if self._index.look_again().live().keys() - {live}:
            give_back(self._index)  # of a run that is lost
        for name in self._client.indices.get(index=live_index_name(self._index.alias, "*")).body:
            if name != live and is_live_index(self._index.alias, name):
                self._client.indices.delete(index=name, ignore_unavailable=True)

    def _start(self, run: LiveRun) -> "StreamingQuery":
        from spark_resources.live.application import LivePlan, SchemaPlace, start

        settings = self._settings
        plan = LivePlan(
            run_id=run.run_id,
            checkpoint=checkpoint_of(settings, run),
            erased_users=erased_users_of(settings, run),
            topic=settings.clicks_topic,
            bots=settings.bot_rule,
            schemas=SchemaPlace(
                registry_url=settings.schema_registry_url,
                username=settings.schema_registry_username,
                password=settings.schema_registry_password.get_secret_value(),
                token=settings.schema_registry_token.get_secret_value(),
                ca_file=settings.schema_registry_ca_file,
                folder=settings.writer_schemas,
                retry_seconds=settings.schema_registry_retry_seconds,
            ),
            kafka=java_options(settings),
            group_prefix=f"{settings.kafka_group}-live",
            starts=run.starts,
            first_hour=run.first_hour,
            hours=settings.live_hours,
            earliest_ms=settings.partitions_start_ms,
            partitions=settings.live_partitions,
            max_offsets=settings.live_max_clicks,
            interval_seconds=settings.live_interval_seconds,
        )
        index = LiveIndex(self._client, self._index.alias, run.run_id)
        return start(self._session, plan, partial(self._apply, index))

    def _apply(self, index: LiveIndex, batch_id: int, computed: Callable[[], Mapping[Group, Sums]]) -> None:
        """The sink of the query; called in a thread of its own."""
        try:
            changes = computed()
            self._on_step(Step.COMPUTED, batch_id)
            if changes:
                index.add(batch_id, changes, at_ms=clock.now_ms())
            self._on_step(Step.ADDED, batch_id)
            index.show()
            self._latency.shown(batch_id, clock.now_ms())
            self._on_step(Step.SHOWN, batch_id)
        except Exception as error:
            self._failure = error  # Spark's own error about it would quote it as text
            raise

    def _watch(self, run: LiveRun, query: "StreamingQuery", stopped: Event) -> None:
        from spark_resources.live.exactness import exact_from, watermark_delay_ms

        delay_ms = watermark_delay_ms(self._settings.live_hours)
        desk = _Desk(self._settings, self._index, run)
        renewed = erasures = time.monotonic()
        seen: Any = None
        while not stopped.wait(_POLL_SECONDS):
            self._raise_failure(query)
            report = query.lastProgress
            now = time.monotonic()
            if report is not None and report != seen:
                seen = report
                logger.debug("Spark reports %s", report)
                progress = Progress.of(report, delay_ms)
                newest = max(progress.newest_ms, self._report.newest_ms or 0)
                desk.progressed(progress, Reach(run.first_hour, exact_from(newest - delay_ms), newest), now)
                self._latency.progressed(progress, now)
                self._report = replace(
                    self._report,
                    batch_id=progress.batch_id,
                    batch_seconds=self._report.batch_seconds if progress.seconds is None else progress.seconds,
                    latency_seconds=self._latency.p95(now),
                    behind=progress.behind,
                    users=progress.users,
                    newest_ms=newest or None,
                )
            elif not desk.is_due(now) and now - renewed < RENEWAL_SECONDS and now - erasures < _ERASURES_SECONDS:
                continue
            if now - erasures >= _ERASURES_SECONDS:
                self._learn_of_erased(run)
                erasures = now
            if now - renewed >= RENEWAL_SECONDS:
                self._lease.renew(self._next_report())
                renewed = now
            if desk.is_due(now) and desk.attend(now):
                self._report = replace(
                    self._report,
                    running_from=desk.serving.running_from if desk.serving else None,
                    closed=sorted(desk.serving.closed) if desk.serving else [],
                    given_up=desk.given_up,
                )
                self._lease.renew(self._next_report())
                renewed = now

    def _next_report(self) -> LiveReport:
        self._report = replace(self._report, renewals=self._report.renewals + 1, reported_at_ms=clock.now_ms())
        return self._report

    def _learn_of_erased(self, run: LiveRun, *, required: bool = False) -> None:
        """Hands users who were erased since to the query, as a file that it reads like any other input."""
        from spark_resources.live.files import write_text

        try:
            listed = self._erased()
        except DatacoError as error:
            if required or error.kind is not ErrorKind.PASSING:
                raise
            logger.warning("The list of erased users cannot be read; it is tried again: %s", error)
            return
        new = {user: at_ms for user, at_ms in listed.items() if self._known.get(user) != at_ms}
        if new:
            lines = "".join(f"{user.decode()} {at_ms}\n" for user, at_ms in sorted(new.items()))
            write_text(self._session, f"{erased_users_of(self._settings, run)}/{uuid4().hex}.txt", lines)
            self._known |= new

    def _raise_failure(self, query: "StreamingQuery") -> None:
        if query.isActive:
            return
        error = query.exception()
        text = str(error)
        if "failOnDataLoss" in text:
            raise RecordsLost(f"Records left topic {self._settings.clicks_topic} before live read them.") from error
        if isinstance(self._failure, DatacoError):
            raise self._failure
        raise LiveFailed(f"The streaming query ended: {' '.join(text.split())[:1000]}") from self._failure or error

    def _end(self) -> None:
        """Gives readers all hours from the batch. If that fails, the sensor does it when the lease has run out."""
        with suppress(ElasticsearchError, LiveTakenOver):
            self._report = replace(self._report, running_from=None, closed=[], stopped=True)
            self._lease.renew(self._next_report())  # not if another process has taken over
            give_back(self._index)


class _Desk:
    """Decides which hours readers get, and sets the alias's filters.

    Args:
        settings: How long live may be behind.
        index: The alias.
        run: The live run.
    """

    def __init__(self, settings: "Settings", index: Index, run: LiveRun) -> None:
        self._index = index
        self._live = LiveIndex(index.client, index.alias, run.run_id)
        self._most_behind = settings.live_max_behind_seconds
        self._reach: Reach | None = None
        self._caught_up_at: float | None = None
        self._attended_at = float("-inf")
        self._removed_before = 0
        self._first_hour = run.first_hour
        self.serving: LiveHours | None = None
        self.given_up: list[int] = []

    def progressed(self, progress: Progress, reach: Reach, now: float) -> None:
        """Notes a micro-batch."""
        if self._reach is None or reach.running_from != self._reach.running_from:
            self._attended_at = float("-inf")
        self._reach = reach
        if progress.behind == 0:
            if self._caught_up_at is None:
                self._attended_at = float("-inf")
            self._caught_up_at = now

    def is_due(self, now: float) -> bool:
        """Whether it is time to look at the hours again."""
        return self._reach is not None and now - self._attended_at >= _COMPARE_SECONDS

    def attend(self, now: float) -> bool:
        """Decides and sets the filters; returns whether the decision is another one."""
        self._attended_at = now
        before = (self.serving, self.given_up)
        if self._reach is None or not self._keeps_up(now):
            if self.serving is not None:
                logger.warning("Live is behind: readers get all hours from the batch until it has caught up.")
                give_back(self._index)
                self.serving = self._caught_up_at = None
            return before != (self.serving, self.given_up)
        if self.serving is None:
            self._first_hour = whole_from(self._index, self._live.name, self._reach.first_hour)
        reach = replace(self._reach, first_hour=self._first_hour)
        decision = compare(self._index, self._live.name, reach)
        serve(self._index, self._live.name, decision.hours)
        self._note(decision)
        self._remove_old()
        return before != (self.serving, self.given_up)

    def _keeps_up(self, now: float) -> bool:
        """Whether a recent micro-batch took all that was in Kafka, so that what readers get is recent."""
        return self._caught_up_at is not None and now - self._caught_up_at < self._most_behind

    def _note(self, decision: Decision) -> None:
        for hour in sorted(decision.given_up - set(self.given_up)):
            self.given_up = [*self.given_up, hour][-_REMEMBERED:]
        if decision.hours != self.serving:
            logger.info("Readers get from live: %s", decision.hours)
        self.serving = decision.hours

    def _remove_old(self) -> None:
        """Deletes documents that nobody reads, once an hour."""
        if self._reach is not None and (oldest := self._reach.exact_from - KEPT_MS) > self._removed_before:
            self._live.remove_before(oldest)
            self._removed_before = oldest
