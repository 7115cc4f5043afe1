"""Tests the dashboard's page, without a server and a browser: what it says, and what it does to texts of events."""

import json
import sys
from typing import Any

import pytest
from dash._utils import to_json

from dataco_assets.cli.dashboard import ExtraMissing, dashboard
from dataco_assets.clicks.finality import Finality, HeldHours
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.dashboard import charts
from dataco_assets.dashboard.countries import DISPUTED, NAMES, ON_THE_MAP
from dataco_assets.dashboard.elements import Screen
from dataco_assets.dashboard.figures import (
    EMPTY,
    Held,
    HourFigures,
    Period,
    Ranked,
    Ranking,
    Step,
    Sums,
    TimeOnPage,
    Traffic,
)
from dataco_assets.dashboard.page import page_of, problem_page
from dataco_assets.dashboard.queries import COUNTRIES, OF_AUDIENCE, OF_PAGES, RANKED
from dataco_assets.dashboard.view import Measure, view_of
from dataco_assets.elasticsearch_errors import IndexMissing, unavailable
from dataco_assets_tests.components import words_of

NOW = 1_769_869_200_000
"""2026-01-31 14:20 UTC."""
NASTY = "https://x.example/<img src=x onerror=alert(1)>\u202e\x1b[31m" + "y" * 5_000


def traffic(query: str = "", value: str = NASTY, **changes: Any) -> Traffic:
    """Some figures for what a query asks for."""
    view = view_of(query, NOW)
    sums = Sums(views=10, seconds=60.0, samples=6, entries=4, exits=4, bounces=1)
    hours = {hour: HourFigures(sums, 3) for hour in range(view.since_ms, view.until_ms, HOUR_MS)}
    before = {hour: HourFigures(sums, 3) for hour in range(view.before.since_ms, view.before.until_ms, HOUR_MS)}
    rows = Ranking([Ranked(value, sums)], 1)
    orders = {
        **(dict.fromkeys(OF_PAGES, rows) if set(view.filters) <= {"page", "country"} else {}),
        **(dict.fromkeys(OF_AUDIENCE, rows) if "page" not in view.filters else {}),
        COUNTRIES: Ranking([Ranked("DE", sums), Ranked("ZZ", sums)], 2),
    }
    known: dict[str, Any] = {
        "held": Held(view.before.since_ms, view.until_ms - HOUR_MS, NOW),
        "now": Period(hours, {"from_2000_ms": 6 * len(hours)}),
        "before": Period(before),
        "rankings": orders,
        "times": [TimeOnPage(value, sums, {"from_2000_ms": 6})],
        "clicks": 10 * len(hours),
        "audience_clicks": 10 * len(hours),
    }
    return Traffic(view, **(known | changes))


def page(found: Traffic, screen: Screen | None = None) -> str:
    return to_json(page_of(found, NOW, screen or Screen())) or ""


def shown(found: Traffic) -> str:
    return words_of(json.loads(page(found)))


def test_texts_of_events_are_shortened_escaped_and_no_part_of_a_chart() -> None:
    made = page(traffic())
    assert "\u202e" not in made
    assert "\\u202e" not in made.replace("\\\\u202e", ""), "escaped, and not only as JSON does it"
    assert "\x1b" not in made
    for part in json.loads(made):
        for text in _texts(part):
            assert len(text) <= 1_200, "shortened where it is read"
    for figure in _figures(json.loads(made)):
        assert "onerror" not in json.dumps(figure)


def _texts(element: Any) -> list[str]:
    """Every text that is shown, without the addresses of links."""
    if isinstance(element, dict):
        properties = element.get("props", {})
        shown_ones = [properties[name] for name in ("children", "title") if name in properties]
        return [text for each in shown_ones for text in _texts(each)]
    if isinstance(element, list):
        return [text for each in element for text in _texts(each)]
    return [element] if isinstance(element, str) else []


def _figures(element: Any) -> list[Any]:
    if isinstance(element, dict):
        own = [element["figure"]] if "figure" in element else []
        return own + [figure for value in element.values() for figure in _figures(value)]
    return [figure for each in element for figure in _figures(each)] if isinstance(element, list) else []


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?page=x", "Browsers are not counted by page"),
        ("?page=x", "Referrers are not counted by page"),
        ("?browser=Firefox", "Top pages are not counted by browser"),
        ("?browser=Firefox&device=phone&country=DE", "Exit pages are not counted by browser and device"),
        ("?referrer_host=search.example", "Times on single pages are not counted by referrer"),
    ],
)
def test_a_filter_that_cannot_apply_is_told_in_place_of_figures(query: str, told: str) -> None:
    assert told in shown(traffic(query))
    assert "are not counted by" not in shown(traffic("?country=DE"))


def test_the_users_tile_says_what_kind_of_number_it_is() -> None:
    assert "Users, busiest hour" in shown(traffic())
    assert "Users of several hours do not add up" in shown(traffic()).replace("users", "Users")
    assert "dataco users 2026-01-25-00:00 2026-01-31-14:00" in shown(traffic())
    one_hour = shown(traffic("?from=2026-01-30T12:00&to=2026-01-30T12:00"))
    assert "Users, busiest hour" not in one_hour


def test_a_page_has_no_visits_of_its_own() -> None:
    assert "Views per visit" not in shown(traffic("?page=x"))
    assert "Entries" in shown(traffic("?page=x"))
    assert "Views per visit" in shown(traffic("?country=DE&browser=Firefox"))


def test_the_coverage_of_the_time_is_told() -> None:
    assert "6 of 10 clicks have a known duration (60.0 %)" in shown(
        traffic("?from=2026-01-30T12:00&to=2026-01-30T12:00")
    )
    older = traffic("?from=2026-01-30T12:00&to=2026-01-30T12:00")
    half = Period(older.now.hours, {"from_2000_ms": 3})
    assert "p50 and p90 are of 3 of them" in shown(traffic("?from=2026-01-30T12:00&to=2026-01-30T12:00", now=half))


def test_nothing_is_compared_with_what_the_index_does_not_hold() -> None:
    late = Held(view_of("", NOW).before.since_ms + HOUR_MS, NOW, NOW)
    assert "the period before:" in shown(traffic())
    assert "the period before:" not in shown(traffic(held=late))
    assert shown(traffic(held=late)).count("no comparison") == 6


def test_charts_say_what_they_show() -> None:
    labels = [text for text in page(traffic()).split('"') if text.endswith("The CSV file has the numbers.")]
    assert len(labels) == 3
    assert labels[0] == "Views by hour, as a line. The CSV file has the numbers."


def test_an_order_that_may_lack_a_value_is_told() -> None:
    found = traffic()
    many = {order: Ranking(ranking.rows, RANKED + 1) for order, ranking in found.rankings.items()}
    assert "may be missing" in shown(traffic(rankings=many))
    assert "may be missing" not in shown(found)


def test_running_and_provisional_are_named() -> None:
    found = traffic()
    assert "running" in shown(found)
    held = Held(found.view.before.since_ms, found.view.until_ms - 2 * HOUR_MS, NOW)
    assert "14:00 provisional" not in shown(traffic(held=held))
    assert "13:00 provisional" in " ".join(shown(traffic(held=held)).split())


def test_the_number_of_hours_by_how_final_they_are_is_told() -> None:
    found = traffic()
    hours = tuple(range(found.view.since_ms, found.view.until_ms, HOUR_MS))
    held = HeldHours(hours, frozenset({hours[5], hours[7]}))
    assert "159 hours: 1 running, 1 provisional, 155 final, 2 restated." in shown(traffic(hours=held))
    expired = HeldHours(hours, frozenset({hours[5], hours[150]}), retention_ms=6 * 24 * HOUR_MS)
    assert "17 expired" in shown(traffic(hours=expired))


def test_an_empty_index_and_an_empty_range_have_a_way_out() -> None:
    assert "dataco setup" in shown(traffic(held=None))
    assert "Show its last 7 days" in shown(traffic("?from=2020-01-01", now=EMPTY, held=Held(NOW, NOW, NOW)))
    assert "Remove all filters" in shown(traffic("?country=FR", now=EMPTY))


def test_errors_have_a_headline_the_message_and_a_way_out() -> None:
    away = words_of(json.loads(to_json(problem_page(unavailable("http://e:9200", "refused"), "?range=24h", NOW)) or ""))
    assert "Elasticsearch does not answer" in away
    assert "Try again" in away
    missing = words_of(json.loads(to_json(problem_page(IndexMissing("no index"), "", NOW)) or ""))
    assert "dataco setup" in missing


def test_hours_that_are_not_over_are_drawn_differently() -> None:
    states = [Finality.FINAL, Finality.RESTATED, Finality.PROVISIONAL, Finality.RUNNING]
    steps = [Step(number * HOUR_MS, number + 1.0, state) for number, state in enumerate(states)]
    colours = charts.SCHEMES["light"]
    figure = charts.trend(steps, steps, Measure.VIEWS, is_hourly=True, colours=colours, narrow=False)
    before, over, open_ones = figure["data"]
    assert before["y"] == [1.0, 2.0, 3.0, 4.0]
    assert over["y"] == [1.0, 2.0, None, None]
    assert open_ones["y"] == [None, 2.0, 3.0, 4.0], "it begins where the other line ends"
    assert open_ones["line"]["dash"] != "solid"
    assert open_ones["marker"]["size"][1:] == [0, 9, 9]
    assert [text.rpartition(" · ")[2] for text in open_ones["customdata"][2:]] == ["provisional", "running"]
    assert over["customdata"][:2] == ["1", "2 · restated"]


def test_every_country_of_the_map_has_a_shape_and_a_name() -> None:
    from dataco_assets.dashboard import app

    shapes = json.loads((app._ASSETS / "world.json").read_text())
    assert {shape["id"] for shape in shapes["features"]} == ON_THE_MAP | set(DISPUTED)
    assert set(NAMES) >= ON_THE_MAP
    assert all(len(code) == 2 and code.isupper() for code in NAMES)


@pytest.mark.parametrize("scheme", charts.SCHEMES)
def test_the_charts_have_the_colours_of_the_style_sheet(scheme: str) -> None:
    from dataco_assets.dashboard import app

    style = (app._ASSETS / "dashboard.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)", 1)
    part = light if scheme == "light" else dark.split("* {", 1)[0]
    colours = charts.SCHEMES[scheme]
    for name, colour in {
        "card": colours.card,
        "text": colours.text,
        "muted": colours.muted,
        "accent": colours.accent,
        "before": colours.before,
    }.items():
        assert f"--{name}: {colour};" in part


@pytest.mark.parametrize("package", ["dash", "waitress"])
def test_the_command_names_the_extra_that_is_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package or name.endswith("dashboard.app")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExtraMissing, match=r"dataco-clickstream\[dashboard\]"):
        dashboard(host="127.0.0.1", port=8050)
