"""Tests how a restatement takes over one that was noted but never completed, and which cause it gets."""

from dataclasses import replace

from dataco_assets.clicks.finality import Cause
from dataco_assets.index.differences import ChangedRow
from dataco_assets.index.restatements import Restatement, merged
from dataco_assets.ledgers.restating import CauseRange, Former

PENDING = Restatement(
    hour=0,
    generation_before=2,
    generation=3,
    computed_at=100,
    noted_at=110,
    cause=Cause.ERASURE,
    clicks_before=10,
    clicks=8,
    users_before=5,
    users=4,
    groups_changed=2,
    rows=(ChangedRow("https://shop.example/", "DE", 7, 5, 1.5, 1.0),),
)


def test_without_a_pending_one_the_difference_stands() -> None:
    assert merged(None, PENDING) is PENDING


def test_the_same_clicks_again_are_the_pending_one_with_its_id() -> None:
    rest = replace(PENDING, computed_at=200, noted_at=210, clicks_before=9, users_before=5, groups_changed=1)
    assert merged(PENDING, rest) == PENDING


def test_newer_clicks_count_from_what_readers_had() -> None:
    newer = replace(PENDING, generation=5, computed_at=200, clicks_before=8, clicks=12, users_before=4, users=6)
    found = merged(PENDING, replace(newer, cause=Cause.LATE_CLICKS))
    assert (found.generation_before, found.generation) == (2, 5)
    assert (found.clicks_before, found.clicks, found.users_before, found.users) == (10, 12, 5, 6)
    assert found.cause is Cause.LATE_CLICKS
    assert found.id != PENDING.id


def test_a_document_is_read_as_it_was_written() -> None:
    assert Restatement.of(PENDING.document) == PENDING


def test_a_cause_counts_while_the_hour_has_not_been_published_with_it() -> None:
    former = Former(generation=3, causes={Cause.ERASURE: CauseRange(4, 5)})
    assert former.cause(3) is Cause.RECOMPUTED
    assert former.cause(4) is Cause.ERASURE
    assert former.cause(6) is Cause.ERASURE
    assert replace(former, generation=4).cause(5) is Cause.ERASURE
    assert replace(former, generation=5).cause(6) is Cause.LATE_CLICKS
    assert Former(generation=3, causes={Cause.ERASURE: CauseRange(9, 9)}).cause(5) is Cause.LATE_CLICKS
    assert Former(generation=3).cause(4) is Cause.LATE_CLICKS


def test_of_several_causes_each_is_told_while_it_applies_and_an_erasure_first() -> None:
    causes = {Cause.RECOMPUTED: CauseRange(4, 4), Cause.REPLAY: CauseRange(5, 5), Cause.ERASURE: CauseRange(6, 6)}
    former = Former(generation=3, causes=causes)
    assert [former.cause(generation) for generation in (4, 5, 6)] == [Cause.RECOMPUTED, Cause.REPLAY, Cause.ERASURE]
    assert Former(generation=6, causes=causes).cause(7) is Cause.LATE_CLICKS


def test_a_cause_that_comes_while_a_refresh_runs_is_told_of_both_publications() -> None:
    """A replay takes several checkpoints; a refresh publishes what the first of them stored behind the second."""
    once = CauseRange(5, 5)
    assert CauseRange.read(once.encode()) == once
    twice = once.extended(6, done=4)
    assert twice == CauseRange(5, 6)
    assert Former(generation=4, causes={Cause.REPLAY: twice}).cause(5) is Cause.REPLAY
    assert Former(generation=5, causes={Cause.REPLAY: twice}).cause(6) is Cause.REPLAY
    assert once.extended(9, done=5) == CauseRange(9, 9), "what is published is told no more"
    assert Former(generation=7, causes={Cause.REPLAY: once.extended(9, done=5)}).cause(8) is Cause.LATE_CLICKS
