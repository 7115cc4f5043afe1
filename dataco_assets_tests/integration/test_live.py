"""Tests live on real servers: after each quiescence, what readers find equals a computation from scratch.

Clicks come shuffled, late and twice across the ends of hours, of a day and of a month. The expected values are the
plain-Python oracle's, over the same messages.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Self

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from pydantic import SecretStr
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.live_sums import MEASURES, Group, Sums
from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.definitions import build_defs
from dataco_assets.index import live as live_index
from dataco_assets.index.handover import LiveHours, give_back, hours_with_live, serve, served_hours
from dataco_assets.index.layout import live_index_name, month_of
from dataco_assets.index.live import LiveIndex, LiveTakenOver, live_document
from dataco_assets.index.live_state import Lease, LiveReport
from dataco_assets.index.reading import busiest_pages, span
from dataco_assets.index.rebuild import rebuild
from dataco_assets.index.setup import ensure_month_indices
from dataco_assets.jobs import REFRESH_JOB
from dataco_assets.live.service import Live, LiveFailed, Step
from dataco_assets.monitoring.exporter import Exporter
from dataco_assets.partitions import run_hours
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.sensors import dirty_hours_sensor, live_sensor
from dataco_assets.sensors.dead_runs import SILENT_SECONDS, LeaseWatch
from dataco_assets.settings import Settings
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.avro_clicks import AvroProducer
from dataco_assets_tests.live_worlds import MINUTE, MONTH_END, LiveWorld, traffic
from dataco_assets_tests.platforms import Platform, click
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.registries import registry
from dataco_assets_tests.sensor_ticks import tick
from dataco_assets_tests.waiting import wait_until
from spark_resources.live import application

pytestmark = pytest.mark.stack

NOW = MONTH_END + HOUR_MS
"""A run that starts then computes the hours from 22:00 on."""
SECONDS = 60


@dataclass
class World(LiveWorld):
    """A platform with live in this process, and what was sent to it."""

    session: SparkSession
    failures: list[BaseException] = field(default_factory=list)

    def live(self, on_step: Callable[[Step, int], None] = lambda *_: None) -> Live:
        return Live(self.platform.settings, self.session, self.search, lambda: dict(self.erased), on_step=on_step)

    @contextmanager
    def running(self, on_step: Callable[[Step, int], None] = lambda *_: None) -> Iterator[None]:
        """Live, in a thread; its failure fails the test at the end."""
        stopped, live = Event(), self.live(on_step)
        self.failures.clear()

        def run() -> None:
            try:
                live.run(stopped, now_ms=NOW)
            except BaseException as error:  # noqa: BLE001  # re-raised in the test's own thread
                self.failures.append(error)

        thread = Thread(target=run)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(SECONDS)
            if self.failures:  # also when the test waited in vain because of it
                raise self.failures[0]

    def is_quiet(self) -> bool:
        """Whether live serves readers, and they find what was sent.

        Raises:
            AssertionError: live has failed, so they never will.
        """
        assert not self.failures, "live has failed"
        return super().is_quiet()


@pytest.fixture
def world(platform: Platform, spark: SparkSession, tmp_path: Path) -> Iterator[World]:
    settings = platform.settings.model_copy(
        update={
            "live_checkpoint_uri": (tmp_path / "live").as_uri(),
            "live_hours": 4,
            "live_interval_seconds": 0.1,
            "live_max_clicks": 60,
        }
    )
    changed = Platform(settings, platform.hbase)
    with closing(connect(settings)) as search:
        yield World(changed, search, spark)


def test_readers_find_what_was_sent(world: World) -> None:
    """Late, twice, overwritten, erased: after each quiescence the alias equals the oracle, also after a restart."""
    clicks = traffic(7, 300)
    world.send(*clicks[:150])
    with world.running():
        world.settle()
        world.send(*clicks[150:250])
        world.settle()
        world.erased[user_hash("u3")] = MONTH_END + 30 * MINUTE
        world.settle()
        assert hours_with_live(world.index) == served_hours(world.report())
    assert world.shown() == {}, "the batch has nothing"
    assert hours_with_live(world.index) is None
    assert world.report().stopped
    run = world.report().run_id
    world.send(*clicks[250:])
    with world.running():
        world.settle()
        assert world.report().run_id == run
        held = span(world.index)
        assert held is not None
        pages = busiest_pages(world.index, held.first_hour, held.last_hour + HOUR_MS, limit=1_000)
        clicks_of = Counter[tuple[str, str]]()
        for (_, page, country), row in world.expected().items():
            clicks_of[page, country] += row["click_count"]
        assert {(each.page, each.country): each.clicks for each in pages} == clicks_of, "what `dataco top` shows"


def test_a_micro_batch_that_is_tried_again_changes_nothing(world: World) -> None:
    """The process fails at each step of a micro-batch, once; what was added is not added again."""
    failed: list[tuple[Step, int]] = []

    def fail_once(step: Step, batch_id: int) -> None:
        if batch_id == 1 and step not in {each for each, _ in failed}:
            failed.append((step, batch_id))
            raise Interrupted

    world.send(*traffic(8, 100))
    for _ in Step:
        with pytest.raises(LiveFailed):
            world.live(fail_once).run(Event(), now_ms=NOW)
    assert [step for step, _ in failed] == list(Step)
    with world.running(fail_once):
        world.settle()
        assert (world.report().batch_id or 0) >= 1


def test_clicks_in_avro_count_as_those_in_json(world: World) -> None:
    """By the contract's own schema, and by id and GUID of a registry that wants a password and is away at first."""
    with registry() as server:
        producer, single = AvroProducer(server), AvroEncoder()
        server.basic("live", "secret")
        world.platform.settings = world.platform.settings.model_copy(
            update={
                "schema_registry_url": server.url,
                "schema_registry_username": "live",
                "schema_registry_retry_seconds": 20.0,
            }
        )
        clicks = [
            (value, at)
            for value, at in traffic(16, 60)
            if isinstance(parse(value, record_time_ms=at, earliest_ms=0), Click)
        ]
        world.send(*clicks, encode=lambda value: producer.encode(value) or single.encode(value))
        with pytest.raises(application.MicroBatchFailed, match=r"refuses the request.*DATACO_SCHEMA_REGISTRY_"):
            world.live().run(Event(), now_ms=NOW)
        password = SecretStr("secret")
        world.platform.settings = world.platform.settings.model_copy(update={"schema_registry_password": password})
        server.answers = [503, 503]
        with world.running():
            world.settle()
        assert server.answers == []


