"""Clicks through a real Kafka Connect worker into HBase, compared with what was sent; one worker for all tests."""

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import msgspec
import pytest
import requests
from confluent_kafka.admin import AdminClient, NewPartitions  # pyright: ignore[reportPrivateImportUsage]
from pydantic import SecretStr
from pyspark.sql import SparkSession
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.clicks.event import Rejection, parse
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, hour_key
from dataco_assets.clicks.record import ClickParser
from dataco_assets.clients.connect import Connect
from dataco_assets.clients.kafka.consumer import as_bytes, header_of
from dataco_assets.clients.writer_schemas import KnownSchemas
from dataco_assets.clock import now_ms
from dataco_assets.definitions import build_defs
from dataco_assets.ledgers.offsets import Mode, OtherOwner
from dataco_assets.provisioning import provision
from dataco_assets.rejected.contents import read_rejected
from dataco_assets.rejected.records import RejectedClick, record_headers
from dataco_assets.rejected.replay import replay
from dataco_assets.sensors import kafka_lag_sensor
from dataco_assets.sensors.connector import OBSERVED_EVERY_SECONDS, memory_of, with_memory
from dataco_assets.settings import Settings
from dataco_assets.sources.avro import AvroEncoder
from dataco_assets_tests.avro_clicks import AvroProducer
from dataco_assets_tests.certificates import Authority
from dataco_assets_tests.connect_sinks import HALTING, STORED_SECONDS, Sink
from dataco_assets_tests.connect_worker import StandaloneWorker, Worker, make_plugin
from dataco_assets_tests.faults.judge import is_drained, judge, judge_progress
from dataco_assets_tests.faults.table import TRIED, Tried
from dataco_assets_tests.faults.traffic import Traffic
from dataco_assets_tests.faults.truth import event_of, row_key
from dataco_assets_tests.java_harness import packaged
from dataco_assets_tests.platforms import NOON, Platform, click, headers_of, make_platform, read_topic
from dataco_assets_tests.registries import registry
from dataco_assets_tests.sensor_ticks import tick
from dataco_assets_tests.server_process import running
from dataco_assets_tests.waiting import wait_until
from local_stack.stack import Stack
from spark_resources.clicks_admin import ClicksAdmin, clicks_admin

pytestmark = pytest.mark.stack

_IMAGE = Path(__file__).parents[2] / "docker" / "connect"
_KILLED_EACH = 300
_STEPS = ["OPENED", "CHECKPOINT_BEGUN", "ROWS_STORED", "REJECTED_ACKNOWLEDGED", "HOURS_MARKED", "OFFSETS_MOVED"]


@pytest.fixture(scope="module")
def worker(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    folder = tmp_path_factory.mktemp("connect")
    brokers = stack.env()["DATACO_KAFKA_BOOTSTRAP_SERVERS"]
    name = f"connect-{uuid.uuid4().hex[:8]}"
    made = Worker(folder, brokers=brokers, plugins=make_plugin(folder), name=name)
    with running(made):
        yield made


@pytest.fixture
def sink(stack: Stack, spark: SparkSession, worker: Worker, tmp_path: Path) -> Iterator[Sink]:
    """A platform whose topic belongs to Kafka Connect; its connector is not started yet."""
    platform = make_platform(stack.env(), hbase_retry_seconds=20.0).create(partitions=2, clicks_table=False)
    settings = platform.settings
    with clicks_admin(spark) as admin:
        admin.create(settings.clicks_table, ttl_seconds=settings.clicks_ttl_days * 86_400)
    made = Sink(platform, worker, f"sink-{uuid.uuid4().hex[:8]}", tmp_path / "step")
    made.give(Mode.CONNECT)
    yield made
    if not worker.is_running():
        worker.start()
    requests.delete(f"{worker.url}/connectors/{made.name}", timeout=60)
    platform.drop()


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> list[Tried]:
    """The lines of the table of faults at the end of the test run."""
    return request.config.stash[TRIED]


def test_clicks_through_connect_are_what_was_sent(sink: Sink) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=15)
    settings = platform.settings
    traffic.send(4_000, malformed=0.05, duplicates=0.02, late=0.1)
    sink.start()
    sink.wait_drained()

    judge(platform, traffic.truth, at_least=4_000)

    # What was rejected is what the drain writes, to the last header, and `dataco rejected` reads it.
    topic = read_topic(settings.kafka_bootstrap_servers, settings.rejected_topic)
    records = {as_bytes(record.key()) or b"": record for record in topic}
    assert len(records) == traffic.truth.broken.total()
    for message in read_topic(settings.kafka_bootstrap_servers, settings.clicks_topic):
        record = records.get(f"{message.topic()}/{message.partition()}/{message.offset()}".encode())
        if record is not None:
            value = message.value()
            rejection = parse(value, record_time_ms=message.timestamp()[1], earliest_ms=settings.partitions_start_ms)
            assert isinstance(rejection, Rejection)
            assert record.value() == value
            assert _reasons(record.headers()) == _reasons(record_headers(RejectedClick(message, rejection)))
    listed = read_rejected(settings, platform.hbase)
    assert {entry.record_id for entry in listed.entries} == {key.decode() for key in records}

    # Going on with the drain reads nothing again.
    sink.give(Mode.DRAIN)
    assert platform.drain().seen == 0


