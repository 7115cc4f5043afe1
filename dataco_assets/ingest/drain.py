"""The drain: one bounded run that stores the clicks of a Kafka topic in HBase, each exactly once.

It reads what was in the topic when it started, and moves offsets only once what they cover is durable. The order of the
steps is decided here; the modules beside this one carry them out. A checkpoint makes each step durable before the next:

    rows → those of erased users deleted → rejected records acknowledged → hours marked dirty → offset ledger →
    group commit

A run that is killed between two steps is repeated: rows overwrite themselves, rejected records keep their key, some
hours are marked dirty once more, and the ledger is never ahead of any of them. Kafka Connect has the same order (put,
flush, commit: WorkerSinkTask), with the commit in place of the ledger.
"""

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, cast

from dataco_assets.clicks.event import Click, Reason, Rejection
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.hour import DAY_MS, VISIT_GAP_MS, hour_of, touched_hours
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clicks.row import row_key
from dataco_assets.clicks.suppressed import ErasedUsers, is_suppressed, is_suppressed_message
from dataco_assets.clients.hbase import HBase
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import (
    Message,
    RangeConsumer,
    header_of,
    key_of,
    place_of,
    record_time_ms,
    size_of,
    value_of,
)
from dataco_assets.clients.kafka.failures import KafkaFailure
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange, TopicState
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.errors import DatacoError
from dataco_assets.ingest.click_bytes import encode_click
from dataco_assets.ingest.erased_clicks import delete_stored
from dataco_assets.ingest.log import read_log
from dataco_assets.ingest.plan import Loss, OnDataLoss, Plan, make_plan
from dataco_assets.ingest.table_keys import require_current_keys
from dataco_assets.ingest.writer import RowWriter
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.offsets import Mode, OffsetGap, OffsetLedger, Owner
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.ledgers.tallies import PassedOffsets
from dataco_assets.rejected.records import REPLAY_OF, RejectedClick, send_rejected

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

logger = logging.getLogger(__name__)

SHARE_CHECKED_FROM = 1_000
"""Minimum number of messages before the share of rejected ones is checked."""
_REJECTED_BYTES_HELD = 64 * 1024 * 1024
_STALL_SECONDS = 60.0
_METADATA_SECONDS = 30.0
_SPAN_MS = VISIT_GAP_MS
"""Clicks are counted by half hour: all clicks of one touch the same hours."""


class TooManyRejected(DatacoError):
    """So many clicks are rejected that the producer, rather than single clicks, is probably at fault."""


class Step(StrEnum):
    """The points of a drain at which a test may kill it."""

    PLANNED = "planned"
    ROWS_STORED = "rows_stored"
    REJECTED_ACKNOWLEDGED = "rejected_acknowledged"
    HOURS_MARKED = "hours_marked"
    OFFSETS_MOVED = "offsets_moved"
    GROUP_COMMITTED = "group_committed"


@dataclass(frozen=True)
class DrainPolicy:
    """How one run drains.

    Attributes:
        max_clicks: Most offsets to read.
        checkpoint_clicks: Messages between two checkpoints.
        connections: Thrift connections to write over.
        max_rejected_share: A larger share of rejected messages fails the run (of at least `SHARE_CHECKED_FROM`).
        on_data_loss: Whether offsets that are lost fail the run or are skipped.
        earliest_ms: Clicks before this time are rejected, epoch ms.
        without_registry: Whether a record that names its schema by the id of a registry fails the run or is rejected
            when no registry is configured.
    """

    max_clicks: int
    checkpoint_clicks: int
    connections: int
    max_rejected_share: float
    earliest_ms: int
    on_data_loss: OnDataLoss = "fail"
    without_registry: Literal["fail", "reject"] = "fail"


@dataclass
class DrainResult:
    """What one drain did.

    Attributes:
        stored: Valid messages written; a redelivered click counts again.
        rejected: Messages sent to the rejected topic, by reason.
        suppressed: Messages dropped because their user was erased.
        ranges: Offsets drained, by partition.
        hours: Clicks stored by hour (start, epoch ms).
        skipped: Lost offsets that were skipped on request.
        lag_left: Offsets waiting when the drain ended; None if Kafka could not be reached any more.
        seconds: Wall-clock time of the whole drain.
        hbase_retries: Calls to HBase that were retried.
    """

    stored: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    suppressed: int = 0
    ranges: dict[int, OffsetRange] = field(default_factory=dict)
    hours: Counter[int] = field(default_factory=Counter)
    skipped: tuple[Loss, ...] = ()
    lag_left: int | None = 0
    seconds: float = 0.0
    hbase_retries: int = 0

    @property
    def seen(self) -> int:
        """Messages read."""
        return self.stored + self.rejected.total() + self.suppressed


