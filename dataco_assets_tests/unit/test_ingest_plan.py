"""Tests the plan: where a run starts and ends in each partition, and what counts as a loss."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clients.kafka.topics import OffsetRange, TopicState
from dataco_assets.errors import ErrorKind
from dataco_assets.ingest.plan import DataLost, LogOffsets, OnDataLoss, Plan, make_plan
from dataco_assets.ledgers.offsets import Position

TOPIC = TopicState("clicks", "id-now", (0, 1))
NO_LIMIT = 10**12


def log(
    *,
    earliest: Mapping[int, int] | None = None,
    stable: Mapping[int, int] | None = None,
    high: Mapping[int, int] | None = None,
    committed: Mapping[int, int] | None = None,
    ledger: Mapping[int, int | Position] | None = None,
) -> LogOffsets:
    """By default, two partitions of 100 stored offsets each."""
    stable_end = {0: 100, 1: 100} | dict(stable or {})
    return LogOffsets(
        earliest={0: 0, 1: 0} | dict(earliest or {}),
        stable_end=stable_end,
        high_watermark=stable_end | dict(high or {}),
        committed=committed or {},
        ledger={p: x if isinstance(x, Position) else Position("id-now", x) for p, x in (ledger or {}).items()},
    )


def plan(log_offsets: LogOffsets, *, limit: int = NO_LIMIT, on_data_loss: OnDataLoss = "fail") -> Plan:
    return make_plan(TOPIC, log_offsets, max_offsets=limit, on_data_loss=on_data_loss)


def bounds(made: Plan) -> dict[int, tuple[int, int]]:
    return {r.partition: (r.start, r.end) for r in made.ranges}


def test_an_unknown_partition_is_read_from_its_earliest_offset() -> None:
    assert bounds(plan(log(earliest={0: 7}))) == {0: (7, 100), 1: (0, 100)}


def test_the_ledger_comes_before_the_group_and_the_group_before_the_earliest() -> None:
    made = plan(log(ledger={0: 40}, committed={0: 90, 1: 60}))
    assert bounds(made) == {0: (40, 100), 1: (60, 100)}


def test_a_partition_that_was_added_is_picked_up_beside_known_ones() -> None:
    assert bounds(plan(log(ledger={0: 100}))) == {0: (100, 100), 1: (0, 100)}


def test_a_run_ends_at_the_last_stable_offset_not_at_the_end_of_an_open_transaction() -> None:
    made = plan(log(stable={0: 50}, high={0: 80}, ledger={0: 50, 1: 100}))
    assert [r.count for r in made.ranges] == [0, 0]
    assert made.skipped == ()


def test_a_position_inside_an_open_transaction_waits_where_it_is() -> None:
    # The last stable offset of another replica can briefly lag behind: that is no loss, and there is nothing to read.
    assert bounds(plan(log(stable={0: 50}, high={0: 80}, ledger={0: 60, 1: 100})))[0] == (60, 60)


def test_nothing_left_is_an_empty_plan() -> None:
    assert bounds(plan(log(ledger={0: 100, 1: 100}))) == {0: (100, 100), 1: (100, 100)}


@pytest.mark.parametrize(
    ("offsets", "told"),
    [
        (log(earliest={0: 10}, ledger={0: 4}), r"partition 0: offsets \[4, 10\) were removed by retention"),
        (log(earliest={0: 10}, committed={0: 4}), r"partition 0: offsets \[4, 10\)"),
        (log(stable={0: 30}, ledger={0: 31}), "partition 0: the log was cut back: it ends at offset 30, .* offset 31"),
        (log(ledger={0: Position("id-before", 5)}), "partition 0: the topic was deleted and created again .*id-before"),
        (log(ledger={3: 12}), "partition 3: the ledger is at offset 12, but the partition is gone"),
    ],
)
def test_a_loss_fails_and_names_partition_and_offsets(offsets: LogOffsets, told: str) -> None:
    with pytest.raises(DataLost, match=told):
        plan(offsets)


def test_all_losses_are_told_at_once() -> None:
    with pytest.raises(DataLost) as caught:
        plan(log(earliest={0: 10}, stable={1: 30}, ledger={0: 4, 1: 40, 2: 9}))
    assert all(f"partition {partition}:" in str(caught.value) for partition in (0, 1, 2))
    assert caught.value.kind is ErrorKind.PERMANENT


@pytest.mark.parametrize(
    ("offsets", "expected"),
    [
        (log(earliest={0: 10}, ledger={0: 4}), (10, 100)),
        (log(ledger={0: Position("id-before", 5)}), (0, 100)),
        (log(ledger={0: Position("id-before", 5000)}), (0, 100)),
        (log(ledger={3: 12}), (0, 100)),
    ],
)
def test_skipping_goes_on_with_everything_that_is_left(offsets: LogOffsets, expected: tuple[int, int]) -> None:
    made = plan(offsets, on_data_loss="skip")
    assert bounds(made)[0] == expected
    assert len(made.skipped) == 1


def test_skipping_a_cut_back_log_never_goes_past_its_end() -> None:
    made = plan(log(earliest={0: 10}, stable={0: 30}, ledger={0: 31}), on_data_loss="skip")
    start, end = bounds(made)[0]
    assert 10 <= start <= end == 30


def test_positions_at_the_edges_are_not_losses() -> None:
    made = plan(log(earliest={0: 10}, ledger={0: 10, 1: 100}))
    assert made.skipped == ()
    assert bounds(made) == {0: (10, 100), 1: (100, 100)}


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=6),
    starts=st.lists(st.integers(0, 1000), min_size=6, max_size=6),
    budget=st.integers(1, 200),
)
def test_a_bounded_run_reads_prefixes_uses_its_whole_budget_and_is_fair(
    counts: list[int], starts: list[int], budget: int
) -> None:
    partitions = tuple(range(len(counts)))
    topic = TopicState("clicks", "id-now", partitions)
    ends = {p: starts[p] + counts[p] for p in partitions}
    ledger = {p: Position("id-now", starts[p]) for p in partitions}
    offsets = LogOffsets(earliest=dict.fromkeys(partitions, 0), stable_end=ends, high_watermark=ends, ledger=ledger)
    ranges = make_plan(topic, offsets, max_offsets=budget, on_data_loss="fail").ranges
    assert tuple(r.partition for r in ranges) == partitions
    assert all(r.start == starts[r.partition] and r.start <= r.end <= ends[r.partition] for r in ranges)
    assert sum(r.count for r in ranges) == min(budget, sum(counts))
    # No partition gets less while another gets more than one offset more.
    cut = [r.count for r in ranges if r.count < counts[r.partition]]
    assert not cut or max(r.count for r in ranges) <= min(cut) + 1


def test_a_range_counts_offsets() -> None:
    assert OffsetRange(0, 5, 9).count == 4
    assert OffsetRange(0, 9, 5).count == 0