def _reasons(headers: Any) -> list[tuple[str, object]]:
    """Headers without the words of the detail, which each language chooses itself."""
    return [(name, value) for name, value in headers if name != "dataco.detail"]


def test_clicks_in_json_and_avro_are_what_was_sent_whatever_the_registry_does(sink: Sink, tmp_path: Path) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=22)
    ours, other = Authority.make("ours"), Authority.make("other")
    files = tmp_path / "certificate", tmp_path / "key"
    for file, content in zip(files, reversed(ours.issue("127.0.0.1")), strict=True):
        file.write_bytes(content)
    with registry(files) as server:
        server.basic("sink", "secret")
        first = AvroProducer(server)
        no_clicks = server.add({"type": "record", "name": "Order", "fields": [{"name": "user_id", "type": "string"}]})
        traffic.send(900, encode=first.encode, malformed=0.05, duplicates=0.02, late=0.1)
        broken = [b"\0" + first.id.to_bytes(4, "big") + b"\2", b"\0" + no_clicks.to_bytes(4, "big") + b"\6bob"]
        broken += [b"\0\0\0\3\xe7\6bob", b"\xc3\1"]
        platform.produce(broken)
        traffic.truth.add_broken(broken)
        access = {
            "schema_registry_url": server.url,
            "schema_registry_username": "sink",
            "schema_registry_password": "secret",
            "schema_registry_ca_file": str(ours.write(tmp_path)),
        }
        sink.start(**{**access, "schema_registry_ca_file": str(other.write(tmp_path))})
        assert "has a certificate that is not accepted" in sink.failure()
        sink.start(**access)
        sink.wait_drained()
        assert server.asked.count(f"/schemas/ids/{first.id}") == 1

        rejected = len(platform.rejected())
        server.answers = [503] * 10_000
        second = AvroProducer(server, version=2)
        traffic.send(300, encode=second.encode, malformed=0.05)
        asked = len(server.asked)
        wait_until(lambda: len(server.asked) > asked + 2, seconds=60, what="the sink asks again and again")
        judge_progress(platform, traffic.truth)
        assert len(platform.rejected()) == rejected, "an outage says nothing about a record"
        assert not is_drained(platform)
        server.answers = []
        sink.wait_drained()

        judge(platform, traffic.truth, at_least=1_200)
        _require_same_cells(platform, traffic)
        _require_rejected_as_by_the_drain(platform, access)
    assert {task.state for task in Connect(sink.worker.url, sink.name).status().tasks} == {"RUNNING"}


_CELLS = {
    "click_data": ("event_id", "user_id", "url", "ip_address", "user_agent"),
    "geo_data": ("country", "city"),
    "user_agent_data": ("browser", "operating_system", "device"),
}


def _require_same_cells(platform: Platform, traffic: Traffic) -> None:
    """Fails unless the clicks that were sent in Avro have the keys and the cells that their JSON says."""
    rows = platform.rows()
    assert len(traffic.truth.originals) > 500
    for original in traffic.truth.originals.values():
        fields = json.loads(original)
        cells = rows[row_key(original)]
        assert cells[b"click_data:timestamp"] == str(event_of(original)[1]).encode()
        for family, names in _CELLS.items():
            for name in names:
                unknown = "ZZ" if name == "country" else ""
                assert cells[f"{family}:{name}".encode()].decode() == (fields.get(name) or unknown), name


def _require_rejected_as_by_the_drain(platform: Platform, access: dict[str, str]) -> None:
    password = SecretStr(access["schema_registry_password"])
    settings = platform.settings.model_copy(update={**access, "schema_registry_password": password})
    topic = read_topic(settings.kafka_bootstrap_servers, settings.rejected_topic)
    records = {as_bytes(record.key()) or b"": record for record in topic}
    reasons: set[str] = set()
    with KnownSchemas.of(settings) as schemas:
        parser = ClickParser(schemas)
        for message in read_topic(settings.kafka_bootstrap_servers, settings.clicks_topic):
            record = records.get(f"{message.topic()}/{message.partition()}/{message.offset()}".encode())
            if record is None:
                continue
            rejection = parser.parse(
                as_bytes(message.value()),
                header_of(message, SCHEMA_HEADER),
                record_time_ms=message.timestamp()[1],
                earliest_ms=settings.partitions_start_ms,
            )
            assert isinstance(rejection, Rejection)
            assert record.value() == message.value()
            assert _reasons(record.headers()) == _reasons(record_headers(RejectedClick(message, rejection)))
            reasons.add(rejection.reason)
    assert reasons >= {"malformed_avro", "unsuitable_schema", "unknown_schema", "incomplete_header"}
    listed = read_rejected(settings, platform.hbase)
    assert {entry.record_id for entry in listed.entries} == {key.decode() for key in records}


