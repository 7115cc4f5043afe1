"""Tests canary clicks on real servers: readers find them once they are published, and not before."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.monitoring.canary import Canary
from dataco_assets_tests.platforms import Platform, click
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK, choose

pytestmark = pytest.mark.stack


@pytest.fixture
def client(platform: Platform) -> Iterator[SearchClient]:
    with closing(connect(platform.settings)) as made:
        yield made


def test_readers_find_a_canary_click_once_it_is_published(
    platform: Platform, refreshes: Refreshes, client: SearchClient
) -> None:
    canary, other = (Canary(platform.settings, client) for _ in range(2))
    other.send()
    canary.send()
    before = time.monotonic()
    canary.send()
    after = time.monotonic()
    canary.look()
    assert canary.figures().latency_seconds is None
    assert platform.drain().stored == 3
    canary.look()
    assert canary.figures().latency_seconds is None, "stored, but not published"

    refreshes.settle()
    published = time.monotonic()
    canary.look()
    latency = canary.figures().latency_seconds
    assert latency is not None
    assert published - after <= latency <= time.monotonic() - before
    assert documents(client, platform, canary) == {"clicks": 2, "users": 1, "hosts": {"canary.invalid"}}

    index_older_hours(client, platform, canary)
    canary.send()
    platform.produce([click("visitor", at=time.time_ns() // 1_000_000)])
    canary.look()
    assert canary.figures().latency_seconds == latency, "the third one is not found yet"
    assert canary.figures().age_seconds > latency
    platform.drain()
    refreshes.settle()
    canary.look()
    assert canary.figures().latency_seconds != latency


def index_older_hours(client: SearchClient, platform: Platform, canary: Canary) -> None:
    """What a sender that has run for days leaves behind."""
    index, *_ = client.indices.get_alias(name=platform.settings.index_alias)
    for hour in range(1, 61):
        past = (time.time_ns() // 1_000_000 // HOUR_MS - 1 - hour) * HOUR_MS
        client.index(index=index, document={"page": canary.page, "hour": past, "click_count": 1})


def documents(client: SearchClient, platform: Platform, canary: Canary) -> dict[str, Any]:
    """What the alias holds of a sender's page."""
    alias = platform.settings.index_alias
    client.indices.refresh(index=alias)
    hits = client.search(index=alias, query={"term": {"page": canary.page}})["hits"]["hits"]
    return {
        "clicks": sum(hit["_source"]["click_count"] for hit in hits),
        "users": max(hit["_source"]["unique_users"] for hit in hits),
        "hosts": {hit["_source"]["host"] for hit in hits},
    }


def test_the_command_sends_looks_and_tells_prometheus(platform: Platform, refreshes: Refreshes, tmp_path: Path) -> None:
    port = choose(["metrics"])["metrics"]
    environment = {**os.environ, **platform.environment(), "DATACO_CANARY_SECONDS": "1"}
    environment.pop("DAGSTER_HOME", None)
    command = [str(Path(sys.executable).with_name("dataco")), "metrics", "--port", str(port)]
    with (tmp_path / "metrics.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: platform.drain().stored > 0, seconds=180, what="a canary click in the topic")
        assert "dataco_canary_latency_seconds" not in scraped(port)
        assert scraped(port)["dataco_canary_age_seconds"] > 0
        refreshes.settle()
        wait_until(lambda: "dataco_canary_latency_seconds" in scraped(port), seconds=120, what="readers find it")
        found = scraped(port)
        assert 0 < found["dataco_canary_latency_seconds"] <= found["dataco_canary_age_seconds"]
    finally:
        process.terminate()
        process.wait(30)


def scraped(port: int) -> dict[str, float]:
    """The metrics without labels, by name."""
    lines = requests.get(f"http://{LOOPBACK}:{port}/metrics", timeout=30).text.splitlines()
    pairs = (line.split() for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs if "{" not in name}
