"""Tests the dashboard in a real browser: its numbers against the oracle, filters, links, files, and looks."""

import csv
import io
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, quote, urlsplit

import pytest
import requests
from playwright.sync_api import BrowserContext, ViewportSize, expect

from dataco_assets.aggregates.columns import AUDIENCE, PAGES, Aggregate
from dataco_assets.dashboard.app import application
from dataco_assets.dashboard.reading import Reader
from dataco_assets.dashboard.view import view_of
from dataco_assets_tests.browsers import browser, needs_chromium
from dataco_assets_tests.dashboards import NARROW, WIDE, figure, number, opened, panel, served
from dataco_assets_tests.server_process import ServerProcess, running
from dataco_assets_tests.site_traffic import BACKWARDS, HOUR, MARKUP, NEWEST, NOW, Expected, Site, restatement, site
from local_stack.ports import LOOPBACK, choose
from local_stack.stack import Stack

pytestmark = [pytest.mark.stack, needs_chromium]

WEEK = "?from=2026-01-25&to=2026-01-31"
_PROGRAM = Path(sys.executable).with_name("dataco")


@dataclass
class Dashboard:
    """A served page, and the site that it shows."""

    address: str
    site: Site

    def expected(self, query: str, aggregate: Aggregate = PAGES, **filters: str) -> Expected:
        """What the documents of a view's hours come to."""
        view = view_of(query, NOW)
        return self.site.expected(aggregate, view.since_ms, view.until_ms).where(**filters)


@pytest.fixture(scope="module")
def dashboard(stack: Stack) -> Iterator[Dashboard]:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"]) as made:
        made.restate([restatement(NEWEST - 2 * HOUR, NOW - HOUR, "late_clicks", (3, 5), (1, 2))])
        with served(application(Reader(made.settings), lambda: NOW)) as address:
            yield Dashboard(address, made)


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserContext]:
    """A browser. Its windows share what was loaded once, as anybody's do."""
    with browser() as started:
        yield started.new_context(viewport=WIDE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_numbers_on_the_page_are_the_oracles(
    dashboard: Dashboard, chromium: BrowserContext, scheme: Literal["light", "dark"], size: ViewportSize
) -> None:
    wanted, audience = dashboard.expected(WEEK), dashboard.expected(WEEK, AUDIENCE)
    views, visits = wanted.total("click_count"), wanted.total("exits")
    with opened(chromium, dashboard.address + WEEK, scheme=scheme, size=size) as page:
        assert number(figure(page, "views")) == views > 0
        assert number(figure(page, "visits")) == visits
        assert number(figure(page, "users")) == wanted.most_users()
        assert figure(page, "views_per_visit") == f"{views / visits:.2f}"
        assert figure(page, "bounce_rate") == f"{wanted.total('bounces') / wanted.total('entries') * 100:.1f} %"
        seconds = round(wanted.total("time_spent_seconds_sum") / visits)
        assert figure(page, "visit_duration") == f"{seconds // 60} min {seconds % 60} s"
        samples = wanted.total("time_spent_samples")
        assert f"{samples:,} of {views:,} clicks have a known duration" in page.locator("#coverage").inner_text()
        browsers = {name: number(cells[0]) for name, cells in panel(page, "Browsers").items()}
        by_browser = audience.by("browser", "click_count")
        assert browsers == {name or "not known": count for name, count in by_browser.items()}
        top = [number(cells[0]) for cells in panel(page, "Top pages").values()]
        assert top == wanted.most("page", "click_count")
        countries = {name: number(cells[0]) for name, cells in panel(page, "Countries").items()}
        assert countries["Germany"] == wanted.where(country="DE").total("click_count")
        assert countries["not known (ZZ)"] == wanted.where(country="ZZ").total("click_count")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground)[:3])) < 60) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
            "nothing is wider than the window"
        )
        for chart in ("trend", "times-chart", "map"):
            assert page.locator(f"#{chart} svg.main-svg").count() > 0