def test_a_click_that_needs_a_registry_fails_the_task_when_there_is_none(sink: Sink) -> None:
    platform = sink.platform
    platform.produce([click("a"), b"\0\0\0\0\x01\x06bob\0"], partition=0)
    sink.start()
    told = sink.failure()
    assert "names its schema by id 1" in told
    assert "schema.registry.url is not set. Nothing was rejected." in told
    assert platform.positions().get(0, 0) == 0
    assert platform.rejected() == []

    # The way out that the message names.
    sink.give(Mode.DRAIN)
    assert platform.drain(without_registry="reject").rejected == {"unknown_schema": 1}


def test_messages_of_erased_users_are_dropped(sink: Sink) -> None:
    platform = sink.platform
    platform.suppression.suppress("erased", int(time.time() * 1000) + 3_600_000)
    platform.produce([click("a", user="erased"), click("b"), b'{"user_id": "erased"}', b'{"user_id": "other"}'])
    in_avro = AvroEncoder()
    platform.produce([in_avro.encode(click(each, user="erased", url=f"{each}://x/")) for each in ("http", "ftp")])
    # Stored before the sink learns of it, as by a task that ended between its rows and its checkpoint.
    platform.produce([click("c", user="late")])
    sink.stop_at("ROWS_STORED", "wait")
    sink.start()
    sink.wait_stopped()
    assert sorted(platform.event_ids()) == ["b", "c"]
    platform.suppression.suppress("late", int(time.time() * 1000) + 3_600_000)
    sink.go_on()
    sink.wait_drained()

    assert platform.event_ids() == ["b"]
    assert [record.value() for record in platform.rejected()] == [b'{"user_id": "other"}']
    assert NOON in platform.hour_states()


def test_the_hours_that_replayed_clicks_touch_are_noted_so_and_no_others(sink: Sink) -> None:
    platform = sink.platform
    platform.produce([b"{", click("other", at=NOON + 5 * HOUR_MS)])
    sink.start()
    sink.wait_drained()
    (rejected,) = read_rejected(platform.settings, platform.hbase).entries
    assert replay(platform.settings, [rejected], repaired=click("back", at=NOON)) == 1
    sink.wait_drained()
    rows = platform.hbase.scan(platform.settings.hours_table)
    noted = {key.decode(): cells[b"h:cause_replay"] for key, cells in rows if b"h:cause_replay" in cells}
    assert noted == {hour_key(NOON): b"1 1", hour_key(NOON - HOUR_MS): b"1 1"}


def test_a_stalled_task_stores_no_click_of_a_user_who_was_erased_meanwhile(sink: Sink) -> None:
    platform = sink.platform
    clicks = [click("a"), click("b", user="erased"), click("c", user="erased", at=NOON + 3_600_000)]
    platform.produce(clicks, partition=0)  # so that one task has them all
    sink.stop_at("CHECKPOINT_BEGUN", "wait")
    sink.start(tasks_max="2", consumer_override_max_poll_interval_ms="8000")
    sink.wait_stopped()
    platform.suppression.suppress("erased", int(time.time() * 1000) + 3_600_000)
    sink.wait_drained()  # by the other task, which knows of the erasure
    assert platform.event_ids() == ["a"]

    # The one that was stalled does not know of it until its rows are durable, and by then the ledger is behind them.
    sink.stop_at("ROWS_STORED", "wait")
    sink.go_on()
    sink.wait_stopped()
    assert sorted(platform.event_ids()) == ["a", "b", "c"]
    sink.go_on()
    wait_until(lambda: platform.event_ids() == ["a"], seconds=60, what="the clicks of the erased user are gone again")
    assert {NOON, NOON + 3_600_000} <= {hour for hour, state in platform.hour_states().items() if state.is_dirty}


def test_the_form_is_answered_setting_by_setting(sink: Sink) -> None:
    given = sink.config(partitions_start="tomorrow", rejected_max_share="7", errors_tolerance="all")
    given |= {"value.converter": "org.apache.kafka.connect.json.JsonConverter", "transforms": "drop"}
    del given["consumer.override.isolation.level"], given["hbase.zookeeper.quorum"]
    answer = sink.worker.call("PUT", f"/connector-plugins/{HALTING}/config/validate", given)

    errors = {each["value"]["name"]: " ".join(each["value"]["errors"]) for each in answer["configs"]}
    wrong = {name: text for name, text in errors.items() if text}
    assert "must be a whole hour that has begun" in wrong["partitions.start"]
    assert "Value must be no more than 1.0" in wrong["rejected.max.share"]
    assert 'Missing required configuration "hbase.zookeeper.quorum"' in wrong["hbase.zookeeper.quorum"]
    assert "must be read_committed" in wrong["consumer.override.isolation.level"]
    assert "ByteArrayConverter" in wrong["value.converter"]
    assert "must be none" in wrong["errors.tolerance"]
    assert "must be empty" in wrong["transforms"]
    assert {"Kafka", "HBase", "Clicks", "Checkpoints"} <= set(answer["groups"])
    shares = next(each["value"] for each in answer["configs"] if each["value"]["name"] == "rejected.max.share")
    assert shares["recommended_values"] == ["0.05", "0.5", "1.0"]


