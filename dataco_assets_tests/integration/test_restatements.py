"""Tests restatements on real servers: what changed in a final hour is recorded once, with the exact differences.

The expected differences are counted from the clicks that the test sends, in plain Python.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.clients.kafka.failures import TopicMissing
from dataco_assets.index.indices import IndexMismatch
from dataco_assets.index.restatements import (
    Restatement,
    ensure_restatements,
    index_name,
    read_restatements,
    remove_old,
)
from dataco_assets.privacy.erasure import erase
from dataco_assets.rejected.contents import read_rejected
from dataco_assets.rejected.replay import replay
from dataco_assets_tests.platforms import NOON, Platform, click, read_topic
from dataco_assets_tests.refreshes import Died, Refreshes, die, interpose

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]
SENT = [("ann", "/a", 0), ("ann", "/b", 1), ("ben", "/a", 2)]
LATE = [("cem", "/a", 3), ("cem", "/a", 4), ("ann", "/c", 5)]
Sent = tuple[str, str, int]


@pytest.fixture
def search(platform: Platform) -> Iterator[SearchClient]:
    client = connect(platform.settings)
    yield client
    client.close()


def send(platform: Platform, clicks: list[Sent]) -> None:
    platform.produce(
        click(f"{user}{page}{minute}", at=NOON + minute * 60_000, user=user, url=f"https://shop.example{page}")
        for user, page, minute in clicks
    )
    platform.drain()


def recorded(search: SearchClient, platform: Platform) -> list[Restatement]:
    return list(read_restatements(search, platform.settings.index_alias))


def views(clicks: list[Sent]) -> Counter[str]:
    return Counter(f"https://shop.example{page}" for _, page, _ in clicks)


def check(found: Restatement, before: list[Sent], after: list[Sent]) -> None:
    """Compares a record with the clicks that readers' documents were of."""
    assert found.hour == NOON
    assert (found.clicks_before, found.clicks) == (len(before), len(after))
    assert (found.users_before, found.users) == (len({c[0] for c in before}), len({c[0] for c in after}))
    old, new = views(before), views(after)
    shown = {row.page: (row.clicks_before, row.clicks) for row in found.rows}
    changed = {page: (old[page], new[page]) for page in old | new if old[page] != new[page]}
    assert {page: counts for page, counts in shown.items() if counts[0] != counts[1]} == changed
    assert abs(found.rows[0].clicks - found.rows[0].clicks_before) == max(abs(a - b) for a, b in changed.values())
    assert found.generation > found.generation_before


@pytest.fixture
def final(platform: Platform, refreshes: Refreshes, search: SearchClient) -> Platform:
    """A platform whose noon hour was published when it was over."""
    send(platform, SENT)
    refreshes.settle()
    assert recorded(search, platform) == [], "the first publication restates nothing"
    return platform


