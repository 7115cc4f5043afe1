"""Tests metrics and alerts on real servers: each injected fault raises its alert, and a quiet platform none."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._daemon.types import DaemonHeartbeat
from prometheus_client import generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from dataco_assets.clicks.event import Reason
from dataco_assets.ledgers.parked import INGEST, Parked, ParkedWork
from dataco_assets.monitoring.exporter import Exporter
from dataco_assets.monitoring.state import ask
from dataco_assets_tests.exported import every_metric
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.prometheus import RULES, Alertmanager, Prometheus, needs_prometheus
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.server_process import running
from dataco_assets_tests.waiting import wait_until
from dataco_assets_tests.webhooks import Receiver, receiving
from local_stack.ports import LOOPBACK

pytestmark = pytest.mark.stack

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
MINUTE_MS = 60_000


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(home)) as made:
        yield made


def scraped(exporter: Exporter) -> dict[tuple[str, ...], float]:
    """Each sample by its name and the values of its labels."""
    text = generate_latest(exporter.registry()).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_way_of_clicks_is_measured(platform: Platform, refreshes: Refreshes, instance: dg.DagsterInstance) -> None:
    exporter = Exporter(platform.settings, instance, 15.0)
    empty = scraped(exporter)
    for server in ("Kafka", "HBase", "Elasticsearch", "Dagster"):
        assert empty["dataco_server_up", server] == 1
    assert ("dataco_server_up", "Kafka Connect") not in empty
    assert empty["dataco_clicks_waiting", "0"] == empty["dataco_oldest_waiting_click_seconds",] == 0
    assert ("dataco_retention_headroom_seconds",) not in empty, "the topic keeps clicks for ever"

    platform.produce([click("a", at=NOON)], record_time_ms=_now_ms() - 40 * MINUTE_MS)
    platform.produce([click("b", at=NOON + 1), click("c", at=NOON + 2)])
    platform.configure_topic("retention.ms", 60 * MINUTE_MS)
    waiting = scraped(exporter)
    assert waiting["dataco_clicks_waiting", "0"] == 3
    assert waiting["dataco_oldest_waiting_click_seconds",] == pytest.approx(2_400, abs=60)
    assert waiting["dataco_retention_headroom_seconds",] == pytest.approx(1_200, abs=60)

    platform.drain()
    stored = scraped(exporter)
    assert stored["dataco_clicks_waiting", "0"] == stored["dataco_oldest_waiting_click_seconds",] == 0
    assert stored["dataco_dirty_hours",] == 2, "the hour and the one before"
    assert stored["dataco_oldest_dirty_hour_seconds",] == pytest.approx(time.time() - NOON / 1000, abs=60)
    assert ("dataco_index_newest_hour_timestamp_seconds",) not in stored

    refreshes.settle()
    assert scraped(exporter)["dataco_index_newest_hour_timestamp_seconds",] == NOON / 1000
    assert scraped(exporter)["dataco_dirty_hours",] == 0


def test_what_runs_report_is_added_up(platform: Platform, instance: dg.DagsterInstance) -> None:
    def report(**metadata: Any) -> None:
        instance.report_runless_asset_event(
            dg.AssetMaterialization("raw_clicks", metadata={k.replace("_", " "): v for k, v in metadata.items()})
        )

    report(clicks_stored=1_000, clicks_suppressed=0, rejected_by_reason={})
    exporter = Exporter(platform.settings, instance, 15.0)
    assert scraped(exporter)["dataco_clicks_stored_total",] == 0, "counted from when the exporter started"
    report(clicks_stored=70, clicks_suppressed=2, rejected_by_reason={"invalid_url": 3, "tombstone": 1})
    report(clicks_stored=30, clicks_suppressed=0, rejected_by_reason={"invalid_url": 1})
    observed = dg.AssetObservation("raw_clicks", metadata={"clicks stored": 5, "clicks rejected": 4})
    instance.report_runless_asset_event(observed)
    stages = {"run: seconds to write the documents": 1.5, "run: hours": 3}
    instance.report_runless_asset_event(dg.AssetMaterialization("es_click_index", metadata=stages))
    for _ in range(2):
        found = scraped(exporter)
        assert found["dataco_clicks_stored_total",] == 105
        assert found["dataco_clicks_suppressed_total",] == 2
        reasons = {key[1]: value for key, value in found.items() if key[0] == "dataco_clicks_rejected_total"}
        assert reasons.keys() == {*map(str, Reason), "unspecified"}
        counted = {reason: count for reason, count in reasons.items() if count}
        assert counted == {"invalid_url": 4, "tombstone": 1, "unspecified": 4}
        stages = {key[1]: value for key, value in found.items() if key[0] == "dataco_refresh_stage_seconds"}
        assert stages == {"write the documents": 1.5}


@pytest.fixture
def started(platform: Platform, tmp_path: Path, instance: dg.DagsterInstance) -> "Iterator[Watched]":
    """The platform with a real Prometheus and Alertmanager, whose rules wait for as long as a start takes at most."""
    rules = tmp_path / "alerts.yaml"
    rules.write_text(re.sub(r"(?<=\n)( +for:) \w+", r"\1 20s", RULES.read_text()))
    with ExitStack() as stack:
        exporter = Exporter(platform.settings, instance, 15.0)
        server, thread = start_http_server(0, LOOPBACK, exporter.registry())
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        webhook = stack.enter_context(receiving())
        manager = stack.enter_context(running(Alertmanager(tmp_path, webhook=webhook.url)))
        address = f"{LOOPBACK}:{server.server_port}"
        prometheus = Prometheus(tmp_path, rules=rules, scraped=address, alertmanager=manager.address)
        yield Watched(stack.enter_context(running(prometheus)), webhook, exporter, server.shutdown)


class Watched:
    """A platform under the eyes of Prometheus."""

    def __init__(
        self, prometheus: Prometheus, webhook: Receiver, exporter: Exporter, stop_exporting: Callable[[], None]
    ) -> None:
        self.prometheus = prometheus
        self.exporter = exporter
        self.stop_exporting = stop_exporting
        self._webhook = webhook

    def told(self) -> set[str]:
        """The alerts that reached the webhook as firing."""
        alerts = [alert for call in self._webhook.got for alert in call["alerts"] if alert["status"] == "firing"]
        return {alert["labels"]["alertname"] for alert in alerts}

    def wait_told(self, alert: str) -> None:
        """Waits until an alert has reached the webhook."""
        wait_until(lambda: alert in self.told(), seconds=120, what=f"{alert} is told")


@needs_prometheus
def test_each_fault_raises_its_alert_and_a_quiet_platform_none(
    started: Watched, platform: Platform, instance: dg.DagsterInstance
) -> None:
    _beat(instance, age_seconds=0)
    platform.produce([click("a", at=NOON)])
    platform.drain()
    _report(instance, stored=990, rejected=10)
    wait_until(
        lambda: bool(started.prometheus.query("count_over_time(dataco_server_up{server='Kafka'}[1m]) > 2")),
        seconds=60,
        what="it has been scraped a few times",
    )
    assert started.told() == set()

    platform.produce([click("late", at=NOON + 1)], record_time_ms=_now_ms() - 40 * MINUTE_MS)
    started.wait_told("DatacoClicksWait")
    assert started.told() == {"DatacoClicksWait"}

    platform.configure_topic("retention.ms", 60 * MINUTE_MS)
    parked = Parked(INGEST, "DataLost", "clicks were lost", "0" * 32, time.time(), "circumstances")
    ParkedWork(platform.hbase, platform.settings.hours_table).write([parked])
    _report(instance, stored=10, rejected=600)
    _beat(instance, age_seconds=300)
    for alert in ("DatacoRetentionNear", "DatacoParked", "DatacoRejectedShare", "DatacoDaemonSilent"):
        started.wait_told(alert)
    assert {"DatacoClicksLost", "DatacoServerAway", "DatacoMetricsMissing"}.isdisjoint(started.told())
    platform.delete_records({0: -1})
    started.wait_told("DatacoClicksLost")
    started.exporter.config = platform.settings.model_copy(update={"elasticsearch_url": "http://127.0.0.1:1"})
    started.wait_told("DatacoServerAway")
    started.stop_exporting()
    started.wait_told("DatacoMetricsMissing")


def test_the_page_lists_every_metric_and_no_other(platform: Platform) -> None:
    platform.produce([click("a", at=NOON)])
    platform.configure_topic("retention.ms", 60 * MINUTE_MS)
    full = every_metric(ask(platform.settings, 15.0, asked_at_ms=_now_ms()))
    exported = {f"{each.name}_total" if each.type == "counter" else each.name for each in full}
    documented = set(re.findall(r"^\| `(dataco_\w+)` \|", PAGE.read_text(), re.MULTILINE))
    used = set(re.findall(r"dataco_\w+", yaml.safe_dump(yaml.safe_load(RULES.read_text()))))
    assert exported == documented
    assert used <= exported


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _beat(instance: dg.DagsterInstance, *, age_seconds: float) -> None:
    for part in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age_seconds, part, "id", None))


def _report(instance: dg.DagsterInstance, *, stored: int, rejected: int) -> None:
    metadata = {"clicks stored": stored, "rejected by reason": {"invalid_url": rejected}}
    instance.report_runless_asset_event(dg.AssetMaterialization("raw_clicks", metadata=metadata))
