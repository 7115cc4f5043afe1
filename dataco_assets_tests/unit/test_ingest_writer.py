"""Tests the writer with a fake table: batches, limits, failures, and finding refused rows."""

import threading
from collections.abc import Callable, Iterable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clients.hbase import HBase, HBaseRefused, HBaseUnavailable, RowRefused
from dataco_assets.ingest import writer as writer_module
from dataco_assets.ingest.writer import BATCH_BYTES, BATCH_ORIGIN_BYTES, BATCH_ROWS, RowWriter, write_batch

PATIENCE_SECONDS = 10.0


class FakeTable:
    """A fake `HBase`: accepts or refuses a batch as a whole, and records every batch."""

    def __init__(self, poison: Iterable[bytes] = (), *, gate: threading.Event | None = None) -> None:
        self.poison = set(poison)
        self.asked: list[list[bytes]] = []
        self.taken: list[bytes] = []
        self.outage: BaseException | None = None
        self.gate = gate
        self._lock = threading.Lock()

    def put_rows(self, table: str, rows: list[bytes]) -> None:
        assert table == "clicks"
        with self._lock:
            self.asked.append(list(rows))
            outage = self.outage
        if self.gate is not None:
            assert self.gate.wait(PATIENCE_SECONDS)
        if outage is not None:
            raise outage
        if refused := self.poison.intersection(rows):
            raise RowRefused(f"too large: {len(refused)}")
        with self._lock:
            self.taken += rows


def row_writer(table: FakeTable, connections: int = 2) -> RowWriter[int]:
    return RowWriter(cast("HBase", table), "clicks", connections=connections)


def rows(count: int, size: int = 8) -> list[bytes]:
    return [str(number).encode().ljust(size, b".") for number in range(count)]


# One batch


def putting(table: FakeTable) -> Callable[[list[bytes]], None]:
    return lambda batch: table.put_rows("clicks", batch)


def test_a_good_batch_is_one_call() -> None:
    table = FakeTable()
    assert write_batch(putting(table), rows(500), list(range(500))) == []
    assert len(table.asked) == 1


@given(count=st.integers(1, 64), poison=st.sets(st.integers(0, 63), max_size=12))
def test_exactly_the_refused_rows_are_singled_out_and_all_others_stored(count: int, poison: set[int]) -> None:
    poison = {number for number in poison if number < count}
    table = FakeTable(rows(count)[number] for number in poison)
    refused = write_batch(putting(table), rows(count), list(range(count)))
    assert [row.origin for row in refused] == sorted(poison)
    assert all("too large" in row.why for row in refused)
    assert table.taken == [row for number, row in enumerate(rows(count)) if number not in poison]


def test_one_refused_row_costs_few_calls() -> None:
    table = FakeTable([rows(2_000)[1_234]])
    write_batch(putting(table), rows(2_000), list(range(2_000)))
    assert len(table.asked) <= 2 * 11 + 1  # both halves of each of the log2(2,000) levels


@pytest.mark.parametrize("count", [100, 2_000])
def test_a_large_batch_refused_to_the_last_row_is_not_the_rows_fault(count: int) -> None:
    table = FakeTable(rows(count))
    with pytest.raises(HBaseRefused, match=f"each of {count} rows.*too large"):
        write_batch(putting(table), rows(count), list(range(count)))


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_few_refused_rows_that_happen_to_be_all_of_a_small_batch_do_not_block_ingest_for_ever(count: int) -> None:
    table = FakeTable(rows(count))
    assert len(write_batch(putting(table), rows(count), list(range(count)))) == count


@pytest.mark.parametrize("error", [HBaseUnavailable("down"), HBaseRefused("no table"), KeyError("bug")])
def test_other_errors_are_not_the_rows_and_are_not_bisected(error: Exception) -> None:
    table = FakeTable()
    table.outage = error
    with pytest.raises(type(error)):
        write_batch(putting(table), rows(100), list(range(100)))
    assert len(table.asked) == 1


# The writer


def test_flush_returns_when_every_row_is_stored() -> None:
    table = FakeTable()
    with row_writer(table) as writer:
        for number, row in enumerate(rows(2 * BATCH_ROWS + 1)):
            writer.add(row, row, number)
        assert writer.flush() == []
        assert sorted(table.taken) == sorted(rows(2 * BATCH_ROWS + 1))
        assert sorted(map(len, table.asked)) == [1, BATCH_ROWS, BATCH_ROWS]


