"""Tests the dashboard's figures on a real Elasticsearch against sums in plain Python over the same clicks."""

import csv
import io
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from flask import Flask

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, CLICK_COUNT, EXITS, PAGES
from dataco_assets.aggregates.live_sums import MEASURES
from dataco_assets.clicks.time_spent import percentile
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.dashboard import queries
from dataco_assets.dashboard.app import application, shown
from dataco_assets.dashboard.elements import Screen
from dataco_assets.dashboard.figures import Traffic
from dataco_assets.dashboard.queries import (
    BROWSERS,
    CITIES,
    COUNTRIES,
    DEVICES,
    ENTRY_PAGES,
    EXIT_PAGES,
    OF_AUDIENCE,
    OF_PAGES,
    REFERRERS,
    SYSTEMS,
    TOP_PAGES,
)
from dataco_assets.dashboard.reading import Reader
from dataco_assets.dashboard.view import Measure, View, view_of
from dataco_assets.elasticsearch_errors import ElasticsearchUnavailable, IndexClosed, IndexMissing
from dataco_assets.index.handover import LiveHours, give_back, serve
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import alias_of
from dataco_assets.index.live import LiveIndex, template_name
from dataco_assets.settings import Settings
from dataco_assets_tests import oracle
from dataco_assets_tests.site_traffic import FORMULA, HOUR, MARKUP, NOW, Expected, Site, call, site
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

QUERIES = [
    "?range=24h",
    "?range=7d",
    "?from=2026-01-20&to=2026-01-26",
    "?from=2026-01-30T12:00&to=2026-01-30T12:00",
    "?range=7d&country=DE",
    "?range=7d&page=https%3A%2F%2Fshop.example%2Fcart",
    "?range=7d&page=https%3A%2F%2Fshop.example%2F&country=DE",
    "?range=7d&browser=Chrome",
    "?range=7d&browser=",
    "?range=7d&country=BR&device=phone",
    "?range=7d&referrer_host=search.example",
]


@pytest.fixture(scope="module")
def known(stack: Stack) -> Iterator[Site]:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"]) as made:
        yield made


@pytest.fixture(scope="module")
def reader(known: Site) -> Reader:
    return Reader(known.settings)


def expected(known: Site, view: View) -> Expected:
    return known.expected(view.source, view.since_ms, view.until_ms).where(**view.filters)


@pytest.mark.parametrize("query", QUERIES)
def test_the_figures_of_a_range_are_sums_over_its_clicks(known: Site, reader: Reader, query: str) -> None:
    view = view_of(query, NOW)
    for each, found in ((view, (traffic := reader.traffic(view)).now), (view.before, traffic.before)):
        wanted = expected(known, each)
        views, visits = wanted.total("click_count"), wanted.total("exits")
        assert found.figure(Measure.VIEWS) == views
        assert found.figure(Measure.VISITS) == found.figure(Measure.EXITS) == visits
        assert found.figure(Measure.ENTRIES) == wanted.total("entries")
        assert found.figure(Measure.VIEWS_PER_VISIT) == (views / visits if visits else None)
        seconds = wanted.total("time_spent_seconds_sum")
        assert found.figure(Measure.VISIT_DURATION) == (pytest.approx(seconds / visits) if visits else None)
        entries, bounces = wanted.total("entries"), wanted.total("bounces")
        assert found.figure(Measure.BOUNCE_RATE) == (bounces / entries if entries else None)
        samples = wanted.total("time_spent_samples")
        assert found.total.samples == samples
        assert found.figure(Measure.TIME_ON_PAGE) == (pytest.approx(seconds / samples) if samples else None)
        assert found.time_spent == wanted.time_spent()
        assert found.seconds(90) == percentile(wanted.time_spent(), 90)
        assert {hour: each.sums.views for hour, each in found.hours.items()} == wanted.by("hour", "click_count")
    assert expected(known, view).total("click_count"), "a pass must not be vacuous"