@pytest.mark.soak  # starts three drivers
def test_a_process_that_is_killed_at_any_step_changes_nothing(world: World, tmp_path: Path) -> None:
    """Real processes, killed -9 before the bulk request of a micro-batch, behind it, and behind its refresh."""
    world.send(*traffic(15, 100))
    environment = os.environ | world.platform.environment() | {"DATACO_SPARK_MASTER": "local[2]"}
    for step in Step:
        command = [sys.executable, "-m", "dataco_assets_tests.live_worker", str(NOW), step.value, "1"]
        with (tmp_path / "worker.log").open("ab") as log:
            done = subprocess.run(command, env=environment, stdout=log, stderr=log, timeout=120, check=False)
        assert done.returncode == -signal.SIGKILL, (tmp_path / "worker.log").read_text()[-2000:]
    with world.running():
        world.settle()


def test_half_a_bulk_request_is_completed_by_the_next_try(world: World) -> None:
    """Some documents of a micro-batch were written when the process died: the others follow, and none counts twice."""
    index = LiveIndex(world.search, world.platform.settings.index_alias, "r")
    index.create(world.platform.settings)
    sums = [1, 1, 1, 0, 0, 1, 1, 1, *[0] * (len(MEASURES) - 8)]
    changes: dict[Group, Sums] = {(MONTH_END, f"https://a.example/{page}", "DE"): sums for page in range(4)}
    first, second = dict(list(changes.items())[:2]), changes
    assert index.add(7, first, at_ms=NOW) == 2
    assert index.add(7, second, at_ms=NOW) == 2
    assert index.add(8, second, at_ms=NOW) == 4
    index.show()
    hits = world.search.search(index=index.name)["hits"]["hits"]
    assert [hit["_source"]["click_count"] for hit in hits] == [2] * 4
    with pytest.raises(LiveTakenOver):  # a process that was taken for dead goes on
        index.add(6, first, at_ms=NOW)


