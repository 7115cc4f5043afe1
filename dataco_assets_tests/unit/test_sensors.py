"""Tests the sensors: their decisions as plain functions, and the sensors on an ephemeral Dagster instance."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.instance.config import PoolGranularity
from dagster._core.op_concurrency_limits_counter import GlobalOpConcurrencyLimitsCounter
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.test_utils import create_run_for_test
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from dataco_assets.assets.failures import RunFailure
from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key, hour_of, touched_hours
from dataco_assets.definitions import build_defs
from dataco_assets.errors import ErrorKind
from dataco_assets.following import FOLLOW_TAG
from dataco_assets.jobs import INGEST_AND_REFRESH_JOB, INGEST_JOB, REFRESH_JOB
from dataco_assets.ledgers.hours import Collecting, DirtyHours, HourLedger, HourState, dirty_hours
from dataco_assets.ledgers.parked import Parked, ParkedWork
from dataco_assets.partitions import HOURS, MOST_SPANS, is_partition, range_tags, run_hours, scattered_tags
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.sensors import dirty_hours_sensor, kafka_lag, kafka_lag_sensor
from dataco_assets.sensors.back_off import PastRun, back_off_seconds, failures_in_a_row
from dataco_assets.sensors.circumstances import circumstances
from dataco_assets.sensors.ingest import IngestView, hours_refreshed_too, reason_to_wait
from dataco_assets.sensors.parking import CHANGED, SUCCEEDED, WIDESPREAD, settled_hours, settled_ingest
from dataco_assets.sensors.refresh import (
    HoursView,
    Lane,
    RefreshRun,
    failures_by_hour,
    hours_to_refresh,
    run_request,
    short_backlog_hours,
)
from dataco_assets.sensors.runs import IN_FLIGHT
from dataco_assets.settings import Settings, settings
from local_stack.stack import DAGSTER_CONFIG

FIRST = 1_767_225_600_000  # 2026-01-01T00:00Z
NOON = FIRST / 1000 + 12 * 3_600  # epoch seconds
DEADLINE_SECONDS = 5.0


def hour(number: int) -> int:
    return FIRST + number * HOUR_MS


def hours(numbers: Sequence[int]) -> list[int]:
    return [hour(number) for number in numbers]


# Back-off


def test_back_off_doubles_from_30_s_and_stays_at_15_min() -> None:
    assert [back_off_seconds(n) for n in range(8)] == [0, 30, 60, 120, 240, 480, 900, 900]
    assert back_off_seconds(1_000) == 900


def test_only_failures_since_the_last_success_count() -> None:
    runs = [PastRun(failed, 0.0) for failed in (True, True, False, True)]
    assert failures_in_a_row(runs) == 2
    assert failures_in_a_row(runs[2:]) == 0
    assert failures_in_a_row([]) == 0


# Whether to start an ingest


def view(*, waiting: int = 0, waited_long: bool = False, past: Sequence[PastRun] = ()) -> IngestView:
    return IngestView(waiting, waited_long, past, NOON)


def failed(*seconds_ago: float) -> list[PastRun]:
    return [PastRun(failed=True, ended_at=NOON - ago) for ago in seconds_ago]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (view(), "No click"),
        (view(waited_long=True), "No click"),
        (view(waiting=999), "999 clicks are waiting, fewer than 1,000"),
        (view(waiting=5_000, past=failed(29.0)), "last 1 runs failed; trying again in 1 s. 5,000 clicks"),
        (view(waiting=5_000, past=failed(119.0, 300.0, 600.0)), "last 3 runs failed; trying again in 1 s"),
        (view(waiting=1, waited_long=True, past=failed(899.0, *[1_000.0] * 30)), "trying again in 1 s"),
    ],
)
def test_reasons_to_wait(seen: IngestView, reason: str) -> None:
    assert reason in str(reason_to_wait(seen, 1_000))


@pytest.mark.parametrize(
    "seen",
    [
        view(waiting=1_000),
        view(waiting=1, waited_long=True),
        view(waiting=1_000, past=failed(30.0)),
        view(waiting=1_000, past=failed(120.0, 300.0, 600.0)),
        view(waiting=1_000, past=failed(900.0, *[1_000.0] * 30)),
        view(waiting=1_000, past=[PastRun(failed=False, ended_at=NOON), *failed(1.0, 1.0)]),
    ],
)
def test_reasons_to_start(seen: IngestView) -> None:
    assert reason_to_wait(seen, 1_000) is None


# Whether the ingest refreshes the running hour, too

AT_TEN_PAST = FIRST / 1000 + 12 * 3_600 + 600  # clicks of this time change the hour before, too
HOURS_OF_NOW = [FIRST + 11 * HOUR_MS, FIRST + 12 * HOUR_MS]


def refreshed_too(waiting: int = 100, *, together: Sequence[PastRun] = (), **rest: Any) -> list[int]:
    rest.setdefault("refreshed_at", dict.fromkeys(HOURS_OF_NOW, AT_TEN_PAST - 5))
    return list(hours_refreshed_too(waiting, HoursView(dirty=(), now=AT_TEN_PAST, **rest), together, 5.0))


def both(*, ago: float, slow: bool = False, failed: bool = False) -> list[PastRun]:
    last = PastRun(failed=failed, ended_at=AT_TEN_PAST - ago, started_at=0.0, had_slow_round=slow)
    return [last, PastRun(failed=False, ended_at=0)]


@pytest.mark.parametrize(
    "seen",
    [
        {},
        {"waiting": 50_000},
        {"refreshed_at": {HOURS_OF_NOW[0]: 0.0}},  # the running hour has just begun
        {"refreshed_at": {HOURS_OF_NOW[0] - HOUR_MS: 0.0}},
        {"parked": [hour(3)], "failures": {hour(3): (1, 0.0)}},
        {"together": both(ago=1)},  # however long it followed
        {"together": both(ago=600, slow=True)},
        {"together": both(ago=600, failed=True)},
    ],
)
def test_an_ingest_of_clicks_of_now_refreshes_their_hours_too(seen: Mapping[str, Any]) -> None:
    assert refreshed_too(**seen) == HOURS_OF_NOW


@pytest.mark.parametrize(
    "seen",
    [
        {"waiting": 50_001},
        {"refreshed_at": {}},  # perhaps all clicks are old
        {"refreshed_at": dict.fromkeys(HOURS_OF_NOW, AT_TEN_PAST - 4.9)},
        {"in_flight": [hour(3)]},
        {"lanes": [Lane.BACKLOG]},
        {"parked": HOURS_OF_NOW[:1]},
        {"failures": {HOURS_OF_NOW[1]: (1, 0.0)}},
        {"lanes": [Lane.FOLLOWING]},
        {"together": both(ago=599, slow=True)},
        {"together": both(ago=599, failed=True)},
    ],
)
def test_it_does_not_where_either_would_wait_for_the_other(seen: Mapping[str, Any]) -> None:
    assert refreshed_too(**seen) == []


# Which hours to refresh


def wanted(
    seen: HoursView, *, exists: Callable[[int], bool] = lambda _: True, hours_per_run: int = 168
) -> list[list[int]]:
    """The hours of the runs that are started."""
    return [list(run.hours) for run in runs_wanted(seen, exists=exists, hours_per_run=hours_per_run)]


def runs_wanted(
    seen: HoursView, *, exists: Callable[[int], bool] = lambda _: True, hours_per_run: int = 168
) -> list[RefreshRun]:
    return hours_to_refresh(seen, exists=exists, hours_per_run=hours_per_run, running_hour_seconds=60.0, newest_hours=3)


def seen(dirty: Sequence[int], **rest: Any) -> HoursView:
    rest.setdefault("now", NOON)
    return HoursView(dirty, **rest)


def test_hours_share_a_run_whatever_lies_between_them_the_oldest_first() -> None:
    assert wanted(seen(hours([7, 1, 2, 3, 8]))) == [hours([1, 2, 3, 7, 8])]


def test_a_run_has_at_most_the_hours_asked_for() -> None:
    assert wanted(seen(hours(range(10))), hours_per_run=4) == [hours(range(4))]


def test_a_thousand_hours_one_a_day_take_a_dozen_runs() -> None:
    dirty = set(hours(range(0, 24_000, 24)))
    runs = 0
    while dirty:
        (run,) = wanted(seen(sorted(dirty), now=hour(30_000) / 1000))
        dirty -= set(run)
        runs += 1
    assert runs == 10, "100 spans each"


def test_the_running_hour_has_a_run_of_its_own_beside_any_backlog() -> None:
    """14 spans of old hours once kept the running hour waiting for 23 minutes."""
    spans = [start + step for start in range(-400, -120, 20) for step in range(3)]
    runs = runs_wanted(seen(hours([*spans, 11, 12])))
    assert runs == [
        RefreshRun(Lane.NEWEST, hours([11, 12])),
        RefreshRun(Lane.BACKLOG, hours(spans)[:24]),
    ]


@pytest.mark.parametrize(
    ("lanes", "more"),
    [
        ((), [Lane.NEWEST, Lane.BACKLOG]),
        ((Lane.BACKLOG,), [Lane.NEWEST]),
        ((Lane.NEWEST,), [Lane.BACKLOG]),
        (tuple(Lane), []),
    ],
)
def test_each_lane_has_one_run_at_a_time(lanes: Sequence[Lane], more: Sequence[Lane]) -> None:
    assert [run.lane for run in runs_wanted(seen(hours([1, 3, 12]), lanes=lanes))] == more


def test_a_run_that_follows_keeps_the_hours_of_now_and_holds_up_no_other() -> None:
    late = seen(hours([1, 10, 11, 12]), lanes={Lane.FOLLOWING}, in_flight=hours([11]), now=NOON + 5)
    assert runs_wanted(late) == [RefreshRun(Lane.NEWEST, hours([10])), RefreshRun(Lane.BACKLOG, hours([1]))]


def test_an_hour_that_ended_a_while_ago_does_not_wait_behind_a_backlog_either() -> None:
    backlog = hours(range(-1_000, 10))
    late = seen([*backlog, *hours([10, 11])], lanes={Lane.BACKLOG}, now=NOON + 45 * 60)
    assert runs_wanted(late) == [RefreshRun(Lane.NEWEST, hours([10, 11]))]


@pytest.mark.parametrize(
    ("age", "collected"),
    [
        (timedelta(hours=-1), timedelta()),
        (timedelta(0), timedelta()),
        (timedelta(hours=1), timedelta(minutes=3)),
        (timedelta(days=1), timedelta(hours=1, minutes=12)),
        (timedelta(days=20), timedelta(days=1)),
        (timedelta(days=400), timedelta(days=1)),
    ],
)
def test_late_clicks_are_collected_the_longer_the_older_their_hour_is(age: timedelta, collected: timedelta) -> None:
    published = hour(1) + round(age.total_seconds() * 1000)
    due = Collecting(percent=5.0, most_seconds=86_400).ends_at(hour(0), published)
    assert due - published == round(collected.total_seconds() * 1000)


def test_a_year_of_late_clicks_computes_an_hour_a_few_hundred_times() -> None:
    rule, at, times = Collecting(percent=5.0, most_seconds=86_400), hour(2), 0
    while at < hour(365 * 24):
        at = max(rule.ends_at(hour(0), at), at + 60_000)
        times += 1
    assert times < 600


def test_hours_that_were_never_published_collect_nothing() -> None:
    states = [HourState(hour(0), dirty=3), HourState(hour(1), dirty=3, done=2), HourState(hour(2), dirty=3, done=3)]
    found = dirty_hours(states, earliest_ms=0, ttl_days=90, now_ms=hour(5))
    assert (found.waiting, found.reopened) == (hours([0, 1]), hours([1]))


def test_old_hours_wait_in_short_runs_while_clicks_of_this_moment_come_in() -> None:
    old = hours(range(-500, 0))
    assert len(wanted(seen(old))[0]) == 168, "nothing comes in"
    assert len(wanted(seen([*old, hour(12)]))[1]) == 24, "nothing is known of how long they take"
    assert len(wanted(seen(old, refreshed_at={hour(12): NOON - 60}))[0]) == 24
    assert len(wanted(seen([*old, hour(12)], backlog_speed=(24, 180.0)))[1]) == 8
    assert len(wanted(seen([*old, hour(12)], backlog_speed=(24, 20.0)))[1]) == 72


def test_how_many_old_hours_a_live_run_has() -> None:
    assert short_backlog_hours((1, 3_000.0)) == 1, "never none"
    assert short_backlog_hours((10, 0.0)) == 600
    # Half of the seconds do not depend on the hours: after a few runs, one takes as long as it may.
    count = 1
    for _ in range(20):
        count = short_backlog_hours((count, 30 + 0.5 * count))
    assert 55 <= count <= 60


def test_hours_in_flight_are_skipped() -> None:
    assert wanted(seen(hours([1, 2, 3]), in_flight=set(hours([2])))) == [hours([1, 3])]


def test_parked_hours_are_skipped_and_hold_up_no_other() -> None:
    assert wanted(seen(hours([1, 2, 3, 12]), parked=set(hours([2, 12])))) == [hours([1, 3])]


def test_hours_that_are_no_partitions_never_hold_up_the_others() -> None:
    ahead, before = hour(10_000_000), hour(-10_000)
    dirty = [before, *hours([1, 2]), ahead]
    assert wanted(seen(dirty), exists=lambda h: HOURS.has_partition_key(hour_key(h))) == [hours([1, 2])]
    assert wanted(seen([before, ahead]), exists=lambda h: HOURS.has_partition_key(hour_key(h))) == []


@pytest.mark.parametrize(("ago", "ready"), [(0.0, False), (59.9, False), (60.0, True), (None, True)])
def test_the_running_hour_is_refreshed_at_most_once_a_minute(ago: float | None, ready: bool) -> None:
    refreshed = {} if ago is None else {hour(12): NOON - ago}
    assert wanted(seen(hours([5, 12]), refreshed_at=refreshed)) == ([hours([12])] if ready else []) + [hours([5])]


@pytest.mark.parametrize(("minutes", "ready"), [(0, False), (29, False), (30, True), (59, True)])
def test_so_is_the_hour_before_it_as_long_as_clicks_of_now_reach_back_into_it(minutes: int, ready: bool) -> None:
    now = NOON + minutes * 60
    view_now = seen(hours([11]), refreshed_at={hour(11): now - 15}, now=now)
    assert wanted(view_now) == ([hours([11])] if ready else [])


def test_a_failed_hour_waits_for_its_back_off_and_its_neighbours_do_not() -> None:
    failures = {hour(2): (3, NOON - 119)}
    assert wanted(seen(hours([1, 2, 3]), failures=failures)) == [hours([1, 3])]
    failures = {hour(2): (3, NOON - 120)}
    assert wanted(seen(hours([2]), failures=failures)) == [hours([2])]


def test_a_failed_run_is_cut_to_an_eighth_with_every_failure() -> None:
    for times, most in enumerate([64, 8, 1, 1]):
        failures = {hour(number): (times, 0.0) for number in range(-64, 0)} if times else {}
        assert [len(run) for run in wanted(seen(hours(range(-64, 0)), failures=failures), hours_per_run=64)] == [most]


def test_healthy_hours_never_share_a_run_with_one_that_failed() -> None:
    failures = {hour(3): (9, 0.0)}
    assert wanted(seen(hours(range(7)), failures=failures)) == [hours([0, 1, 2, 4, 5, 6])]
    assert wanted(seen(hours([3]), failures=failures)) == [hours([3])]
    assert wanted(seen(hours([11, 12]), failures={hour(11): (1, 0.0)})) == [hours([12])]


def test_many_failing_hours_do_not_take_the_turns_of_healthy_ones() -> None:
    bad = hours(range(-40, 0, 2))
    failures = dict.fromkeys(bad, (6, NOON - 10_000))
    assert wanted(seen([*bad, *hours([2, 3])], failures=failures)) == [hours([2, 3])]


@given(
    dirty=st.sets(st.integers(-3, 30)),
    in_flight=st.sets(st.integers(-3, 30)),
    parked=st.sets(st.integers(-3, 30)),
    failures=st.dictionaries(st.integers(-3, 30), st.tuples(st.integers(1, 9), st.floats(-1_000, 0))),
    refreshed=st.dictionaries(st.integers(-3, 30), st.floats(-200, 0)),
    lanes=st.sets(st.sampled_from(list(Lane))),
    hours_per_run=st.integers(1, 10),
    minute=st.integers(0, 59),
)
def test_whatever_the_view_the_runs_are_sound(
    dirty: set[int],
    in_flight: set[int],
    parked: set[int],
    failures: Mapping[int, tuple[int, float]],
    refreshed: Mapping[int, float],
    lanes: set[Lane],
    hours_per_run: int,
    minute: int,
) -> None:
    now = NOON + 60 * minute
    view_now = seen(
        hours(sorted(dirty)),
        in_flight=set(hours(sorted(in_flight))),
        parked=set(hours(sorted(parked))),
        lanes=lanes,
        failures={hour(h): (count, now + ended) for h, (count, ended) in failures.items()},
        refreshed_at={hour(h): now + started for h, started in refreshed.items()},
        now=now,
    )
    runs = runs_wanted(view_now, exists=lambda h: hour(0) <= h <= hour(12), hours_per_run=hours_per_run)
    chosen = [h for run in runs for h in run.hours]
    assert not lanes.intersection(run.lane for run in runs)
    assert len({run.lane for run in runs}) == len(runs)
    assert len(chosen) == len(set(chosen))
    assert set(chosen) <= set(hours(sorted((dirty - in_flight - parked) & set(range(13)))))
    running, newest = set(touched_hours(int(now * 1000))), set(hours([10, 11, 12, 13]))
    for run in runs:
        assert list(run.hours) == sorted(run.hours)
        assert len({view_now.failures_of(h) for h in run.hours}) == 1
        if run.lane is Lane.BACKLOG:
            assert len(run.hours) <= max(1, hours_per_run >> 3 * view_now.failures_of(run.hours[0]))
            assert newest.isdisjoint(run.hours)
        else:
            assert newest.issuperset(run.hours)
    for h in chosen:
        count, ended = view_now.failures.get(h, (0, 0.0))
        assert now >= ended + back_off_seconds(count)
        if h in running:
            assert now >= view_now.refreshed_at.get(h, 0.0) + 60.0
            assert Lane.FOLLOWING not in lanes
    # With a free lane and a ready hour, something must be started.
    ready = [hour(h) for h in dirty - in_flight - parked - failures.keys() - refreshed.keys() if 0 <= h <= 12]
    for h in ready:
        if Lane.FOLLOWING in lanes and h in running:
            continue
        lane = Lane.NEWEST if h in newest else Lane.BACKLOG
        assert lane in lanes or any(run.lane is lane for run in runs)


def test_one_bad_hour_ends_up_alone_and_all_others_are_refreshed() -> None:
    """Simulates two hours of the sensor with runs that fail exactly if they contain the bad hour."""
    bad, dirty, now = hour(777), set(hours(range(700, 868))), hour(900) / 1000
    failures: dict[int, tuple[int, float]] = {}
    last_failed: list[int] = []
    for _ in range(2 * 60 * 4):
        for run in wanted(seen(sorted(dirty), failures=dict(failures), now=now)):
            if bad in run:
                last_failed = run
                failures |= {h: (failures.get(h, (0, 0.0))[0] + 1, now) for h in run}
            else:
                dirty -= set(run)
        now += 15
    assert last_failed == [bad]
    assert dirty == {bad}


def test_a_hundred_thousand_dirty_hours_are_a_fraction_of_a_second_of_work() -> None:
    dirty = [hour(number) for number in range(-100_000, 0)]
    started = time.process_time()
    runs = hours_to_refresh(
        seen(dirty, failures=dict.fromkeys(dirty[:5000], (1, 0.0))),
        exists=lambda h: is_partition(h, start_ms=dirty[0], now_ms=int(NOON * 1000)),
        hours_per_run=168,
        running_hour_seconds=60.0,
        newest_hours=3,
    )
    assert time.process_time() - started < 0.5
    assert [len(run.hours) for run in runs] == [168]


# Parking

NO = RunFailure(ErrorKind.PERMANENT, "TooManyRejected", "61% of 4,000 messages are rejected.")
HERE = "as-it-is"


def broken(
    *numbers: int, ago: float = 60.0, circumstances: str = HERE, about: Sequence[int] = (), error: str = "Broken"
) -> PastRun:
    failure = RunFailure(ErrorKind.PERMANENT, error, "It is broken.", tuple(hours(about)))
    return PastRun(True, NOON - ago, run_id="run", hours=hours(numbers), failure=failure, circumstances=circumstances)


def settled(
    past: Sequence[PastRun], entry: Parked | None = None, circumstances: str = HERE, now: float = NOON
) -> Parked | None:
    return settled_ingest(entry, past, circumstances, now)


def test_a_permanent_failure_parks_the_ingest_and_says_what_is_to_be_done() -> None:
    entry = settled([PastRun(True, NOON - 60, run_id="0123456789", failure=NO, circumstances=HERE)])
    assert entry is not None
    assert entry.is_active
    reason = str(reason_to_wait(IngestView(7_000, True, [], NOON, entry), 1_000))
    for expected in (
        "2026-01-01 11:59 UTC",
        "01234567",
        "TooManyRejected: 61%",
        "`dataco resume ingest`",
        "7,000 clicks",
    ):
        assert expected in reason


@pytest.mark.parametrize(
    "run",
    [
        PastRun(True, NOON - 60, failure=RunFailure(ErrorKind.PASSING, "Away", "Gone."), circumstances=HERE),
        PastRun(True, NOON - 60, failure=None, circumstances=HERE),
        PastRun(True, NOON - 60, failure=NO, circumstances=""),
        PastRun(True, NOON - 60, failure=NO, circumstances="as-it-was"),
        PastRun(False, NOON - 60, circumstances=HERE),
    ],
    ids=["passing", "a bug or a dead process", "started by a person", "changed meanwhile", "succeeded"],
)
def test_other_ends_of_a_run_park_nothing(run: PastRun) -> None:
    assert settled([run]) is None
    assert settled([run, PastRun(True, NOON - 600, failure=NO, circumstances=HERE)]) is None, "the newest decides"


def test_a_parked_ingest_stays_parked_until_something_changes() -> None:
    runs = [PastRun(True, NOON - 60, run_id="r", failure=NO, circumstances=HERE)]
    entry = settled(runs)
    assert entry is not None
    assert settled(runs, entry, now=NOON + 1e7) == entry

    changed = settled(runs, entry, circumstances="another")
    assert changed is not None
    assert (changed.is_active, changed.ended_by) == (False, CHANGED)
    by_hand = settled([PastRun(False, NOON - 1), *runs], entry)
    assert by_hand is not None
    assert (by_hand.is_active, by_hand.ended_by) == (False, SUCCEEDED)


def test_what_was_resumed_is_tried_at_once_and_parked_again_only_by_another_failure() -> None:
    runs = [PastRun(True, NOON - 60, run_id="r", failure=NO, circumstances=HERE)]
    entry = settled(runs)
    assert entry is not None
    resumed = entry.ended("a person", NOON - 30)
    assert settled(runs, resumed) == resumed
    assert reason_to_wait(IngestView(1_000, True, runs, NOON, resumed), 1_000) is None, "no back-off"

    again = [PastRun(True, NOON - 1, run_id="r2", failure=NO, circumstances=HERE), *runs]
    parked = settled(again, resumed)
    assert parked is not None
    assert parked.is_active
    assert parked.run_id == "r2"


def test_resumed_under_a_clock_that_is_behind_is_resumed_all_the_same() -> None:
    runs = [PastRun(True, NOON - 60, run_id="r", failure=NO, circumstances=HERE)]
    entry = settled(runs)
    assert entry is not None
    resumed = entry.ended("a person", NOON - 3_600)
    assert settled(runs, resumed) == resumed


def settled_now(
    past: Sequence[PastRun],
    dirty: Sequence[int],
    entries: Mapping[int, Parked] | None = None,
    circumstances: str = HERE,
) -> dict[int, Parked]:
    return settled_hours(entries or {}, set(hours(dirty)), past, circumstances, NOON)


def test_an_hour_is_parked_alone() -> None:
    assert set(settled_now([broken(3)], [1, 2, 3])) == {hour(3)}
    assert settled_now([broken(1, 2, 3)], [1, 2, 3]) == {}, "any of the three may be the bad one"
    assert set(settled_now([broken(1, 2, 3, about=[2])], [1, 2, 3])) == {hour(2)}, "the error says which"
    assert settled_now([broken(3)], [1, 2]) == {}, "refreshed since"
    assert settled_now([PastRun(False, NOON, hours=hours([3])), broken(3)], [3]) == {}, "refreshed, and dirty again"


def test_an_error_of_several_single_hours_is_about_all_that_fail_with_it() -> None:
    entries = settled_now([broken(1), broken(2), broken(3)], range(60))
    assert len(entries) == WIDESPREAD
    assert set(settled_now([broken(*range(10, 20))], range(60), entries)) == set(hours(range(10, 20)))
    assert settled_now([broken(*range(10, 20), error="Other")], range(60), entries) == {}


def test_parked_hours_are_resumed_by_a_change_and_by_a_refresh() -> None:
    entries = settled_now([broken(3), broken(5)], [3, 5])
    assert settled_now([broken(3), broken(5)], [3, 5], entries) == {}
    changed = settled_now([broken(3), broken(5)], [3, 5], entries, circumstances="another")
    assert {each.ended_by for each in changed.values()} == {CHANGED}
    done = settled_now([], [5], entries)
    assert {h: each.ended_by for h, each in done.items()} == {hour(3): SUCCEEDED}


def test_failures_before_an_hour_was_resumed_do_not_count() -> None:
    past = [broken(3, ago=10), broken(3, ago=20), broken(3, 4, ago=30)]
    assert failures_by_hour(past, {}) == {hour(3): (3, NOON - 10), hour(4): (1, NOON - 30)}
    assert failures_by_hour(past, {hour(3): NOON - 15}) == {hour(3): (1, NOON - 10), hour(4): (1, NOON - 30)}


def test_a_failure_about_some_hours_of_a_run_is_none_of_the_others() -> None:
    assert failures_by_hour([broken(1, 2, 3, about=[2])], {}) == {hour(2): (1, NOON - 60)}


def test_the_circumstances_are_settings_code_and_topic_but_no_secret() -> None:
    here = Settings.load()
    assert circumstances(here) == circumstances(here.model_copy())
    assert circumstances(here) != circumstances(here.model_copy(update={"ingest_max_rejected_share": 0.9}))
    assert circumstances(here) != circumstances(here, "another topic")
    assert circumstances(here) == circumstances(here.model_copy(update={"elasticsearch_password": SecretStr("x")}))


# Runs and their hours


def test_one_hour_is_a_partition_and_several_are_a_range() -> None:
    def request(*numbers: int) -> dg.RunRequest:
        return run_request(RefreshRun(Lane.BACKLOG, hours(numbers)), {"dataco/x": "y"})

    tags = {"dataco/x": "y", "dataco/lane": "backlog"}
    assert request(3).partition_key == "2026-01-01-03:00"
    assert request(3).tags == tags
    assert request(3, 4, 5).partition_key is None
    assert request(3, 4, 5).tags == tags | range_tags("2026-01-01-03:00", "2026-01-01-05:00")


def test_hours_with_gaps_are_a_range_that_names_them() -> None:
    request = run_request(RefreshRun(Lane.BACKLOG, hours([3, 4, 9])), {})
    assert request.tags == {
        "dataco/lane": "backlog",
        "dataco/hours": "2026-01-01-03:00/2,2026-01-01-09:00/1",
        "dagster/defer_asset_events": "true",
        **range_tags("2026-01-01-03:00", "2026-01-01-09:00"),
    }


@given(first=st.integers(0, 3_000), length=st.integers(1, 200))
def test_a_runs_tags_lead_back_to_its_hours(first: int, length: int) -> None:
    keys = [hour_key(h) for h in hours(range(first, first + length))]
    assert [hour_key(h) for h in run_hours(range_tags(keys[0], keys[-1]))] == keys


def test_a_run_of_hours_that_are_no_partitions_any_more_breaks_no_tick() -> None:
    assert len(run_hours(range_tags("2001-01-01-00:00", "2001-01-01-04:00"))) == 5
    assert run_hours({"dagster/partition": "2001-01-01-00:00"}) == [hour_from_key("2001-01-01-00:00")]
    assert run_hours({}) == []


# The sensors themselves


@pytest.fixture(autouse=True)
def parked_work(monkeypatch: pytest.MonkeyPatch) -> dict[str, Parked]:
    """The entries of parked work, in memory; integration/test_parking.py has them in HBase."""
    entries: dict[str, Parked] = {}
    monkeypatch.setattr(ParkedWork, "all", lambda _: dict(entries))
    monkeypatch.setattr(ParkedWork, "read", lambda _, name: entries.get(name))
    monkeypatch.setattr(ParkedWork, "write", lambda _, new: entries.update({each.name: each for each in new}))
    return entries


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never answers, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def tick(
    sensor: dg.SensorDefinition, instance: dg.DagsterInstance, *, kafka: int, hbase: int, elasticsearch: int = 1
) -> Any:
    settings = Settings.load().model_copy(
        update={
            "kafka_bootstrap_servers": f"127.0.0.1:{kafka}",
            "hbase_thrift_port": hbase,
            "elasticsearch_url": f"http://127.0.0.1:{elasticsearch}",
        }
    )
    resources: dict[str, Any] = {
        "settings": settings,
        "hbase": HBaseResource(settings=settings),
        "elasticsearch": ElasticsearchResource(settings=settings),
    }
    if sensor is kafka_lag_sensor:
        resources["kafka"] = KafkaResource(settings=settings)
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        return sensor(context)


def skip_reason(result: Any) -> str:
    assert isinstance(result, dg.SkipReason), result
    return result.skip_message or ""


def test_with_the_broker_down_the_lag_sensor_says_so_in_time(instance: dg.DagsterInstance) -> None:
    port = unused_port()
    started = time.monotonic()
    reason = skip_reason(tick(kafka_lag_sensor, instance, kafka=port, hbase=unused_port()))
    assert time.monotonic() - started <= DEADLINE_SECONDS
    assert f"127.0.0.1:{port}" in reason
    assert "DATACO_KAFKA_BOOTSTRAP_SERVERS" in reason


def test_with_a_stalled_broker_the_lag_sensor_says_so_in_time(instance: dg.DagsterInstance) -> None:
    with silent_server() as port:
        started = time.monotonic()
        reason = skip_reason(tick(kafka_lag_sensor, instance, kafka=port, hbase=unused_port()))
        assert time.monotonic() - started <= DEADLINE_SECONDS
    assert f"127.0.0.1:{port}" in reason


def test_with_the_gateway_down_the_hours_sensor_says_so_in_time(instance: dg.DagsterInstance) -> None:
    port = unused_port()
    started = time.monotonic()
    reason = skip_reason(tick(dirty_hours_sensor, instance, kafka=0, hbase=port))
    assert time.monotonic() - started <= DEADLINE_SECONDS
    assert f"127.0.0.1:{port}" in reason
    assert "DATACO_HBASE_THRIFT_HOST" in reason


def test_with_a_stalled_gateway_the_hours_sensor_says_so(instance: dg.DagsterInstance) -> None:
    with silent_server() as port:
        started = time.monotonic()
        reason = skip_reason(tick(dirty_hours_sensor, instance, kafka=0, hbase=port))
        assert time.monotonic() - started <= DEADLINE_SECONDS + 1
    assert f"127.0.0.1:{port}" in reason


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
@pytest.mark.parametrize("job", ["__ASSET_JOB", INGEST_JOB, INGEST_AND_REFRESH_JOB])
def test_a_drain_in_flight_is_not_doubled_whoever_started_it(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_lag, "_measure", lambda *_: pytest.fail("no server need be asked"))
    selection = frozenset({dg.AssetKey("raw_clicks")}) if job == "__ASSET_JOB" else None
    create_run_for_test(instance, job_name=job, status=status, asset_selection=selection)
    assert "queued or in progress" in skip_reason(tick(kafka_lag_sensor, instance, kafka=1, hbase=1))


def test_every_unfinished_status_is_in_flight() -> None:
    # Not these two: nothing sets SUSPENDED yet, and MANAGED runs are not Dagster's.
    elsewhere = {"SUSPENDED", "MANAGED"}
    unfinished = {s for s in dg.DagsterRunStatus if s not in FINISHED_STATUSES and s.value not in elsewhere}
    assert set(IN_FLIGHT) == unfinished


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets what the lag sensor measures."""

    def set_lag(waiting: int, *, has_live: bool = True) -> None:
        lag = kafka_lag._Measured(waiting, False, "topic", "{}", has_live=has_live)
        monkeypatch.setattr(kafka_lag, "_measure", lambda *_: lag)

    return set_lag


