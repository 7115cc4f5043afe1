"""The offset ledger in HBase: the next offset to ingest in each partition, stored beside the clicks; and who ingests.

Table: row = `<topic>/<partition, 5 digits>`; cell `o:next` = `<topic id> <next offset> <epoch>`, one cell so that it
moves as a whole. A partition without a position, or whose position was forgotten, has `- - <epoch>` (a deleted cell
could hide a later one, see `clients/hbase.py`). Epoch 0 is left out: `<topic id> <next offset>`, or an empty value. The
consumer group's committed offset is a copy for other tools; it expires, the ledger does not.

Row `<topic>#owner`, cell `o:owner` = `<mode> <epoch>`: whether the drain or Kafka Connect ingests the topic, and how
often that was changed. Without the row it is the drain, epoch 0.

The epoch is a fencing token. Who ingests reads the owner, then claims its partitions: it writes its epoch into their
cells, before it reads the positions in them. A position is moved by compare-and-put on a cell with the writer's own
epoch only. So once the other mode has claimed a partition, or `change_owner` has, no commit of the former owner can
succeed any more, however late it comes. (Kafka's own fencing of consumers and producers by epochs is the same.)
`kafka_connect/` has the same rules in Java.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ledgers.owner import Mode, Owner
from dataco_assets.ledgers.table import LedgerTable

_NEXT, _OWNER = b"o:next", b"o:owner"
_NONE = "-"


@dataclass(frozen=True)
class Position:
    """Where the platform stands in a partition: the next offset to read, of the topic with that id."""

    topic_id: str
    next_offset: int


@dataclass(frozen=True)
class _Cell:
    """What `o:next` holds: a position, if there is one, and the epoch of who may move it."""

    position: Position | None = None
    epoch: int = 0

    @classmethod
    def of(cls, value: bytes | None) -> Self:
        topic_id, offset, *epoch = (value or b"- -").decode().split()
        position = None if topic_id == _NONE else Position(topic_id, int(offset))
        return cls(position, int(epoch[0]) if epoch else 0)

    def encode(self) -> bytes:
        epoch = [str(self.epoch)] if self.epoch else []
        if self.position is None:
            return " ".join([_NONE, _NONE, *epoch]).encode() if epoch else b""
        return " ".join([self.position.topic_id, str(self.position.next_offset), *epoch]).encode()


class OffsetGap(DatacoError):
    """Moving a position would jump over offsets nobody has stored."""

    kind = ErrorKind.PASSING


class OtherOwner(DatacoError):
    """The topic is ingested in the other mode, so this one must not move its offsets."""

    kind = ErrorKind.PASSING  # it ends when the mode is changed back, and nothing is parked by it


class OffsetLedger(LedgerTable):
    """Positions by partition; they move forwards only, and never over a gap.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"o": {"max_versions": 1}}

    def read(self, topic: str) -> dict[int, Position]:
        """Positions of a topic's partitions; those never read are left out."""
        return {partition: cell.position for partition, cell in self._cells(topic).items() if cell.position is not None}

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

    def advance(self, topic: TopicState, *stored: OffsetRange, owner: Owner) -> None:
        """Moves positions to the ends of ranges whose clicks are durable; reads all of them in one call.

        A position that another run of the same owner has moved further meanwhile stays there.

        Raises:
            OffsetGap: a position is before the start of its range.
            OtherOwner: a partition was claimed by another owner.
        """
        rows = self._hbase.rows(self._table, [_key(topic.name, each.partition) for each in stored], [_NEXT])
        for each in stored:
            key = _key(topic.name, each.partition)
            value = _Cell(Position(topic.topic_id, each.end), owner.epoch).encode()
            cell = rows.get(key, {}).get(_NEXT)
            while self._is_behind(topic, self._own_cell(topic.name, cell, owner), each):
                if self._hbase.put_if(self._table, key, _NEXT, expected=cell, value=value):
                    break
                cell = self._read_cell(key, _NEXT)

    def reset(self, topic: TopicState, partition: int, offset: int, *, owner: Owner) -> None:
        """Sets a position after data loss was accepted, in whatever direction."""
        self._set(topic.name, partition, Position(topic.topic_id, offset), owner)

    def forget(self, topic: str, partition: int, *, owner: Owner) -> None:
        """Removes the position of a partition that no longer exists, after that loss was accepted."""
        self._set(topic, partition, None, owner)

    def _set(self, topic: str, partition: int, position: Position | None, owner: Owner) -> None:
        def changed(present: bytes | None) -> bytes:
            return replace(self._own_cell(topic, present, owner), position=position).encode()

        self._change_cell(_key(topic, partition), _NEXT, changed)

    def _cells(self, topic: str) -> dict[int, _Cell]:
        prefix = f"{topic}/".encode()
        rows = self._hbase.scan(self._table, prefix, prefix[:-1] + b"0", columns=[_NEXT])  # "0" follows "/" in ASCII
        return {int(key.rpartition(b"/")[2]): _Cell.of(cells[_NEXT]) for key, cells in rows}

    def _own_cell(self, topic: str, value: bytes | None, owner: Owner) -> _Cell:
        cell = _Cell.of(value)
        if cell.epoch != owner.epoch:
            raise _other_owner(topic, self.owner(topic), owner.mode)
        return cell

    def _is_behind(self, topic: TopicState, cell: _Cell, stored: OffsetRange) -> bool:
        position = cell.position
        if position is None:
            return True
        if position.topic_id != topic.topic_id or position.next_offset < stored.start:
            raise OffsetGap(
                f"Topic {topic.name}, partition {stored.partition}: the offset ledger is at {position.next_offset} "
                f"(topic id {position.topic_id}), so offsets [{stored.start}, {stored.end}) of topic id "
                f"{topic.topic_id} cannot follow. Another run changed it; this run's clicks are read again by the next."
            )
        return position.next_offset < stored.end


def _key(topic: str, partition: int) -> bytes:
    return f"{topic}/{partition:05d}".encode()


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
