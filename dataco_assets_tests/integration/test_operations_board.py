"""Tests Grafana's board of operations: each expression on a real Prometheus that scrapes the platform's metrics."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dataco_assets.monitoring.orchestration import Orchestration
from dataco_assets.monitoring.state import State, ask
from dataco_assets_tests.exported import every_metric
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.prometheus import RULES, Prometheus, needs_prometheus
from dataco_assets_tests.server_process import running
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK

pytestmark = [pytest.mark.stack, pytest.mark.soak, needs_prometheus]

BOARD = json.loads((Path(__file__).parents[2] / "docker" / "grafana" / "boards" / "operations.json").read_text())
WAITING = 3


class Busy(Collector):
    """The metrics of a platform whose counters grow with each scrape: of ten messages, one is rejected."""

    def __init__(self, state: State) -> None:
        self._state, self._scrapes = state, 0

    def collect(self) -> Iterator[Metric]:
        self._scrapes += 1
        job, now = "refresh_hours", time.time()
        counted = Orchestration(
            heartbeat_at=now - 7,
            succeeded_at={job: now - 60},
            at_work={job: 1},
            stage_seconds={"write": 2.5},
            stored=90 * self._scrapes,
            rejected={"invalid_url": 10 * self._scrapes},
        )
        yield from every_metric(self._state, counted)


@pytest.fixture
def state(platform: Platform) -> State:
    """A platform with clicks that wait."""
    platform.configure_topic("retention.ms", 60 * 60_000)
    now_ms = time.time_ns() // 1_000_000
    waiting = [click(str(number), at=NOON + number) for number in range(WAITING)]
    platform.produce(waiting, record_time_ms=now_ms - 40 * 60_000)
    return ask(platform.settings, 15.0, asked_at_ms=now_ms)


@pytest.fixture
def prometheus(state: State, tmp_path: Path) -> Iterator[Prometheus]:
    """A Prometheus that scrapes them."""
    registry = CollectorRegistry()
    registry.register(Busy(state))
    with ExitStack() as stack:
        server, thread = start_http_server(0, LOOPBACK, registry)
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        address = f"{LOOPBACK}:{server.server_port}"
        yield stack.enter_context(running(Prometheus(tmp_path, rules=RULES, scraped=address)))


def expressions() -> dict[str, list[str]]:
    """Those of each panel, by its title."""
    return {panel["title"]: [target["expr"] for target in panel["targets"]] for panel in BOARD["panels"]}


def test_every_panel_shows_something(prometheus: Prometheus, state: State) -> None:
    asked = [each for panel in expressions().values() for each in panel]

    def empty() -> list[str]:
        return [each for each in asked if not prometheus.query(each)]

    wait_until(lambda: not empty(), seconds=60, what=f"two scrapes; without an answer: {empty()}")

    def shown(title: str) -> list[float]:
        series: list[dict[str, Any]] = [each for expr in expressions()[title] for each in prometheus.query(expr)]
        return [float(each["value"][1]) for each in series]

    assert shown("Servers that answer") == [1, 1, 1]
    assert shown("Needs a person") == [len([*state.problems()])]
    assert shown("Clicks waiting in Kafka") == [WAITING]
    assert shown("Behind: age of the oldest") == pytest.approx([2_400], abs=60)
    assert shown("Until Kafka removes it") == pytest.approx([1_200], abs=60)
    assert shown("Share that is rejected") == pytest.approx([0.1])
    assert shown("Last success ago") == pytest.approx([60], abs=30)
    assert shown("Newest hour in the index began ago") == pytest.approx([time.time() - NOON / 1000], abs=60)
    assert shown("Last publication by stage") == [2.5]
    assert sum(shown("Connector's tasks")) == 1


def test_every_metric_is_shown(state: State) -> None:
    exported = {f"{each.name}_total" if each.type == "counter" else each.name for each in every_metric(state)}
    used = set(re.findall(r"dataco_\w+", json.dumps([*expressions().values()])))
    assert used == exported
