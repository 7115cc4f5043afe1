"""Tests a change of the rule about bots on real servers: what it would change is told, and no other hour is refreshed.

The expected numbers are counted by hand from the clicks that the test sends.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.index.indices import Index
from dataco_assets.index.reading import incomplete_hours
from dataco_assets.index.restatements import read_restatements
from dataco_assets.settings import settings
from dataco_assets_tests.platforms import NOON, Platform, click, epoch_ms
from dataco_assets_tests.refreshes import Refreshes

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]
SECOND = 1_000
FAST, CRAWLED, QUIET = NOON, NOON + 5 * HOUR_MS, NOON + 10 * HOUR_MS
"""Hours: ann clicks five times in a minute; a crawler and ben click; ben alone clicks."""


@pytest.fixture
def search(platform: Platform) -> Iterator[SearchClient]:
    client = connect(platform.settings)
    yield client
    client.close()


def fill(platform: Platform, refreshes: Refreshes) -> None:
    sent = [click(f"f{n}", at=FAST + n * SECOND, user="ann", url=f"https://shop.example/{n % 2}") for n in range(5)]
    sent += [click("s1", at=FAST + 600 * SECOND, user="ann"), click("s2", at=FAST + 600 * SECOND, user="ben")]
    sent += [click(f"g{n}", at=CRAWLED + n * 60 * SECOND, user="crawler", browser="Googlebot") for n in range(3)]
    sent += [click("b", at=CRAWLED, user="ben", browser="Wget 2"), click("q", at=QUIET, user="ben", browser="Firefox")]
    platform.produce(sent)
    platform.drain()
    refreshes.settle()


def published(platform: Platform, search: SearchClient) -> dict[int, tuple[int, int]]:
    """Clicks and clicks of bots of each hour in the documents, added up here."""
    search.indices.refresh(index=platform.settings.index_alias)
    found: dict[int, tuple[int, int]] = {}
    for hit in search.search(index=platform.settings.index_alias, size=1_000)["hits"]["hits"]:
        document = hit["_source"]
        clicks, bots = found.get(hour := epoch_ms(document["hour"]), (0, 0))
        found[hour] = clicks + document["click_count"], bots + document["bot_clicks"]
    return found


def rules(*arguments: str) -> dict[int, tuple[int | None, int]]:
    """The hours that a command says would change: clicks of bots before and after."""
    result = CliRunner().invoke(app, ["rules", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return {epoch_ms(each["hour"]): (each["bot_clicks_before"], each["bot_clicks_after"]) for each in document["hours"]}


def generations(platform: Platform) -> dict[int, int]:
    return {state.hour: state.dirty for state in platform.hours.all()}


def test_an_hour_that_lacks_the_marks_alone_is_told_as_such(
    platform: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    fill(platform, refreshes)
    index = Index(search, platform.settings.index_alias)
    assert incomplete_hours(index) is None
    query = {"term": {"hour": QUIET}}
    (hit,) = search.search(index=platform.settings.index_alias, query=query, version=True)["hits"]["hits"]
    lacking = {name: value for name, value in hit["_source"].items() if name != "bot_clicks"}
    version = {"version": hit["_version"], "version_type": "external_gte"}
    search.index(index=hit["_index"], id=hit["_id"], document=lacking, refresh=True, **version)
    found = incomplete_hours(index)
    assert found is not None
    assert (found.first_hour, found.last_hour, found.count) == (QUIET, QUIET, 1)
    assert found.lacking == ("bot_clicks",)


def test_a_changed_rule_is_told_before_and_refreshes_only_its_hours(
    platform: Platform, refreshes: Refreshes, search: SearchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(platform, refreshes)
    at_first = {FAST: (7, 0), CRAWLED: (4, 3), QUIET: (1, 0)}
    assert published(platform, search) == at_first
    before = generations(platform)

    assert rules("diff") == {}
    assert rules("diff", "--clicks-per-minute", "5") == {FAST: (0, 5)}
    assert rules("diff", "--clicks-per-minute", "6") == {}
    assert rules("diff", "--agents", "Wget 2, other") == {CRAWLED: (3, 4)}
    assert rules("diff", "2020-06-01-17:00", "--clicks-per-minute", "1") == {CRAWLED: (3, 4)}
    assert generations(platform) == before, "diff changes nothing"
    assert published(platform, search) == at_first

    monkeypatch.setenv("DATACO_BOT_CLICKS_PER_MINUTE", "5")
    settings.cache_clear()
    platform.settings = platform.settings.model_copy(update={"bot_clicks_per_minute": 5})
    found = refreshes.differences()
    assert found
    assert all(" bot_clicks: " in each for each in found)
    assert rules("refresh") == {FAST: (0, 5)}
    assert refreshes.dirty() == [FAST], "no other hour is computed again"
    refreshes.settle()

    assert published(platform, search) == at_first | {FAST: (7, 5)}
    (noted,) = read_restatements(search, platform.settings.index_alias)
    assert (noted.hour, noted.cause) == (FAST, Cause.RECOMPUTED)
    assert (noted.clicks_before, noted.clicks, noted.groups_changed) == (7, 7, 2)
    assert refreshes.differences() == []
    assert rules("diff") == {}
    assert rules("refresh") == {}
    assert refreshes.dirty() == []
    settings.cache_clear()