def test_a_table_that_differs_is_refused_with_the_difference(sink: Sink) -> None:
    sink.start(clicks_ttl_days="7")
    assert "TTL in seconds of click_data is 7776000, expected 604800" in sink.failure()


def test_a_task_refuses_a_topic_that_the_drain_ingests(sink: Sink) -> None:
    platform = sink.platform
    sink.give(Mode.DRAIN)
    platform.produce([click("a")])
    sink.start()
    assert "is ingested by the drain (runs of Dagster), not by Kafka Connect" in sink.failure()
    assert platform.rows() == {}
    (task,) = Connect(sink.worker.url, sink.name).status().tasks
    assert task.failed
    assert not task.passing
    assert task.error.startswith(f"Topic {platform.settings.clicks_topic} is ingested by the drain")

    sink.give(Mode.CONNECT)
    with pytest.raises(OtherOwner):
        platform.drain()
    Connect(sink.worker.url, sink.name).restart_failed()
    sink.wait_drained()
    assert platform.event_ids() == ["a"]


@pytest.mark.parametrize("step", ["ROWS_STORED", "HOURS_MARKED"])
def test_a_task_that_comes_back_after_the_drain_took_over_moves_no_offset(sink: Sink, step: str) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=16)
    traffic.send(1_500, malformed=0.05)
    sink.stop_at(step, "wait")
    sink.start()
    sink.wait_stopped()

    sink.give(Mode.DRAIN)
    platform.drain(max_clicks=700)
    positions = platform.positions()
    assert sum(positions.values()) == 700
    sink.go_on()

    assert "is ingested by the drain" in sink.failure()
    assert platform.positions() == positions
    judge_progress(platform, traffic.truth)
    platform.drain()
    judge(platform, traffic.truth, at_least=1_500)


def test_a_stalled_task_that_comes_back_after_another_took_over_moves_no_offset_back(sink: Sink) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=21)
    traffic.send(1_500, malformed=0.05)
    sink.stop_at("HOURS_MARKED", "wait")
    sink.start(tasks_max="2", consumer_override_max_poll_interval_ms="8000")
    sink.wait_stopped()
    sink.wait_drained()  # the other task was given the partitions of this one in the middle of its checkpoint
    positions = platform.positions()
    sink.go_on()
    traffic.send(500, malformed=0.05)
    sink.wait_drained()
    assert all(offset >= positions[partition] for partition, offset in platform.positions().items())
    judge(platform, traffic.truth, at_least=2_000)
    assert {task.state for task in Connect(sink.worker.url, sink.name).status().tasks} == {"RUNNING"}


def test_changing_over_and_back_under_load_loses_and_doubles_nothing(sink: Sink) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=17)
    traffic.send(3_000, malformed=0.03)
    with traffic.steady(300):
        sink.start()
        wait_until(lambda: sum(platform.positions().values()) > 500, seconds=120, what="the connector stores clicks")
        for _ in range(2):
            sink.give(Mode.DRAIN)
            platform.drain(max_clicks=1_000)
            sink.give(Mode.CONNECT)
            before = sum(platform.positions().values())
            sink.restart()
            wait_until(lambda b=before: sum(platform.positions().values()) > b, seconds=120, what="it goes on")
            judge_progress(platform, traffic.truth)
    sink.wait_drained()
    judge(platform, traffic.truth, at_least=3_000)


def test_a_task_that_ends_at_any_step_loses_and_doubles_nothing(sink: Sink) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=20)
    for step in _STEPS:
        traffic.send(400, malformed=0.05)
        sink.stop_at(step, "fail")
        sink.start()
        sink.restart()
        sink.wait_stopped()  # until then, the failure is that of the step before
        assert f"ended at {step}" in sink.failure()
        judge_progress(platform, traffic.truth)
        assert bool(platform.positions()) == (step == "OFFSETS_MOVED")
    sink.restart()
    sink.wait_drained()
    judge(platform, traffic.truth, at_least=400 * len(_STEPS))


