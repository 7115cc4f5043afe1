"""Tests how the age of waiting clicks is measured, from one reading of the lag to the next."""

import pytest

from dataco_assets.clients.kafka.topics import TopicState
from dataco_assets.ingest.log import Lag, Watch


def lag(start: dict[int, int], waiting: dict[int, int], topic_id: str = "t1") -> Lag:
    return Lag(TopicState("clicks", topic_id, tuple(start)), start, waiting, losses=())


def test_an_offset_that_stays_has_waited_since_it_was_first_seen() -> None:
    watch = Watch().updated(lag({0: 10, 1: 5}, {0: 3, 1: 0}), now=100.0)
    watch = watch.updated(lag({0: 10, 1: 5}, {0: 4, 1: 2}), now=130.0)

    assert watch.oldest == {0: (10, 100.0), 1: (5, 130.0)}
    assert watch.longest(now=140.0) == 40.0


def test_an_offset_that_was_drained_begins_anew() -> None:
    watch = Watch().updated(lag({0: 10}, {0: 3}), now=100.0)

    assert watch.updated(lag({0: 12}, {0: 1}), now=130.0).longest(now=130.0) == 0.0
    assert watch.updated(lag({0: 13}, {0: 0}), now=130.0) == Watch("t1")


def test_another_topic_of_the_same_name_begins_anew() -> None:
    watch = Watch().updated(lag({0: 10}, {0: 3}), now=100.0)

    assert watch.updated(lag({0: 10}, {0: 3}, topic_id="t2"), now=130.0).longest(now=130.0) == 0.0


def test_it_survives_as_text() -> None:
    watch = Watch().updated(lag({0: 10}, {0: 3}), now=100.5)

    assert Watch.from_json(watch.to_json()) == watch


@pytest.mark.parametrize("text", [None, "", "{}", "17", "not JSON", '{"oldest": {"0": "x"}}'])
def test_a_cursor_that_is_none_of_ours_is_an_empty_watch(text: str | None) -> None:
    assert Watch.from_json(text) == Watch()
