"""Tests runs of the real jobs: what is published, what a failed check stops, and the ledgers afterwards.

The jobs run in this process. `test_pipeline.py` tests the numbers themselves.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from pyspark.sql import SparkSession

from dataco_assets import following
from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.aggregates.reading import read_hour
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.failures import failure_of
from dataco_assets.cli.resume import NotParked, resume
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.definitions import build_defs
from dataco_assets.errors import DatacoError
from dataco_assets.following import FOLLOW_TAG
from dataco_assets.index.indices import Index
from dataco_assets.index.setup import ensure_index
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.partitions import range_tags, run_hours
from dataco_assets.privacy.erasure import erase
from dataco_assets.resources.spark import SparkResource
from dataco_assets.sensors import dirty_hours_sensor, kafka_lag_sensor
from dataco_assets.settings import settings
from dataco_assets_tests import sensor_ticks
from dataco_assets_tests.platforms import Platform, click, epoch_ms, make_platform
from dataco_assets_tests.stored_aggregates import tamper
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import Stack
from spark_resources.clicks_admin import clicks_admin

if TYPE_CHECKING:
    from dagster._core.definitions.sensor_definition import SensorExecutionData

pytestmark = pytest.mark.stack
publishing = importlib.import_module("dataco_assets.assets.es_click_index")  # the package's attribute is the asset
MORNING = 1_770_624_000_000  # 2026-02-09 08:00 UTC
HOURS = [MORNING, MORNING + HOUR_MS, MORNING + 2 * HOUR_MS]
ALL_CHECKS = {
    "schema",
    "unique_users_within_clicks",
    "average_within_visit",
    "clicks_conserved",
    "index_equals_aggregates",
    "sound",
}
SHOWN = {
    *(("url_country_aggregates", name) for name in ALL_CHECKS - {"index_equals_aggregates", "sound"}),
    ("es_click_index", "index_equals_aggregates"),
    ("audience_aggregates", "sound"),
    ("es_audience_index", "index_equals_aggregates"),
}
"""The checks that Dagster's UI shows, each with its asset."""


class SharedSpark(SparkResource):
    """The Spark resource without teardown: the tests of this module share one session."""

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Leaves the session to the next run."""


@pytest.fixture
def platform(stack: Stack, spark: SparkSession, tmp_path: Path) -> Iterator[Platform]:
    made = make_platform(
        stack.env(),
        partitions_start=settings().partitions_start,
        aggregates_uri=(tmp_path / "aggregates").as_uri(),
        lag_min_clicks=1,
        spark_master="local[2]",
        spark_driver_memory="1g",
    )
    made.create(clicks_table=False)
    with clicks_admin(spark) as admin:
        admin.create(made.settings.clicks_table, ttl_seconds=90 * 86_400)
    for aggregate in AGGREGATES:
        ensure_index(Index.of(connect(made.settings), made.settings, aggregate), made.settings)
    yield made
    made.drop()


def definitions(made: Platform) -> dg.Definitions:
    """The real platform, on the test's settings and with the shared session."""
    return build_defs(settings=made.settings, resource_overrides={"spark": SharedSpark(settings=made.settings)})


def run_job(
    made: Platform,
    job: str,
    tags: Mapping[str, str] | None = None,
    instance: dg.DagsterInstance | None = None,
    **options: Any,
) -> dg.ExecuteInProcessResult:
    options.setdefault("raise_on_error", False)
    return (
        definitions(made)
        .resolve_job_def(job)
        .execute_in_process(instance=instance or dg.DagsterInstance.ephemeral(), tags=dict(tags or {}), **options)
    )


def refresh(made: Platform, hours: list[int], **options: Any) -> dg.ExecuteInProcessResult:
    if len(hours) == 1:
        return run_job(made, "refresh_hours", partition_key=hour_key(hours[0]), **options)
    return run_job(made, "refresh_hours", range_tags(hour_key(hours[0]), hour_key(hours[-1])), **options)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Whether a check passed for every hour. The result of an hour is stored as that hour's."""
    passed: dict[str, bool] = {}
    for each in result.get_asset_check_evaluations():
        assert each.partition is not None
        passed[each.check_name] = passed.get(each.check_name, True) and each.passed
    return passed