def test_without_live_one_run_ingests_and_refreshes_until_one_fails(
    instance: dg.DagsterInstance, measured: Callable[..., None], parked_work: dict[str, Parked]
) -> None:
    def asked() -> dg.RunRequest:
        request = tick(kafka_lag_sensor, instance, kafka=1, hbase=1)
        assert isinstance(request, dg.RunRequest)
        return request

    def ran(job: str, tags: Mapping[str, str], *, well: bool = True) -> None:
        run = create_run_for_test(instance, job_name=job, status=dg.DagsterRunStatus.STARTED, tags=dict(tags))
        if well:
            instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, job), run_id=run.run_id
            )
        else:
            instance.report_run_failed(run)

    measured(5_000, has_live=False)
    assert asked().job_name == INGEST_JOB, "nothing says that clicks of now are coming"
    now = int(time.time() * 1000)
    long_ago = {"dagster/partition": hour_key(hour_of(now) - HOUR_MS)}
    ran(REFRESH_JOB, long_ago)
    wanted = asked()
    assert wanted.job_name == INGEST_AND_REFRESH_JOB
    assert wanted.tags[FOLLOW_TAG] == "600"
    assert set(run_hours({**wanted.tags, "dagster/partition": wanted.partition_key or ""})) <= set(touched_hours(now))
    measured(5_000, has_live=True)
    assert asked().job_name == INGEST_JOB, "readers do not wait for the batch"
    measured(5_000, has_live=False)
    key = hour_key(hour_of(now))
    parked_work[key] = Parked(key, "DataGone", "Gone.", "run", time.time(), "")
    assert asked().job_name == INGEST_JOB, "that hour is parked"
    parked_work[key] = parked_work[key].ended("`dataco resume`", time.time())
    assert asked().job_name == INGEST_AND_REFRESH_JOB
    ran(INGEST_AND_REFRESH_JOB, wanted.tags, well=False)
    assert asked().job_name == INGEST_JOB, "at once: whether it was the ingest that failed is not known"


