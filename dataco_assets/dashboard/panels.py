"""The panels of the page: rankings, the time on page, and the map; each says when a filter cannot apply to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from dash import dcc, html
from dash.development.base_component import Component

from dataco_assets.aggregates.columns import COUNTRY, PAGE, PAGES
from dataco_assets.dashboard import charts, texts
from dataco_assets.dashboard.countries import ON_THE_MAP
from dataco_assets.dashboard.elements import Content, Screen, card, chart, pairs
from dataco_assets.dashboard.figures import Period, Ranked, Ranking, TimeOnPage, Traffic
from dataco_assets.dashboard.queries import (
    BROWSERS,
    CITIES,
    COUNTRIES,
    DEVICES,
    ENTRY_PAGES,
    EXIT_PAGES,
    OF_AUDIENCE,
    RANKED,
    REFERRERS,
    ROWS,
    SYSTEMS,
    TIMES,
    TOP_PAGES,
    Order,
)
from dataco_assets.dashboard.view import Measure, View, can_filter, words
from dataco_assets.quantities import quantity

MAP, TIMES_CHART = "map", "times-chart"
_SHAPES: Final = "assets/world.json"
_TIMES_SHOWN: Final = 5
_MAP_HEIGHT, _MAP_HEIGHT_NARROW = 300, 180  # pixels


@dataclass(frozen=True)
class Panel:
    """A ranking as a panel of the page.

    Attributes:
        order: What is ranked.
        title: Its heading.
        first: Heading of the values.
        numbers: Headings of the numbers, and how each is made of a row and of what the page shows.
        key: Name of its CSV file.
        note: What a reader should know of it.
        width: How wide it is, where there is room (`elements.card`).
    """

    order: Order
    title: str
    first: str
    numbers: Sequence[tuple[str, Callable[[Ranked, Traffic], str]]]
    key: str
    note: str = ""
    width: str = ""


def _views(row: Ranked, _: Traffic) -> str:
    return texts.whole(row.sums.views)


def _share_of_pages(row: Ranked, traffic: Traffic) -> str:
    return texts.share(row.sums.views, traffic.now.total.views)


def _share_of_audience(row: Ranked, traffic: Traffic) -> str:
    whole = traffic.audience_clicks if traffic.view.source is PAGES else traffic.now.total.views
    return texts.share(row.sums.views, whole)


def _bounced(row: Ranked, _: Traffic) -> str:
    return texts.share(row.sums.bounces, row.sums.entries)


def _exit_rate(row: Ranked, traffic: Traffic) -> str:
    return texts.UNKNOWN_FIGURE if traffic.now.lacking else texts.share(row.sums.exits, row.sums.views)


def _entries(row: Ranked, _: Traffic) -> str:
    return texts.whole(row.sums.entries)


def _exits(row: Ranked, _: Traffic) -> str:
    return texts.whole(row.sums.exits)


_OF_PAGES: Final = (("Views", _views), ("Share", _share_of_pages))
_OF_AUDIENCE: Final = (("Views", _views), ("Share", _share_of_audience))

PANELS: Final = (
    Panel(TOP_PAGES, "Top pages", "Page", _OF_PAGES, "pages"),
    Panel(
        ENTRY_PAGES,
        "Entry pages",
        "Page",
        (("Visits begun", _entries), ("Bounced", _bounced)),
        "entry-pages",
        "Bounced: visits that began here and had no other click.",
    ),
    Panel(
        EXIT_PAGES,
        "Exit pages",
        "Page",
        (("Visits ended", _exits), ("Exit rate", _exit_rate)),
        "exit-pages",
        "Exit rate: the share of the page's views that ended a visit.",
    ),
    Panel(COUNTRIES, "Countries", "Country", _OF_PAGES, "countries"),
    Panel(
        REFERRERS,
        "Referrers",
        "Site",
        (("Visits brought", _entries), ("Bounced", _bounced)),
        "referrers",
        "Visits whose first click came from that site.",
    ),
    Panel(CITIES, "Cities", "City", _OF_AUDIENCE, "cities"),
    Panel(BROWSERS, "Browsers", "Browser", _OF_AUDIENCE, "browsers", width="third"),
    Panel(SYSTEMS, "Operating systems", "System", _OF_AUDIENCE, "systems", width="third"),
    Panel(DEVICES, "Devices", "Device", _OF_AUDIENCE, "devices", width="third"),
)
"""All rankings but the one of times, in the order of the page."""


def panels(traffic: Traffic, screen: Screen) -> list[Component]:
    """All of them, in the order of the page."""
    made = [
        _countries(panel, traffic, screen) if panel.order is COUNTRIES else _panel(panel, traffic) for panel in PANELS
    ]
    return [made[0], _times(traffic, screen), *made[1:]]


def _panel(panel: Panel, traffic: Traffic) -> Component:
    ranking = traffic.rankings.get(panel.order)
    if ranking is None:
        return card(
            panel.title, traffic.view, "", [_not_filtered(panel.title, panel.order, traffic.view)], width=panel.width
        )
    return card(
        panel.title,
        traffic.view,
        panel.key,
        [_table(panel, ranking, traffic), *_below(panel, ranking)],
        width=panel.width,
    )


def _not_filtered(title: str, order: Order, view: View) -> Component:
    """Why a panel is empty, in place of figures that a filter does not apply to."""
    if order in OF_AUDIENCE and PAGE.name not in view.filters:
        return html.P(f"{title} are not known of these hours: no index holds them yet.", className="reason")
    allowed = (COUNTRY.name,) if order in OF_AUDIENCE else PAGES.group
    others = [name for name in view.filters if name not in allowed]
    by = " and ".join(words(name) for name in others)
    removing = dcc.Link(f"Remove the filter by {by}", href=view.without_filter(*others).query())
    return html.P(
        [f"{title} are not counted by {by}, so this filter cannot apply to them. ", removing, " to see all of them."],
        className="reason",
    )


def _table(panel: Panel, ranking: Ranking, traffic: Traffic) -> Component:
    rows = ranking.rows[:ROWS]
    if not rows:
        return html.P("None in these hours.", className="reason")
    dimension, most = panel.order.dimension, max(_length(panel.order, row) for row in rows)
    return _ranking(
        [panel.first, *(name for name, _ in panel.numbers)],
        [
            [
                _label(dimension, row.value, _length(panel.order, row) / most, traffic.view),
                *(number(row, traffic) for _, number in panel.numbers),
            ]
            for row in rows
        ],
    )


def _ranking(names: Sequence[str], rows: Sequence[Sequence[Content]]) -> Component:
    """A table, whose first column has the values and the others the numbers."""
    styles = ["", *["number"] * (len(names) - 1)]
    head = [html.Th(name, scope="col", className=style) for name, style in zip(names, styles, strict=True)]
    body = [html.Tr([html.Td(cell, className=style) for cell, style in zip(row, styles, strict=True)]) for row in rows]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className=f"ranking numbers-{len(names) - 1}")


def _length(order: Order, row: Ranked) -> float:
    """What the length of a row's bar shows: what the rows are ranked by."""
    lengths = {ENTRY_PAGES.by.name: row.sums.entries, EXIT_PAGES.by.name: row.sums.exits}
    return lengths.get(order.by.name, row.sums.views)


