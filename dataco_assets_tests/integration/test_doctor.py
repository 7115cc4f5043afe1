"""Tests `dataco doctor` on real servers: each fault has its line, and a healthy platform none."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
import typer
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import GrpcServerCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import InstigatorState, InstigatorStatus
from dagster._daemon.types import DaemonHeartbeat
from typer.testing import CliRunner

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.cli import doctor as command
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.layout import template_bodies
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.parked import INGEST, Parked, ParkedWork
from dataco_assets.ledgers.verified import LastVerification, Verification
from dataco_assets.monitoring import doctor as room
from dataco_assets_tests.platforms import NOON, Platform, click

pytestmark = pytest.mark.stack
_PARTS = (
    "Kafka",
    "HBase",
    "Elasticsearch",
    "topics",
    "HBase tables",
    "index",
    "who stores clicks",
    "clocks",
    "accounts",
)


@pytest.fixture(autouse=True)
def no_dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def doctor(*options: str) -> tuple[int, dict[str, list[tuple[str, str]]]]:
    """Exit code, and what was said (verdict, text) by part."""
    app = typer.Typer()
    app.command()(command.doctor)
    result = CliRunner().invoke(app, ["--json", *options], catch_exceptions=False)
    found: dict[str, list[tuple[str, str]]] = {}
    document = json.loads(result.stdout)
    for each in document["parts"]:
        found.setdefault(each["part"], []).append((each["verdict"], each["found"]))
    assert document["ok"] == (result.exit_code == 0)
    return result.exit_code, found


def problems(found: Mapping[str, list[tuple[str, str]]]) -> dict[str, str]:
    return {part: text for part, told in found.items() for verdict, text in told if verdict == "problem"}


@pytest.mark.usefixtures("environment")
def test_a_healthy_platform_has_no_problem() -> None:
    code, found = doctor()
    assert code == 0
    assert problems(found) == {}
    assert {part: found[part][0][0] for part in _PARTS} == dict.fromkeys(_PARTS, "ok")
    assert found["Dagster"] == [("not checked", "DAGSTER_HOME is not set, so its daemon and sensors are not known")]


@pytest.mark.usefixtures("environment")
def test_each_fault_is_said_where_it_is_and_hides_no_other(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = platform.settings
    platform.produce([click("a", at=NOON)])
    name, body = next(iter(template_bodies(settings, PAGES).items()))
    connect(settings).indices.put_index_template(name=name, **{**body, "priority": 1})
    with platform.gateway() as gateway:
        gateway.delete_table(settings.suppressed_table, disable=True)
    platform.admin.delete_topic(settings.rejected_topic)
    monkeypatch.setattr(HourLedger, "server_time_ms", lambda _: int(time.time() * 1000) + 60_000)

    code, found = doctor("--max-wait", "0")

    told = problems(found)
    assert code == 1
    assert set(told) == {"topics", "HBase tables", "index", "ingest"}
    assert settings.rejected_topic in told["topics"]
    assert f"has no table {settings.suppressed_table}. `dataco setup` creates it." in told["HBase tables"]
    assert f"Index template {name} differs" in told["index"]
    assert "does ingest run?" in told["ingest"]
    ((verdict, text),) = found["clocks"]
    assert (verdict, "0:01:00 behind HBase's" in text) == ("warning", True)


def test_a_server_that_is_away_leaves_the_others_examined(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    away = platform.settings.model_copy(update={"elasticsearch_url": "http://127.0.0.1:1"})
    monkeypatch.setattr(command, "settings", lambda: away)
    code, found = doctor()
    assert code == 1
    assert set(problems(found)) == {"Elasticsearch"}
    for part in ("index", "live"):
        assert found[part] == [("not checked", "because of the problem with Elasticsearch")]
    assert found["HBase tables"][0][0] == "ok"


@pytest.mark.usefixtures("environment")
def test_parked_work_is_said_with_what_ends_it(platform: Platform) -> None:
    entry = Parked(INGEST, "DataLost", "the topic is another one", "run", time.time(), "circumstances")
    ParkedWork(platform.hbase, platform.settings.hours_table).write([entry])
    code, found = doctor()
    assert code == 1
    assert "`dataco resume ingest`" in problems(found)["parked work"]


@pytest.mark.usefixtures("environment")
def test_what_is_not_accounted_for_and_what_was_verified_is_said(platform: Platform) -> None:
    settings = platform.settings
    platform.produce([click("a", at=NOON), b"bad"], partition=0)
    platform.drain()
    code, found = doctor()
    assert (code, found["accounts"]) == (
        0,
        [("ok", "2 messages of 7 days: 1 stored, 1 rejected, 0 suppressed, 0 lost")],
    )
    assert found["last verification"][0][0] == "ok"
    key = f"{settings.clicks_topic}/00000".encode()
    cell = platform.hbase.rows(settings.offsets_table, [key])[key][b"o:next"]
    platform.put(settings.offsets_table, key, {b"o:next": cell.replace(b" 2 ", b" 3 ", 1)})
    LastVerification(platform.hbase, settings.hours_table).note(Verification(time.time(), NOON, NOON, 1, 1, 0, 3))

    code, found = doctor()

    assert code == 1
    assert "offsets [0, 3), ingested in hour" in problems(found)["accounts"]
    assert "1 message not accounted for" in problems(found)["accounts"]
    assert "`dataco account` shows all" in problems(found)["accounts"]
    ((verdict, text),) = found["last verification"]
    assert (verdict, "1 hour compared, 1 different" in text) == ("warning", True)


def test_dagsters_daemon_and_sensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (told,) = room.of_dagster(dg.DagsterInstance.get)
    assert (str(told.verdict), "never run" in told.found) == ("problem", True)
    with dg.DagsterInstance.get() as instance:
        for silent, expected in ((200.0, "problem"), (1.0, "ok")):
            for part in instance.get_required_daemon_types():
                instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - silent, part, None, []))
            (told,) = room.of_dagster(dg.DagsterInstance.get)
            assert str(told.verdict) == expected

        turned_off = _sensor_state("kafka_lag_sensor", InstigatorStatus.STOPPED)
        instance.add_instigator_state(turned_off)
        instance.add_instigator_state(_sensor_state("dirty_hours_sensor", InstigatorStatus.RUNNING))
    _, off = room.of_dagster(dg.DagsterInstance.get)
    assert (off.part, str(off.verdict)) == ("kafka_lag_sensor", "warning")

    for database in tmp_path.rglob("*.db"):
        database.write_text("not a database" * 100)
    (told,) = room.of_dagster(dg.DagsterInstance.get)
    assert (str(told.verdict), "cannot be read" in told.found) == ("problem", True)


def _sensor_state(name: str, status: InstigatorStatus) -> InstigatorState:
    location = GrpcServerCodeLocationOrigin(host="code", port=4000, location_name="dataco")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "__repository__"), name)
    return InstigatorState(origin, InstigatorType.SENSOR, status)


def test_a_full_disk_is_a_problem(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    (fine,) = room.of_disks(platform.settings)
    assert str(fine.verdict) == "ok"
    monkeypatch.setattr("shutil.disk_usage", lambda _: (100 * 1024**3, 99 * 1024**3, 1024**3))
    (full,) = room.of_disks(platform.settings)
    assert str(full.verdict) == "problem"
    assert "Only 1.0 of 100.0 GiB free" in full.found
    elsewhere = platform.settings.model_copy(
        update={"aggregates_uri": "s3://bucket/hours", "live_checkpoint_uri": "hdfs://host:8020/live"}
    )
    assert list(room.of_disks(elsewhere)) == []
