"""The page, from the figures of a view: what is where, and in which words. Pure.

Every filter and every range is a link whose address asks for that view: so the keyboard, the back button and a copied
address work. All texts of events are escaped and shortened (`texts.py`); as children of elements they are never markup.
"""

from dataclasses import replace
from typing import Final

from dash import dcc, html
from dash.development.base_component import Component

from dataco_assets.aggregates.columns import COUNTRY, PAGE
from dataco_assets.clicks.finality import Finality, in_words
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.dashboard import charts, texts
from dataco_assets.dashboard.elements import Screen, built, card, chart, element, hidden, pairs
from dataco_assets.dashboard.figures import Held, Lacking, Traffic, compare, trend
from dataco_assets.dashboard.panels import panels
from dataco_assets.dashboard.view import DAY_MS, PRESETS, Measure, View, first_view, words
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.errors import DatacoError
from dataco_assets.quantities import quantity

TREND: Final = "trend"
_TREND_HEIGHT: Final = 280
_GOOD_WHEN_LESS: Final = frozenset({Measure.BOUNCE_RATE})
_UP, _DOWN = "▲ ", "▼ "


def page_of(traffic: Traffic, now_ms: int, screen: Screen) -> list[Component]:
    """The whole page but its frame.

    Args:
        traffic: The figures of a view.
        now_ms: Epoch ms.
        screen: What it is shown on.
    """
    view, held = traffic.view, traffic.held
    if held is None:
        again = html.A("Look again", href=view.query(), className="button")
        return [_header(traffic, now_ms), _message("There is nothing in the index yet", _HOW_TO_FILL, again)]
    top = [_header(traffic, now_ms), _chips(view), *_notices(traffic)]
    if not traffic.now.hours:
        return [*top, _nothing_here(view, held, now_ms)]
    return [
        *top,
        html.Ul([html.Li(_tile(measure, traffic, held, now_ms)) for measure in view.measures], className="tiles"),
        _trend(traffic, held, now_ms, screen),
        html.Div(panels(traffic, screen), className="grid"),
        _explanation(view),
    ]


def problem_page(error: DatacoError, query: str, now_ms: int) -> list[Component]:
    """What is shown when the figures cannot be had: what is wrong, and the way out.

    Args:
        error: Why.
        query: The query of the URL.
        now_ms: Epoch ms.
    """
    again = html.A("Try again", href=query or "?", className="button")
    first = dcc.Link("Show all traffic of the last 7 days", href=first_view(now_ms).query(), className="button")
    title = _HEADLINES.get(type(error).__name__, "The figures cannot be shown")
    way_out = [html.P(_HOW_TO_FILL)] if isinstance(error, IndexMissing) else []
    content = [html.H2(title), html.P(texts.in_full(str(error))), *way_out, html.P([again, " ", first])]
    return [
        html.Header(html.H1("Traffic"), className="top"),
        html.Section(content, className="message problem", role="alert"),
    ]


def no_such_page() -> Component:
    """What is shown where there is no page."""
    home = dcc.Link("Show the traffic", href="/", className="button")
    return _message("There is no such page", "The address is none of this dashboard's.", home)


_HOW_TO_FILL: Final = (
    "`dataco setup` creates what is missing, `dataco clicks …` sends clicks, and Dagster's sensors bring them into the "
    "index, hour by hour; `dataco status` tells how far they are."
)
_HEADLINES: Final = {
    "ElasticsearchUnavailable": "Elasticsearch does not answer",
    "IndexMissing": "There is no index yet",
    "IndexClosed": "An index is closed",
    "IndexMismatch": "An index has the layout of another version",
    "CertificateRefused": "Elasticsearch cannot be trusted",
    "ViewUnclear": "This address asks for something that there is not",
}


def _header(traffic: Traffic, now_ms: int) -> Component:
    view = traffic.view
    span = html.P(f"{texts.span(view)}, UTC", className="span")
    ranges = element(html.Nav, [_presets(view, now_ms), _range_form(view)], {"aria-label": "Range"}, className="range")
    return html.Header([html.Div([html.H1("Traffic"), span, *_data_state(traffic, now_ms)]), ranges], className="top")


def _data_state(traffic: Traffic, now_ms: int) -> list[Component]:
    held, hours = traffic.held, traffic.hours
    if held is None:
        return [html.P("The index is empty.", className="state")]
    state = hours.finality(held.last_ms, now_ms)
    badge = [] if state is Finality.FINAL else [html.Span(str(state), className=f"badge {state}")]
    changed = f" · changed {texts.clock(held.changed_ms)} UTC" if held.changed_ms else ""
    newest = html.P([f"Newest hour in the index: {texts.clock(held.last_ms)} ", *badge, changed], className="state")
    counted = f"{in_words(hours.counted(now_ms))}."
    return [newest, *([html.P(counted, className="state", id="finality")] if hours.hours else [])]