@pytest.mark.parametrize("query", [each for each in QUERIES if "page=" not in each])
def test_users_are_the_distinct_ones_of_an_hour(known: Site, reader: Reader, query: str) -> None:
    view = view_of(query, NOW)
    hours = {hour: set[str]() for hour in range(view.since_ms, view.until_ms, HOUR)}
    if not view.filters:
        for click in known.clicks:
            hours.get(click.timestamp // HOUR * HOUR, set()).add(click.user_id)
        assert reader.traffic(view).now.most_users == max(map(len, hours.values()))
    assert reader.traffic(view).now.most_users == expected(known, view).most_users() > 0


@pytest.mark.parametrize(
    "query", ["?range=7d&page=https%3A%2F%2Fshop.example%2F", "?page=https%3A%2F%2Fshop.example%2F&country=FR"]
)
def test_users_of_a_page_are_those_of_one_hour_and_country(known: Site, reader: Reader, query: str) -> None:
    view = view_of(query, NOW)
    users: dict[tuple[int, str], set[str]] = {}
    for click in known.clicks:
        if view.since_ms <= click.timestamp and click.page == view.filters["page"]:
            users.setdefault((click.timestamp // HOUR, click.country or "ZZ"), set()).add(click.user_id)
    wanted = max(len(each) for (_, country), each in users.items() if country == view.filters.get("country", country))
    assert reader.traffic(view).now.most_users == wanted


@pytest.mark.parametrize("query", QUERIES)
def test_rankings_are_complete_and_in_order(known: Site, reader: Reader, query: str) -> None:
    view = view_of(query, NOW)
    traffic = reader.traffic(view)
    for order, ranking in traffic.rankings.items():
        aggregate = view.source if order == COUNTRIES else PAGES if order in OF_PAGES else AUDIENCE
        wanted = known.expected(aggregate, view.since_ms, view.until_ms).where(**view.filters)
        by = wanted.by(order.dimension, order.by.name)
        sums = [by[row.value] for row in ranking.rows]
        assert sums == wanted.most(order.dimension, order.by.name, order.rows), order
        for name in (order.by.name, *(column.name for column in order.shown)):
            of_it = wanted.by(order.dimension, name)
            found = [getattr(row.sums, _NAMES[name]) for row in ranking.rows]
            assert found == pytest.approx([of_it[row.value] for row in ranking.rows])
        assert ranking.values == len(wanted.by(order.dimension, "click_count"))
        assert ranking.is_exact
    for each in traffic.times:
        of_page = known.expected(PAGES, view.since_ms, view.until_ms).where(**{**view.filters, "page": each.page})
        assert each.time_spent == of_page.time_spent()
        assert sum(each.time_spent.values()) == each.sums.samples


_NAMES = {
    "click_count": "views",
    "entries": "entries",
    "exits": "exits",
    "bounces": "bounces",
    "time_spent_samples": "samples",
    "time_spent_seconds_sum": "seconds",
}


def test_a_filter_leaves_out_what_it_cannot_apply_to(reader: Reader) -> None:
    of_page = reader.traffic(view_of("?page=https%3A%2F%2Fshop.example%2F", NOW))
    of_browser = reader.traffic(view_of("?browser=Chrome", NOW))
    assert set(of_page.rankings) == {*OF_PAGES, COUNTRIES}
    assert set(of_browser.rankings) == {*OF_AUDIENCE, COUNTRIES}
    assert of_browser.times == ()
    assert {TOP_PAGES, ENTRY_PAGES, EXIT_PAGES} <= set(OF_PAGES)
    assert {REFERRERS, CITIES, BROWSERS, SYSTEMS, DEVICES} == set(OF_AUDIENCE)


def test_a_ranking_says_when_it_may_lack_a_value(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataco_assets.dashboard import figures

    monkeypatch.setattr(queries, "RANKED", 5)
    monkeypatch.setattr(figures, "RANKED", 5)
    rankings = reader.traffic(view_of("", NOW)).rankings
    assert not rankings[TOP_PAGES].is_exact
    assert rankings[DEVICES].is_exact


def test_what_is_outside_of_the_index_is_nothing(reader: Reader) -> None:
    traffic = reader.traffic(view_of("?from=2001-01-01&to=2001-01-31", NOW))
    assert not traffic.now.hours
    assert traffic.held is not None
    page = str(shown(reader, "?from=2001-01-01&to=2001-01-31", NOW, Screen()))
    assert "No clicks in this range" in page
    assert "ends with Sat 31 Jan 2026, 14:00 UTC" in page
    assert "No clicks with this filter" in str(shown(reader, "?country=XK", NOW, Screen()))


def test_an_hour_without_an_audience_is_told(stack: Stack) -> None:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"]) as made:
        reader, view = Reader(made.settings), view_of("?range=7d", NOW)
        whole = reader.traffic(view)
        assert whole.clicks == whole.audience_clicks == expected(made, view).total("click_count")
        assert "hours computed by an earlier version lack them" not in str(shown(reader, "?range=7d", NOW, Screen()))
        index = f"{alias_of(made.settings, AUDIENCE)}-2026.01"
        call(made.settings, "DELETE", f"/{index}")
        lacking = reader.traffic(view)
        assert lacking.audience_clicks == 0
        assert set(lacking.rankings) == {*OF_PAGES, COUNTRIES}
        page = str(shown(reader, "?range=7d", NOW, Screen()))
        assert f"0 of the {lacking.clicks:,} views" in page
        assert "Browsers are not known of these hours" in page


def test_hours_without_visits_are_told_and_what_needs_them_left_out(stack: Stack) -> None:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"]) as made:
        view = view_of("?range=7d", NOW)
        hour = next(hour for hour in sorted(expected(made, view).by("hour", "click_count")))
        rows = oracle.aggregate(made.clicks, [hour], PAGES.group)
        made.write(PAGES, rows, lacking=("entries", "exits", "bounces", "time_spent_buckets", "bot_clicks"))
        reader = Reader(made.settings)
        now = reader.traffic(view).now
        assert now.lacking is not None
        assert (now.lacking.hours, now.lacking.first_ms, now.lacking.last_ms) == (1, hour, hour)
        assert now.figure(Measure.VISITS) is None
        assert now.figure(Measure.VIEWS) == expected(made, view).total("click_count")
        page = str(shown(reader, "?range=7d", NOW, Screen()))
        assert "1 hour of this range computed by an earlier version lacks visits" in page


def test_errors_say_what_is_wrong_and_the_way_out(stack: Stack, known: Site) -> None:
    url = stack.env()["DATACO_ELASTICSEARCH_URL"]
    empty = Settings(elasticsearch_url=url, index_alias="d-nothing-here")  # pyright: ignore[reportCallIssue]
    with pytest.raises(IndexMissing):
        Reader(empty).traffic(view_of("", NOW))
    assert "There is no index yet" in (page := str(shown(Reader(empty), "", NOW, Screen())))
    assert "dataco setup" in page
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = known.settings.model_copy(update={"elasticsearch_url": f"http://127.0.0.1:{nobody.getsockname()[1]}"})
        with pytest.raises(ElasticsearchUnavailable):
            Reader(away).traffic(view_of("", NOW))
        page = str(shown(Reader(away), "?country=DE", NOW, Screen()))
    assert "Elasticsearch does not answer" in page
    assert "DATACO_ELASTICSEARCH_URL" in page
    assert "Try again" in page
    assert "?country=DE" in page


def test_a_closed_month_is_an_error_where_it_is_asked_for(stack: Stack) -> None:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"]) as made:
        call(made.settings, "POST", f"/{made.settings.index_alias}-2026.01/_close")
        with pytest.raises(IndexClosed):
            Reader(made.settings).traffic(view_of("", NOW))
        call(made.settings, "POST", f"/{made.settings.index_alias}-2026.01/_open")


def test_an_empty_index_is_not_an_error(stack: Stack) -> None:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"], made=[]) as made:
        for aggregate in AGGREGATES:
            made.write(aggregate, {})
        assert Reader(made.settings).traffic(view_of("", NOW)) == Traffic(view_of("", NOW), None)
        assert "nothing in the index yet" in str(shown(Reader(made.settings), "", NOW, Screen()))


@pytest.fixture(scope="module")
def server(reader: Reader) -> Flask:
    return application(reader, lambda: NOW)


def rows_of(server: Flask, path: str) -> list[dict[str, Any]]:
    answer = server.test_client().get(path)
    assert answer.status_code == 200, answer.text
    assert answer.mimetype == "text/csv"
    return list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))


def test_the_files_hold_what_the_page_shows(known: Site, server: Flask) -> None:
    view = view_of("?range=7d", NOW)
    wanted = expected(known, view)
    hours = rows_of(server, "/export/trend.csv?range=7d")
    assert sum(int(row["click_count"]) for row in hours) == wanted.total("click_count")
    assert [row["state"] for row in hours][-2:] == ["provisional", "running"]
    pages = rows_of(server, "/export/pages.csv?range=7d")
    assert {row["page"]: int(row["click_count"]) for row in pages} == wanted.by("page", "click_count")
    times = rows_of(server, "/export/times.csv?range=7d")
    assert sum(int(row["time_spent_samples"]) for row in times) == wanted.total("time_spent_samples")
    browsers = {row["browser"] for row in rows_of(server, "/export/browsers.csv?range=7d")}
    assert f"'{FORMULA}" in browsers, "a spreadsheet must not take a text for a formula"
    assert MARKUP in {row["page"] for row in pages}
    filtered = rows_of(server, "/export/pages.csv?range=7d&browser=Chrome")
    assert filtered == [], "pages are not counted by browser"


def test_what_is_asked_for_wrongly_is_told(server: Flask) -> None:
    client = server.test_client()
    assert client.get("/export/none.csv").status_code == 404
    wrong = client.get("/export/pages.csv?range=soon")
    assert (wrong.status_code, wrong.mimetype) == (400, "text/plain")
    assert "'soon' is none of the ranges" in wrong.text


def test_hours_of_live_are_read_from_live(known: Site, reader: Reader) -> None:
    view = view_of("?range=24h", NOW)
    running = NOW // HOUR * HOUR
    before = reader.traffic(view)
    sums = [7 if name in (CLICK_COUNT.name, EXITS.name) else 0 for name in MEASURES]
    with closing(connect(known.settings)) as client:
        index = Index.of(client, known.settings, PAGES)
        live = LiveIndex(client, index.alias, "run")
        live.create(known.settings)
        try:
            live.add(0, {(running, "https://shop.example/live", "DE"): sums}, at_ms=NOW)
            live.show()
            serve(index, live.name, LiveHours(running))
            meanwhile = reader.traffic(view)
            give_back(index)
        finally:
            client.indices.delete(index=live.name)
            client.indices.delete_index_template(name=template_name(index.alias))

    wanted = expected(known, view).by("hour", "click_count")
    assert wanted[running] != 7
    assert {hour: each.sums.views for hour, each in meanwhile.now.hours.items()} == {**wanted, running: 7}
    pages = {row.value: row.sums.views for row in meanwhile.rankings[TOP_PAGES].rows}
    assert pages["https://shop.example/live"] == 7
    assert reader.traffic(view) == before, "the batch serves all hours again"