def test_a_worker_killed_at_each_step_loses_and_doubles_nothing(sink: Sink, tried: list[Tried]) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=18)
    for number, step in enumerate(_STEPS, 1):
        before = platform.positions()
        sink.stop_at(step, "halt")
        # Clicks of hours of their own, or an hour that was not marked would be dirty because of a step before.
        traffic.send(_KILLED_EACH, malformed=0.05, until_ms=now_ms() - number * 4 * DAY_MS)
        if number == 1:
            sink.start()
        wait_until(lambda: not sink.worker.is_running(), seconds=STORED_SECONDS, what="the worker dies")
        assert not sink.step_file.exists(), f"it died, but not at {step}"
        judge_progress(platform, traffic.truth)
        assert (platform.positions() != before) == (step == "OFFSETS_MOVED"), step

        sink.worker.start()
        sink.wait_drained()
        judge(platform, traffic.truth, at_least=number * _KILLED_EACH)
    tried.append(Tried("worker of the sink killed -9 at each step", len(_STEPS), _KILLED_EACH, traffic.truth.messages))


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        ("offsets-first", "valid clicks the ledger has passed are not in HBase"),
        ("row-key-1", "clicks are in HBase under another row key"),
        ("rejected-unsent", "invalid messages the ledger has passed are not, unchanged, in the rejected topic"),
    ],
)
def test_a_planted_fault_is_found_by_the_comparison_of_these_tests(sink: Sink, fault: str, found: str) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=23)
    traffic.send(300, malformed=0.1)
    sink.start(connector_class="dataco.connect.FaultySinkConnector", test_fault=fault)
    wait_until(lambda: bool(platform.positions()), seconds=STORED_SECONDS, what="the ledger moves")
    with pytest.raises(AssertionError, match=found):
        judge_progress(platform, traffic.truth)


def test_too_many_rejected_clicks_fail_the_task_and_commit_nothing(sink: Sink) -> None:
    platform = sink.platform
    platform.produce([click("a")] + [b"no click"] * 1_500, partition=0)
    sink.start(checkpoint_max_clicks="1000", consumer_override_max_poll_records="2000")
    told = sink.failure()
    assert "messages of topic" in told
    assert "are invalid, more than 50%" in told
    assert "malformed_json" in told
    assert platform.positions() == {}
    assert platform.rejected() == []
    assert platform.event_ids() == ["a"]
    assert platform.hour_states()[NOON].is_dirty

    sink.start(rejected_max_share="1.0")
    sink.wait_drained()
    assert len(platform.rejected()) == 1_500


_AT_ONCE = {"consumer_override_fetch_max_wait_ms": "1"}
"""So that no request of a paused consumer is still waiting at the broker when the next message comes."""


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_clicks_that_retention_removed_are_reported(sink: Sink, how: str) -> None:
    """Of a task that begins, and of one that goes on: Connect's consumer jumps to the earliest offset by itself."""
    platform = sink.platform
    platform.produce([click("a"), click("b")], partition=0)
    sink.start(**_AT_ONCE)
    sink.wait_drained()
    _halted(sink, how)
    platform.produce([click(str(number)) for number in range(10)], partition=0)
    platform.delete_records({0: 7})
    sink.worker.call("PUT", f"/connectors/{sink.name}/resume")

    assert "partition 0: offsets [2, 7) were removed by retention before they were read" in sink.failure()
    assert platform.positions()[0] == 2
    # The way out that the message names.
    sink.give(Mode.DRAIN)
    platform.drain(on_data_loss="skip")
    sink.give(Mode.CONNECT)
    platform.produce([click("after")], partition=0)
    sink.restart()
    sink.wait_drained()
    assert sorted(platform.event_ids()) == ["5", "6", "7", "8", "9", "a", "after", "b"]


@pytest.mark.parametrize(("how", "before", "after"), [("stop", 1, 3), ("pause", 1, 3), ("pause", 3, 1), ("run", 3, 1)])
def test_a_topic_created_again_is_reported(sink: Sink, how: str, before: int, after: int) -> None:
    """Also where the new one is as long as the old one was, so that reading could go on, or shorter."""
    platform = sink.platform
    platform.produce([click(f"old {number}") for number in range(before)], partition=0)
    sink.start(**_AT_ONCE)
    sink.wait_drained()
    positions = platform.positions()
    _halted(sink, how)
    topic = platform.settings.clicks_topic
    platform.admin.delete_topic(topic)
    _eventually(lambda: platform.admin.create_topic(topic, partitions=2, replication=1, config={}))
    platform.produce([click(f"new {number}") for number in range(after)], partition=0)
    sink.worker.call("PUT", f"/connectors/{sink.name}/resume")
    assert "the topic was deleted and created again" in sink.failure()
    assert platform.positions() == positions


def test_a_partition_that_is_added_is_read_and_is_not_taken_for_one_that_is_gone(sink: Sink) -> None:
    platform = sink.platform
    topic = platform.settings.clicks_topic
    platform.produce([click("a")], partition=0)
    platform.produce([click("b")], partition=1)
    sink.start(tasks_max="2", consumer_override_metadata_max_age_ms="1000")
    sink.wait_drained()
    admin = AdminClient({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 3)])[topic].result(30)
    _eventually(lambda: set(platform.admin.topic(topic).partitions) == {0, 1, 2})
    platform.produce([click("c")], partition=2)
    sink.wait_drained()
    # The other task gets partitions anew, as at any rebalance, and now the ledger knows the one that was added.
    sink.worker.call("POST", f"/connectors/{sink.name}/tasks/1/restart")
    platform.produce([click("d")], partition=0)
    platform.produce([click("e")], partition=2)
    sink.wait_drained()
    assert sorted(platform.event_ids()) == ["a", "b", "c", "d", "e"]
    assert [task["state"] for task in sink.worker.tasks(sink.name)] == ["RUNNING", "RUNNING"]


