"""The offset ledger in HBase: the next offset to ingest in each partition, stored beside the clicks; and who ingests.

Table: row = `<topic>/<partition, 5 digits>`; cell `o:next` = `<topic id> <next offset> <epoch> <tally>`, one cell so
that it moves as a whole. A partition without a position, or whose position was forgotten, has `- - <epoch>` (a deleted
cell could hide a later one, see `clients/hbase.py`). Cells of earlier versions have no tally, and leave out epoch 0:
`<topic id> <next offset>`, or an empty value. The consumer group's committed offset is a copy for other tools; it
expires, the ledger does not.

The tally says what became of the offsets before the position, as far as they were passed in one hour (`tallies`). As
it is in the same cell, it cannot differ from the position. A tally is closed when the position is moved in a later
hour: it gets a row `<topic>#tally/<hour>/<partition>/<topic id>/<log>/<start>`, cell `o:tally` = `<end> <first>
<counts>`, which is written before the cell begins the next tally. Should that fail, the cell still has it and is the
one that counts. Closed tallies expire with the clicks.

Row `<topic>#owner`, cell `o:owner` = `<mode> <epoch>`: whether the drain or Kafka Connect ingests the topic, and how
often that was changed. Without the row it is the drain, epoch 0.

The epoch is a fencing token. Who ingests reads the owner, then claims its partitions: it writes its epoch into their
cells, before it reads the positions in them. A position is moved by compare-and-put on a cell with the writer's own
epoch only. So once the other mode has claimed a partition, or `change_owner` has, no commit of the former owner can
succeed any more, however late it comes. (Kafka's own fencing of consumers and producers by epochs is the same.)
`kafka_connect/` has the same rules in Java.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from dataco_assets.clicks.hour import hour_key, hour_of
from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ledgers.owner import Mode, Owner
from dataco_assets.ledgers.table import LedgerTable
from dataco_assets.ledgers.tallies import Counts, PassedOffsets, TalliedRange, Tally, TallyUnreadable, tallies_prefix

if TYPE_CHECKING:
    from dataco_assets.clients.hbase import HBase

logger = logging.getLogger(__name__)

_NEXT, _OWNER, _TALLY = b"o:next", b"o:owner", b"o:tally"
_NONE = "-"


@dataclass(frozen=True)
class Position:
    """Where the platform stands in a partition: the next offset to read, of the topic with that id."""

    topic_id: str
    next_offset: int


@dataclass(frozen=True)
class Progress:
    """How far ingest has come in a topic, and what became of the offsets before that.

    Attributes:
        positions: Positions by partition.
        ranges: Offsets with their tallies, in no particular order.
        untallied: Partitions whose position was moved last by a version that keeps no tallies.
    """

    positions: dict[int, Position]
    ranges: tuple[TalliedRange, ...]
    untallied: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Cell:
    """What `o:next` holds: a position, if there is one, the epoch of who may move it, and the tally before it."""

    position: Position | None = None
    epoch: int = 0
    tally: Tally | None = None

    @classmethod
    def of(cls, value: bytes | None) -> Self:
        """What a cell holds; a tally that cannot be read is none, since ingest does not depend on it."""
        try:
            return cls.read(value)
        except TallyUnreadable as error:
            logger.warning("%s Ingest begins another tally.", error)
            return cls.read(b" ".join((value or b"").split()[:3]))

    @classmethod
    def read(cls, value: bytes | None) -> Self:
        """What a cell holds.

        Raises:
            TallyUnreadable: the tally is none.
        """
        topic_id, offset, *rest = (value or b"- -").decode().split()
        epoch = int(rest[0]) if rest else 0
        if topic_id == _NONE:
            return cls(None, epoch)
        return cls(Position(topic_id, int(offset)), epoch, Tally.decode(rest[1:]) if rest[1:] else None)

    def encode(self) -> bytes:
        if self.position is None:
            return f"{_NONE} {_NONE} {self.epoch}".encode() if self.epoch else b""
        tally = [] if self.tally is None else self.tally.encode()
        epoch = [str(self.epoch)] if self.epoch or tally else []
        return " ".join([self.position.topic_id, str(self.position.next_offset), *epoch, *tally]).encode()

    def tallied(self, partition: int) -> TalliedRange | None:
        """The offsets that the tally counts; None when there are none."""
        if self.position is None or self.tally is None:
            return None
        return TalliedRange(partition, self.position.topic_id, self.position.next_offset, self.tally)

    def advanced(self, topic_id: str, passed: PassedOffsets, at_ms: int) -> Self:
        """The cell behind offsets that it has not all passed, of a checkpoint that began at a time (epoch ms)."""
        begin = passed.start if self.position is None else self.position.next_offset
        counts = passed.counts(begin)
        if self.tally is None:
            tally = Tally(hour_of(at_ms), 0, begin, is_first=True, counts=counts)
        elif self.tally.takes(at_ms):
            tally = self.tally.added(counts)
        else:
            tally = self.tally.next(at_ms, begin, counts)
        return replace(self, position=Position(topic_id, passed.end), tally=tally)

    def reset(self, topic_id: str, lost: OffsetRange, at_ms: int) -> Self:
        """The cell behind offsets whose loss was accepted at a time (epoch ms).

        A topic that was created anew begins a log, as one does that was cut back: what is lost of the log before has no
        offsets that are known.
        """
        before, counts = self.position, Counts(lost=lost.count)
        tally = Tally(hour_of(at_ms), 0, lost.start, is_first=True, counts=counts)
        if before is not None and before.topic_id == topic_id and self.tally is not None:
            if lost.end < before.next_offset:
                tally = replace(tally, log=self.tally.log + 1)
            else:
                tally = self.tally.next(at_ms, lost.start, counts)
        return replace(self, position=Position(topic_id, lost.end), tally=tally)


class OffsetGap(DatacoError):
    """Moving a position would jump over offsets nobody has stored."""

    kind = ErrorKind.PASSING


class OtherOwner(DatacoError):
    """The topic is ingested in the other mode, so this one must not move its offsets."""

    kind = ErrorKind.PASSING  # it ends when the mode is changed back, and nothing is parked by it


class OffsetLedger(LedgerTable):
    """Positions by partition; they move forwards only, and never over a gap.

    Every method raises what `dataco_assets.clients.hbase` raises.

    Args:
        hbase: Client.
        table: Name of the table.
        tallies_kept_ms: How long tallies are kept after they are closed; None: for ever.
    """

    FAMILIES: ClassVar = {"o": {"max_versions": 1}}

    def __init__(self, hbase: "HBase", table: str, *, tallies_kept_ms: int | None = None) -> None:
        super().__init__(hbase, table)
        self._tallies_kept_ms = tallies_kept_ms

    def read(self, topic: str) -> dict[int, Position]:
        """Positions of a topic's partitions; those never read are left out."""
        return {partition: cell.position for partition, cell in self._cells(topic).items() if cell.position is not None}

    def progress(self, topic: str, *, since_ms: int | None = None, until_ms: int | None = None) -> Progress:
        """Positions, and tallies of some hours of ingestion.

        Args:
            topic: The topic.
            since_ms: A time in the first hour, epoch ms; None: from the beginning.
            until_ms: End of the last hour, epoch ms; None: up to the positions.

        Raises:
            TallyUnreadable: somebody else has written into the ledger.
        """
        since_ms = None if since_ms is None else hour_of(since_ms)
        # The cells first: a tally that is closed meanwhile is in both, and here the cell's is taken.
        cells = {partition: _Cell.read(value) for partition, value in self._values(topic)}
        begun = {partition: found for partition, cell in cells.items() if (found := cell.tallied(partition))}
        ranges = [
            found
            for found in begun.values()
            if (since_ms is None or found.tally.hour >= since_ms)
            and (until_ms is None or found.tally.hour < until_ms)
            and found.end > found.start
        ]
        ranges += [closed for closed in self._closed(topic, since_ms, until_ms) if _is_before(closed, begun)]
        positions = {partition: cell.position for partition, cell in cells.items() if cell.position is not None}
        return Progress(positions, tuple(ranges), frozenset(positions.keys() - begun.keys()))

    def _closed(self, topic: str, since_ms: int | None, until_ms: int | None) -> Iterator[TalliedRange]:
        prefix = tallies_prefix(topic)
        start = prefix if since_ms is None else prefix + hour_key(since_ms).encode()
        stop = prefix[:-1] + b"0" if until_ms is None else prefix + hour_key(until_ms).encode()
        for key, cells in self._hbase.scan(self._table, start, stop, columns=[_TALLY]):
            yield TalliedRange.decode(topic, key, cells[_TALLY])

    def owner(self, topic: str) -> Owner:
        """Who stores the clicks of a topic."""
        return _owner(self._read_cell(_owner_key(topic), _OWNER))

    def require_owner(self, topic: str, mode: Mode) -> Owner:
        """The owner of a topic.

        Raises:
            OtherOwner: its mode is another one.
        """
        owner = self.owner(topic)
        if owner.mode is not mode:
            raise _other_owner(topic, owner, mode)
        return owner

    def change_owner(self, topic: str, mode: Mode) -> Owner:
        """Gives a topic to the drain or to Kafka Connect; nothing changes when it is theirs already.

        When this returns, the former owner can move none of the positions that the ledger has.
        """

        def changed(present: bytes | None) -> bytes | None:
            owner = _owner(present)
            return None if owner.mode is mode else f"{mode.value} {owner.epoch + 1}".encode()

        self._change_cell(_owner_key(topic), _OWNER, changed)
        owner = self.owner(topic)
        if owner.mode is mode:  # else somebody changed it again meanwhile
            self.claim(topic, self._cells(topic), owner)
        return owner

    def claim(self, topic: str, partitions: Iterable[int], owner: Owner) -> None:
        """Makes an owner the only one who can move the positions of partitions; do this before reading them.

        Raises:
            OtherOwner: a partition is claimed by a later owner.
        """
        cells = self._cells(topic)
        for partition in partitions:
            if cells.get(partition, _Cell()).epoch == owner.epoch:
                continue

            def claimed(present: bytes | None) -> bytes | None:
                cell = _Cell.of(present)
                if cell.epoch > owner.epoch:
                    raise _other_owner(topic, self.owner(topic), owner.mode)
                return replace(cell, epoch=owner.epoch).encode() if cell.epoch < owner.epoch else None

            self._change_cell(_key(topic, partition), _NEXT, claimed)

    def advance(self, topic: TopicState, *passed: PassedOffsets, owner: Owner, at_ms: int) -> None:
        """Moves positions to the ends of offsets whose clicks are durable; reads all of them in one call.

        A position that another run of the same owner has moved further meanwhile stays there.

        Args:
            topic: The topic.
            passed: The offsets, and what became of them.
            owner: Who ingests.
            at_ms: When the checkpoint began that they are of, by HBase's clock, epoch ms.

        Raises:
            OffsetGap: a position is before the start of its range.
            OtherOwner: a partition was claimed by another owner.
        """
        rows = self._hbase.rows(self._table, [_key(topic.name, each.partition) for each in passed], [_NEXT])
        for each in passed:
            key = _key(topic.name, each.partition)
            value = rows.get(key, {}).get(_NEXT)
            while self._is_behind(topic, cell := self._own_cell(topic.name, value, owner), each):
                moved = cell.advanced(topic.topic_id, each, at_ms)
                self._close(topic.name, each.partition, cell, moved)
                if self._hbase.put_if(self._table, key, _NEXT, expected=value, value=moved.encode()):
                    break
                value = self._read_cell(key, _NEXT)

    def reset(self, topic: TopicState, lost: OffsetRange, *, owner: Owner, at_ms: int) -> None:
        """Sets a position behind offsets whose loss was accepted, in whatever direction.

        Args:
            topic: The topic.
            lost: The offsets, of the topic as it is now; perhaps none.
            owner: Who ingests.
            at_ms: When it was accepted, by HBase's clock, epoch ms.
        """
        self._set(topic.name, lost.partition, owner, lambda cell: cell.reset(topic.topic_id, lost, at_ms))

    def forget(self, topic: str, partition: int, *, owner: Owner) -> None:
        """Removes the position of a partition that no longer exists, after that loss was accepted."""
        self._set(topic, partition, owner, lambda cell: replace(cell, position=None, tally=None))

    def _set(self, topic: str, partition: int, owner: Owner, change: Callable[[_Cell], _Cell]) -> None:
        def changed(present: bytes | None) -> bytes:
            cell = self._own_cell(topic, present, owner)
            moved = change(cell)
            self._close(topic, partition, cell, moved)
            return moved.encode()

        self._change_cell(_key(topic, partition), _NEXT, changed)

    def _close(self, topic: str, partition: int, cell: _Cell, moved: _Cell) -> None:
        """Writes a row for the tally of a cell that is about to carry another one.

        Somebody slower than others may find the row there with more offsets than it knows of; then it stays.
        """
        closing, following = cell.tallied(partition), moved.tallied(partition)
        if closing is None or closing.end == closing.start:
            return
        if following is not None and (following.log, following.start) == (closing.log, closing.start):
            return  # the same tally, with more offsets

        def longer(present: bytes | None) -> bytes | None:
            key = closing.key(topic)
            known = None if present is None else TalliedRange.decode(topic, key, present)
            return closing.encode() if known is None or known.end < closing.end else None

        self._change_cell(closing.key(topic), _TALLY, longer, ttl_ms=self._tallies_kept_ms)

    def _cells(self, topic: str) -> dict[int, _Cell]:
        return {partition: _Cell.of(value) for partition, value in self._values(topic)}

    def _values(self, topic: str) -> Iterator[tuple[int, bytes]]:
        prefix = f"{topic}/".encode()
        rows = self._hbase.scan(self._table, prefix, prefix[:-1] + b"0", columns=[_NEXT])  # "0" follows "/" in ASCII
        return ((int(key.rpartition(b"/")[2]), cells[_NEXT]) for key, cells in rows)

    def _own_cell(self, topic: str, value: bytes | None, owner: Owner) -> _Cell:
        cell = _Cell.of(value)
        if cell.epoch != owner.epoch:
            raise _other_owner(topic, self.owner(topic), owner.mode)
        return cell

    def _is_behind(self, topic: TopicState, cell: _Cell, passed: PassedOffsets) -> bool:
        position = cell.position
        if position is None:
            return True
        if position.topic_id != topic.topic_id or position.next_offset < passed.start:
            raise OffsetGap(
                f"Topic {topic.name}, partition {passed.partition}: the offset ledger is at {position.next_offset} "
                f"(topic id {position.topic_id}), so offsets [{passed.start}, {passed.end}) of topic id "
                f"{topic.topic_id} cannot follow. Another run changed it; this run's clicks are read again by the next."
            )
        return position.next_offset < passed.end


def _key(topic: str, partition: int) -> bytes:
    return f"{topic}/{partition:05d}".encode()


def _is_before(closed: TalliedRange, begun: dict[int, TalliedRange]) -> bool:
    """Whether a closed tally really is: one that was closed in vain, or just now, is still or again the cell's."""
    cell = begun.get(closed.partition)
    return cell is None or cell.log != closed.log or closed.start < cell.start


def _owner_key(topic: str) -> bytes:
    return f"{topic}#owner".encode()  # no topic's name can have this character


def _owner(cell: bytes | None) -> Owner:
    mode, epoch = (cell or b"drain 0").decode().split()
    return Owner(Mode(mode), int(epoch))


def _other_owner(topic: str, owner: Owner, mode: Mode) -> OtherOwner:
    if owner.mode is mode:
        return OtherOwner(
            f"Topic {topic} was given away and back meanwhile (`dataco ingest use`, epoch {owner.epoch} now). No "
            "offset was moved, and what was read since is read again by the next run."
        )
    return OtherOwner(
        f"Topic {topic} is ingested by {owner.mode.described}, not by {mode.described} (epoch {owner.epoch}). No "
        f"offset was moved. `dataco ingest use {mode}` changes it (docs/connect.md)."
    )
