"""Tests what canary clicks show, without servers: which click a number found means, and what a failure costs."""

import logging
import time
from threading import Event, Thread

import pytest

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.clients.kafka.failures import KafkaFailure
from dataco_assets.monitoring.canary import Canary, Sightings
from dataco_assets.settings import Settings, SettingsError
from dataco_assets_tests.waiting import wait_until

NOON = 1_591_012_800_000
"""2020-06-01 12:00 UTC, epoch ms."""


def test_the_newest_click_that_is_found_gives_the_latency() -> None:
    none = Sightings.beginning(at=100.0)
    assert (none.age_seconds(130.0), none.latency_seconds, none.is_waiting) == (30.0, None, False)
    sent = none.sending(NOON, 110.0).sending(NOON, 120.0).sending(NOON, 130.0)
    assert sent.is_waiting
    assert sent.looking({}, 131.0) == sent
    two = sent.looking({NOON: 2}, 135.0)
    assert (two.latency_seconds, two.age_seconds(140.0), two.is_waiting) == (15.0, 20.0, True)
    assert two.looking({NOON: 2}, 138.0) == two, "it was found at 135"
    assert two.looking({NOON: 1}, 138.0) == two, "an hour that is taken back for a moment"
    three = two.looking({NOON: 3}, 150.0)
    assert (three.latency_seconds, three.is_waiting) == (20.0, False)
    assert three.age_seconds(1_000.0) == 870.0


def test_hours_are_counted_by_themselves_and_in_any_order() -> None:
    later = NOON + HOUR_MS
    sent = Sightings.beginning(0.0).sending(NOON, 10.0).sending(NOON, 20.0).sending(later, 30.0)
    found = sent.looking({later: 1}, 32.0)
    assert found.latency_seconds == 2.0
    assert not found.is_waiting, "what is older than what was found says nothing of now"
    assert found.looking({NOON: 2, later: 1}, 99.0).latency_seconds == 2.0
    assert sent.looking({NOON: 7}, 40.0).latency_seconds == 20.0, "there cannot be more than were sent"


def test_hours_of_days_ago_are_forgotten() -> None:
    sightings = Sightings.beginning(0.0)
    for hour in range(100):
        sightings = sightings.sending(NOON + hour * HOUR_MS, float(hour))
    assert min(sightings.sent) == NOON + 52 * HOUR_MS


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr("dataco_assets.monitoring.canary._SEND_SECONDS", 0.5)
    monkeypatch.setattr("dataco_assets.monitoring.canary._LOOK_SECONDS", 0.1)
    changes = {
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "elasticsearch_url": "http://127.0.0.1:1",
        "canary_seconds": 1,
    }
    return Settings.load().model_copy(update=changes)


def canary_of(settings: Settings) -> Canary:
    return Canary(settings, connect(settings, request_seconds=1.0, retry_seconds=0.0))


def test_a_click_of_which_nobody_knows_whether_it_was_sent_is_not_counted(nowhere: Settings) -> None:
    canary = canary_of(nowhere)
    page = canary.page
    assert page.startswith("https://canary.invalid/")
    with pytest.raises(KafkaFailure):
        canary.send()
    assert canary.page != page, "it may arrive later, on the page that it was sent for"


def test_servers_that_are_away_are_told_once_and_make_it_older(
    nowhere: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    canary, stopped = canary_of(nowhere), Event()
    thread = Thread(target=canary.run, args=(stopped,))
    with caplog.at_level(logging.WARNING, "dataco_assets.monitoring.canary"):
        began, pages = time.monotonic(), set[str]()
        thread.start()
        wait_until(lambda: pages.add(canary.page) or len(pages) > 2, seconds=30, what="two attempts to send")
        stopped.set()
        thread.join(20)
    assert not thread.is_alive()
    said = [record.getMessage() for record in caplog.records if "canary click" in record.getMessage()]
    assert len(said) == len(set(said))
    assert "cannot be sent" in said[0]
    assert canary.figures().latency_seconds is None
    assert 1 <= canary.figures().age_seconds <= time.monotonic() - began + 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("URL", "canary"), ("URL", "https://Canary.example"), ("URL", "https://canary.example/?a=1"), ("SECONDS", "301")],
)
def test_settings_that_cannot_work_are_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"DATACO_CANARY_{name}", value)
    with pytest.raises(SettingsError, match=f"DATACO_CANARY_{name}"):
        Settings.load()
