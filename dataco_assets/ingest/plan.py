"""Decides the exact offset ranges that one run reads, and what counts as lost data. Pure: numbers in, a plan out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.offsets import Position

OnDataLoss = Literal["fail", "skip"]


class DataLost(DatacoError):
    """Clicks that were never stored are no longer in the topic."""


@dataclass(frozen=True)
class LogOffsets:
    """What a topic's log holds now, and how far the platform has come in it, by partition."""

    earliest: Mapping[int, int]
    stable_end: Mapping[int, int]
    high_watermark: Mapping[int, int]
    committed: Mapping[int, int] = field(default_factory=dict)
    ledger: Mapping[int, Position] = field(default_factory=dict)


@dataclass(frozen=True)
class Loss:
    """Offsets that can no longer be read, and how it came to that.

    Attributes:
        partition: The partition.
        why: How it came to that.
        start: The first of them in the topic as it is now; reading goes on behind the last. There may be none: what is
            lost of a topic that was created anew, or behind a cut, has no offsets that are known.
    """

    partition: int
    why: str
    start: int = 0


@dataclass(frozen=True)
class Plan:
    """The ranges one run reads, and what was given up to make them possible (only ever on request)."""

    topic: TopicState
    ranges: tuple[OffsetRange, ...]
    skipped: tuple[Loss, ...] = ()


def make_plan(topic: TopicState, log: LogOffsets, *, max_offsets: int, on_data_loss: OnDataLoss) -> Plan:
    """Decides what to read.

    Start: the platform's own ledger, else the group's committed offset, else the earliest. End: the last stable offset.

    Args:
        topic: The topic as it is now.
        log: Its offsets.
        max_offsets: Most offsets to read in all; shared out evenly between the partitions.
        on_data_loss: `skip` goes on behind lost offsets and lists them in the plan.

    Raises:
        DataLost: offsets are lost and `on_data_loss` is `fail`; names each partition and its offsets.
    """
    losses = [
        Loss(partition, f"the ledger is at offset {log.ledger[partition].next_offset}, but the partition is gone")
        for partition in sorted(set(log.ledger) - set(topic.partitions))
    ]
    wanted: list[OffsetRange] = []
    for partition in topic.partitions:
        start, loss = _start(topic, partition, log)
        if loss is not None:
            losses.append(loss)
        wanted.append(OffsetRange(partition, start, max(start, log.stable_end[partition])))
    if losses and on_data_loss == "fail":
        raise DataLost(_explain(topic.name, losses))
    return Plan(topic, tuple(_share(wanted, max_offsets)), tuple(losses))


def _start(topic: TopicState, partition: int, log: LogOffsets) -> tuple[int, Loss | None]:
    """First offset to read, and what is lost before it."""
    earliest, high = log.earliest[partition], log.high_watermark[partition]
    position = log.ledger.get(partition)
    if position is None:
        if partition not in log.committed:
            return earliest, None
        position = Position(topic.topic_id, log.committed[partition])
    start = position.next_offset
    if position.topic_id != topic.topic_id:
        why = (
            f"the topic was deleted and created again (id {position.topic_id} is now {topic.topic_id}): what came "
            f"after offset {start} of the old one is lost"
        )
        return earliest, Loss(partition, why)
    if start < earliest:
        why = f"offsets [{start}, {earliest}) were removed by retention before they were read"
        return earliest, Loss(partition, why, start)
    if start > high:
        why = f"the log was cut back: it ends at offset {high}, but was read up to offset {start}"
        # What was written behind the cut may lie anywhere: read all there is, a row stored before overwrites itself.
        return earliest, Loss(partition, why, earliest)
    return start, None


def _share(ranges: list[OffsetRange], budget: int) -> list[OffsetRange]:
    """Shortens ranges so that they sum up to the budget: small ones whole, large ones evenly."""
    shared: dict[int, OffsetRange] = {}
    left = budget
    for served, wanted in enumerate(sorted(ranges, key=lambda r: r.count)):
        count = min(wanted.count, left // (len(ranges) - served))
        shared[wanted.partition] = OffsetRange(wanted.partition, wanted.start, wanted.start + count)
        left -= count
    return [shared[r.partition] for r in ranges]


def _explain(topic: str, losses: list[Loss]) -> str:
    lines = [f"Clicks of topic {topic} were lost before they could be stored; nothing was read or changed:"]
    lines += [f"  partition {loss.partition}: {loss.why}" for loss in losses]
    lines.append("To go on with what is left, run once with on_data_loss: skip (docs/reliability.md).")
    return "\n".join(lines)