def failure(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(
        str(event.step_failure_data.error_display_string or "") + str(event.step_failure_data.user_failure_data or "")
        for event in result.all_events
        if event.is_step_failure
    )


def fill(made: Platform) -> None:
    """Stores clicks in three hours: visits, one of them across an hour's end, and a page with two countries."""
    made.produce(
        [
            click("a1", at=MORNING + 60_000, user="ann", url="https://shop.example/a"),
            click("a2", at=MORNING + 120_000, user="ann", url="https://shop.example/b"),
            click("b1", at=MORNING + HOUR_MS - 60_000, user="bob", url="https://shop.example/a", country="FR"),
            click("b2", at=MORNING + HOUR_MS + 60_000, user="bob", url="https://shop.example/a", country="FR"),
            click("c1", at=MORNING + 2 * HOUR_MS + 5, user="cyd", url="https://shop.example/?utm_source=x"),
            b"not a click",
        ]
    )
    result = run_job(made, "ingest_clicks")
    assert result.success, failure(result)


def still_dirty(made: Platform) -> list[int]:
    return [state.hour for state in made.hours.all() if state.is_dirty and state.hour in HOURS]


def indexed(made: Platform) -> list[tuple[str, str, int, float | None]]:
    client = connect(made.settings)
    client.indices.refresh(index=made.settings.index_alias)
    hits = client.search(index=made.settings.index_alias, size=1000)["hits"]["hits"]
    found = (hit["_source"] for hit in hits)
    return sorted(
        (hour_key(epoch_ms(each["hour"])), each["page"], each["click_count"], each.get("average_time_spent_seconds"))
        for each in found
    )


EXPECTED = [
    ("2026-02-09-08:00", "https://shop.example/a", 1, 60.0),
    ("2026-02-09-08:00", "https://shop.example/a", 1, 120.0),  # bob's next click lies in the next hour
    ("2026-02-09-08:00", "https://shop.example/b", 1, None),
    ("2026-02-09-09:00", "https://shop.example/a", 1, None),
    ("2026-02-09-10:00", "https://shop.example/", 1, None),
]


def test_a_range_is_published_and_every_check_passes(platform: Platform) -> None:
    fill(platform)

    result = refresh(platform, HOURS)

    assert result.success, failure(result)
    assert checks(result) == dict.fromkeys(
        ALL_CHECKS,
        True,
    )
    assert indexed(platform) == EXPECTED
    assert still_dirty(platform) == []
    numbers = {
        materialization.partition: tuple(materialization.metadata[name].value for name in ("clicks", "unique users"))
        for materialization in result.asset_materializations_for_node("url_country_aggregates")
    }
    # In the first hour ann reads two pages, bob one.
    assert numbers == {hour_key(HOURS[0]): (3, 2), hour_key(HOURS[1]): (1, 1), hour_key(HOURS[2]): (1, 1)}


def test_ingest_reports_what_it_did_and_warns_of_rejected_clicks(platform: Platform) -> None:
    platform.produce([click("ok"), b"not a click"])

    result = run_job(platform, "ingest_clicks")

    (materialization,) = result.asset_materializations_for_node("raw_clicks")
    assert materialization.metadata["clicks stored"].value == 0, "the click is older than the first partition"
    assert materialization.metadata["rejected by reason"].value == {"before_first_partition": 1, "malformed_json": 1}
    found = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: each.passed for name, each in found.items()} == {"rejected_share": False, "accounts_add_up": True}
    assert found["rejected_share"].severity == dg.AssetCheckSeverity.WARN
    assert result.success, "a warning does not fail the run"


CHECKS_QUERY = """{ assetNodes { assetKey { path } assetChecksOrError { ... on AssetChecks { checks {
    name executionForLatestMaterialization { status partition }
    partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { startKey endKey status } } }
} } } } }"""