def test_lag_starts_a_run_and_failures_hold_the_next_one_back(
    instance: dg.DagsterInstance, measured: Callable[..., None]
) -> None:
    measured(5_000)
    request = tick(kafka_lag_sensor, instance, kafka=1, hbase=1)
    assert isinstance(request, dg.RunRequest)
    assert request.run_key is None, "the key of a failed run is never launched again"
    for _ in range(2):
        run = create_run_for_test(instance, job_name=INGEST_JOB, status=dg.DagsterRunStatus.STARTED)
        instance.report_run_failed(run)
    assert "last 2 runs failed; trying again in" in skip_reason(tick(kafka_lag_sensor, instance, kafka=1, hbase=1))


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[int]], None]:
    """Sets the dirty hours of the ledger."""

    def set_dirty(dirty: Sequence[int]) -> None:
        monkeypatch.setattr(HourLedger, "unfinished", lambda *_, **__: DirtyHours(sorted(dirty), [], []))

    return set_dirty


def tick_hours(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    result = tick(dirty_hours_sensor, instance, kafka=0, hbase=1)
    return cast("list[dg.RunRequest]", result if isinstance(result, list) else [])


def test_dirty_hours_become_requests_and_those_in_flight_do_not(
    instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]
) -> None:
    ledger(hours([1, 2, 3, 7]))
    assert run_hours(tick_hours(instance)[0].tags) == hours([1, 2, 3, 7])
    create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        asset_selection=frozenset({dg.AssetKey("es_click_index")}),
        status=dg.DagsterRunStatus.STARTED,
        tags=range_tags(hour_key(hour(1)), hour_key(hour(3))),
    )
    assert [request.partition_key for request in tick_hours(instance)] == [hour_key(hour(7))]