@dataclass
class _Window:
    """What happened since the last checkpoint. A place is a partition and an offset."""

    started_at_ms: int
    starts: dict[int, int]
    rows: defaultdict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))  # keys, by partition
    refused: set[tuple[int, int]] = field(default_factory=set)  # places of clicks whose row HBase refused
    spans: Counter[int] = field(default_factory=Counter)  # clicks stored by half hour (start, epoch ms)
    replays: Counter[int] = field(default_factory=Counter)  # those of them that were rejected before and sent back
    suppressed: list[tuple[int, int]] = field(default_factory=list)  # places
    empty: dict[int, list[OffsetRange]] = field(default_factory=dict)  # offsets without a message
    suppressed_rows: list[bytes] = field(default_factory=list)  # keys of suppressed clicks
    removed: set[int] = field(default_factory=set)  # times of clicks whose rows were deleted, epoch ms
    rejected: list[RejectedClick] = field(default_factory=list)
    rejected_bytes: int = 0

    @property
    def seen(self) -> int:
        return self.stored + len(self.rejected) + len(self.suppressed)

    @property
    def stored(self) -> int:
        """Clicks stored, repeated ones, too."""
        return sum(map(len, self.rows.values())) - len(self.refused)

    def count(self, click: Click, message: Message, clicks: int) -> None:
        """Counts a click as stored (1), or no longer (-1)."""
        span = click.timestamp - click.timestamp % _SPAN_MS
        self.spans[span] += clicks
        if header_of(message, REPLAY_OF) is not None:
            self.replays[span] += clicks

    def passed(self, ends: Mapping[int, int]) -> list[PassedOffsets]:
        """The offsets since the last checkpoint, with what became of them; of partitions where there are any."""
        rejected = _by_partition(place_of(each.message) for each in self.rejected)
        suppressed, refused = _by_partition(self.suppressed), _by_partition(self.refused)
        repeated = self._repeated(ends, rejected, suppressed)
        return [
            PassedOffsets(
                partition,
                start,
                ends[partition],
                len(self.rows[partition]) - len(refused[partition]) - len(repeated[partition]),
                repeated[partition],
                rejected[partition],
                suppressed[partition],
                self.empty.get(partition, ()),
            )
            for partition, start in self.starts.items()
            if ends[partition] > start
        ]

    def _repeated(
        self, ends: Mapping[int, int], rejected: Mapping[int, list[int]], suppressed: Mapping[int, list[int]]
    ) -> defaultdict[int, list[int]]:
        """Offsets of clicks that have the row of an earlier one.

        The keys of rows are collected without their offsets, since that costs a quarter for each click. Nearly
        always they are all different. Otherwise, their offsets are those that are nothing else.
        """
        repeated: defaultdict[int, list[int]] = defaultdict(list)
        if len(set[bytes]().union(*self.rows.values())) == sum(map(len, self.rows.values())):
            return repeated
        seen: set[bytes] = set()
        for partition, keys in self.rows.items():
            others = {*rejected[partition], *suppressed[partition]}
            others.update(*(range(run.start, run.end) for run in self.empty.get(partition, ())))
            others.difference_update(offset for at, offset in self.refused if at == partition)
            offsets = (offset for offset in range(self.starts[partition], ends[partition]) if offset not in others)
            for offset, key in zip(offsets, keys, strict=False):
                if (partition, offset) in self.refused:
                    continue
                if key in seen:
                    repeated[partition].append(offset)
                seen.add(key)
        return repeated

    def hours(self) -> Counter[int]:
        """Clicks stored by hour."""
        hours: Counter[int] = Counter()
        for span, clicks in self.spans.items():
            hours[hour_of(span)] += clicks
        return +hours

    def replayed_hours(self) -> set[int]:
        """Hours that clicks touch which were rejected before and sent back."""
        return {hour for span in +self.replays for hour in touched_hours(span)}


