"""Tests which hours readers get from live, and what its documents hold."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.live_sums import MEASURES
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS
from dataco_assets.index.contents import HourContent
from dataco_assets.index.handover import KEPT_MS, LiveHours, Reach, decide
from dataco_assets.index.indices import batch_filter
from dataco_assets.index.layout import properties
from dataco_assets.index.live import live_document, live_properties, sums_of
from dataco_assets.sensors.live import Verdicts, judge

NOON = 1_773_576_000_000
"""2026-03-15 12:00 UTC, epoch ms."""
MORNING = NOON - 6 * HOUR_MS


def content(clicks: int, documents: int = 1) -> HourContent:
    return HourContent(documents, {"click_count": clicks}, 0, 1, 1, 1)


def reach(newest_ms: int, *, first_hour: int = MORNING, exact_from: int = NOON - 2 * HOUR_MS) -> Reach:
    return Reach(first_hour, exact_from, newest_ms)


@pytest.mark.parametrize(
    ("newest_ms", "running_from"),
    [
        (NOON, NOON - HOUR_MS),  # the hour before is over, but clicks can still continue its visits
        (NOON + VISIT_GAP_MS - 1, NOON - HOUR_MS),
        (NOON + VISIT_GAP_MS, NOON),
        (NOON + HOUR_MS, NOON),
        (0, MORNING),
    ],
)
def test_an_hour_runs_until_30_minutes_after_its_end(newest_ms: int, running_from: int) -> None:
    assert reach(newest_ms).running_from == running_from


@pytest.mark.parametrize(
    ("start", "end", "first"),
    [
        (MORNING, NOON + HOUR_MS, MORNING + HOUR_MS),
        (MORNING + 2 * HOUR_MS, NOON + HOUR_MS, NOON),
        (NOON + HOUR_MS, NOON + 2 * HOUR_MS, NOON + HOUR_MS),
        (MORNING, MORNING + 2 * HOUR_MS, MORNING + HOUR_MS),
        (MORNING, MORNING + HOUR_MS, None),
        (MORNING + 2 * HOUR_MS, NOON, None),
    ],
)
def test_the_first_hour_of_a_range_with_live(start: int, end: int, first: int | None) -> None:
    assert LiveHours(NOON, frozenset({MORNING + HOUR_MS})).first_within(start, end) == first


HOUR = NOON - HOUR_MS
OLD = NOON - 3 * HOUR_MS


@pytest.mark.parametrize(
    ("hour", "live", "batch", "served", "given_up"),
    [
        (HOUR, content(5), content(5), False, False),
        (HOUR, content(5), content(5, documents=2), True, False),
        (HOUR, content(5), content(4), True, False),
        (HOUR, content(5), content(6), True, False),  # an erasure that the batch has not computed yet
        (HOUR, content(5), None, True, False),
        (OLD, content(5), content(5), False, False),
        (OLD, content(5), content(4), True, False),  # no longer kept up to date, but the batch has less
        (OLD, content(5), None, True, False),
        (OLD, content(5), content(6), False, True),
        (NOON - 2 * HOUR_MS - KEPT_MS - HOUR_MS, content(5), None, False, True),
    ],
)
def test_an_hour_that_is_over_goes_to_the_batch_when_both_have_the_same(
    hour: int, live: HourContent, batch: HourContent | None, *, served: bool, given_up: bool
) -> None:
    look = reach(NOON + 45 * 60_000, first_hour=NOON - 100 * HOUR_MS)
    found = decide(look, {hour: live}, {} if batch is None else {hour: batch})
    assert (hour in found.hours) is served
    assert (hour in found.given_up) is given_up


def test_hours_before_the_run_are_the_batchs() -> None:
    found = decide(reach(NOON, first_hour=HOUR), {HOUR - HOUR_MS: content(5)}, {})
    assert found.hours == LiveHours(HOUR)


def test_the_filters_leave_each_hour_to_one_source() -> None:
    hours = LiveHours(NOON, frozenset({HOUR}))
    assert (NOON + 5 * HOUR_MS in hours, NOON in hours, HOUR in hours, HOUR - HOUR_MS in hours) == (1, 1, 1, 0)
    of_live = hours.filter()
    assert of_live["bool"]["filter"][-1] == hours.query()
    assert batch_filter({"live": of_live}) == {"bool": {"must_not": [hours.query()]}}
    assert batch_filter({}) is None


SUMS = st.lists(st.integers(0, 2**40), min_size=len(MEASURES), max_size=len(MEASURES))


@given(SUMS)
def test_a_document_gives_its_sums_back(sums: list[int]) -> None:
    sums[4] = sums[4] or 1  # without clicks of known duration, there are no buckets
    assert sums_of(live_document((NOON, "https://a.example/x", "DE"), sums, NOON)) == sums


def test_a_document_has_the_fields_of_the_batchs_and_says_that_it_is_lives() -> None:
    document = live_document((NOON, "https://a.example:8080/x?y", "DE"), [1] * len(MEASURES), NOON + 1)
    assert document.keys() == live_properties().keys()
    assert properties(PAGES).keys() - document.keys() == {"generation"}
    shown: dict[str, Any] = {name: document[name] for name in ("hour", "host", "path", "computed_at", "source")}
    assert shown == {
        "hour": "2026-03-15T12:00:00.000Z",
        "host": "a.example",
        "path": "/x",
        "computed_at": "2026-03-15T12:00:00.001Z",
        "source": "live",
    }
    assert (document["time_spent_seconds_sum"], document["average_time_spent_seconds"]) == (0.001, 0.001)


RUNNING = NOON


@pytest.mark.parametrize(
    ("found", "given_up", "problems", "still"),
    [
        ([], [], {HOUR: []}, []),
        (["other"], [HOUR], {HOUR: ["other"]}, []),
        (["other"], [], {}, [HOUR]),  # live takes it back or gives it up
        ([], [HOUR], {HOUR: []}, []),  # the batch has computed it since
    ],
)
def test_an_hour_that_went_over_is_judged_once_it_is_settled(
    found: list[str], given_up: list[int], problems: dict[int, list[str]], still: list[int]
) -> None:
    gone = HOUR - HOUR_MS
    verdicts = judge([gone, HOUR], [HOUR, RUNNING], LiveHours(RUNNING), {HOUR: found}, given_up)
    assert verdicts == Verdicts(problems, [*still, RUNNING], 1)