def _halted(sink: Sink, how: str) -> None:
    """Ends the connector's tasks (`stop`), or has them keep their partitions and read nothing (`pause`)."""
    if how == "run":
        return
    sink.worker.call("PUT", f"/connectors/{sink.name}/{how}")
    expected = {"stop": [], "pause": ["PAUSED"]}[how]
    wait_until(
        lambda: [task["state"] for task in sink.worker.tasks(sink.name)] == expected, seconds=60, what=f"they {how}"
    )


_IMPATIENT = {
    "hbase_client_operation_timeout": "3000",
    "hbase_client_meta_operation_timeout": "3000",
    "hbase_rpc_timeout": "2000",
}
"""So that HBase's client gives up in seconds, and it is the sink that waits."""


def test_regions_that_are_closed_reopened_and_split_are_waited_for(
    sink: Sink, spark: SparkSession, tried: list[Tried]
) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=25)
    table = platform.settings.clicks_table
    traffic.send(1_000, malformed=0.03)
    with traffic.steady(200) as load, clicks_admin(spark) as admin:
        sink.start(**_IMPATIENT)
        _wait_stored_more(platform)
        begun_again, in_flight = sink.begun_again(), _in_flight(platform, traffic)
        region = next(iter(admin._admin.getRegions(admin._name(table)))).getRegionName()
        admin._admin.unassign(region)
        wait_until(lambda: sink.begun_again() > begun_again, seconds=60, what="the sink feels that a region is closed")
        admin._admin.assign(region)
        _wait_stored_more(platform)
        day_ago = now_ms() - DAY_MS
        for split in (b"03-%d" % day_ago, b"0a-%d" % day_ago):  # in the middle of the clicks that come
            admin._admin.split(admin._name(table), split)
            wait_until(
                lambda split=split: split in admin.describe(table).split_points, seconds=60, what="the region is split"
            )
            _wait_stored_more(platform)
            judge_progress(platform, traffic.truth)
        load.end()
    sink.wait_drained()
    judge(platform, traffic.truth, at_least=1_000)
    assert [task["state"] for task in sink.worker.tasks(sink.name)] == ["RUNNING"]
    tried.append(Tried("a region closed under the sink, two split", 3, in_flight, traffic.truth.messages))


def test_a_region_that_is_too_busy_is_waited_for(
    sink: Sink, spark: SparkSession, stack: Stack, tried: list[Tried]
) -> None:
    platform = sink.platform
    # Its memory is full after a megabyte, and until that is written to disk it refuses everything.
    limits = {"MEMSTORE_FLUSHSIZE": str(1 << 20), "hbase.hregion.memstore.block.multiplier": "1"}
    with clicks_admin(spark) as admin:
        _alter(admin, platform.settings.clicks_table, limits)
    refused = _times_too_busy(stack)
    ids = [f"{number:04}" for number in range(4_000)]
    platform.produce(click(each, user="one", user_agent="x" * 2_000) for each in ids)
    sink.start(hbase_client_retries_number="0")
    sink.wait_drained()
    assert sorted(platform.event_ids()) == ids
    assert platform.rejected() == []
    times = sink.begun_again()
    assert 0 < times <= _times_too_busy(stack) - refused
    assert [task["state"] for task in sink.worker.tasks(sink.name)] == ["RUNNING"]
    tried.append(Tried("a region too busy under the sink", times, len(ids), len(ids)))


def _in_flight(platform: Platform, traffic: Traffic) -> int:
    """Messages produced that the ledger has not passed."""
    return traffic.truth.messages - sum(platform.positions().values())


def _wait_stored_more(platform: Platform) -> None:
    before = sum(platform.positions().values())
    wait_until(lambda: sum(platform.positions().values()) > before, seconds=120, what="clicks are stored")


def _times_too_busy(stack: Stack) -> int:
    return stack.log("hbase").read_text(errors="replace").count("Region is too busy due to exceeding memstore size")


def test_a_click_that_hbase_refuses_is_rejected_and_its_neighbours_are_stored(sink: Sink, spark: SparkSession) -> None:
    platform = sink.platform
    with clicks_admin(spark) as admin:
        _alter(admin, platform.settings.clicks_table, {"hbase.server.keyvalue.maxsize": "1000"})
    refused = click("large", user_agent="x" * 1_500)
    platform.produce([click("a"), refused, click("b")], partition=0)
    sink.start()
    sink.wait_drained()
    assert sorted(platform.event_ids()) == ["a", "b"]
    (record,) = platform.rejected()
    assert record.value() == refused
    assert headers_of(record)["dataco.reason"] == b"refused_by_store"
    assert b"vlen=1500" in headers_of(record)["dataco.detail"]