def _presets(view: View, now_ms: int) -> Component:
    links = []
    for name, preset in PRESETS.items():
        is_on = view.preset == name
        content = [preset.title, hidden(" (shown)")] if is_on else preset.title
        href = view.with_preset(name, now_ms).query()
        links.append(html.Li(dcc.Link(content, href=href, className="on" if is_on else "")))
    return html.Ul(links, className="presets")


def _range_form(view: View) -> Component:
    """A form of the browser's own, which has its date picker."""
    first, last = (end[:10] for end in view.ends())
    kept = {**view.filters, "show": str(view.measure)}
    permalink = html.A("Link to these hours", href=view.fixed().query(), id="permalink", title="Shows them later, too")
    return html.Form(
        [
            *(_input("hidden", name, value) for name, value in kept.items()),
            html.Label(["From ", _input("date", "from", first)]),
            html.Label(["to ", _input("date", "to", last)]),
            html.Button("Show", type="submit"),
            permalink,
        ],
        method="get",
        className="dates",
        key=f"{first} {last} {sorted(kept.items())}",  # a new range is a new form: an old one keeps what was typed
    )


def _input(kind: str, name: str, value: str) -> Component:
    return built(dcc.Input, type=kind, name=name, value=value, id=f"ask-{name}")


def _chips(view: View) -> Component:
    if not view.filters:
        return html.P("All clicks. A page, country, browser, … below is a filter.", className="chips none")
    chips = [
        dcc.Link(
            [
                html.Span(f"{words(name)} ", className="dimension"),
                html.Span(texts.value(name, value), className="chosen"),
                html.Span("\N{MULTIPLICATION SIGN}", className="cross"),
                hidden(" remove this filter"),
            ],
            href=view.without_filter(name).query(),
            className="chip",
            title=f"Remove the filter: {words(name)} {texts.in_full(value)}",
        )
        for name, value in view.filters.items()
    ]
    return html.Div([hidden("Filters: "), *chips], className="chips")


def _notices(traffic: Traffic) -> list[Component]:
    found = [_lacking(traffic.now.lacking), _audience_lacks(traffic)]
    return [html.P(text, className="notice", role="status") for text in found if text]


def _lacking(lacking: Lacking | None) -> str:
    if lacking is None:
        return ""
    span = f"{hour_key(lacking.first_ms)} {hour_key(lacking.last_ms)}"
    lack = "lacks" if lacking.hours == 1 else "lack"
    return (
        f"{quantity(lacking.hours, 'hour')} of this range computed by an earlier version {lack} visits. What is "
        f"computed from visits is left out here; `dataco backfill {span}` fills it."
    )


def _audience_lacks(traffic: Traffic) -> str:
    if PAGE.name in traffic.view.filters or traffic.audience_clicks >= traffic.clicks:
        return ""
    return (
        f"Referrers, cities, browsers, systems and devices are known of {texts.whole(traffic.audience_clicks)} of the "
        f"{texts.whole(traffic.clicks)} views: hours computed by an earlier version lack them, and an hour "
        "that is being published has them a moment later. `dataco status` names hours that lack them."
    )


def _nothing_here(view: View, held: Held, now_ms: int) -> Component:
    is_held = view.since_ms <= held.last_ms and view.until_ms > held.first_ms
    if is_held and view.filters:
        everything = dcc.Link("Remove all filters", href=view.without_filter(*view.filters).query(), className="button")
        text = "In these hours no click has what the filters ask for. Remove a filter, or choose a longer range."
        return _message("No clicks with this filter", text, everything)
    last_day = held.last_ms // DAY_MS * DAY_MS
    newest = replace(view, since_ms=last_day - 6 * DAY_MS, until_ms=last_day + DAY_MS, preset="")
    return _message(
        "No clicks in this range",
        f"What the index holds begins with {texts.hour(held.first_ms)} and ends with {texts.hour(held.last_ms)} UTC.",
        dcc.Link("Show its last 7 days", href=newest.query(), className="button"),
        dcc.Link("Show the last 7 days", href=view.with_preset("7d", now_ms).query(), className="button"),
    )


def _message(title: str, text: str, *ways_out: Component) -> Component:
    links = [part for way in ways_out for part in (way, " ")]
    return html.Section([html.H2(title), html.P(text), html.P(links)], className="message", role="status")


def _tile(measure: Measure, traffic: Traffic, held: Held, now_ms: int) -> Component:
    view, value = traffic.view, traffic.now.figure(measure)
    is_on = measure is view.measure
    named = {"data-figure": str(measure)}
    return dcc.Link(
        [
            html.Span(_title(measure, view), className="title"),
            element(html.Span, texts.figure(measure, value), named, className="figure"),
            _change(measure, traffic, held, now_ms),
            hidden(": its trend is shown" if is_on else ": show its trend"),
        ],
        href=replace(view, measure=measure).query(),
        className="tile on" if is_on else "tile",
        title=_meaning(measure, view),
    )