def test_what_failed_halfway_is_completed_by_the_same_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sums that it remembers are of documents that it has surely written."""
    index = LiveIndex(world.search, world.platform.settings.index_alias, "r")
    index.create(world.platform.settings)
    sums = [1, 1, 1, 0, 0, 1, 1, 1, *[0] * (len(MEASURES) - 8)]
    changes: dict[Group, Sums] = {(MONTH_END, f"https://a.example/{page}", "DE"): sums for page in range(4)}
    assert index.add(7, changes, at_ms=NOW) == 4
    write, calls = live_index.bulk, iter([True, False])

    def fails_once(*arguments: Any) -> Any:
        if next(calls, True):
            return write(*arguments)
        raise Interrupted

    monkeypatch.setattr(live_index, "_DOCUMENTS_AT_ONCE", 2)
    monkeypatch.setattr(live_index, "bulk", fails_once)
    with pytest.raises(Interrupted):
        index.add(8, changes, at_ms=NOW)
    assert index.add(8, changes, at_ms=NOW) == 2
    assert index.add(9, changes, at_ms=NOW) == 4
    index.show()
    hits = world.search.search(index=index.name)["hits"]["hits"]
    assert [hit["_source"]["click_count"] for hit in hits] == [3] * 4


@pytest.mark.soak  # two hundred micro-batches
def test_users_who_are_not_needed_leave_the_state(world: World) -> None:
    """Each user clicks once, 5 minutes after the one before; with one exact hour, each is needed for 90 minutes."""
    world.platform.settings = world.platform.settings.model_copy(update={"live_max_clicks": 1, "live_hours": 1})
    times = [MONTH_END + number * 5 * MINUTE for number in range(220)]
    world.send(*((click("1", at=at, user=f"u{at}"), at) for at in times))

    with world.running():
        wait_until(world.serves, seconds=5 * SECONDS, what="live has read all")
        assert (world.report().batch_id or 0) > 200, "users were looked for twice"
        assert world.report().users < 50


def _no_deduplication(patch: pytest.MonkeyPatch) -> None:
    """Each message is a row of its own: its offset takes the place of the hash in its row key."""
    clicks = application._clicks

    def planted(session: SparkSession, plan: application.LivePlan) -> DataFrame:
        found = clicks(session, plan)
        # An event begins with the offset and the first half of the hash, 8 bytes each.
        own = "concat(substring(event, 1, 8), substring(event, 1, 8), substring(event, 17))"
        return found.selectExpr("user", "happened", f"{own} AS event")

    patch.setattr(application, "_clicks", planted)


def _expired_too_early(patch: pytest.MonkeyPatch) -> None:
    """Clicks leave the state 10 minutes after they happened."""
    patch.setattr(application, "watermark_delay_ms", lambda _: 10 * MINUTE)


def _applied_twice(patch: pytest.MonkeyPatch) -> None:
    add = LiveIndex.add

    def planted(index: LiveIndex, batch_id: int, *rest: Any, **named: Any) -> int:
        return sum(add(index, 2 * batch_id + again, *rest, **named) for again in range(2))

    patch.setattr(LiveIndex, "add", planted)


@pytest.mark.parametrize("plant", [_no_deduplication, _expired_too_early, _applied_twice])
def test_the_comparison_finds_a_planted_bug(
    world: World, monkeypatch: pytest.MonkeyPatch, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    plant(monkeypatch)
    world.send(*traffic(9, 100))
    with world.running():
        wait_until(world.serves, seconds=SECONDS, what="live has read all, and serves readers")
        shown, expected = world.shown(), world.expected()
        assert shown
        assert shown.keys() <= expected.keys()
        assert shown != expected


def test_an_hour_goes_over_to_the_batch_and_back(world: World, refreshes: Refreshes) -> None:
    """While hours change hands, a reader never finds another sum; a late click re-opens an hour that was given away."""
    batch = Refreshes(world.platform, refreshes.spark)
    world.send(*traffic(10, 100))
    with world.running():
        world.settle()
        wanted = Counter[int]()
        for (hour, *_), row in world.expected().items():
            wanted[hour] += row["click_count"]
        with Watch(world, wanted) as watch:
            world.platform.drain()
            batch.settle()
            wait_until(lambda: not world.report().closed, seconds=SECONDS, what="hours that are over go to the batch")
        assert watch.looks > 10
        assert watch.wrong == []
        assert world.sources()[MONTH_END - HOUR_MS] == "batch"
        assert world.sources()[MONTH_END + HOUR_MS] == "live"
        world.settle()
        late = click("late", at=MONTH_END - HOUR_MS + MINUTE, user="late")
        world.send((late, NOW + HOUR_MS))
        world.settle()
        assert world.sources()[MONTH_END - HOUR_MS] == "live"
        world.platform.drain()
        batch.settle()
        wait_until(lambda: not world.report().closed, seconds=SECONDS, what="the hour goes to the batch again")
        world.settle()
    assert world.shown() == world.expected(), "live is stopped, and the batch serves all"
    assert set(world.sources().values()) == {"batch"}
    assert batch.differences() == []


def test_a_lost_checkpoint_or_index_begins_a_new_run(world: World, tmp_path: Path) -> None:
    world.send(*traffic(11, 60))
    with world.running():
        world.settle()
        first = world.report().run_id
    world.search.indices.delete(index=live_index_name(world.platform.settings.index_alias, first))
    with world.running():
        world.settle()
        second = world.report().run_id
    shutil.rmtree(tmp_path / "live")
    with world.running():
        world.settle()
        third = world.report().run_id
    assert len({first, second, third}) == 3
    left = world.search.indices.get(index=live_index_name(world.platform.settings.index_alias, "*")).body
    assert list(left) == [live_index_name(world.platform.settings.index_alias, third)]


def test_a_new_month_and_a_rebuild_keep_the_hours_with_live(world: World) -> None:
    """Indices that are made while live serves show none of its hours."""
    settings = world.platform.settings
    world.send(*traffic(12, 60))
    with world.running():
        world.settle()
        index = world.index
        ensure_month_indices(index, settings, [MONTH_END, MONTH_END + HOUR_MS])
        list(rebuild(index, settings, months=["2026.01"], grace_seconds=0))
        for name in index.look_again().by_month([MONTH_END, MONTH_END + HOUR_MS]).values():
            put_as_batch(world, name, (MONTH_END + HOUR_MS, "https://batch.example/", "DE"), [1] * len(MEASURES))
        assert world.shown() == world.expected()


def put_as_batch(world: World, index: str, group: Group, sums: Sums) -> None:
    """Writes a document of these sums as the batch has it, and shows it."""
    document = live_document(group, sums, NOW)
    kept = {name: value for name, value in document.items() if name not in ("source", "time_spent_ms")}
    world.search.index(index=index, document={**kept, "generation": 1}, refresh=True)


@pytest.mark.parametrize("times", [60, pytest.param(1_000, marks=pytest.mark.soak)])
def test_no_query_sees_a_wrong_sum_while_hours_go_over(world: World, times: int) -> None:
    """Hours go to the batch and back, one alone, then all; four readers ask all the time."""
    settings, hours = world.platform.settings, [MONTH_END, MONTH_END + HOUR_MS]
    live = LiveIndex(world.search, settings.index_alias, "r")
    live.create(settings)
    ensure_month_indices(world.index, settings, hours)
    clicks = [20, *[1] * (len(MEASURES) - 1)]
    groups: list[Group] = [(hour, f"https://shop.example/{page}", "DE") for hour in hours for page in range(5)]
    live.add(1, dict.fromkeys(groups, clicks), at_ms=NOW)
    live.show()
    months = world.index.look_again().by_month(hours)
    for group in groups:
        put_as_batch(world, months[month_of(group[0])], group, clicks)
    index = world.index
    with ExitStack() as readers:
        watching = [readers.enter_context(Watch(world, dict.fromkeys(hours, 100))) for _ in range(4)]
        for _ in range(times // 3):
            assert serve(index, live.name, LiveHours(hours[1], frozenset(hours[:1])))
            assert serve(index, live.name, LiveHours(hours[1]))
            assert give_back(index)
    assert min(each.looks for each in watching) >= times // 3
    assert [each.wrong for each in watching] == [[]] * 4


def test_a_second_process_takes_over_and_the_first_one_stops(world: World) -> None:
    world.send(*traffic(13, 30))
    first = world.live()
    ended: list[BaseException] = []

    def run() -> None:
        try:
            first.run(Event(), now_ms=NOW)
        except LiveTakenOver as error:
            ended.append(error)

    thread = Thread(target=run)
    thread.start()
    wait_until(world.serves, seconds=SECONDS, what="the first one serves")
    settings = world.platform.settings
    Lease(world.search, settings, settings.index_alias).take(LiveReport(owner="other"))
    thread.join(SECONDS)
    assert len(ended) == 1


def test_the_sensor_observes_live_and_checks_each_hour_that_goes_over(
    world: World, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour that live served is compared with the batch once; one that differs warns, and names the group."""
    monkeypatch.setattr("dataco_assets.sensors.live.OBSERVED_EVERY_SECONDS", 0.0)
    batch = Refreshes(world.platform, refreshes.spark)
    world.send(*traffic(15, 100))
    with world.running():
        world.settle()
        said, cursor = look(world, None)
        assert isinstance(said, dg.SensorResult)
        (observed,) = said.asset_events
        assert isinstance(observed, dg.AssetObservation)
        hours = {hour for hour, *_ in world.expected()}
        numbers: dict[str, Any] = {name: value.value for name, value in observed.metadata.items()}
        assert numbers["hours served"] == len(hours)
        assert numbers["records behind"] == 0
        assert numbers["seconds of last micro-batch"] > 0
        assert numbers["p95 seconds from Kafka to readers"] > 0
        scraped = Exporter(world.platform.settings, None, 15.0).registry().collect()
        measured = {metric.name: metric.samples[0].value for metric in scraped if metric.samples}
        assert measured["dataco_live_serves"] == 1
        assert measured["dataco_live_records_behind"] == 0
        assert measured["dataco_live_latency_seconds"] == world.report().latency_seconds

        world.platform.drain()
        batch.settle()
        wait_until(lambda: not world.report().closed, seconds=SECONDS, what="hours that are over go to the batch")
        over = {hour_key(hour) for hour in hours if hour < (world.report().running_from or 0)}
        said, after = look(world, cursor)
        assert isinstance(said, dg.SensorResult)
        checks = [each for each in said.asset_events if isinstance(each, dg.AssetCheckEvaluation)]
        assert {each.partition for each in checks} == over
        assert all(each.passed for each in checks)
        again, _ = look(world, after)
        assert isinstance(again, dg.SensorResult)
        assert [type(each) for each in again.asset_events] == [dg.AssetObservation], "each hour once"
        report = world.report()
    _count_one_click_more(world, MONTH_END - HOUR_MS)
    gave_up = replace(report, stopped=False, given_up=[MONTH_END - HOUR_MS])
    Lease(world.search, world.platform.settings, world.platform.settings.index_alias).take(gave_up)
    said, _ = look(world, cursor)
    assert isinstance(said, dg.SensorResult)
    (failed,) = [each for each in said.asset_events if isinstance(each, dg.AssetCheckEvaluation) and not each.passed]
    assert failed.partition == hour_key(MONTH_END - HOUR_MS)
    assert failed.severity is dg.AssetCheckSeverity.WARN
    summary, group = (failed.description or "").splitlines()
    assert summary.startswith("live had ")
    assert re.fullmatch(r"https://shop.example/\S+ [A-Z]{2}: .+: \d+ in place of \d+", group)


