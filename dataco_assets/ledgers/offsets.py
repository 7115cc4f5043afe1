"""The offset ledger in HBase: the next offset to ingest in each partition, stored beside the clicks.

Table: row = `<topic>/<partition, 5 digits>`; cell `o:next` = `<topic id> <next offset>`, one cell so that it moves as a
whole; an empty value stands for a partition whose position was forgotten (a deleted cell could hide a later one, see
`clients/hbase.py`). The consumer group's committed offset is a copy for other tools; it expires, the ledger does not.
"""

from dataclasses import dataclass
from typing import ClassVar

from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ledgers.table import LedgerTable

_NEXT, _FORGOTTEN = b"o:next", b""


@dataclass(frozen=True)
class Position:
    """Where the platform stands in a partition: the next offset to read, of the topic with that id."""

    topic_id: str
    next_offset: int


class OffsetGap(DatacoError):
    """Moving a position would jump over offsets nobody has stored."""

    kind = ErrorKind.PASSING


class OffsetLedger(LedgerTable):
    """Positions by partition; they move forwards only, and never over a gap.

    Every method raises what `dataco_assets.clients.hbase` raises.
    """

    FAMILIES: ClassVar = {"o": {"max_versions": 1}}

    def read(self, topic: str) -> dict[int, Position]:
        """Positions of a topic's partitions; those never read are left out."""
        prefix = f"{topic}/".encode()
        rows = self._hbase.scan(self._table, prefix, prefix[:-1] + b"0", columns=[_NEXT])  # "0" follows "/" in ASCII
        return {
            int(key.rpartition(b"/")[2]): _decode(cells[_NEXT]) for key, cells in rows if cells[_NEXT] != _FORGOTTEN
        }

    def advance(self, topic: TopicState, *stored: OffsetRange) -> None:
        """Moves positions to the ends of ranges whose clicks are durable; reads all of them in one call.

        A position that another run has moved further meanwhile stays there.

        Raises:
            OffsetGap: a position is before the start of its range.
        """
        rows = self._hbase.rows(self._table, [_key(topic.name, each.partition) for each in stored], [_NEXT])
        for each in stored:
            key = _key(topic.name, each.partition)
            cell = rows.get(key, {}).get(_NEXT)
            while not cell or self._is_behind(topic, cell, each):
                if self._hbase.put_if(self._table, key, _NEXT, expected=cell, value=_encode(topic, each.end)):
                    break
                cell = self._read_cell(key, _NEXT)

    def reset(self, topic: TopicState, partition: int, offset: int) -> None:
        """Sets a position after data loss was accepted, in whatever direction."""
        self._change_cell(_key(topic.name, partition), _NEXT, lambda _: _encode(topic, offset))

    def forget(self, topic: str, partition: int) -> None:
        """Removes the position of a partition that no longer exists, after that loss was accepted."""
        self._change_cell(_key(topic, partition), _NEXT, lambda _: _FORGOTTEN)

    def _is_behind(self, topic: TopicState, cell: bytes, stored: OffsetRange) -> bool:
        position = _decode(cell)
        if position.topic_id != topic.topic_id or position.next_offset < stored.start:
            raise OffsetGap(
                f"Topic {topic.name}, partition {stored.partition}: the offset ledger is at {position.next_offset} "
                f"(topic id {position.topic_id}), so offsets [{stored.start}, {stored.end}) of topic id "
                f"{topic.topic_id} cannot follow. Another run changed it; this run's clicks are read again by the next."
            )
        return position.next_offset < stored.end


def _key(topic: str, partition: int) -> bytes:
    return f"{topic}/{partition:05d}".encode()


def _encode(topic: TopicState, offset: int) -> bytes:
    return f"{topic.topic_id} {offset}".encode()


def _decode(cell: bytes) -> Position:
    topic_id, _, offset = cell.decode().partition(" ")
    return Position(topic_id, int(offset))
