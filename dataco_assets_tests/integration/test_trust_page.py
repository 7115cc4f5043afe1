"""Tests the pages Trust and Operations in a real browser: their numbers against what was planted, and servers away."""

import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import pytest
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from dataco_assets.cli.dashboard import other_servers
from dataco_assets.dashboard.app import application
from dataco_assets.dashboard.reading import Reader
from dataco_assets.ledgers.parked import Parked, ParkedWork
from dataco_assets.ledgers.verified import LastVerification, Verification
from dataco_assets.rejected.contents import read_rejected
from dataco_assets_tests.browsers import browser, needs_chromium
from dataco_assets_tests.dashboards import NARROW, WIDE, figure, number, opened, panel, served
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform
from dataco_assets_tests.site_traffic import DAY, HOUR, NEWEST, NOW, Site, call, restatement, site
from dataco_assets_tests.waiting import wait_until
from local_stack.ports import LOOPBACK
from local_stack.stack import Stack

pytestmark = [pytest.mark.stack, needs_chromium]

KEPT_DAYS = 15
WAITING, WAITED_SECONDS = 37, 3_000
RESTATED: list[tuple[int, int, str, tuple[int, int], tuple[int, int]]] = [
    # hours ago, hours since it was noted, cause, clicks and users before and since
    (3, 1, "late_clicks", (40, 45), (20, 21)),
    (30, 2, "late_clicks", (10, 1_012), (5, 5)),
    (31, 20, "erasure", (12, 5), (4, 3)),
    (40, 160, "recomputed", (7, 7), (3, 3)),
    (50, 169, "late_clicks", (1, 100), (1, 1)),  # noted longer than seven days ago
    (24 * 12, 5, "late_clicks", (6, 8), (2, 3)),  # of an older hour
]
REFUSED = {
    "malformed_json": [b"{", b"<script>alert(1)</script>"],
    "missing_field": [b"{}"],
    "invalid_url": [click(url, url=url) for url in ("ftp://\u202e<img src=x onerror=alert(1)>", "nope", "://")],
}
HOSTILE = "hour breaks the rules <img src=x onerror=alert(1)>"


@dataclass
class Pages:
    """The served pages, and what they are about."""

    address: str
    site: Site
    platform: Platform


@pytest.fixture(scope="module")
def pages(stack: Stack) -> Iterator[Pages]:
    env = stack.env()
    with site(env["DATACO_ELASTICSEARCH_URL"]) as made:
        made.restate(
            [
                restatement(NEWEST - ago * HOUR, NOW - noted * HOUR, cause, counts, users)
                for ago, noted, cause, counts, users in RESTATED
            ]
        )
        alias = made.settings.index_alias
        platform = make_platform(env, index_alias=alias, clicks_ttl_days=KEPT_DAYS).create()
        try:
            platform.produce(click(str(number), at=NOON + number) for number in range(20))
            platform.produce(chain.from_iterable(REFUSED.values()))
            platform.drain()
            waiting = [click(f"waiting-{n}") for n in range(WAITING)]
            platform.produce(waiting, record_time_ms=int((time.time() - WAITED_SECONDS) * 1000))
            parked = Parked("2020-06-01-12:00", "AggregatesUnsound", HOSTILE, "run", time.time(), "circumstances")
            ParkedWork(platform.hbase, platform.settings.hours_table).write([parked])
            verified = Verification(time.time(), NEWEST - 4 * HOUR, NEWEST - 2 * HOUR, 2, 1, 1, 17)
            LastVerification(platform.hbase, platform.settings.hours_table).note(verified)
            others = other_servers(platform.settings, 600.0)
            with served(application(Reader(platform.settings), lambda: NOW, others)) as address:
                yield Pages(address, made, platform)
        finally:
            platform.drop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserContext]:
    with browser() as started:
        yield started.new_context(viewport=WIDE)


@contextmanager
def filled(chromium: BrowserContext, address: str, **looks: Any) -> Iterator[Page]:
    """A page whose parts have all been asked for."""
    with opened(chromium, address, ".grid", **looks) as page:
        expect(page.get_by_text("Loading …")).to_have_count(0)
        yield page


def look_again(page: Page, holds: Callable[[], bool], what: str) -> None:
    """Loads the page until something is on it: on a busy machine, an answer takes longer than the page waits for it."""

    def is_there() -> bool:
        if holds():
            return True
        page.reload()
        page.wait_for_selector(".grid")
        expect(page.get_by_text("Loading …")).to_have_count(0)
        return holds()

    wait_until(is_there, seconds=90, what=what)


def is_whole(page: Page) -> Callable[[], bool]:
    """Whether every part could be read."""
    return lambda: page.locator(".unread").count() == 0


def is_whole_but_versions(page: Page) -> Callable[[], bool]:
    """Whether every part could be read but the versions, of which Elasticsearch's is one."""
    return lambda: page.locator(".unread").count() == page.locator("[data-panel=Versions] .unread").count() == 1


def fits(page: Page, scheme: str) -> None:
    """Checks what has to be so whatever the page shows."""
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "no wider than the window"
    assert page.locator("main img, main script").count() == 0, "texts of others stay texts"
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (number(ground.split(",")[0]) < 60) == (scheme == "dark")