def test_batches_are_bounded_by_bytes_and_a_row_larger_than_the_bound_goes_alone() -> None:
    table = FakeTable()
    sizes = [BATCH_BYTES // 2, BATCH_BYTES // 2, 1, 3 * BATCH_BYTES, 1]
    with row_writer(table, 1) as writer:
        for number, size in enumerate(sizes):
            writer.add(b"%d" % number, bytes([number]) * size, number)
        writer.flush()
    assert [[len(row) for row in batch] for batch in table.asked] == [
        [BATCH_BYTES // 2, BATCH_BYTES // 2],
        [1],
        [3 * BATCH_BYTES],
        [1],
    ]


def test_batches_are_bounded_by_what_their_origins_hold() -> None:
    # A click of a few hundred bytes can come from a message of a megabyte: unknown fields are ignored.
    table = FakeTable()
    with row_writer(table, 1) as writer:
        for number, row in enumerate(rows(40)):
            writer.add(row, row, number, origin_bytes=BATCH_ORIGIN_BYTES // 4)
        writer.flush()
    assert [len(batch) for batch in table.asked] == [4] * 10


def test_add_waits_for_room_so_that_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 10)
    gate = threading.Event()
    table = FakeTable(gate=gate)
    connections = 2
    most_held = 10 * (2 * connections + 1)  # the batches under way or waiting, and the one being filled
    added: list[int] = []
    paused = threading.Event()

    with row_writer(table, connections) as writer:

        def produce() -> None:
            for number, row in enumerate(rows(500)):
                if len(added) == most_held - 1:
                    paused.set()
                writer.add(row, row, number)
                added.append(number)

        producer = threading.Thread(target=produce)
        producer.start()
        assert paused.wait(PATIENCE_SECONDS)
        producer.join(timeout=0.2)  # time in which a writer without bound would take hundreds more
        assert producer.is_alive()
        assert len(added) < most_held
        gate.set()
        producer.join(PATIENCE_SECONDS)
        writer.flush()
    assert len(table.taken) == 500


def test_refused_rows_come_once_with_their_origins() -> None:
    table = FakeTable([rows(5_000)[7], rows(5_000)[4_321]])
    with row_writer(table) as writer:
        for number, row in enumerate(rows(5_000)):
            writer.add(row, row, number)
        assert sorted(refused.origin for refused in writer.flush()) == [7, 4_321]
        writer.add(b"more", b"more", 5_000)
        assert writer.flush() == []


VERSIONS = [(b"a", b"a1"), (b"b", b"b1"), (b"a", b"a2"), (b"c", b"c1"), (b"a", b"a3"), (b"c", b"c2")]


def written(table: FakeTable) -> tuple[list[bytes], list[bytes]]:
    """The rows that are stored in the end, and those reported as refused, when all of `VERSIONS` are added."""
    with row_writer(table, 1) as writer:
        for number, (key, row) in enumerate(VERSIONS):
            writer.add(key, row, number)
        refused = writer.flush()
    return sorted(table.taken), sorted(VERSIONS[row.origin][1] for row in refused)


def test_of_rows_with_the_same_key_in_a_batch_the_last_is_written_alone() -> None:
    table = FakeTable()
    assert written(table) == ([b"a3", b"b1", b"c2"], [])
    assert len(table.asked) == 1


@pytest.mark.parametrize(
    ("poison", "stored"),
    [
        ([b"a3"], [b"a2", b"b1", b"c2"]),
        ([b"a3", b"a2", b"c2"], [b"a1", b"b1", b"c1"]),
        ([b"a1"], [b"a3", b"b1", b"c2"]),  # replaced before it was known that HBase would refuse it
        ([b"b1", b"c2", b"c1"], [b"a3"]),
    ],
)
def test_where_the_last_is_refused_the_one_before_it_is_stored(poison: list[bytes], stored: list[bytes]) -> None:
    assert written(FakeTable(poison)) == (stored, sorted(row for row in poison if row != b"a1"))


def test_many_rows_with_the_same_key_are_bounded_like_others() -> None:
    table = FakeTable()
    with row_writer(table, 1) as writer:
        for number in range(2 * BATCH_ROWS):
            writer.add(b"same", b"%d" % number, number)
        writer.flush()
    assert table.taken == [b"%d" % (BATCH_ROWS - 1), b"%d" % (2 * BATCH_ROWS - 1)]


def test_a_failed_batch_fails_the_flush_and_every_later_one() -> None:
    table = FakeTable()
    with row_writer(table) as writer:
        table.outage = HBaseUnavailable("down")
        writer.add(b"lost", b"lost", 1)
        with pytest.raises(HBaseUnavailable):
            writer.flush()
        table.outage = None
        # The row of the failed batch is gone: a later flush must not look as if it were stored.
        with pytest.raises(HBaseUnavailable):
            writer.flush()
        assert table.taken == []


def test_a_failure_among_good_batches_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 1)

    class FailingOnce(FakeTable):
        def put_rows(self, table: str, rows: list[bytes]) -> None:
            if rows == [b"7"]:
                raise HBaseUnavailable("down")
            super().put_rows(table, rows)

    with row_writer(FailingOnce(), 3) as writer, pytest.raises(HBaseUnavailable):  # noqa: PT012  # either may tell
        for number in range(10):
            writer.add(b"%d" % number, b"%d" % number, number)
        writer.flush()


def test_leaving_early_starts_no_further_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BATCH_ROWS", 1)
    gate = threading.Event()
    table = FakeTable(gate=gate)
    writer = row_writer(table, 1)
    writer.add(b"under way", b"under way", 1)
    writer.add(b"waiting", b"waiting", 2)
    leaving = threading.Thread(target=writer.__exit__, args=(None, None, None))
    leaving.start()
    leaving.join(timeout=0.05)
    gate.set()
    leaving.join(PATIENCE_SECONDS)
    assert table.asked in ([[b"under way"]], [])