def _count_one_click_more(world: World, hour: int) -> None:
    """Makes a document of live wrong, as a bug would."""
    (live,) = world.search.indices.get(index=live_index_name(world.index.alias, "*")).body
    query = {"bool": {"filter": [{"term": {"hour": hour}}, {"range": {"click_count": {"gt": 0}}}]}}
    hit = world.search.search(index=live, query=query, size=1)["hits"]["hits"][0]
    changed = {"click_count": hit["_source"]["click_count"] + 1}
    world.search.update(index=live, id=hit["_id"], doc=changed, refresh=True)


def look(world: World, cursor: str | None) -> tuple[dg.SkipReason | dg.SensorResult, str | None]:
    """What the sensor says and reports, and its next cursor."""
    settings = world.platform.settings
    resources = {"settings": settings, "elasticsearch": ElasticsearchResource(settings=settings)}
    with dg.build_sensor_context(resources=resources, cursor=cursor) as context:
        said = live_sensor(context)
        assert isinstance(said, dg.SkipReason | dg.SensorResult)
        return said, context.cursor


def test_the_sensor_gives_a_dead_lives_hours_to_the_batch(world: World) -> None:
    world.send(*traffic(14, 30))
    settings = world.platform.settings
    with world.running():
        world.settle()
        serving = world.index.live()
        report = world.report()
    serve(world.index, next(iter(serving)), LiveHours(report.running_from or 0))
    Lease(world.search, settings, settings.index_alias).take(replace(report, stopped=False))  # and it dies
    watch = LeaseWatch(time.time(), {"live": report.lease}, {"live": SILENT_SECONDS})
    said, _ = look(world, json.dumps({"watch": watch.to_json()}))
    assert isinstance(said, dg.SkipReason)
    assert "from the batch again" in (said.skip_message or "")
    assert world.index.live() == {}