def test_a_click_filters_and_the_link_shows_the_same(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + WEEK) as page:
        page.locator("[data-panel='Browsers'] a", has_text="Chrome").click()
        wanted = dashboard.expected(WEEK, AUDIENCE, browser="Chrome")
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        assert number(figure(page, "visits")) == wanted.total("exits")
        assert "Top pages are not counted by browser" in page.locator("[data-panel='Top pages']").inner_text()
        page.locator("[data-panel='Countries'] a", has_text="Germany").click()
        wanted = wanted.where(country="DE")
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        address, shown = page.url, page.locator(".tiles").inner_text()
        page.go_back()
        expect(page.locator(".chip")).to_have_count(1)
    with opened(chromium, address) as again:
        assert again.locator(".tiles").inner_text() == shown
        assert parse_qs(urlsplit(again.url).query)["browser"] == ["Chrome"]
        again.locator(".chip", has_text="Chrome").click()
        wanted = dashboard.expected(WEEK, country="DE")
        expect(again.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")


def test_a_page_filters_and_a_tile_chooses_the_trend(dashboard: Dashboard, chromium: BrowserContext) -> None:
    page_url = "https://shop.example/item/1"
    with opened(chromium, dashboard.address + WEEK) as page:
        page.locator("[data-panel='Top pages'] a[title$='/item/1']").click()
        wanted = dashboard.expected(WEEK, page=page_url)
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        assert number(figure(page, "entries")) == wanted.total("entries")
        assert number(figure(page, "exits")) == wanted.total("exits")
        page.locator(".tile", has_text="Entries").click()
        expect(page.locator("h2", has_text="Entries by hour")).to_be_visible()
        drawn = page.evaluate("document.querySelector('#trend .js-plotly-plot').data")
        assert sum(y or 0 for y in drawn[1]["y"]) + sum(
            y or 0 for y, size in zip(drawn[2]["y"], drawn[2]["marker"]["size"], strict=True) if size
        ) == wanted.total("entries")


def test_the_map_filters_by_its_country(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + WEEK) as page:
        # Not by a function that the page would have to evaluate again: its policy forbids that.
        page.locator("#map .choroplethlayer path").nth(100).wait_for(state="attached")
        codes = page.evaluate("document.querySelector('#map .js-plotly-plot').data[1].locations")
        assert set(codes) == set(dashboard.expected(WEEK).by("country", "click_count")) - {"ZZ", "SG"}
        place = page.evaluate(
            """() => {
                const chart = document.querySelector('#map .js-plotly-plot');
                chart.scrollIntoView({block: 'center'});
                const box = chart.getBoundingClientRect();
                const [x, y] = chart._fullLayout.geo._subplot.projection([-53, -10]);  // in Brazil
                return [box.x + x, box.y + y];
            }"""
        )
        page.mouse.move(*place)
        expect(page.locator("#map .hovertext")).to_contain_text("Brazil")
        page.mouse.click(*place)
        wanted = dashboard.expected(WEEK, country="BR")
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        assert parse_qs(urlsplit(page.url).query)["country"] == ["BR"]


def test_the_keyboard_reaches_ranges_filters_and_files(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + WEEK) as page:
        reached: list[str] = []
        for _ in range(120):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.title || document.activeElement.innerText || ''"))
            if "Show only the device" in reached[-1]:
                break
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", "what has the focus is seen to have it"
        page.keyboard.press("Enter")
        expect(page.locator(".chip")).to_have_count(1)
        told = " ".join(reached)
        for part in ("24 hours", "Shows them later", "Show only the page", "Save “Top pages” as a table"):
            assert part in told


def test_texts_of_events_stay_texts(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + "?range=28d") as page:
        assert page.title() == "Traffic · DataCo"
        assert page.locator("main img, main script").count() == 0
        shown = page.locator("[data-panel='Cities']").inner_text()
        assert BACKWARDS not in shown
        assert "Lyon\\u202egnissim" in shown
        page.goto(f"{dashboard.address}/{WEEK}&page={quote(MARKUP)}")
        wanted = dashboard.expected(WEEK, page=MARKUP)
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        assert "<script>" in page.locator(".chip").inner_text()


def test_tables_and_pictures_can_be_saved(dashboard: Dashboard, chromium: BrowserContext, tmp_path: Path) -> None:
    with opened(chromium, dashboard.address + WEEK) as page:
        with page.expect_download() as told:
            page.locator("[data-panel='Countries'] a", has_text="CSV").click()
        told.value.save_as(table := tmp_path / "table.csv")
        rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
        assert {row["country"]: int(row["click_count"]) for row in rows} == dashboard.expected(WEEK).by(
            "country", "click_count"
        )
        with page.expect_download() as told:
            page.locator("button[data-png=trend]").click()
        told.value.save_as(picture := tmp_path / "picture.png")
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size > 5_000


def test_a_range_can_be_typed(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + "?range=7d&country=DE") as page:
        page.locator("#ask-from").fill("2026-01-20")
        page.locator("#ask-to").fill("2026-01-22")
        page.locator(".dates button").click()
        wanted = dashboard.expected("?from=2026-01-20&to=2026-01-22", country="DE")
        expect(page.locator("[data-figure=views]")).to_have_text(f"{wanted.total('click_count'):,}")
        assert "Tue 20 Jan 2026" in page.locator(".span").inner_text()


def test_running_and_provisional_hours_are_drawn_apart(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with opened(chromium, dashboard.address + "?range=24h") as page:
        assert "running" in page.locator(".state").first.inner_text()
        number_of_hours = len(dashboard.expected("?range=24h").by("hour", "click_count"))
        told = f"{number_of_hours} hours: 1 running, 1 provisional, {number_of_hours - 3} final, 1 restated."
        assert page.locator("#finality").inner_text() == told
        over, open_ones = page.evaluate("document.querySelector('#trend .js-plotly-plot').data.slice(1)")
        by_hour = dashboard.expected("?range=24h").by("hour", "click_count")
        running, provisional = NOW // HOUR * HOUR, NOW // HOUR * HOUR - HOUR
        assert over["y"][-2:] == [None, None]
        assert open_ones["y"][-2:] == [by_hour[provisional], by_hour[running]]


def test_a_server_that_went_away_is_told_and_the_page_recovers(dashboard: Dashboard, chromium: BrowserContext) -> None:
    with socket.socket() as nobody:
        nobody.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{nobody.getsockname()[1]}"
        away = Reader(dashboard.site.settings.model_copy(update={"elasticsearch_url": url}))
        with served(application(away, lambda: NOW)) as address, opened(chromium, address + WEEK) as page:
            assert "Elasticsearch does not answer" in page.locator("[role=alert]").inner_text()
            away._client = Reader(dashboard.site.settings)._client
            page.locator("a", has_text="Try again").click()
            expect(page.locator("[data-figure=views]")).to_be_visible()


def test_answers_forbid_other_hosts(dashboard: Dashboard) -> None:
    headers = requests.get(dashboard.address, timeout=10).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; script-src 'self' 'sha256-")
    assert "unsafe-eval" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"


class Command(ServerProcess):
    """`dataco dashboard` as a process."""

    def __init__(self, folder: Path, known: Site) -> None:
        super().__init__(folder / "dashboard.log")
        self.port = choose(["dashboard"])["dashboard"]
        self._known = known

    def command(self) -> list[str | Path]:
        settings = self._known.settings
        variables = [
            f"DATACO_ELASTICSEARCH_URL={settings.elasticsearch_url}",
            f"DATACO_INDEX_ALIAS={settings.index_alias}",
        ]
        return ["env", *variables, _PROGRAM, "dashboard", "--port", str(self.port)]

    def answers(self) -> bool:
        return requests.get(f"http://{LOOPBACK}:{self.port}/", timeout=5).ok


def test_the_command_serves_the_page_and_names_a_port_that_is_taken(
    dashboard: Dashboard, chromium: BrowserContext, tmp_path: Path
) -> None:
    with running(Command(tmp_path, dashboard.site)) as command:
        with opened(chromium, f"http://{LOOPBACK}:{command.port}/{WEEK}") as page:
            assert number(figure(page, "views")) == dashboard.expected(WEEK).total("click_count")
        second = subprocess.run(
            [_PROGRAM, "dashboard", "--port", str(command.port)], capture_output=True, text=True, check=False
        )
    assert second.returncode == 1
    assert f"Cannot listen on {LOOPBACK}:{command.port}: Address already in use" in second.stderr
