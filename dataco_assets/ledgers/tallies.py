"""Tallies: what became of the offsets that ingest has passed, by partition and hour of ingestion. Pure.

The offset ledger (`offsets`) keeps them, `dataco account` adds them up (`dataco_assets/ingest/account.py`). Each offset
that a position passes is counted once, by the checkpoint that moved the position over it:

    stored       the row of its click was written
    repeated     the same, and an earlier message of the checkpoint has the same row
    rejected     it is in the rejected topic
    suppressed   it was dropped because its user was erased
    lost         it had left the topic before it was read, and a person accepted that
    empty        it has no message: the marker of a transaction, a message rolled back or removed by compaction

A *log* is one numbering of a partition's offsets. It ends when the topic is created anew, which gives it another id, or
when it is cut back, after which its offsets are given out a second time; logs with the same topic id are numbered.
`kafka_connect/` has the same rules in Java.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

from dataco_assets.clicks.hour import hour_from_key, hour_key, hour_of
from dataco_assets.clients.kafka.topics import OffsetRange
from dataco_assets.errors import DatacoError
from dataco_assets.untrusted import printable


class TallyUnreadable(DatacoError):
    """A cell of the offset ledger does not hold a tally, so somebody else has written it."""


@dataclass(frozen=True)
class Counts:
    """How many offsets became what; see the module."""

    stored: int = 0
    repeated: int = 0
    rejected: int = 0
    suppressed: int = 0
    lost: int = 0
    empty: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def by_fate(self) -> dict[str, int]:
        """Messages by what became of them."""
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name != "empty"}

    @property
    def accounted(self) -> int:
        """Messages whose fate is known."""
        return sum(self.by_fate.values())

    @property
    def offsets(self) -> int:
        """Offsets whose fate is known."""
        return self.accounted + self.empty

    def encode(self) -> list[str]:
        """The numbers as text, in the order of the fields."""
        return [str(getattr(self, each.name)) for each in fields(self)]


@dataclass(frozen=True)
class PassedOffsets:
    """Offsets [start, end) of a partition, with what a checkpoint made of them.

    Attributes:
        partition: The partition.
        start: The first offset.
        end: The one behind the last.
        stored: How many messages were stored and are no repetition.
        repeated: Offsets of repetitions.
        rejected: Offsets of rejected messages.
        suppressed: Offsets of suppressed messages.
        empty: Runs of offsets that have no message.
    """

    partition: int
    start: int
    end: int
    stored: int
    repeated: Collection[int] = ()
    rejected: Collection[int] = ()
    suppressed: Collection[int] = ()
    empty: Sequence[OffsetRange] = ()

    def counts(self, begin: int) -> Counts:
        """The counts of [begin, end): another run may have passed the offsets before that meanwhile, and counted them.

        What is not known of each offset is how many of those before `begin` were stored: all that are not anything
        else. So a number that does not add up shows in the rest.
        """
        listed = (self.repeated, self.rejected, self.suppressed)
        before = [sum(offset < begin for offset in offsets) for offsets in listed]
        repeated, rejected, suppressed = (len(o) - less for o, less in zip(listed, before, strict=True))
        empty_before = sum(max(0, min(run.end, begin) - run.start) for run in self.empty)
        stored_before = begin - self.start - sum(before) - empty_before
        return Counts(
            self.stored - stored_before,
            repeated,
            rejected,
            suppressed,
            empty=sum(run.count for run in self.empty) - empty_before,
        )


@dataclass(frozen=True)
class Tally:
    """The tally that a partition's position carries: of the offsets from its start up to the position.

    Attributes:
        hour: Hour of ingestion, by HBase's clock at the beginning of its first checkpoint, epoch ms.
        log: Number of the log among those with the same topic id.
        start: First offset.
        is_first: Whether no tally precedes it in its log: ingest began here, or an earlier version kept none.
        counts: What became of the offsets.
    """

    hour: int
    log: int
    start: int
    is_first: bool
    counts: Counts = Counts()

    def takes(self, at_ms: int) -> bool:
        """Whether a checkpoint that began at a time (epoch ms) is added to it; a loss has a tally to itself."""
        return hour_of(at_ms) <= self.hour and not self.counts.lost

    def added(self, counts: Counts) -> Self:
        """The tally with further offsets."""
        return replace(self, counts=self.counts + counts)

    def next(self, at_ms: int, start: int, counts: Counts) -> "Tally":
        """The one after it, begun at a time (epoch ms) that is perhaps not later, by a clock that was set back."""
        return Tally(max(self.hour, hour_of(at_ms)), self.log, start, is_first=False, counts=counts)

    def encode(self) -> list[str]:
        """Its parts as text, as they follow a position and its epoch."""
        begin = [hour_key(self.hour), str(self.log), str(self.start), str(int(self.is_first))]
        return [*begin, *self.counts.encode()]

    @classmethod
    def decode(cls, parts: Sequence[str]) -> Self:
        """Reads what `encode` gave.

        Raises:
            TallyUnreadable: it is something else.
        """
        try:
            hour, log, start, is_first, *counts = parts
            return cls(hour_from_key(hour), int(log), int(start), bool(int(is_first)), _counts(counts))
        except ValueError as error:
            raise _unreadable(" ".join(parts)) from error


@dataclass(frozen=True)
class TalliedRange:
    """Offsets [start, end) of a partition with their tally, as they are read from the ledger.

    Attributes:
        partition: The partition.
        topic_id: Id of the topic.
        end: The offset behind the last.
        tally: The tally.
    """

    partition: int
    topic_id: str
    end: int
    tally: Tally

    @property
    def start(self) -> int:
        """The first offset."""
        return self.tally.start

    @property
    def offsets(self) -> int:
        """How many offsets there are."""
        return self.end - self.start

    @property
    def produced(self) -> int:
        """Messages among the offsets."""
        return self.offsets - self.tally.counts.empty

    @property
    def log(self) -> tuple[int, str, int]:
        """The log: partition, topic id and number."""
        return self.partition, self.topic_id, self.tally.log

    def key(self, topic: str) -> bytes:
        """Row key of a closed tally: by hour, so that those of some hours are read in one scan."""
        tally = self.tally
        place = f"{hour_key(tally.hour)}/{self.partition:05d}/{self.topic_id}/{tally.log:05d}/{tally.start:019d}"
        return tallies_prefix(topic) + place.encode()

    def encode(self) -> bytes:
        """Value of a closed tally."""
        return " ".join([str(self.end), str(int(self.tally.is_first)), *self.tally.counts.encode()]).encode()

    @classmethod
    def decode(cls, topic: str, key: bytes, value: bytes) -> Self:
        """Reads a closed tally.

        Raises:
            TallyUnreadable: it is something else.
        """
        try:
            place = key.removeprefix(tallies_prefix(topic)).decode()
            hour, partition, rest = place.split("/", maxsplit=2)
            topic_id, log, start = rest.rsplit("/", maxsplit=2)  # an id is Base64, which has "/", too
            end, is_first, *counts = value.decode().split()
            tally = Tally(hour_from_key(hour), int(log), int(start), bool(int(is_first)), _counts(counts))
            return cls(int(partition), topic_id, int(end), tally)
        except ValueError as error:
            raise _unreadable(f"{key.decode(errors='replace')}: {value.decode(errors='replace')}") from error


def tallies_prefix(topic: str) -> bytes:
    """What the row keys of a topic's closed tallies begin with; no topic's name can have the character `#`."""
    return f"{topic}#tally/".encode()


def _counts(parts: Sequence[str]) -> Counts:
    numbers = [int(part) for part in parts]
    if len(numbers) != len(fields(Counts)):
        raise ValueError(f"{len(numbers)} numbers instead of {len(fields(Counts))}")
    return Counts(*numbers)


def _unreadable(text: str) -> TallyUnreadable:
    return TallyUnreadable(
        f"The offset ledger holds '{printable(text, 200)}', which is no tally of this version: a newer version has "
        "written it, or somebody by hand. Positions do not depend on it (docs/reliability.md)."
    )