LOOKS = pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", NARROW)], ids=["light and wide", "dark and narrow"]
)


@LOOKS
def test_the_trust_page_shows_what_was_planted(
    pages: Pages, chromium: BrowserContext, scheme: Literal["light", "dark"], size: ViewportSize
) -> None:
    with filled(chromium, f"{pages.address}/trust", scheme=scheme, size=size) as page:
        look_again(page, is_whole(page), "every part")
        assert page.title() == "Trust · DataCo"
        states = {name: [int(cell) for cell in cells[:2]] for name, cells in panel(page, "Hours by state").items()}
        assert states == hours_by_state(pages.site)

        recent = [click for click in pages.site.clicks if click.timestamp // HOUR * HOUR >= NOW - 7 * DAY]
        late = 5 + 1_002 + 99  # of all hours of the last days, whenever it was noted
        facts = page.locator("[data-panel='Late clicks'] dd").all_inner_texts()
        assert facts == [f"{late / len(recent) * 100:.1f} %", f"{late:,}", f"{len(recent):,}"]

        restated = page.locator("[data-panel=Restatements]")
        assert restated.locator("dt").all_inner_texts() == [
            "late clicks",
            "a user was erased",
            "computed by other rules",
        ]
        sums = ["3 (+1,009 clicks)", "1 (\N{MINUS SIGN}7 clicks)", "1 (±0 clicks)"]
        assert restated.locator("dd").all_inner_texts() == sums
        assert panel(page, "Restatements") == {
            "31 Jan 11:00": ["31 Jan 13:20", "late clicks", "45", "+5", "21", "+1", "3"],
            "30 Jan 08:00": ["31 Jan 12:20", "late clicks", "1,012", "+1,002", "5", "±0", "3"],
            "19 Jan 14:00": ["31 Jan 09:20", "late clicks", "8", "+2", "3", "+1", "3"],
            "30 Jan 07:00": ["30 Jan 18:20", "a user was erased", "5", "\N{MINUS SIGN}7", "3", "\N{MINUS SIGN}1", "3"],
            "29 Jan 22:00": ["24 Jan 22:20", "computed by other rules", "7", "±0", "3", "±0", "3"],
        }

        invalid = sum(map(len, REFUSED.values()))
        account = page.locator("[data-panel=Accounting]")
        assert account.locator("dd").all_inner_texts() == [str(20 + invalid), "20", "0", str(invalid), "0", "0"]
        assert "Everything adds up." in account.inner_text()
        verified = page.locator("[data-panel='Last verification'] dd").all_inner_texts()
        assert verified[1:] == ["31 Jan 10:00 to 31 Jan 12:00", "2", "1", "1"]

        rejected = panel(page, "Rejected clicks")
        assert {reason: int(cells[0]) for reason, cells in rejected.items()} == {
            reason: len(messages) for reason, messages in REFUSED.items()
        }
        assert next(iter(rejected)) == "invalid_url", "the most frequent first"
        assert all(cells[1:3] == ["0", "0"] for cells in rejected.values())
        assert "\u202e" not in page.locator("main").inner_text()
        assert pages.platform.settings.clicks_topic in rejected["missing_field"][3]
        fits(page, scheme)


def hours_by_state(made: Site) -> dict[str, list[int]]:
    """Hours of the last 7 days and of all, from the table of the planted ones."""
    first_kept = NOW - KEPT_DAYS * DAY + 2 * HOUR  # the hour before counts, and a margin of an hour
    hours = {click.timestamp // HOUR * HOUR for click in made.clicks}
    table = {hour: "expired" if hour < first_kept else "final" for hour in hours}
    table |= {NEWEST - ago * HOUR: "restated" for ago, *_ in RESTATED if NEWEST - ago * HOUR in hours}
    table |= {NEWEST: "running", NEWEST - HOUR: "provisional"}
    recent = Counter(state for hour, state in table.items() if hour >= NOW - 7 * DAY)
    whole = Counter(table.values())
    return {each: [recent[each], whole[each]] for each in ("running", "provisional", "final", "restated", "expired")}


@LOOKS
def test_the_operations_page_shows_what_was_planted(
    pages: Pages, chromium: BrowserContext, scheme: Literal["light", "dark"], size: ViewportSize
) -> None:
    with filled(chromium, f"{pages.address}/operations", scheme=scheme, size=size) as page:
        look_again(page, is_whole(page), "every part")
        assert page.title() == "Operations · DataCo"
        assert figure(page, "waiting") == str(WAITING)
        behind = figure(page, "behind")
        assert WAITED_SECONDS <= sum(map(int_of, behind.split(" min ", 1))) < WAITED_SECONDS + 300, behind
        assert figure(page, "headroom") == "never", "the planted topic keeps clicks without a limit"
        dirty = [state for state in pages.platform.hours.all() if state.dirty > state.done]
        assert figure(page, "dirty") == str(len(dirty)) != "0"
        assert figure(page, "parked") == "1"
        problems = page.locator("#verdict li").all_inner_texts()
        assert len(problems) == 1
        assert HOSTILE in problems[0]
        assert "dataco resume 2020-06-01-12:00" in problems[0]

        diagnoses = page.locator("[data-panel='Every part of the platform'] tbody tr")
        told = {row.locator("td").nth(1).inner_text(): row.locator(".badge").inner_text() for row in diagnoses.all()}
        assert told["parked work"] == "problem"
        assert told["Kafka"] == told["HBase"] == told["Elasticsearch"] == told["index"] == "ok"
        assert "problem" in diagnoses.first.inner_text(), "what is wrong comes first"
        assert panel(page, "State")["waiting in Kafka"][0].startswith(f"{WAITING} clicks, the oldest for 0:5")
        server = call(pages.site.settings, "GET", "/")["version"]["number"]
        assert panel(page, "Versions")["Elasticsearch"] == [server]
        fits(page, scheme)


def int_of(text: str) -> int:
    """Seconds of a part of a duration: minutes come without a unit, seconds with it."""
    return int(number(text)) * (1 if text.endswith("s") else 60)


def test_servers_that_are_away_or_hang_are_told_in_their_panels(pages: Pages, chromium: BrowserContext) -> None:
    with socket.socket() as nobody, socket.socket() as silent:
        nobody.bind((LOOPBACK, 0))
        silent.bind((LOOPBACK, 0))
        silent.listen()
        known = pages.platform.settings
        kafka = f"{LOOPBACK}:{nobody.getsockname()[1]}"
        refusing = known.model_copy(update={"kafka_bootstrap_servers": kafka})
        hanging = refusing.model_copy(update={"hbase_thrift_port": silent.getsockname()[1]})
        away = (refusing, f"Kafka at {kafka}", 1), (hanging, "there was no answer within 3 s", 3)
        for settings, told, unanswered in away:
            servers = application(Reader(known), lambda: NOW, other_servers(settings, 15.0))
            with served(servers) as address:
                began = time.monotonic()
                with filled(chromium, f"{address}/trust") as page:
                    assert time.monotonic() - began < 20, "three seconds, and those of a busy machine"
                    unread = page.locator("[data-panel='Rejected clicks'] .unread")
                    assert unread.inner_text().startswith("cannot be read: ")
                    look_again(page, lambda: told in unread.inner_text(), told)  # noqa: B023  # called at once
                    look_again(page, lambda: page.locator(".unread").count() == unanswered, "the others")  # noqa: B023
                    assert panel(page, "Hours by state")["running"][:2] == ["1", "1"]
                    page.get_by_role("link", name="Traffic").click()
                    expect(page.locator("[data-figure=views]")).to_be_visible()


def test_without_elasticsearch_what_others_tell_is_shown(pages: Pages, chromium: BrowserContext) -> None:
    with socket.socket() as nobody:
        nobody.bind((LOOPBACK, 0))
        url = f"http://{LOOPBACK}:{nobody.getsockname()[1]}"
        away = pages.platform.settings.model_copy(update={"elasticsearch_url": url})
        with served(application(Reader(away), lambda: NOW, other_servers(away, 600.0))) as address:
            with filled(chromium, f"{address}/trust") as page:
                look_again(page, lambda: bool(panel(page, "Rejected clicks")), "what Kafka tells")
                assert page.locator(".unread").count() == 3
                assert next(iter(panel(page, "Rejected clicks"))) == "invalid_url"
            with filled(chromium, f"{address}/operations") as page:
                look_again(page, is_whole_but_versions(page), "what the others tell")
                assert figure(page, "waiting") == str(WAITING)
                assert url in page.locator("#verdict").inner_text()


def test_the_keyboard_and_the_back_button_go_between_pages(pages: Pages, chromium: BrowserContext) -> None:
    with opened(chromium, f"{pages.address}/?range=24h", ".tiles") as page:
        for _ in range(2):
            page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText") == "Trust"
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Trust")
        page.get_by_role("link", name="Operations").press("Enter")
        expect(page.locator("h1")).to_have_text("Operations")
        page.go_back()
        expect(page.locator("h1")).to_have_text("Trust")
        page.go_back()
        expect(page.locator("[data-figure=views]")).to_be_visible()
        assert page.url.endswith("?range=24h")
        page.goto(f"{pages.address}/nowhere")
        expect(page.get_by_text("There is no such page")).to_be_visible()


def test_only_the_newest_rejected_clicks_are_read(pages: Pages) -> None:
    platform = pages.platform
    found = read_rejected(platform.settings, platform.hbase, newest=2)
    assert (len(found.entries), found.skipped) == (2, sum(map(len, REFUSED.values())) - 2)
    assert read_rejected(platform.settings, platform.hbase).skipped == 0


def test_the_operations_page_looks_again_by_itself(pages: Pages, chromium: BrowserContext) -> None:
    with filled(chromium, f"{pages.address}/operations") as page:
        look_again(page, is_whole(page), "every part")
        assert figure(page, "waiting") == str(WAITING)
        pages.platform.drain()
        expect(page.locator("[data-figure=waiting]")).to_have_text("0")
        assert figure(page, "behind") == "none waits"
