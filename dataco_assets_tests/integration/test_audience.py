"""Tests the audience end to end: from messages to documents, beside the pages, which are of the same clicks."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

from dataco_assets.aggregates.columns import AUDIENCE, PAGES
from dataco_assets.aggregates.reading import read_hour
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets import es_click_index
from dataco_assets.cli import app
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.index.layout import alias_of
from dataco_assets.ledgers.hours import HourState
from dataco_assets.verification.compare import Outcome
from dataco_assets_tests import oracle
from dataco_assets_tests.documents import compare_documents, read_documents
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.refreshes import Died, Refreshes, die, failure_of
from dataco_assets_tests.stored_aggregates import drop_rows, iceberg_table
from spark_resources import aggregates_table

pytestmark = pytest.mark.stack

MINUTE = 60_000
HOURS = [NOON, NOON + HOUR_MS]
VISITORS: dict[str, dict[str, Any]] = {
    "ann": {"country": "FR", "city": "Lyon", "browser": "Firefox", "operating_system": "Linux", "device": "desktop"},
    "bob": {"country": "FR", "city": "Lyon|Firefox", "browser": "Linux", "device": "desktop"},
    "cid": {"country": "DE", "browser": "Safari", "operating_system": "iOS", "device": "phone"},
    "dan": {"country": "DE", "referrer_host": "search.example"},
    "eve": {"country": "FR", "city": "Lyon", "browser": "Firefox", "operating_system": "Linux", "device": "desktop"},
}


@pytest.fixture
def search(platform: Platform) -> Iterator[SearchClient]:
    with closing(connect(platform.settings)) as client:
        yield client


@pytest.fixture
def expected(platform: Platform) -> dict[oracle.Key, oracle.OracleRow]:
    """Sends the visitors' clicks, and tells what their audience must be."""
    known: list[oracle.OracleClick] = []
    sent: list[bytes] = []
    for number, (user, of_visitor) in enumerate(VISITORS.items()):
        came = {"referrer": f"https://{of_visitor['referrer_host']}/?q=a"} if "referrer_host" in of_visitor else {}
        for step in range(3):
            at, url = NOON + (20 + number + 20 * step) * MINUTE, f"https://shop.example/{step}"
            sent.append(click(f"{user}-{step}", at=at, user=user, url=url, **of_visitor, **came))
            known.append(oracle.OracleClick(f"{at}-{user}", user, at, url, **of_visitor))
    platform.produce(sent)
    platform.drain()
    return oracle.aggregate(known, HOURS, oracle.AUDIENCE)


def documents(platform: Platform, search: SearchClient) -> dict[oracle.Key, dict[str, Any]]:
    alias = alias_of(platform.settings, AUDIENCE)
    search.indices.refresh(index=alias)
    return read_documents(platform.settings.elasticsearch_url, alias, oracle.AUDIENCE)


def test_the_audience_in_the_index_is_the_oracles(
    platform: Platform, refreshes: Refreshes, search: SearchClient, expected: dict[oracle.Key, oracle.OracleRow]
) -> None:
    refreshes.settle()
    compare_documents(documents(platform, search), expected, clicks=3 * len(VISITORS))
    assert refreshes.differences() == []
    assert not any(verdict.lacking for verdict in refreshes.verdicts())


@pytest.mark.usefixtures("expected")
@pytest.mark.parametrize("which", [AUDIENCE, PAGES], ids=lambda each: each.name)
@pytest.mark.parametrize("step", ["commit", "publish"])
def test_a_run_that_dies_between_the_two_leaves_the_hour_to_be_done_again(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch, step: str, which: Any
) -> None:
    """Killed before one of them is committed or published, whichever comes first."""
    refreshes.settle()
    platform.produce([click("more", at=NOON + 55 * MINUTE, user="ann", **VISITORS["cid"])])
    platform.drain()
    with monkeypatch.context() as patch:
        if step == "commit":
            honest_commit = aggregates_table._overwrite

            def commit(rows: Any, hours: Any, place: TablePlace, *rest: Any) -> None:
                return die() if place.aggregate is which else honest_commit(rows, hours, place, *rest)

            patch.setattr(aggregates_table, "_overwrite", commit)
        else:
            honest_publish = es_click_index._Part.publish

            def publish(self: Any, *arguments: Any) -> Any:
                return die() if self.index.aggregate is which else honest_publish(self, *arguments)

            patch.setattr(es_click_index._Part, "publish", publish)
        with pytest.raises(Died):
            refreshes.refresh(HOURS)
    assert refreshes.dirty() == HOURS
    refreshes.settle()
    assert refreshes.differences() == []