def _alter(admin: ClicksAdmin, table: str, values: dict[str, str]) -> None:
    """Changes properties of a table, for which HBase closes each of its regions and opens it again."""
    builder = admin._client.TableDescriptorBuilder.newBuilder(admin._admin.getDescriptor(admin._name(table)))
    for name, value in values.items():
        builder.setValue(name, value)
    admin._admin.modifyTable(builder.build())


def _eventually(action: Callable[[], bool]) -> None:
    wait_until(action, seconds=30, what="it is done")


@dataclass
class Guard:
    """The Kafka lag sensor of a platform whose clicks a connector stores, with what it remembers."""

    platform: Platform
    instance: dg.DagsterInstance
    cursor: str | None = None
    said: str = ""

    def look(self) -> dict[str, Any]:
        """One evaluation; the metadata of the observation that it reports, empty without one."""
        result = tick(build_defs(settings=self.platform.settings), kafka_lag_sensor, self.instance, self.cursor)
        assert not result.run_requests
        self.cursor, self.said = result.cursor, str(result.skip_message)
        (observed,) = result.asset_events or [None]
        if observed is None:
            return {}
        assert observed.asset_key == dg.AssetKey("raw_clicks")
        return {name: entry.value for name, entry in observed.metadata.items()}

    def age(self, seconds: float) -> None:
        """Has it remember everything as so much longer ago."""
        known = memory_of(self.cursor)
        times = {"observed_at": known.observed_at - seconds, "restarted_at": known.restarted_at - seconds}
        self.cursor = with_memory(self.cursor or "{}", msgspec.structs.replace(known, **times))


@pytest.fixture
def guard(sink: Sink) -> Iterator[Guard]:
    address = {"connect_url": sink.worker.url, "connect_connector": sink.name}
    settings = sink.platform.settings.model_copy(update=address)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Guard(Platform(settings, sink.platform.hbase), instance)


def test_dagster_observes_what_the_connector_stores_and_rejects(sink: Sink, guard: Guard) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=24)
    traffic.send(600, malformed=0.1)
    sink.start()
    sink.wait_drained()
    first = guard.look()
    assert (first["lag"], first["seconds behind"], first["ingested by"]) == (0, 0, "Kafka Connect")
    assert (first["tasks running"], first["tasks failed"]) == (1, 0)
    assert guard.look() == {}, "the next is due in a minute"

    broken = traffic.truth.broken.total()
    traffic.send(400, malformed=0.1)
    sink.wait_drained()
    guard.age(OBSERVED_EVERY_SECONDS)
    second = guard.look()
    rejected = traffic.truth.broken.total() - broken
    assert 0 < rejected < 400
    assert (second["clicks rejected"], second["clicks stored"], second["lag"]) == (rejected, 400 - rejected, 0)

    sink.stop()
    traffic.send(50)
    started = time.time()

    def waited() -> dict[str, Any]:
        guard.age(OBSERVED_EVERY_SECONDS)
        return guard.look()

    assert waited()["lag"] == 50
    wait_until(lambda: waited()["seconds behind"] >= 1, seconds=30, what="the sensor has seen clicks wait for a second")
    third = waited()
    assert third["seconds behind"] <= time.time() - started
    assert (third["lag"], third["tasks running"], third["clicks stored"]) == (50, 0, 0)
    assert "Kafka Connect stores the clicks; 50 wait." in guard.said
    judge_progress(platform, traffic.truth)


