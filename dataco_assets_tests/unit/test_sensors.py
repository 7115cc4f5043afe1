"""The sensors: their decisions as plain functions, and their thin shells on a real, ephemeral Dagster instance."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import partition_loading_context
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.test_utils import create_run_for_test
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of, touched_hours
from dataco_assets.jobs import INGEST_JOB, REFRESH_JOB
from dataco_assets.ledgers.hours import HourLedger, HourState
from dataco_assets.partitions import HOURS, MOST_SPANS, is_partition, range_tags, run_hours, scattered_tags
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.sensors import dirty_hours_sensor, kafka_lag, kafka_lag_sensor
from dataco_assets.sensors.back_off import PastRun, back_off_seconds, failures_in_a_row
from dataco_assets.sensors.ingest import IngestView, reason_to_wait
from dataco_assets.sensors.refresh import RUNS_IN_FLIGHT, HoursView, hours_to_refresh, run_request
from dataco_assets.sensors.runs import IN_FLIGHT
from dataco_assets.settings import Settings, settings

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


def view(
    *, waiting: int = 0, waited_long: bool = False, in_flight: bool = False, past: Sequence[PastRun] = ()
) -> IngestView:
    return IngestView(waiting, waited_long, in_flight, past, NOON)


def failed(*seconds_ago: float) -> list[PastRun]:
    return [PastRun(failed=True, ended_at=NOON - ago) for ago in seconds_ago]


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (view(), "No click"),
        (view(waited_long=True), "No click"),
        (view(waiting=999), "999 clicks are waiting, fewer than 1,000"),
        (view(waiting=5_000, waited_long=True, in_flight=True), "queued or at work"),
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


# Which hours to refresh


def wanted(
    seen: HoursView, *, exists: Callable[[int], bool] = lambda _: True, hours_per_run: int = 168
) -> list[list[int]]:
    return hours_to_refresh(seen, exists=exists, hours_per_run=hours_per_run, running_hour_seconds=60.0)


def seen(dirty: Sequence[int], **rest: Any) -> HoursView:
    return HoursView(dirty, **({"in_flight": (), "runs_in_flight": 0, "now": NOON} | rest))


def test_adjacent_hours_share_a_run_and_the_oldest_come_first() -> None:
    assert wanted(seen(hours([7, 1, 2, 3, 8]))) == [hours([1, 2, 3]), hours([7, 8])]


def test_a_run_has_at_most_the_hours_asked_for() -> None:
    assert wanted(seen(hours(range(10))), hours_per_run=4) == [hours(range(4)), hours(range(4, 8))]


@pytest.mark.parametrize(("going", "more"), [(0, 2), (1, 1), (2, 0), (5, 0)])
def test_only_so_many_runs_are_in_flight(going: int, more: int) -> None:
    assert RUNS_IN_FLIGHT == 2
    assert len(wanted(seen(hours([1, 3, 5, 7]), runs_in_flight=going))) == more


def test_hours_in_flight_are_skipped_and_split_their_neighbours() -> None:
    assert wanted(seen(hours([1, 2, 3]), in_flight=set(hours([2])))) == [hours([1]), hours([3])]


def test_hours_that_are_no_partitions_never_hold_up_the_others() -> None:
    ahead, before = hour(10_000_000), hour(-10_000)
    dirty = [before, *hours([1, 2]), ahead]
    assert wanted(seen(dirty), exists=lambda h: HOURS.has_partition_key(hour_key(h))) == [hours([1, 2])]
    assert wanted(seen([before, ahead]), exists=lambda h: HOURS.has_partition_key(hour_key(h))) == []


@pytest.mark.parametrize(("ago", "ready"), [(0.0, False), (59.9, False), (60.0, True), (None, True)])
def test_the_running_hour_is_refreshed_at_most_once_a_minute(ago: float | None, ready: bool) -> None:
    refreshed = {} if ago is None else {hour(12): NOON - ago}
    assert wanted(seen(hours([5, 12]), refreshed_at=refreshed)) == ([hours([5])] + ([hours([12])] if ready else []))


@pytest.mark.parametrize(("minutes", "ready"), [(0, False), (29, False), (30, True), (59, True)])
def test_so_is_the_hour_before_it_as_long_as_clicks_of_now_reach_back_into_it(minutes: int, ready: bool) -> None:
    now = NOON + minutes * 60
    view_now = seen(hours([11]), refreshed_at={hour(11): now - 15}, now=now)
    assert wanted(view_now) == ([hours([11])] if ready else [])


def test_a_failed_hour_waits_for_its_back_off_and_its_neighbours_do_not() -> None:
    failures = {hour(2): (3, NOON - 119)}
    assert wanted(seen(hours([1, 2, 3]), failures=failures)) == [hours([1]), hours([3])]
    failures = {hour(2): (3, NOON - 120)}
    assert hours([2]) in wanted(seen(hours([2, 5]), failures=failures))


def test_a_failed_run_is_cut_to_an_eighth_with_every_failure() -> None:
    for times, most in enumerate([8, 1, 1]):
        failures = {hour(number): (times, 0.0) for number in range(8)} if times else {}
        assert [len(run) for run in wanted(seen(hours(range(8)), failures=failures), hours_per_run=8)] == (
            [8] if most == 8 else [most, most]
        )


def test_healthy_hours_never_share_a_run_with_one_that_failed() -> None:
    failures = {hour(3): (9, 0.0)}
    assert wanted(seen(hours(range(7)), failures=failures)) == [hours([0, 1, 2]), hours([4, 5, 6])]
    assert wanted(seen(hours([3, 4]), failures=failures)) == [hours([4]), hours([3])]


def test_many_failing_hours_do_not_take_the_turns_of_healthy_ones() -> None:
    bad = hours(range(0, 40, 2))
    failures = dict.fromkeys(bad, (6, NOON - 10_000))
    assert wanted(seen([*bad, *hours([100, 101])], failures=failures))[0] == hours([100, 101])


@given(
    dirty=st.sets(st.integers(-3, 30)),
    in_flight=st.sets(st.integers(-3, 30)),
    failures=st.dictionaries(st.integers(-3, 30), st.tuples(st.integers(1, 9), st.floats(-1_000, 0))),
    refreshed=st.dictionaries(st.integers(-3, 30), st.floats(-200, 0)),
    going=st.integers(0, 3),
    hours_per_run=st.integers(1, 10),
    minute=st.integers(0, 59),
)
def test_whatever_the_view_the_runs_are_sound(
    dirty: set[int],
    in_flight: set[int],
    failures: Mapping[int, tuple[int, float]],
    refreshed: Mapping[int, float],
    going: int,
    hours_per_run: int,
    minute: int,
) -> None:
    now = NOON + 60 * minute
    view_now = seen(
        hours(sorted(dirty)),
        in_flight=set(hours(sorted(in_flight))),
        runs_in_flight=going,
        failures={hour(h): (count, now + ended) for h, (count, ended) in failures.items()},
        refreshed_at={hour(h): now + started for h, started in refreshed.items()},
        now=now,
    )
    runs = wanted(view_now, exists=lambda h: hour(0) <= h <= hour(12), hours_per_run=hours_per_run)
    chosen = [h for run in runs for h in run]
    assert len(runs) <= max(0, RUNS_IN_FLIGHT - going)
    assert len(chosen) == len(set(chosen))
    assert set(chosen) <= set(hours(sorted((dirty - in_flight) & set(range(13)))))
    for run in runs:
        assert run == list(range(run[0], run[-1] + 1, HOUR_MS))
        assert len({view_now.failures_of(h) for h in run}) == 1
        assert len(run) <= max(1, hours_per_run // 2 ** view_now.failures_of(run[0]))
    for h in chosen:
        count, ended = view_now.failures.get(h, (0, 0.0))
        assert now >= ended + back_off_seconds(count)
        if h in touched_hours(int(now * 1000)):
            assert now >= view_now.refreshed_at.get(h, 0.0) + 60.0
    # Room and a ready hour: then something is done.
    ready = [h for h in dirty - in_flight - failures.keys() - refreshed.keys() if 0 <= h <= 12]
    assert runs or not ready or going >= RUNS_IN_FLIGHT


def test_one_bad_hour_ends_up_alone_and_all_others_are_refreshed() -> None:
    """Plays the sensor against runs that fail exactly when they hold the bad hour, for two hours of time."""
    bad, dirty, now = hour(777), set(hours(range(700, 868))), NOON
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


# Runs and their hours


def test_one_hour_is_a_partition_and_several_are_a_range() -> None:
    assert run_request(hours([3])).partition_key == "2026-01-01-03:00"
    request = run_request(hours([3, 4, 5]))
    assert request.partition_key is None
    assert request.tags == range_tags("2026-01-01-03:00", "2026-01-01-05:00")


@given(first=st.integers(0, 3_000), length=st.integers(1, 200))
def test_a_runs_tags_lead_back_to_its_hours(first: int, length: int) -> None:
    keys = [hour_key(h) for h in hours(range(first, first + length))]
    assert list(run_hours(range_tags(keys[0], keys[-1]))) == keys


def test_a_run_of_hours_that_are_no_partitions_any_more_breaks_no_tick() -> None:
    assert len(run_hours(range_tags("2001-01-01-00:00", "2001-01-01-04:00"))) == 5
    assert run_hours({"dagster/partition": "2001-01-01-00:00"}) == ["2001-01-01-00:00"]
    assert run_hours({}) == []


# The shells


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@contextmanager
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word, as a stopped process does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, *, kafka: int, hbase: int) -> Any:
    settings = Settings.load().model_copy(
        update={"kafka_bootstrap_servers": f"127.0.0.1:{kafka}", "hbase_thrift_port": hbase}
    )
    resources = {"settings": settings, "hbase": HBaseResource(settings=settings)}
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
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_drain_in_flight_is_not_doubled_whoever_started_it(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, by_hand: bool
) -> None:
    if by_hand:
        selection = frozenset({dg.AssetKey("raw_clicks")})
        create_run_for_test(instance, job_name="__ASSET_JOB", status=status, asset_selection=selection)
    else:
        create_run_for_test(instance, job_name=INGEST_JOB, status=status)
    started = time.monotonic()
    assert "queued or at work" in skip_reason(tick(kafka_lag_sensor, instance, kafka=1, hbase=1))
    assert time.monotonic() - started < 1, "no server need be asked"


def test_every_unfinished_status_is_in_flight() -> None:
    # Not these two: nothing writes SUSPENDED yet, and MANAGED runs are none of Dagster's.
    elsewhere = {"SUSPENDED", "MANAGED"}
    unfinished = {s for s in dg.DagsterRunStatus if s not in FINISHED_STATUSES and s.value not in elsewhere}
    assert set(IN_FLIGHT) == unfinished


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets what the lag sensor measures."""

    def set_lag(waiting: int) -> None:
        monkeypatch.setattr(kafka_lag, "_measure", lambda *_: (waiting, False, "{}"))

    return set_lag