def _label(dimension: str, value: str, length: float, view: View) -> Component:
    """A value with its bar: a link that filters by it, or no longer does."""
    is_chosen = view.filters.get(dimension) == value
    target = view.without_filter(dimension) if is_chosen else view.with_filter(dimension, value)
    what = f"Remove the filter by {words(dimension)}" if is_chosen else f"Show only the {words(dimension)}"
    return dcc.Link(
        [
            html.Span(className="bar", style={"width": f"{max(length, 0.005):.1%}"}),
            html.Span(_named(dimension, value), className="text"),
        ],
        href=target.query(),
        className="label on" if is_chosen else "label",
        title=f"{what}: {texts.in_full(value) or texts.value(dimension, value)}",
    )


def _named(dimension: str, value: str) -> Content:
    if dimension != PAGE.name:
        return texts.value(dimension, value)
    host, rest = texts.page_parts(value)
    return [rest, html.Span(host, className="host")]


def _below(panel: Panel, ranking: Ranking) -> list[Component]:
    lines = [panel.note] if panel.note else []
    if not ranking.is_exact:
        lines.append(
            f"There are about {texts.whole(ranking.values)} values; the order is exact up to {texts.whole(RANKED)}: "
            "a value that is near the top in no month may be missing, and numbers may be too low."
        )
    elif ranking.values > ROWS:
        lines.append(f"{texts.whole(ranking.values)} in all.")
    return [html.P(" ".join(lines), className="note")] if lines else []


