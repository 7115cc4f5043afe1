"""Tests what is counted again of an account's ranges, against messages and rows that are made up."""

import random
from collections.abc import Sequence
from itertools import pairwise

from confluent_kafka import Message
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clicks.row import row_key
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.ingest import recount as module
from dataco_assets.ingest.account import FoundRejected
from dataco_assets.ledgers.tallies import TalliedRange, Tally
from dataco_assets.settings import Settings
from dataco_assets_tests.drained_worlds import BAD, NOON, click


def range_of(partition: int, start: int, end: int) -> TalliedRange:
    return TalliedRange(partition, "id", end, Tally(NOON, 0, start, is_first=False))


def key_of(value: bytes) -> bytes:
    parsed = parse(value, record_time_ms=NOON, earliest_ms=0)
    assert isinstance(parsed, Click)
    return row_key(parsed.user_id, parsed.timestamp, parsed.event_id)


KINDS = ["there", "gone", "rejected", "refused", "erased", "erased meanwhile", "none"]


@given(kinds=st.lists(st.lists(st.sampled_from(KINDS), max_size=60), min_size=1, max_size=3), seed=st.integers(0, 9**9))
def test_messages_are_counted_by_range_and_clicks_without_a_row_are_told(kinds: list[list[str]], seed: int) -> None:
    chance = random.Random(seed)  # no secret
    users = {"erased": "gone", "erased meanwhile": "late"}
    values = {
        (p, offset): BAD if kind == "rejected" else click(f"{p}-{offset}", user=users.get(kind, "u"))
        for p, partition in enumerate(kinds)
        for offset, kind in enumerate(partition)
        if kind != "none"
    }
    of = {place: kinds[place[0]][place[1]] for place in values}
    rows = {key_of(value) for place, value in values.items() if of[place] == "there"}
    refused = {place for place, kind in of.items() if kind in ("rejected", "refused")}
    rejected = FoundRejected({p: {offset: NOON for at, offset in refused if at == p} for p in range(len(kinds))}, 0)
    ranges: list[TalliedRange] = []
    for p, partition in enumerate(kinds):
        cuts = sorted({0, len(partition), *(chance.randint(0, len(partition)) for _ in range(3))})
        ranges += [range_of(p, start, end) for start, end in pairwise(cuts) if chance.random() < 0.8]
    chance.shuffle(ranges)
    erased = [{user_hash("gone"): NOON + 1}, {user_hash("gone"): NOON + 1, user_hash("late"): NOON + 1}]
    reads: list[int] = []

    def read_erased() -> dict[bytes, int]:
        reads.append(1)
        return erased[0] if len(reads) == 1 else erased[1]

    def absent(keys: Sequence[bytes]) -> set[bytes]:
        assert len(keys) == len(set(keys))
        return set(keys) - rows

    parser = ClickParser(KnownSchemas.of(Settings.load()))
    counting = module._Counting(ranges, rejected, parser, earliest_ms=0, read_erased=read_erased, absent=absent)
    for (p, offset), value in sorted(values.items(), key=lambda _: chance.random()):
        if any(each.partition == p for each in ranges):
            counting.take(Message(topic="c", partition=p, offset=offset, value=value, timestamp=(1, NOON)))
    counting.look_up()

    for each in counting.result():
        offsets = range(each.range.start, each.range.end)
        found = {n: of[each.range.partition, n] for n in offsets if (each.range.partition, n) in of}
        assert each.messages == len(found)
        assert each.without_row == tuple(n for n, kind in found.items() if kind == "gone")