def test_the_running_hour_is_refreshed_less_often_while_readers_get_it_from_live(world: World) -> None:
    settings = world.platform.settings.model_copy(
        update={"running_hour_refresh_seconds": 0, "partitions_start": "2026-01-01-00:00", "hours_per_run": 1}
    )
    now = int(time.time() * 1000)
    this_hour = hour_of(now)
    world.platform.hours.mark_dirty([this_hour], holding_clicks=[this_hour], stored_since_ms=now)
    world.send(*traffic(17, 30))
    with dg.DagsterInstance.ephemeral() as instance:
        with world.running():
            world.settle()
            assert refreshed(settings, instance) == [this_hour], "it never was"
            succeed(instance, this_hour)
            assert refreshed(settings, instance) == [], "DATACO_LIVE_REFRESH_SECONDS"
        assert refreshed(settings, instance) == [this_hour], "live has ended"


def refreshed(settings: Settings, instance: dg.DagsterInstance) -> list[int]:
    """The hours for which the sensor starts a refresh."""
    requests = tick(build_defs(settings=settings), dirty_hours_sensor, instance).run_requests or []
    return [hour for request in requests for hour in run_hours(request.tags)]


def succeed(instance: dg.DagsterInstance, hour: int) -> None:
    """Notes a refresh of an hour that ends now."""
    run = create_run_for_test(instance, job_name=REFRESH_JOB, tags={"dagster/partition": hour_key(hour)})
    for event in (dg.DagsterEventType.RUN_START, dg.DagsterEventType.RUN_SUCCESS):
        instance.report_dagster_event(dg.DagsterEvent(event.value, REFRESH_JOB), run_id=run.run_id)


class Interrupted(Exception):
    """Stands for a crash at a step."""


class Watch:
    """Asks the alias for the clicks of each hour, again and again, in a thread."""

    def __init__(self, world: World, wanted: Mapping[int, int]) -> None:
        self._world = world
        self._wanted = dict(wanted)
        self._ended = Event()
        self._thread = Thread(target=self._run)
        self.looks = 0
        self.wrong: list[dict[int, int]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(SECONDS)

    def _run(self) -> None:
        clicks = {"clicks": {"sum": {"field": "click_count"}}}
        hours = {"hours": {"terms": {"field": "hour", "size": 100}, "aggregations": clicks}}
        while not self._ended.is_set():
            found = self._world.search.search(
                index=self._world.platform.settings.index_alias, size=0, aggregations=hours
            )["aggregations"]["hours"]["buckets"]
            sums = {int(bucket["key"]): round(bucket["clicks"]["value"]) for bucket in found}
            self.looks += 1
            if sums != self._wanted:
                self.wrong.append(sums)