def shown_checks(made: Platform, home: Path) -> dict[tuple[str, str], Any]:
    """What Dagster's UI shows of the hourly checks: the latest state of each, and the states of the hours."""
    program = str(Path(sys.executable).with_name("dagster-graphql"))
    answer = home / "answer.json"  # standard output is full of log lines
    answer.unlink(missing_ok=True)
    subprocess.run(
        [program, "-m", "dataco_assets.definitions", "-t", CHECKS_QUERY, "-o", str(answer)],
        env={**os.environ, **made.environment(), "DAGSTER_HOME": str(home)},
        capture_output=True,
        check=True,
        timeout=120,
    )
    return {
        (node["assetKey"]["path"][0], check["name"]): (
            (check["executionForLatestMaterialization"] or {}).get("status"),
            [(each["startKey"], each["endKey"], each["status"]) for each in check["partitionStatuses"]["ranges"]],
        )
        for node in json.loads(answer.read_text())["data"]["assetNodes"]
        if node["assetKey"]["path"][0] in {asset for asset, _ in SHOWN}
        for check in node["assetChecksOrError"]["checks"]
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The folder of a Dagster instance whose storage other processes can read."""
    folder = tmp_path / "home"
    folder.mkdir()
    folder.joinpath("dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return folder


def test_the_ui_shows_every_check_of_a_range_as_passed_for_each_of_its_hours(platform: Platform, home: Path) -> None:
    fill(platform)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert refresh(platform, HOURS, instance=instance).success

        shown = shown_checks(platform, home)
        assert shown.keys() == SHOWN
        passed = [(hour_key(HOURS[0]), hour_key(HOURS[-1]), "SUCCEEDED")]
        assert all(state == ("SUCCEEDED", passed) for state in shown.values()), shown

        # A server that is away: no check could run, so none is shown as failed.
        away = platform.settings.model_copy(update={"elasticsearch_url": "http://127.0.0.1:1"})
        assert not refresh(Platform(away, platform.hbase), HOURS, instance=instance).success
        states = {name: ranges for name, (_, ranges) in shown_checks(platform, home).items()}
        assert states == dict.fromkeys(SHOWN, passed)

        # Evaluated again on demand, as separate steps, they show the same.
        assert refresh(platform, HOURS, instance=instance).success
        job = definitions(platform).resolve_implicit_global_asset_job_def()
        keys = {key for key in job.asset_layer.asset_graph.asset_check_keys if key.name in ALL_CHECKS}
        only_checks = job.get_subset(asset_selection=set(), asset_check_selection=keys)
        again = only_checks.execute_in_process(
            instance=instance, tags=range_tags(hour_key(HOURS[0]), hour_key(HOURS[-1]))
        )
        assert checks(again) == dict.fromkeys(ALL_CHECKS, True)
        states = {name: ranges for name, (_, ranges) in shown_checks(platform, home).items()}
        assert states == dict.fromkeys(SHOWN, passed)


def test_an_aggregation_that_loses_clicks_withholds_the_hours_that_lost_some_and_no_other(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spark_resources import aggregation

    instance = dg.DagsterInstance.ephemeral()
    fill(platform)
    honest = aggregation.aggregate

    def losing(to: Any, clicks: Any, *arguments: Any) -> Any:
        return honest(to, clicks.where("user_id <> 'bob'"), *arguments)

    monkeypatch.setattr(aggregation, "aggregate", losing)
    monkeypatch.setitem(HourLedger.changed_since.__kwdefaults__ or {}, "settle_seconds", 0.0)
    result = refresh(platform, HOURS, instance=instance)

    assert not result.success
    assert "the aggregates count 2 clicks, HBase had 3 rows" in failure(result)
    found = [each for each in result.get_asset_check_evaluations() if each.check_name == "clicks_conserved"]
    told = {each.partition: each.passed for each in found}
    assert told == {hour_key(HOURS[0]): False, hour_key(HOURS[1]): False, hour_key(HOURS[2]): True}
    assert indexed(platform) == EXPECTED[-1:], "the hour that lost none is published"
    assert still_dirty(platform) == HOURS[:2], "and done"
    assert instance.get_materialized_partitions(dg.AssetKey("es_click_index")) == {hour_key(HOURS[2])}
    run = instance.get_run_by_id(result.run_id)
    failed = failure_of(run) if run else None
    assert failed is not None
    assert (failed.error, failed.hours) == ("UnsoundAggregates", tuple(HOURS[:2]))

    # Neither a run that only publishes nor one that only computes gets past the check.
    index, aggregates = dg.AssetKey("es_click_index"), dg.AssetKey("url_country_aggregates")
    assert "HBase had 3 rows" in failure(refresh(platform, HOURS, asset_selection=[index]))
    assert "HBase had 3 rows" in failure(refresh(platform, HOURS, asset_selection=[aggregates]))
    assert indexed(platform) == EXPECTED[-1:]

    monkeypatch.setattr(aggregation, "aggregate", honest)
    assert refresh(platform, HOURS).success
    assert indexed(platform) == EXPECTED
    assert still_dirty(platform) == []


def test_the_check_on_request_does_not_compare_an_hour_that_waits_for_a_refresh(platform: Platform) -> None:
    """An erasure leaves fewer rows than were counted."""
    fill(platform)
    assert refresh(platform, HOURS).success
    erase(platform.settings, platform.hbase, ["bob"])
    job = definitions(platform).resolve_implicit_global_asset_job_def()
    keys = {key for key in job.asset_layer.asset_graph.asset_check_keys if key.name == "clicks_conserved"}
    only_check = job.get_subset(asset_selection=set(), asset_check_selection=keys)

    result = only_check.execute_in_process(tags=range_tags(hour_key(HOURS[0]), hour_key(HOURS[-1])))

    assert checks(result) == {"clicks_conserved": True}
    told = {each.partition: each.description for each in result.get_asset_check_evaluations()}
    assert [hour for hour, text in told.items() if text and text.startswith("Not compared")], told


def test_unsound_aggregates_are_not_published_by_a_run_of_their_own(platform: Platform) -> None:
    fill(platform)
    assert refresh(platform, HOURS).success
    before = indexed(platform)
    tamper(TablePlace.of(platform.settings), HOURS[0], "unique_users", 99)

    result = run_job(
        platform,
        "refresh_hours",
        partition_key=hour_key(HOURS[0]),
        asset_selection=[dg.AssetKey("es_click_index")],
    )

    assert not result.success
    assert "unique_users must not exceed click_count" in failure(result)
    assert indexed(platform) == before


def test_an_hour_that_lost_a_document_fails_its_check_and_the_others_are_done(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dataco_assets.index import publication

    fill(platform)
    client = connect(platform.settings)
    honest = publication.delete_stale

    def lose_a_document(*arguments: Any) -> int:
        removed = honest(*arguments)
        client.indices.refresh(index=platform.settings.index_alias)
        hits = client.search(index=platform.settings.index_alias, query={"term": {"hour": HOURS[1]}})["hits"]["hits"]
        for hit in hits[:1]:  # of the pages; the audience's documents are compared by themselves
            client.delete(index=hit["_index"], id=hit["_id"])
        return removed

    monkeypatch.setattr(publication, "delete_stale", lose_a_document)
    result = refresh(platform, HOURS)

    assert not result.success
    assert "documents: 0 in place of 1" in failure(result)
    found = [
        each
        for each in result.get_asset_check_evaluations()
        if each.asset_check_key == dg.AssetCheckKey(dg.AssetKey("es_click_index"), "index_equals_aggregates")
    ]
    # The failed one last: Dagster shows the last one as the check's state.
    assert [(each.partition, each.passed) for each in found] == [
        (hour_key(HOURS[0]), True),
        (hour_key(HOURS[2]), True),
        (hour_key(HOURS[1]), False),
    ]
    assert still_dirty(platform) == [HOURS[1]]


def test_publishing_hours_never_computed_says_what_to_do(platform: Platform) -> None:
    result = run_job(
        platform, "refresh_hours", partition_key=hour_key(HOURS[0]), asset_selection=[dg.AssetKey("es_click_index")]
    )
    assert not result.success
    assert "Materialise url_country_aggregates" in failure(result)


def test_an_hour_that_lost_clicks_to_the_time_to_live_is_left_alone(platform: Platform) -> None:
    fill(platform)
    assert refresh(platform, HOURS).success
    before = read_hour(TablePlace.of(platform.settings), HOURS[0])
    long_ago = b"1500000000000"
    key = hour_key(HOURS[0]).encode()
    platform.put(platform.settings.hours_table, key, {b"h:first_stored_at": long_ago})

    result = refresh(platform, HOURS[:1])

    assert not result.success
    assert "DATACO_CLICKS_TTL_DAYS" in failure(result)
    assert read_hour(TablePlace.of(platform.settings), HOURS[0]) == before


def test_the_sensors_do_it_all_without_a_hand(platform: Platform) -> None:
    instance = dg.DagsterInstance.ephemeral()
    platform.produce([click("a", at=MORNING + 1, user="ann"), click("b", at=MORNING + 3 * HOUR_MS, user="ann")])
    (ingest,) = tick(platform, kafka_lag_sensor, instance).run_requests or []
    assert ingest.tags["dataco/clicks_waiting"] == "2"
    assert run_job(platform, "ingest_clicks", instance=instance).success
    assert asked(platform, kafka_lag_sensor, instance) == "No click is waiting."

    (wanted,) = tick(platform, dirty_hours_sensor, instance).run_requests or []

    # The hour before each click, too: it may hold the previous click. One run, whatever lies between them.
    refreshed = [MORNING - HOUR_MS, MORNING, MORNING + 2 * HOUR_MS, MORNING + 3 * HOUR_MS]
    assert list(run_hours(wanted.tags)) == refreshed
    result = run_job(platform, "refresh_hours", wanted.tags, instance=instance)
    assert result.success, failure(result)
    assert set(checks(result).values()) == {True}
    for asset in ("url_country_aggregates", "es_click_index", "audience_aggregates", "es_audience_index"):
        reported = instance.get_materialized_partitions(dg.AssetKey(asset))
        assert reported == set(map(hour_key, refreshed)), "and not the hour between them, which nobody computed"
    assert asked(platform, dirty_hours_sensor, instance) == "Every hour is up to date."
    assert [(hour, clicks) for hour, _, clicks, _ in indexed(platform)] == [
        ("2026-02-09-08:00", 1),
        ("2026-02-09-11:00", 1),
    ]

    # A late click of an hour that was published a moment ago waits; one of an hour that never was does not.
    platform.produce([click("c", at=MORNING + 2, user="ann"), click("d", at=MORNING + 9 * HOUR_MS, user="ann")])
    assert run_job(platform, "ingest_clicks", instance=instance).success
    (others,) = tick(platform, dirty_hours_sensor, instance).run_requests or []
    new = [MORNING + 8 * HOUR_MS, MORNING + 9 * HOUR_MS]
    assert list(run_hours(others.tags)) == new, "never published"
    platform.hours.set_done(dict.fromkeys(new, 99))
    late = [MORNING - HOUR_MS, MORNING]
    reason = asked(platform, dirty_hours_sensor, instance)
    assert "Late clicks are still collected for 2 hours, the oldest of them 2026-02-09-07:00" in reason
    at_once = platform.settings.model_copy(update={"late_refresh_max_seconds": 0.0})
    (request,) = tick(Platform(at_once, platform.hbase), dirty_hours_sensor, instance).run_requests or []
    assert list(run_hours(request.tags)) == late, "its time is over"


def test_without_live_the_run_that_stores_clicks_of_now_publishes_their_hours(platform: Platform) -> None:
    """It is asked for once such clicks have been coming, and does what two runs do."""
    instance = dg.DagsterInstance.ephemeral()
    now = time.time_ns() // 1_000_000
    hour = hour_of(now)

    def asked_for() -> dg.RunRequest:
        (request,) = tick(platform, kafka_lag_sensor, instance).run_requests or []
        return request

    def run(request: dg.RunRequest) -> Sequence[int]:
        """Runs what was asked for; returns its hours."""
        partition = {"dagster/partition": request.partition_key} if request.partition_key else {}
        tags = {**request.tags, **partition}
        result = run_job(platform, str(request.job_name), tags, instance=instance)
        assert result.success, failure(result)
        return run_hours(tags)

    platform = Platform(platform.settings.model_copy(update={"running_hour_refresh_seconds": 0}), platform.hbase)
    platform.produce([click("a", at=now, user="a")])
    first = asked_for()
    assert first.job_name == "ingest_clicks"
    run(first)
    for refresh_wanted in tick(platform, dirty_hours_sensor, instance).run_requests or []:
        run(refresh_wanted)
    platform.produce([click("b", at=now, user="b")])

    second = asked_for()

    assert second.job_name == "ingest_and_refresh"
    assert hour in run(second)
    clicks = {name: clicks for name, _, clicks, _ in indexed(platform)}
    assert clicks[hour_key(hour)] == 2
    assert asked(platform, kafka_lag_sensor, instance) == "No click is waiting."
    assert hour not in [state.hour for state in platform.hours.all() if state.is_dirty]


def test_a_run_that_follows_publishes_what_comes_until_another_run_waits(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns() // 1_000_000
    hour = hour_of(now)
    monkeypatch.setattr(following, "begun_hours", lambda _: (hour,))  # also where the test runs into the next one
    platform = Platform(platform.settings.model_copy(update={"running_hour_refresh_seconds": 0}), platform.hbase)
    job = definitions(platform).resolve_job_def("ingest_and_refresh")

    def found() -> int:
        return sum(clicks for _, _, clicks, _ in indexed(platform))

    (home := tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(home)) as instance, ThreadPoolExecutor(1) as pool:
        run = instance.create_run_for_job(job, tags={"dagster/partition": hour_key(hour), FOLLOW_TAG: "600"})
        platform.produce([click("a", at=hour, user="a")])
        going = pool.submit(execute_run, InMemoryJob(job), run, instance)
        try:
            wait_until(lambda: found() == 1, seconds=120, what="the first round publishes")
            for number in (2, 3):
                platform.produce([click(f"b{number}", at=hour + number, user="a")])
                wait_until(lambda wanted=number: found() == wanted, seconds=120, what="a further round publishes")
        finally:
            elsewhere = GrpcServerCodeLocationOrigin(host="127.0.0.1", port=1, location_name="other")
            origin = RemoteJobOrigin(RemoteRepositoryOrigin(elsewhere, "other"), "other")
            create_run_for_test(instance, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=origin)
            ended = going.result(120)
        assert ended.success
        assert "Another run waits." in [event.message for event in ended.all_events]
        (state,) = [state for state in platform.hours.all() if state.hour == hour]
        assert not state.is_dirty
        for asset in ("raw_clicks", "url_country_aggregates", "es_click_index", "audience_aggregates"):
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
            assert {record.run_id for record in records} == {run.run_id}
            assert len(records) == 3, asset


def test_a_record_from_the_future_does_not_hide_how_long_those_behind_it_wait(platform: Platform) -> None:
    patient = {"lag_min_clicks": 1000, "lag_max_age_seconds": 1.0}
    platform = Platform(platform.settings.model_copy(update=patient), platform.hbase)
    instance = dg.DagsterInstance.ephemeral()
    ahead = time.time_ns() // 1_000_000 + HOUR_MS // 2  # brokers take up to an hour unless told otherwise
    platform.produce([click("ahead", at=MORNING)], partition=0, record_time_ms=ahead)
    assert run_job(platform, "ingest_clicks", instance=instance).success
    platform.produce([click("behind", at=MORNING)], partition=0)

    first = tick(platform, kafka_lag_sensor, instance)
    assert "none has waited too long" in str(first.skip_message)
    wait_until(
        lambda: bool(tick(platform, kafka_lag_sensor, instance, first.cursor).run_requests),
        seconds=30,
        what="a run is asked for",
    )


def test_an_ingest_that_failed_for_good_is_started_again_only_when_something_changed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    platform.produce([b"no click"] * 1_000 + [click("a", at=MORNING)])

    def ingest() -> None:
        (request,) = tick(platform, kafka_lag_sensor, instance).run_requests or []
        result = run_job(platform, "ingest_clicks", request.tags, instance=instance)
        assert "dataco.PermanentFailure: TooManyRejected: " in failure(result)

    def reason() -> str:
        return str(tick(platform, kafka_lag_sensor, instance).skip_message)

    ingest()
    for _ in range(3):
        assert "TooManyRejected" in reason()
        assert "`dataco resume ingest`" in reason()
    assert len(instance.get_runs()) == 1

    monkeypatch.setattr("dataco_assets.cli.resume.settings", lambda: platform.settings)
    resume(["ingest"])
    ingest()  # at once, without back-off; nothing was repaired, so it is parked again
    assert "TooManyRejected" in reason()

    tolerant = platform.settings.model_copy(update={"ingest_max_rejected_share": 1.0})
    platform = Platform(tolerant, platform.hbase)
    (request,) = tick(platform, kafka_lag_sensor, instance).run_requests or []
    assert run_job(platform, "ingest_clicks", request.tags, instance=instance).success
    assert reason() == "No click is waiting."


def test_an_hour_that_failed_for_good_is_parked_alone_and_holds_up_no_other(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    instance = dg.DagsterInstance.ephemeral()
    fill(platform)
    honest = publishing._validated

    def find_the_first_hour_unsound(
        place: TablePlace, hours: Sequence[int], noted: Any, withheld: list[DatacoError]
    ) -> Any:
        if HOURS[0] in hours:
            withheld.append(publishing.UnsoundAggregates("An hour breaks its rules.", hours=HOURS[:1]))
        return [each for each in honest(place, hours, noted, withheld) if each.hour != HOURS[0]]

    monkeypatch.setattr(publishing, "_validated", find_the_first_hour_unsound)

    def refreshed() -> tuple[list[int], bool]:
        """The hours of the run that is started, and whether it succeeded."""
        (request,) = tick(platform, dirty_hours_sensor, instance).run_requests or []
        return list(run_hours(request.tags)), run_job(
            platform, "refresh_hours", request.tags, instance=instance
        ).success

    others = [MORNING - HOUR_MS, *HOURS[1:]]
    assert refreshed() == (sorted([HOURS[0], *others]), False)
    dirty = [state.hour for state in platform.hours.all() if state.is_dirty]
    assert dirty == HOURS[:1], "the others are done by the same run"
    key = dg.AssetKey("es_click_index")
    assert instance.get_materialized_partitions(key) == set(map(hour_key, others)), "and shown as materialized"
    for _ in range(3):
        reason = asked(platform, dirty_hours_sensor, instance)
        assert "UnsoundAggregates: An hour breaks its rules." in reason
        assert "`dataco resume 2026-02-09-08:00`" in reason

    monkeypatch.setattr("dataco_assets.cli.resume.settings", lambda: platform.settings)
    with pytest.raises(NotParked, match=r"'2026-02-10' is not parked. Parked are: 2026-02-09-08:00"):
        resume(["2026-02-10"])
    resume(["2026-02-09"])
    assert refreshed() == (HOURS[:1], False), "at once, without back-off"
    assert "UnsoundAggregates" in asked(platform, dirty_hours_sensor, instance)

    monkeypatch.setattr(publishing, "_validated", honest)
    platform = Platform(platform.settings.model_copy(update={"hours_per_run": 167}), platform.hbase)
    assert refreshed() == (HOURS[:1], True)
    assert asked(platform, dirty_hours_sensor, instance) == "Every hour is up to date."
    assert indexed(platform) == EXPECTED


def tick(
    made: Platform, sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None
) -> "SensorExecutionData":
    """One evaluation of a sensor."""
    return sensor_ticks.tick(definitions(made), sensor, instance, cursor)


def asked(made: Platform, sensor: dg.SensorDefinition, instance: dg.DagsterInstance) -> list[dict[str, str]] | str:
    """What a sensor requests now: the tags of each run, or the reason for none."""
    result = tick(made, sensor, instance)
    if not result.run_requests:
        return str(result.skip_message)
    return [
        {key: value for key, value in request.tags.items() if key.startswith(("dataco/", "dagster/asset_partition"))}
        for request in result.run_requests
    ]