def _times(traffic: Traffic, screen: Screen) -> Component:
    now, view = traffic.now, traffic.view
    facts = pairs(
        ("Median (p50)", texts.duration(now.seconds(50))),
        ("p90", texts.duration(now.seconds(90))),
        ("Mean", texts.duration(now.total.figure(Measure.TIME_ON_PAGE))),
    )
    content = [
        html.Dl(facts, className="facts"),
        html.P(_coverage(now), className="coverage", id="coverage"),
        chart(TIMES_CHART, "Clicks by time on page, as bars", charts.times(now.time_spent, screen.colours), 120),
    ]
    if not can_filter(PAGES, view.filters):
        content.append(_not_filtered("Times on single pages", TIMES, view))
    elif traffic.times:
        content.append(_times_table(traffic.times[:_TIMES_SHOWN], view))
    return card("Time on page", view, "times" if traffic.times else "", content, png=TIMES_CHART)


def _coverage(now: Period) -> str:
    total, counted = now.total, sum(now.time_spent.values())
    known = f"{texts.whole(total.samples)} of {texts.whole(total.views)} clicks have a known duration"
    if counted < total.samples:
        return (
            f"{known}; p50 and p90 are of {texts.whole(counted)} of them, since hours computed by an earlier version "
            "have no distribution."
        )
    return f"{known} ({texts.share(total.samples, total.views)}): the last click of a visit has none."


def _times_table(times: Sequence[TimeOnPage], view: View) -> Component:
    longest = max((each.seconds(50) or 0 for each in times), default=0) or 1
    rows: list[list[Content]] = [
        [
            _label(PAGE.name, each.page, (each.seconds(50) or 0) / longest, view),
            texts.duration(each.seconds(50)),
            texts.duration(each.seconds(90)),
            html.Span(
                texts.share(each.sums.samples, each.sums.views),
                title=f"Of {texts.whole(each.sums.samples)} of its {texts.whole(each.sums.views)} clicks",
            ),
        ]
        for each in times
    ]
    return _ranking(["Page", "p50", "p90", "Known"], rows)


def _countries(panel: Panel, traffic: Traffic, screen: Screen) -> Component:
    ranking = traffic.rankings.get(COUNTRIES, Ranking())
    small = sum(row.value not in ON_THE_MAP for row in ranking.rows)
    number = quantity(len(ranking.rows), "country", "countries")
    note = f"{number}, of which {small} not on the map: too small, or not known (ZZ)." if small else f"{number}."
    world = charts.world(ranking.rows, _SHAPES, screen.colours)
    height = _MAP_HEIGHT_NARROW if screen.narrow else _MAP_HEIGHT
    beside = [
        html.Div(chart(MAP, "Views by country, as a map", world, height, "map"), className="world"),
        html.Div([_table(panel, ranking, traffic), html.P(note, className="note")]),
    ]
    return card(panel.title, traffic.view, panel.key, [html.Div(beside, className="beside")], png=MAP, width="wide")