def test_late_clicks_are_one_restatement_however_often_it_is_published(
    final: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    send(final, LATE)
    refreshes.settle()
    (found,) = recorded(search, final)
    check(found, SENT, SENT + LATE)
    assert found.cause is Cause.LATE_CLICKS
    # /a and /c by clicks, /b by the time spent on it: ann's last page before is no exit any more.
    assert found.groups_changed == len({page for _, page, _ in [*SENT, *LATE]})
    refreshes.refresh([NOON])
    refreshes.publish([NOON])
    send(final, LATE)  # once more: nothing changes, whatever the generation
    refreshes.settle()
    assert recorded(search, final) == [found]

    listed = CliRunner().invoke(app, ["restatements", "2020-06-01", "2020-06-01", "--json"], catch_exceptions=False)
    (line,) = json.loads(listed.stdout)["restatements"]
    assert line["id"] == found.id
    assert line["clicks"] - line["clicks_before"] == len(LATE)


def test_an_erasure_is_a_restatement_of_that_cause(final: Platform, refreshes: Refreshes, search: SearchClient) -> None:
    erase(final.settings, final.hbase, ["ann"])
    refreshes.settle()
    (found,) = recorded(search, final)
    check(found, SENT, [sent for sent in SENT if sent[0] != "ann"])
    assert found.cause is Cause.ERASURE
    assert "ann" not in str(found)
    send(final, LATE[:2])
    refreshes.settle()
    assert [each.cause for each in recorded(search, final)] == [Cause.ERASURE, Cause.LATE_CLICKS]


def test_a_replay_is_a_restatement_of_that_cause(final: Platform, refreshes: Refreshes, search: SearchClient) -> None:
    final.produce([b"{"])
    final.drain()
    (rejected,) = read_rejected(final.settings, final.hbase).entries
    repaired = click("cem/a3", at=NOON + 3 * 60_000, user="cem", url="https://shop.example/a")
    assert replay(final.settings, [rejected], repaired=repaired) == 1
    final.drain()
    refreshes.settle()
    (found,) = recorded(search, final)
    check(found, SENT, SENT + LATE[:1])
    assert found.cause is Cause.REPLAY


@pytest.mark.parametrize("step", ["delete what is stale", "compare", "note as done"])
def test_a_run_that_dies_behind_the_documents_leaves_one_restatement(
    final: Platform, refreshes: Refreshes, search: SearchClient, step: str
) -> None:
    send(final, LATE)
    with pytest.MonkeyPatch.context() as patch:
        interpose(patch, step, before=die)
        with pytest.raises(Died):
            refreshes.refresh([NOON - HOUR_MS, NOON])
    refreshes.settle()
    (found,) = recorded(search, final)
    check(found, SENT, SENT + LATE)
    assert found.groups_changed == len({page for _, page, _ in [*SENT, *LATE]})


def test_a_newer_run_takes_over_what_readers_had_before_a_run_that_died(
    final: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    send(final, LATE[:1])
    with pytest.MonkeyPatch.context() as patch:
        interpose(patch, "compare", before=die)
        with pytest.raises(Died):
            refreshes.refresh([NOON - HOUR_MS, NOON])
    send(final, LATE[1:])
    refreshes.settle()
    (found,) = recorded(search, final)
    assert (found.clicks_before, found.clicks) == (len(SENT), len(SENT + LATE))
    assert (found.users_before, found.users) == (2, 3)


@pytest.mark.parametrize("dies", [False, True])
def test_the_topic_gets_each_restatement(
    final: Platform, refreshes: Refreshes, search: SearchClient, monkeypatch: pytest.MonkeyPatch, *, dies: bool
) -> None:
    """Also when the topic is not there at first, and when a run dies once it has sent the record."""
    topic = f"{final.settings.clicks_topic}.restated"
    telling = replace(final, settings=final.settings.model_copy(update={"restatements_topic": topic}))
    refreshes = Refreshes(telling, refreshes.spark)
    send(final, LATE)
    with pytest.raises(TopicMissing, match=topic):
        refreshes.settle()
    assert recorded(search, final) == [], "first the topic"
    final.admin.create_topic(topic, partitions=1, replication=1, config={})
    if dies:
        with monkeypatch.context() as patch:
            patch.setattr("dataco_assets.index.restatements.bulk", lambda *_: die())
            with pytest.raises(Died):
                refreshes.settle()
    refreshes.settle()
    (found,) = recorded(search, final)
    check(found, SENT, SENT + LATE)
    messages = read_topic(final.settings.kafka_bootstrap_servers, topic)
    assert [(message.key(), json.loads(message.value() or b"")) for message in messages] == [
        (found.id.encode(), {"id": found.id, **json.loads(msgspec.json.encode(found.document))})
    ] * (2 if dies else 1)
    final.admin.delete_topic(topic)


def test_restatements_of_an_expired_hour_are_removed_once_they_are_old(
    final: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    send(final, LATE)
    refreshes.settle()
    (found,) = recorded(search, final)
    settings = final.settings.model_copy(update={"restatement_retention_days": 7})
    long_kept = settings.model_copy(update={"clicks_ttl_days": 24_855})
    old = found.noted_at + 7 * DAY_MS
    assert remove_old(search, settings, now_ms=old) == 0
    assert remove_old(search, long_kept, now_ms=old + 1) == 0, "readers see it as restated"
    assert recorded(search, final) == [found]
    assert remove_old(search, settings, now_ms=old + 1) == 1
    assert recorded(search, final) == []
    assert remove_old(search, settings, now_ms=old + 1) == 0


def test_an_index_with_another_layout_is_refused(platform: Platform, search: SearchClient) -> None:
    ensure_restatements(search, platform.settings)
    name = index_name(platform.settings.index_alias)
    search.indices.put_mapping(index=name, properties={"foreign": {"type": "keyword"}})
    with pytest.raises(IndexMismatch, match="foreign"):
        ensure_restatements(search, platform.settings)
    told = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert name in told.stdout
    assert "foreign" in told.stdout