def test_lag_starts_a_run_and_failures_hold_the_next_one_back(
    instance: dg.DagsterInstance, measured: Callable[[int], None]
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
    """Sets which hours the ledger calls dirty."""

    def set_dirty(dirty: Sequence[int]) -> None:
        states = [HourState(h, dirty=1) for h in dirty]
        monkeypatch.setattr(HourLedger, "all", lambda *_: states)
        monkeypatch.setattr(HourLedger, "dirty", lambda *_: states)

    return set_dirty


def tick_hours(instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    result = tick(dirty_hours_sensor, instance, kafka=0, hbase=1)
    return cast("list[dg.RunRequest]", result if isinstance(result, list) else [])


def test_dirty_hours_become_requests_and_those_in_flight_do_not(
    instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]
) -> None:
    ledger(hours([1, 2, 3, 7]))
    assert tick_hours(instance)[0].tags == range_tags(hour_key(hour(1)), hour_key(hour(3)))
    create_run_for_test(
        instance,
        job_name="__ASSET_JOB",
        asset_selection=frozenset({dg.AssetKey("es_click_index")}),
        status=dg.DagsterRunStatus.STARTED,
        tags=range_tags(hour_key(hour(1)), hour_key(hour(3))),
    )
    assert [request.partition_key for request in tick_hours(instance)] == [hour_key(hour(7))]


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
    assert [request.partition_key for request in tick_hours(instance)] == [hour_key(hour(2)), hour_key(hour(6))]


def test_nothing_dirty_is_a_skip(instance: dg.DagsterInstance, ledger: Callable[[Sequence[int]], None]) -> None:
    ledger([])
    assert "up to date" in skip_reason(tick(dirty_hours_sensor, instance, kafka=0, hbase=1))


@given(spans=st.lists(st.tuples(st.integers(0, 30_000), st.integers(1, 9)), min_size=1, max_size=MOST_SPANS))
def test_so_do_those_of_a_run_with_gaps(spans: list[tuple[int, int]]) -> None:
    wanted_hours = sorted({hour(first + step) for first, count in spans for step in range(count)})
    keys = [hour_key(h) for h in wanted_hours]
    tags = scattered_tags(keys)
    assert list(run_hours(tags)) == keys
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