@pytest.mark.usefixtures("expected")
def test_documents_of_visitors_who_are_gone_go(platform: Platform, refreshes: Refreshes, search: SearchClient) -> None:
    refreshes.settle()
    gone = [key for key, cells in platform.rows().items() if cells[b"click_data:user_id"] == b"cid"]
    platform.hbase.delete_rows(platform.settings.clicks_table, gone)
    platform.hours.mark_dirty(HOURS, holding_clicks=[], stored_since_ms=0)
    refreshes.settle()
    assert "Safari" not in {browser for _, _, _, browser, *_ in documents(platform, search)}
    assert refreshes.differences() == []


@pytest.mark.usefixtures("expected")
def test_an_audience_that_does_not_add_up_to_the_pages_is_not_published(
    platform: Platform, refreshes: Refreshes
) -> None:
    refreshes.settle()
    platform.hours.mark_dirty(HOURS, holding_clicks=[], stored_since_ms=0)
    refreshes.compute(HOURS)
    drop_rows(TablePlace.of(platform.settings, AUDIENCE), NOON, "country", "DE")

    message = failure_of(lambda: refreshes.publish(HOURS))

    assert "the audience does not add up to the pages: clicks: 6 in place of 10" in message
    assert "unique users: 3 in place of 5" in message
    assert refreshes.dirty() == [NOON], "the other hour is done"


@pytest.mark.usefixtures("expected")
def test_hours_of_a_platform_from_before_have_no_audience_until_they_are_computed_again(
    platform: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    refreshes.settle()
    place, alias = TablePlace.of(platform.settings, AUDIENCE), alias_of(platform.settings, AUDIENCE)
    iceberg_table(place).catalog.drop_table(place.identifier)
    for index in search.indices.get(index=f"{alias}-*").body:
        search.indices.delete(index=index)
    before = states(platform)

    verdicts = refreshes.verdicts()

    assert {verdict.outcome for verdict in verdicts} == {Outcome.EQUAL}
    assert [verdict.lacking for verdict in verdicts if verdict.clicks] == [{AUDIENCE.name}] * 2
    refreshes.publish(HOURS)
    assert states(platform) == before, "no hour became dirty by itself"
    refreshes.refresh(HOURS)
    assert not any(verdict.lacking for verdict in refreshes.verdicts())
    stored = read_hour(place, NOON)
    assert stored is not None
    assert stored.table.num_rows
    assert refreshes.differences() == []


def states(platform: Platform) -> list[HourState]:
    return platform.hours.all()


@pytest.mark.usefixtures("environment")
def test_top_by_a_dimension_adds_clicks_up_and_counts_each_user_of_an_hour_once(
    refreshes: Refreshes, expected: dict[oracle.Key, oracle.OracleRow]
) -> None:
    refreshes.settle()
    clicks: Counter[str] = Counter()
    users: dict[str, Counter[int]] = {}
    for (hour, _, _, browser, *_), row in expected.items():
        clicks[browser] += row.click_count
        users.setdefault(browser, Counter())[hour] += row.entering_users

    done = CliRunner().invoke(app, ["top", "--by", "browser", "--json"])

    assert done.exit_code == 0, done.output
    shown = json.loads(done.stdout)
    assert shown["by"] == "browser"
    found = [(each["browser"], each["clicks"], each["most_users_in_an_hour"]) for each in shown["visitors"]]
    wanted = [(browser, number, max(users[browser].values())) for browser, number in clicks.items()]
    assert found == sorted(wanted, key=lambda each: (-each[1], each[0]))
    assert "" in clicks, "one visitor's browser is unknown"