def test_with_elasticsearch_down_the_running_hour_is_refreshed_as_without_live(
    instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]
) -> None:
    now = hour_of(int(time.time() * 1000))
    ledger([now])
    started = time.monotonic()
    (wanted,) = tick(dirty_hours_sensor, instance, kafka=0, hbase=1, elasticsearch=unused_port())
    assert time.monotonic() - started <= DEADLINE_SECONDS
    assert wanted.partition_key == hour_key(now)


def test_the_first_two_refreshes_of_an_instance_do_not_run_at_the_same_time(
    tmp_path: Path, ledger: Callable[[Sequence[int]], None]
) -> None:
    job = build_defs().resolve_job_def(REFRESH_JOB)
    (tmp_path / "dagster.yaml").write_text(DAGSTER_CONFIG.read_text())
    ledger(hours([1, 7]))
    with dg.DagsterInstance.from_config(str(tmp_path)) as new:
        assert tick_hours(new)
        first, second = (new.create_run_for_job(job, tags=range_tags(*[hour_key(hour(n))] * 2)) for n in (1, 7))
        # As Dagster's daemon does when it dequeues runs.
        storage = new.event_log_storage
        pools = GlobalOpConcurrencyLimitsCounter(
            *(new, [first, second], [], storage.get_concurrency_keys(), storage.get_pool_limits()),
            pool_granularity=PoolGranularity.RUN,
        )
        assert not pools.is_blocked(first)
        pools.update_counters_with_launched_item(first)
        assert pools.is_blocked(second)