class Drain:
    """One bounded run from a topic to the clicks table; use as a context manager and call `run` once.

    Args:
        settings: Names of topics, group and tables.
        hbase: The client to write with.
        policy: How to drain; see `policy_from`.
        brokers: The Kafka cluster.
        on_step: Called after each step; tests use it to kill the drain there.
    """

    def __init__(
        self,
        settings: "Settings",
        hbase: HBase,
        policy: DrainPolicy,
        *,
        brokers: Brokers,
        on_step: Callable[[Step], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._brokers = brokers
        self._policy = policy
        self._on_step = on_step
        self._hbase = hbase
        self._admin = KafkaAdmin(brokers, timeout_seconds=_METADATA_SECONDS)
        self._offsets = OffsetLedger(hbase, settings.offsets_table, tallies_kept_ms=settings.clicks_ttl_days * DAY_MS)
        self._owner = Owner()
        self._hours = HourLedger(hbase, settings.hours_table)
        self._suppression = SuppressionList(hbase, settings.suppressed_table)
        self._erased: ErasedUsers = {}
        self._writer: RowWriter[Message] = RowWriter(hbase, settings.clicks_table, connections=policy.connections)
        self._producer = AckedProducer(brokers, settings.rejected_topic)
        self._schemas = KnownSchemas.of(settings, registry_needed=policy.without_registry == "fail")
        self._parser = ClickParser(self._schemas)
        self._rejected_limit_bytes = 0
        self._result = DrainResult()
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as opened:
            opened.enter_context(self._schemas)
            opened.enter_context(self._writer)
            opened.enter_context(self._producer)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    def run(self) -> DrainResult:
        """Drains.

        Raises:
            OtherKeys: the clicks table has row keys of another version.
            OtherOwner: Kafka Connect ingests the topic.
            DataLost, OffsetsLost: clicks left the topic before they were stored.
            TooManyRejected: see `DrainPolicy.max_rejected_share`.
            RegistryFailure: a record's schema cannot be asked for; none of its records was rejected for that.
            KafkaUnavailable, HBaseUnavailable, Undeliverable: a server is away; nothing is lost, run again later.
        """
        started = time.monotonic()
        plan = self._plan()
        self._erased = self._suppression.read()
        self._on_step(Step.PLANNED)
        # Also when nothing is left to read: the run before may have been killed just before the group's commit.
        self._drain(plan)
        result = self._result
        result.skipped = plan.skipped
        result.lag_left = self._lag_left(plan)
        result.hbase_retries = self._hbase.retries
        result.seconds = time.monotonic() - started
        return result

    def _plan(self) -> Plan:
        topic = self._admin.topic(self._settings.clicks_topic)
        self._hbase.require_table(self._settings.clicks_table)
        require_current_keys(self._hbase, self._settings.clicks_table)
        self._rejected_limit_bytes = self._admin.message_limit_bytes(self._settings.rejected_topic)
        self._owner = self._offsets.require_owner(topic.name, Mode.DRAIN)
        self._offsets.claim(topic.name, topic.partitions, self._owner)
        log = read_log(self._admin, self._offsets, topic, self._settings.kafka_group)
        plan = make_plan(topic, log, max_offsets=self._policy.max_clicks, on_data_loss=self._policy.on_data_loss)
        self._accept_losses(plan)
        self._result.ranges = {r.partition: OffsetRange(r.partition, r.start, r.start) for r in plan.ranges}
        return plan

    def _accept_losses(self, plan: Plan) -> None:
        starts = {r.partition: r.start for r in plan.ranges}
        at_ms = self._hours.server_time_ms() if plan.skipped else 0
        for loss in plan.skipped:
            logger.warning("Skipping lost clicks, as asked: partition %d: %s", loss.partition, loss.why)
            if loss.partition in starts:
                lost = OffsetRange(loss.partition, loss.start, starts[loss.partition])
                self._offsets.reset(plan.topic, lost, owner=self._owner, at_ms=at_ms)
            else:
                self._offsets.forget(plan.topic.name, loss.partition, owner=self._owner)

    def _drain(self, plan: Plan) -> None:
        group = self._settings.kafka_group
        with RangeConsumer(
            self._brokers, group, plan.topic.name, plan.ranges, stall_seconds=_STALL_SECONDS
        ) as consumer:
            window = self._new_window(consumer.positions)
            for batch in consumer.batches():
                if self._is_due(window):
                    # Before this batch is processed: `positions` are the ends of the batches before it.
                    self._checkpoint(plan.topic, consumer, window)
                    window = self._new_window(consumer.positions)
                for message in batch:
                    self._take(message, window)
            self._checkpoint(plan.topic, consumer, window)

    def _new_window(self, positions: Mapping[int, int]) -> _Window:
        # By HBase's clock, which decides what has expired; this machine's may be wrong.
        return _Window(started_at_ms=self._hours.server_time_ms(), starts=dict(positions))

    def _is_due(self, window: _Window) -> bool:
        return window.seen >= self._policy.checkpoint_clicks or window.rejected_bytes >= _REJECTED_BYTES_HELD

    def _take(self, message: Message, window: _Window) -> None:
        click = self._parse(message)
        if self._erased and self._is_suppressed(click, message):
            window.suppressed.append(place_of(message))
            if isinstance(click, Click):
                window.suppressed_rows.append(row_key(click.user_id, click.timestamp, click.event_id))
            return
        if isinstance(click, Rejection):
            _reject(window, RejectedClick(message, click))
            return
        self._store(click, message, window)

    def _parse(self, message: Message) -> Click | Rejection:
        return self._parser.parse(
            value_of(message),
            header_of(message, SCHEMA_HEADER),
            record_time_ms=record_time_ms(message),
            earliest_ms=self._policy.earliest_ms,
        )

    def _is_suppressed(self, click: Click | Rejection, message: Message) -> bool:
        """Whether the message belongs to an erased user: it is not even rejected, since that would keep it."""
        arrived_ms = record_time_ms(message)
        if isinstance(click, Click):
            return is_suppressed(self._erased, click.user_id, click.timestamp, arrived_ms)
        user_id = self._parser.user_id(value_of(message), header_of(message, SCHEMA_HEADER))
        return is_suppressed_message(self._erased, user_id, key_of(message), arrived_ms)

    def _store(self, click: Click, message: Message, window: _Window) -> None:
        key, row = encode_click(click)
        self._writer.add(key, row, message, origin_bytes=size_of(message))
        window.rows[message.partition() or 0].append(key)
        window.count(click, message, 1)

    def _take_back(self, message: Message, why: str, window: _Window) -> None:
        """Rejects a click that HBase refused after it was counted as stored."""
        click = cast("Click", self._parse(message))  # only clicks are stored
        window.refused.add(place_of(message))
        window.count(click, message, -1)
        _reject(window, RejectedClick(message, Rejection(Reason.REFUSED_BY_STORE, why)))

    def _checkpoint(self, topic: TopicState, consumer: RangeConsumer, window: _Window) -> None:
        window.empty = consumer.without_message(window.starts)
        self._flush(window)
        self._on_step(Step.ROWS_STORED)
        window = self._without_erased(topic, consumer, window)
        self._check_rejected_share(window)
        for rejected in window.rejected:
            send_rejected(self._producer, rejected, limit_bytes=self._rejected_limit_bytes)
        self._producer.flush()
        self._on_step(Step.REJECTED_ACKNOWLEDGED)
        self._mark_hours(window)
        self._on_step(Step.HOURS_MARKED)
        self._move_offsets(topic, window, consumer.positions)
        self._on_step(Step.OFFSETS_MOVED)
        self._publish_progress(consumer)
        self._on_step(Step.GROUP_COMMITTED)
        self._account(window, consumer.positions)

    def _flush(self, window: _Window) -> None:
        for refused in self._writer.flush():
            self._take_back(refused.origin, refused.why, window)

    def _without_erased(self, topic: TopicState, consumer: RangeConsumer, window: _Window) -> _Window:
        """The window without the clicks of users who were erased since the suppression list was read.

        An erasure first puts the user on the list, then looks for rows. So what is durable before the list is read here
        is found by the erasure, or the list read here names the user. In that case the window's messages are read
        again: rows overwrite themselves, and those of the user are deleted.
        """
        while (erased := self._suppression.read()) != self._erased:
            self._erased = erased
            window = self._drained_again(topic, consumer, window)
        window.removed |= delete_stored(
            self._hbase,
            self._hours,
            self._settings.clicks_table,
            window.suppressed_rows,
            earliest_ms=self._policy.earliest_ms,
            stored_since_ms=window.started_at_ms,
        )
        return window

    def _drained_again(self, topic: TopicState, consumer: RangeConsumer, window: _Window) -> _Window:
        ends = consumer.positions
        ranges = [OffsetRange(p, start, ends[p]) for p, start in window.starts.items() if start < ends[p]]
        again = _Window(window.started_at_ms, window.starts)
        with RangeConsumer(
            self._brokers, self._settings.kafka_group, topic.name, ranges, stall_seconds=_STALL_SECONDS
        ) as reader:
            for batch in reader.batches():
                for message in batch:
                    self._take(message, again)
            again.empty = reader.without_message(window.starts)
        self._flush(again)
        return again

    def _check_rejected_share(self, window: _Window) -> None:
        """Fails the run when too large a share of this window, or of the run so far, is rejected.

        The valid clicks of the window are stored by now, so their hours are marked; offsets stay.
        """
        most = self._policy.max_rejected_share
        reasons = Counter(r.rejection.reason for r in window.rejected)
        for refused, seen in (
            (len(window.rejected), window.seen),
            (len(window.rejected) + self._result.rejected.total(), window.seen + self._result.seen),
        ):
            if seen >= SHARE_CHECKED_FROM and refused > most * seen:
                self._mark_hours(window)
                listed = ", ".join(f"{count} {reason.value}" for reason, count in reasons.most_common(5))
                example = window.rejected[0].rejection.detail if window.rejected else "none in this window"
                raise TooManyRejected(
                    f"{refused:,} of {seen:,} messages of topic {self._settings.clicks_topic} are invalid, more than "
                    f"{most:.0%} ({listed}; for example: {example}). The producer has probably changed, so none of "
                    "these was sent to the rejected topic and their offsets stay. If they really are to be rejected, "
                    "run once with max_rejected_share: 1.0."
                )

    def _mark_hours(self, window: _Window) -> None:
        changed = self._hours.touched_by({*+window.spans, *window.removed})
        touched = {hour for hour in changed if hour >= self._policy.earliest_ms}
        if touched:
            self._hours.note_cause(touched & window.replayed_hours(), Cause.REPLAY)
            self._hours.mark_dirty(touched, holding_clicks=window.hours(), stored_since_ms=window.started_at_ms)

    def _move_offsets(self, topic: TopicState, window: _Window, positions: Mapping[int, int]) -> None:
        now = self._admin.topic(topic.name)
        if now.topic_id != topic.topic_id:
            raise OffsetGap(
                f"Topic {topic.name} was deleted and created again while it was read (id {topic.topic_id} is now "
                f"{now.topic_id}). No offset was moved; the next run reports what is lost."
            )
        passed = window.passed(positions)
        self._offsets.advance(topic, *passed, owner=self._owner, at_ms=window.started_at_ms)

    def _publish_progress(self, consumer: RangeConsumer) -> None:
        """Commits to the group, for other tools to see; the ledger is the truth, so a failure costs nothing."""
        try:
            consumer.commit(consumer.positions)
        except KafkaFailure as error:
            logger.warning("The consumer group %s lags behind: %s", self._settings.kafka_group, error)

    def _account(self, window: _Window, positions: Mapping[int, int]) -> None:
        result = self._result
        result.stored += window.stored
        result.suppressed += len(window.suppressed)
        result.rejected.update(r.rejection.reason for r in window.rejected)
        result.hours.update(window.hours())
        for partition, position in positions.items():
            result.ranges[partition] = OffsetRange(partition, result.ranges[partition].start, position)
        logger.info(
            "Checkpoint: %d clicks stored and %d rejected so far; offsets %s",
            result.stored,
            result.rejected.total(),
            dict(sorted(positions.items())),
        )

    def _lag_left(self, plan: Plan) -> int | None:
        """Offsets that arrived since the plan was made. Everything is committed by now, so a failure costs nothing."""
        try:
            end = self._admin.stable_end(plan.topic)
        except KafkaFailure as error:
            logger.warning("The lag that is left could not be measured: %s", error)
            return None
        return sum(max(0, end[p] - r.end) for p, r in self._result.ranges.items())


def policy_from(settings: "Settings") -> DrainPolicy:
    """The policy that the settings describe."""
    return DrainPolicy(
        max_clicks=settings.ingest_max_clicks,
        checkpoint_clicks=settings.ingest_checkpoint_clicks,
        connections=settings.ingest_connections,
        max_rejected_share=settings.ingest_max_rejected_share,
        earliest_ms=settings.partitions_start_ms,
    )


def _by_partition(places: Iterable[tuple[int, int]]) -> defaultdict[int, list[int]]:
    """Offsets by partition."""
    offsets: defaultdict[int, list[int]] = defaultdict(list)
    for partition, offset in places:
        offsets[partition].append(offset)
    return offsets


def _reject(window: _Window, rejected: RejectedClick) -> None:
    window.rejected.append(rejected)
    window.rejected_bytes += rejected.size