def _title(measure: Measure, view: View) -> str:
    if measure is Measure.USERS and view.until_ms - view.since_ms == HOUR_MS:
        return "Users"
    return texts.TITLES[measure]


def _change(measure: Measure, traffic: Traffic, held: Held, now_ms: int) -> Component:
    view = traffic.view
    comparison = compare(measure, view, traffic.now, traffic.before, now_ms)
    text = texts.change(measure, comparison) if _has_before(view, held) else ""
    if not text:
        return html.Span("no comparison", className="change", title="The index begins later, or had nothing then.")
    grown = text.startswith("+")
    tone, arrow = "", ""
    if not text.startswith("±"):
        arrow = _UP if grown else _DOWN
        tone = " bad" if grown == (measure in _GOOD_WHEN_LESS) else " good"
    now, before = (texts.figure(measure, each) for each in (comparison.now, comparison.before))
    return html.Span(
        f"{arrow}{text}",
        className=f"change{tone}",
        title=f"{now} against {before} in the period before, {texts.span(view.before)}; both without the running hour.",
    )


def _has_before(view: View, held: Held) -> bool:
    """Whether the index holds the whole period before."""
    return view.before.since_ms >= held.first_ms


def _trend(traffic: Traffic, held: Held, now_ms: int, screen: Screen) -> Component:
    view, colours = traffic.view, screen.colours
    is_hourly, has_before = view.step_ms == HOUR_MS, _has_before(view, held)
    step = "hour" if is_hourly else "day"
    steps = trend(traffic.now, view, held, traffic.hours, now_ms)
    before = trend(traffic.before, view.before, held, traffic.hours, now_ms) if has_before else []
    figure = charts.trend(steps, before, view.measure, is_hourly=is_hourly, colours=colours, narrow=screen.narrow)
    legend = [
        html.Span([html.I(className="key over"), f"{step}s that are final"]),
        html.Span([html.I(className="key open"), f"provisional or running {step}"]),
    ]
    if has_before:
        legend.append(html.Span([html.I(className="key before"), f"the period before: {texts.span(view.before)}"]))
    title = f"{_title(view.measure, view)} by {step}"
    content = [html.Div(legend, className="legend"), chart(TREND, f"{title}, as a line", figure, _TREND_HEIGHT)]
    return card(title, view, "trend", content, png=TREND, width="wide")


def _explanation(view: View) -> Component:
    command = f"dataco users {hour_key(view.since_ms)} {hour_key(view.until_ms - HOUR_MS)}"
    figures = [(_title(measure, view), _meaning(measure, view)) for measure in view.measures]
    terms = pairs(
        *figures,
        ("Unique users of the range", [_UNIQUE_USERS, html.Code(command)]),
        ("Running, provisional, final", _STATES),
        ("An hour without documents", _NO_DOCUMENTS),
        ("Compared with", f"{texts.span(view.before)}: the same hours, in both without the running one."),
    )
    return html.Details([html.Summary("What the figures are"), html.Dl(terms)], className="card explanation")


_UNIQUE_USERS: Final = "Not on this page: users of several hours do not add up. Estimated with bounds, or counted: "
_STATES: Final = (
    "By the clock: an hour is running until its end, provisional for 30 minutes more, while clicks of the next hour "
    "may continue its visits, and then final. Late clicks can still change it: then it is restated. Once its clicks "
    "are older than HBase keeps them, it is expired and stays as it is."
)
_NO_DOCUMENTS: Final = (
    "It had no clicks, or was not computed yet. It is drawn as 0 between the first and the newest hour of the index."
)


def _meaning(measure: Measure, view: View) -> str:
    """What a tile's number is, in this view."""
    return _users_are(view) if measure is Measure.USERS else _MEANINGS[measure]


_MEANINGS: Final = {
    Measure.VISITS: "Visits that ended in these hours: a visit is a user's clicks with gaps of at most 30 minutes.",
    Measure.VIEWS: "Clicks.",
    Measure.VIEWS_PER_VISIT: "Clicks / visits.",
    Measure.VISIT_DURATION: "Mean: seconds between the clicks of visits, added up / visits.",
    Measure.BOUNCE_RATE: "Visits of a single click / visits that began.",
    Measure.ENTRIES: "Visits that began with one of these clicks.",
    Measure.EXITS: "Visits that ended with one of these clicks.",
    Measure.TIME_ON_PAGE: "Mean seconds until the user's next click, of the clicks for which it is known.",
}


def _users_are(view: View) -> str:
    if PAGE.name not in view.filters:
        what = "who entered one hour with these values" if view.filters else "of one hour"
    else:
        what = "of this page in one hour" + ("" if COUNTRY.name in view.filters else " from one country")
    return (
        f"Distinct users {what}, exact: the most there were in an hour. Those of several hours do not add up, because "
        "the same users return."
    )