def test_failures_are_counted_by_hour_up_to_its_last_success(
    instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]
) -> None:
    def finished(tags: Mapping[str, str], *, success: bool) -> None:
        run = create_run_for_test(instance, job_name=REFRESH_JOB, status=dg.DagsterRunStatus.STARTED, tags=dict(tags))
        if success:
            instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, REFRESH_JOB), run_id=run.run_id
            )
        else:
            instance.report_run_failed(run)

    finished(range_tags(hour_key(hour(1)), hour_key(hour(4))), success=False)
    finished({"dagster/partition": hour_key(hour(2))}, success=True)
    finished(range_tags(hour_key(hour(3)), hour_key(hour(4))), success=False)
    ledger(hours([1, 2, 3, 4, 6]))
    # 1 failed once, 3 and 4 twice, all a moment ago; 2 has succeeded since, 6 was never tried.
    assert [run_hours(request.tags) for request in tick_hours(instance)] == [hours([2, 6])]


def test_nothing_dirty_is_a_skip(instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]) -> None:
    ledger([])
    assert "up to date" in skip_reason(tick(dirty_hours_sensor, instance, kafka=0, hbase=1))


@given(spans=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 9)), min_size=1, max_size=MOST_SPANS))
def test_so_do_those_of_a_run_with_gaps(spans: list[tuple[int, int]]) -> None:
    wanted_hours = sorted({hour(first + step) for first, count in spans for step in range(count)})
    tags = scattered_tags(wanted_hours)
    assert list(run_hours(tags)) == wanted_hours
    assert len(max(tags.values(), key=len)) < 2_500, "PostgreSQL's index of run tags takes no more than 2,700 bytes"


@pytest.mark.parametrize("at", [0, 1, 29 * 60, 59 * 60 + 59])
def test_whether_an_hour_is_a_partition_is_what_dagster_says(at: int) -> None:
    now = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=at)
    now_ms = int(now.timestamp() * 1000)
    first, running = settings().partitions_start_ms, hour_of(now_ms)
    asked = [edge + step * HOUR_MS for edge in (first, running) for step in (-1, 0, 1)]
    with partition_loading_context(effective_dt=now):
        dagster_says = [HOURS.has_partition_key(hour_key(each)) for each in asked]
    assert (
        [is_partition(each, start_ms=first, now_ms=now_ms) for each in asked]
        == dagster_says
        == [False, True, True, True, True, False]
    )
    assert not is_partition(running + 60_000, start_ms=first, now_ms=now_ms)