def test_dagster_restarts_a_task_that_a_passing_cause_ended_and_leaves_others_to_a_person(
    sink: Sink, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait_failed() -> None:
        wait_until(
            lambda: [task["state"] for task in sink.worker.tasks(sink.name)] == ["FAILED"],
            seconds=60,
            what="the task has failed",
        )

    with registry() as server:
        sink.platform.produce([_in_avro(AvroProducer(server), click("a"))])
        server.answers = [503] * 10_000
        sink.start(schema_registry_url=server.url, retry_seconds="0")
        wait_failed()
        asked = len(server.asked)
        guard.look()
        assert "Task 0 failed and is restarted: The schema registry at" in guard.said
        wait_until(lambda: len(server.asked) > asked, seconds=60, what="the task was restarted")
        wait_failed()

        asked = len(server.asked)
        guard.look()
        assert "Task 0 failed and is restarted later: The schema registry at" in guard.said
        assert len(server.asked) == asked, "not before 30 s"
        server.answers = []
        guard.age(30)
        guard.look()
        assert "Task 0 failed and is restarted: " in guard.said
        sink.wait_drained()
        assert sink.platform.event_ids() == ["a"]

        sink.stop()
        sink.platform.produce([_in_avro(AvroProducer(server, version=2), click("b"))])
        sink.start(schema_registry_url="")
        sink.worker.call("PUT", f"/connectors/{sink.name}/resume")
        wait_failed()
    guard.age(3_600)
    guard.look()
    assert "Task 0 failed and waits for a person: A record of the clicks topic names its schema by" in guard.said
    assert "When the cause is gone, `dataco ingest use connect` restarts it (docs/connect.md)." in guard.said
    wait_failed()
    monkeypatch.setattr("dataco_assets.cli.ingest.settings", lambda: guard.platform.settings)
    status = CliRunner().invoke(app, ["ingest", "status"])
    assert status.exit_code == 1
    assert f"Needs a hand: Task 0 of {sink.name} failed: A record of the clicks topic names" in status.stdout


def _in_avro(producer: AvroProducer, value: bytes) -> bytes:
    return b"\0" + producer.id.to_bytes(4, "big") + producer.body(value)


def test_a_standalone_worker_stores_clicks_and_goes_on_where_it_was_killed(sink: Sink, tmp_path: Path) -> None:
    platform, traffic = sink.platform, Traffic(sink.platform, seed=26)
    connector = sink.config(tasks_max="2", name=sink.name)
    alone = StandaloneWorker(tmp_path / "alone", like=sink.worker, connector=connector)
    traffic.send(600, malformed=0.05)
    with running(alone):
        wait_until(lambda: is_drained(platform), seconds=STORED_SECONDS, what="everything is stored")
        sink.stop_at("HOURS_MARKED", "halt")
        traffic.send(600, malformed=0.05)
        wait_until(lambda: not alone.is_running(), seconds=STORED_SECONDS, what="the worker dies")
        judge_progress(platform, traffic.truth)

        alone.start()
        wait_until(lambda: is_drained(platform), seconds=STORED_SECONDS, what="everything is stored")
        judge(platform, traffic.truth, at_least=1_200)
        assert [task["state"] for task in alone.tasks(sink.name)] == ["RUNNING", "RUNNING"]


class ImageWorker(Worker):
    """A worker with the configuration of its image, which takes what differs from the environment."""

    def command(self) -> Sequence[str | Path]:
        """Program and arguments."""
        variables = {
            "CONNECT_BOOTSTRAP_SERVERS": self.brokers,
            "CONNECT_GROUP_ID": f"image-{uuid.uuid4().hex[:8]}",
            "CONNECT_REPLICATION_FACTOR": "1",
            "CONNECT_LISTENERS": self.url,
        }
        *java, file = super().command()
        configuration = (_IMAGE / "worker.properties").read_text()
        assert "plugin.path=/opt/connect/plugins\n" in configuration
        Path(file).write_text(configuration.replace("/opt/connect/plugins", str(self.plugins)))
        return ["env", *(f"{name}={value}" for name, value in variables.items()), *java, file]


def test_from_the_archive_to_rows_as_the_readme_says_with_the_worker_of_the_image(
    stack: Stack, spark: SparkSession, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = packaged(tmp_path / "plugins")
    with running(ImageWorker(tmp_path, brokers=worker.brokers, plugins=plugins, name="")) as made:
        name = f"archive-{uuid.uuid4().hex[:8]}"
        address = {"connect_url": made.url, "connect_connector": name}
        platform = make_platform(stack.env(), elasticsearch_url="http://127.0.0.1:9", **address)
        settings = platform.settings
        monkeypatch.setattr("dataco_assets.cli.ingest.settings", lambda: settings)
        try:
            found = list(provision(settings, lambda: spark, only_clicks=True))
            assert all(each.created for each in found)
            assert "is ingested by Kafka Connect now" in _dataco("ingest", "use", "connect")
            connector = json.loads((plugins / "dataco-clicks" / "connector.json").read_text())
            made.call("PUT", f"/connectors/{name}/config", connector | _names(settings))
            platform.produce([click("a"), b"no click"])
            wait_until(lambda: is_drained(platform), seconds=STORED_SECONDS, what="everything is stored")

            assert platform.event_ids() == ["a"]
            assert len(platform.rejected()) == 1
            status = json.loads(_dataco("ingest", "status", "--json"))
            assert (status["ok"], status["mode"], status["waiting"]) == (True, "connect", 0)
            assert [task["state"] for task in status["connector"]["tasks"]] == ["RUNNING"] * int(connector["tasks.max"])
            requests.delete(f"{made.url}/connectors/{name}", timeout=60)
        finally:
            platform.drop()


def _names(settings: Settings) -> dict[str, str]:
    """What differs from the defaults where several platforms share servers."""
    return {
        "topics": settings.clicks_topic,
        "kafka.bootstrap.servers": settings.kafka_bootstrap_servers,
        "rejected.topic": settings.rejected_topic,
        "start.group": settings.kafka_group,
        "hbase.zookeeper.quorum": settings.hbase_zookeeper_quorum,
        "hbase.table.prefix": settings.hbase_table_prefix,
        "partitions.start": settings.partitions_start,
    }


def _dataco(*arguments: str) -> str:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout
