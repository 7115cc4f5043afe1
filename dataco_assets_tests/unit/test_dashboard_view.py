"""Tests what the dashboard's URLs ask for: ranges, filters, and the links that differ from a view in one thing."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.aggregates.columns import AUDIENCE, PAGES
from dataco_assets.dashboard.view import OF_CLICKS, OF_VISITS, PRESETS, Measure, View, ViewUnclear, view_of

HOUR, DAY = 3_600_000, 86_400_000


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


NOW = ms("2026-01-31T14:20")


def span(query: str) -> tuple[int, int]:
    view = view_of(query, NOW)
    return view.since_ms, view.until_ms


def test_the_first_visit_shows_all_clicks_of_seven_days() -> None:
    view = view_of("", NOW)
    assert (view.since_ms, view.until_ms) == (ms("2026-01-25T00:00"), ms("2026-01-31T15:00"))
    assert (view.preset, view.filters, view.measure) == ("7d", {}, Measure.VIEWS)


@pytest.mark.parametrize(
    ("query", "since", "until"),
    [
        ("?range=24h", "2026-01-30T15:00", "2026-01-31T15:00"),
        ("range=28d", "2026-01-04T00:00", "2026-01-31T15:00"),
        ("?from=2026-01-01&to=2026-01-31", "2026-01-01T00:00", "2026-02-01T00:00"),
        ("?from=2026-01-05", "2026-01-05T00:00", "2026-01-06T00:00"),
        ("?from=2026-01-05T07:30&to=2026-01-05T09:00", "2026-01-05T07:00", "2026-01-05T10:00"),
        ("?from=2026-01-05T07:00Z&to=2026-01-05T09:00%2B02:00", "2026-01-05T07:00", "2026-01-05T08:00"),
    ],
)
def test_an_end_is_included(query: str, since: str, until: str) -> None:
    assert span(query) == (ms(since), ms(until))


@pytest.mark.parametrize(
    ("query", "before"),
    [
        ("?range=24h", "2026-01-29T15:00"),
        ("?range=7d", "2026-01-18T00:00"),
        ("?range=28d", "2025-12-07T00:00"),
        ("?from=2026-01-10&to=2026-01-19", "2025-12-31T00:00"),
        ("?from=2026-01-05T07:00&to=2026-01-05T09:00", "2026-01-05T04:00"),
    ],
)
def test_the_period_before_has_the_same_hours_and_ends_before(query: str, before: str) -> None:
    view = view_of(query, NOW)
    assert view.before.since_ms == ms(before)
    assert view.before.until_ms - view.before.since_ms == view.until_ms - view.since_ms
    assert view.before.until_ms <= view.since_ms
    assert view.shift_ms % (DAY if view.until_ms - view.since_ms >= DAY else HOUR) == 0, "the same hours of the day"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("?range=soon", "'soon' is none of the ranges 24h, 7d, 28d, 90d"),
        ("?from=yesterday", "'yesterday' is no time like 2026-01-31"),
        ("?from=2026-01-31&to=2026-01-30", "ends (2026-01-30) before it begins (2026-01-31)"),
        ("?from=2020-01-01&to=2026-01-30", "longer than 400 days"),
        ("?from=0001-01-01", "is not between 1970 and 2199"),
        ("?from=9999-12-31", "is not between 1970 and 2199"),
        ("?show=cats", "'cats' is none of the measures"),
        ("?from=%1b[31m", "'\\x1b[31m' is no time"),
        ("?browser=" + "x" * 10_001, "longer than any value"),
        (
            "?page=x&browser=Firefox",
            "not by page and the others at once. Remove the filter by page, or the one by browser",
        ),
    ],
)
def test_what_is_not_there_is_told(query: str, told: str) -> None:
    with pytest.raises(ViewUnclear) as raised:
        view_of(query, NOW)
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("query", "source", "measures"),
    [
        ("", PAGES, OF_VISITS),
        ("?country=DE", PAGES, OF_VISITS),
        ("?country=DE&browser=", AUDIENCE, OF_VISITS),
        ("?page=x", PAGES, OF_CLICKS),
        ("?page=x&country=DE", PAGES, OF_CLICKS),
        ("?referrer_host=search.example", AUDIENCE, OF_CLICKS),
    ],
)
def test_filters_decide_what_is_read_and_what_the_tiles_show(query: str, source: object, measures: object) -> None:
    view = view_of(query, NOW)
    assert view.source is source
    assert view.measures == measures


def test_a_measure_that_the_tiles_do_not_have_gives_way_to_views() -> None:
    view = view_of("?show=visits", NOW)
    assert view.with_filter("page", "x").measure is Measure.VIEWS
    assert view.with_filter("browser", "x").measure is Measure.VISITS
    assert view_of("?show=entries", NOW).measure is Measure.VIEWS


def test_links_change_one_thing() -> None:
    view = view_of("?range=28d&country=DE&show=visits", NOW)
    assert parse_qs(view.with_filter("browser", "a&b=c #é").query()[1:]) == {
        "range": ["28d"],
        "country": ["DE"],
        "browser": ["a&b=c #é"],
        "show": ["visits"],
    }
    assert parse_qs(view.without_filter("country").query()[1:]) == {"range": ["28d"], "show": ["visits"]}
    assert parse_qs(view.with_preset("24h", NOW).query()[1:])["range"] == ["24h"]


def test_a_link_to_the_hours_shows_them_later_too() -> None:
    for name in PRESETS:
        view = view_of(f"?range={name}&country=DE", NOW)
        later = view_of(view.fixed().query(), NOW + 400 * DAY)
        assert (later.since_ms, later.until_ms, later.filters) == (view.since_ms, view.until_ms, view.filters)
        assert later.preset == ""


VIEWS = st.builds(
    lambda first, hours, values, measure: View(first * HOUR, (first + hours) * HOUR, "", dict(values), measure),
    st.integers(0, 1_900_000),
    st.integers(1, 400 * 24),
    st.dictionaries(st.sampled_from(sorted(AUDIENCE.group)), st.text(max_size=30)),
    st.sampled_from([Measure.VIEWS, Measure.USERS, Measure.BOUNCE_RATE]),
)


@given(VIEWS)
def test_the_query_of_a_view_asks_for_that_view(view: View) -> None:
    assert view_of(view.query(), NOW) == view
