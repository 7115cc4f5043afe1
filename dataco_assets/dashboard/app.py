"""The dashboard's web application: Dash around its pages, the CSV files, and what every answer says to the browser."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from dash import MATCH, ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update
from dash.development.base_component import Component
from flask import Flask, Response, request

from dataco_assets.clock import now_ms
from dataco_assets.dashboard import export, operations, page, trust
from dataco_assets.dashboard.countries import ON_THE_MAP
from dataco_assets.dashboard.elements import Screen
from dataco_assets.dashboard.latest import Latest
from dataco_assets.dashboard.panels import MAP, PANELS, Panel
from dataco_assets.dashboard.parts import AGAIN, Others, Part, PartsPage, filled, navigation, part_id
from dataco_assets.dashboard.reading import Reader
from dataco_assets.dashboard.view import View, ViewUnclear, view_of
from dataco_assets.errors import DatacoError

REFRESH_MS: Final = 60_000
"""The page looks again as often as the running hour is refreshed by default."""

OPERATIONS_REFRESH_MS: Final = 10_000
_FRESH_SECONDS: Final = 5.0
_TRAFFIC: Final = "Traffic"
_ASSETS: Final = Path(__file__).with_name("assets")
_INDEX: Final = """<!DOCTYPE html>
<html lang="en">
    <head>
        {%metas%}
        <title>{%title%}</title>
        {%favicon%}
        {%css%}
    </head>
    <body>
        <noscript>This page needs JavaScript.</noscript>
        {%app_entry%}
        <footer>
            {%config%}
            {%scripts%}
            {%renderer%}
        </footer>
    </body>
</html>"""


def application(reader: Reader, clock: Callable[[], int] = now_ms, others: Others | None = None) -> Flask:
    """The web application.

    Args:
        reader: Where the figures come from.
        clock: Tells the time, epoch ms.
        others: What is asked of other servers; None: only what Elasticsearch tells is shown.
    """
    app = Dash(
        "dataco_assets.dashboard",
        assets_folder=str(_ASSETS),
        title="Traffic · DataCo",
        update_title="",
        index_string=_INDEX,
        meta_tags=[
            {"name": "viewport", "content": "width=device-width, initial-scale=1"},
            {"name": "color-scheme", "content": "light dark"},
            {"name": "referrer", "content": "no-referrer"},
        ],
        suppress_callback_exceptions=True,
    )
    app.layout = html.Main(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="screen"),
            dcc.Store(id="shown"),
            dcc.Interval(id="tick", interval=REFRESH_MS),
            html.Div(html.P("Loading …", className="state"), id="page"),
        ]
    )
    server: Flask = app.server
    pages = [_trust(reader, clock, others), *([_operations(others)] if others else [])]
    _show(app, reader, clock, {page.path: page for page in pages})
    _show_parts(app, {part.key: part for page in pages for part in page.parts})
    _serve_files(server, reader, clock)
    _tell_the_browser(server, app)
    return server


def _trust(reader: Reader, clock: Callable[[], int], others: Others | None) -> PartsPage:
    def recently() -> int:
        return clock() - trust.RECENT_MS

    held = Latest(reader.all_hours, fresh_seconds=_FRESH_SECONDS)
    restated = Latest(lambda: reader.restatements(recently()), fresh_seconds=_FRESH_SECONDS)
    late = Latest(lambda: reader.late_clicks(recently()), fresh_seconds=_FRESH_SECONDS)
    parts = [
        Part("hours", "Hours by state", lambda: trust.hours(held().value, clock())),
        Part("late", "Late clicks", lambda: trust.late(late().value)),
    ]
    if others:
        checks = others.checks
        parts.append(Part("account", "Accounting", lambda: trust.account(checks().value.account)))
        parts.append(Part("verified", "Last verification", lambda: trust.verified(checks().value.verified)))
    parts.append(Part("restatements", "Restatements", lambda: trust.restatements(restated().value), "wide"))
    if others:
        rejected = others.rejected
        parts.append(Part("rejected", "Rejected clicks", lambda: trust.rejected(rejected().value), "wide"))
    about = "How far the numbers can be relied on, by what changed in the last 7 days. All times are UTC."
    return PartsPage("/trust", "Trust", about, REFRESH_MS, parts)


def _operations(others: Others) -> PartsPage:
    parts = [
        Part("figures", "What waits", lambda: operations.figures(others.state()), "wide"),
        Part("diagnoses", "Every part of the platform", lambda: operations.diagnoses(others.diagnoses()), "wide"),
        Part("status", "State", lambda: operations.status(others.status(others.state().value))),
        Part("versions", "Versions", lambda: operations.versions(others.versions())),
    ]
    about = "What waits, what is wrong, and what mends it: `dataco status` and `dataco doctor`, every 10 seconds."
    return PartsPage("/operations", "Operations", about, OPERATIONS_REFRESH_MS, parts)


def _show(app: Dash, reader: Reader, clock: Callable[[], int], pages: Mapping[str, PartsPage]) -> None:
    links = [("/", _TRAFFIC), *((page.path, page.title) for page in pages.values())]

    @app.callback(
        Output("page", "children"),
        Output("shown", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("screen", "data"),
        Input("tick", "n_intervals"),
        State("shown", "data"),
    )
    def show(
        path: str | None, query: str | None, screen: Mapping[str, Any] | None, _: int | None, shown_path: str | None
    ) -> Any:
        if path is None or screen is None:  # the browser has not said yet where and what it is
            return no_update, no_update
        if path in pages:
            if path == shown_path:  # its parts look again by themselves
                return no_update, no_update
            content = pages[path].frame()
        elif path == "/":
            looks = Screen(str(screen.get("scheme")), bool(screen.get("narrow")))
            content = shown(reader, query or "", clock(), looks)
        else:
            content = [page.no_such_page()]
        return [navigation(links, path), *content], path

    app.clientside_callback(ClientsideFunction("page", "title"), Input("url", "pathname"))

    @app.callback(Output("url", "search"), Input(MAP, "clickData"), State("url", "search"), prevent_initial_call=True)
    def choose_country(clicked: Mapping[str, Any] | None, query: str | None) -> Any:
        code = clicked["points"][0].get("location") if clicked else None
        return filtered(query or "", code, clock()) if code in ON_THE_MAP else no_update


def _show_parts(app: Dash, parts: Mapping[str, Part]) -> None:
    @app.callback(Output(part_id(MATCH), "children"), Input(AGAIN, "n_intervals"), State(part_id(MATCH), "id"))
    def show_part(_: int | None, place: Mapping[str, str]) -> Any:
        return filled(parts[place["part"]]) if place.get("part") in parts else no_update


def shown(reader: Reader, query: str, time_ms: int, screen: Screen) -> list[Component]:
    """What the page shows for the query of a URL: the figures, or what is wrong and the way out."""
    try:
        return page.page_of(reader.traffic(view_of(query, time_ms)), time_ms, screen)
    except DatacoError as error:
        return page.problem_page(error, query, time_ms)


def filtered(query: str, country: str, time_ms: int) -> str:
    """The query of the URL with a country as a filter, or no longer if it is one."""
    view = view_of(query, time_ms)
    is_chosen = view.filters.get("country") == country
    return (view.without_filter("country") if is_chosen else view.with_filter("country", country)).query()


def _serve_files(server: Flask, reader: Reader, clock: Callable[[], int]) -> None:
    @server.get("/export/<name>.csv")
    def export_file(name: str) -> Response:
        if name not in _FILES:
            return Response("There is no such file.", 404, mimetype="text/plain")
        time_ms = clock()
        try:
            text = _FILES[name](reader, view_of(request.query_string.decode("ascii", "replace"), time_ms), time_ms)
        except ViewUnclear as error:
            return Response(str(error), 400, mimetype="text/plain")
        except DatacoError as error:
            return Response(str(error), 503, mimetype="text/plain")
        headers = {"Content-Disposition": f'attachment; filename="traffic-{name}.csv"'}
        return Response("\ufeff" + text, mimetype="text/csv", headers=headers)  # the mark tells Excel that it is UTF-8


def _trend_file(reader: Reader, view: View, time_ms: int) -> str:
    return export.hours(reader.period(view), reader.hours(view), time_ms)


def _times_file(reader: Reader, view: View, _: int) -> str:
    return export.times(reader.times(view))


def _ranking_file(panel: Panel) -> Callable[[Reader, View, int], str]:
    return lambda reader, view, _: export.ranking(panel.order, reader.ranking(view, panel.order).rows)


_FILES: Final[Mapping[str, Callable[[Reader, View, int], str]]] = {
    "trend": _trend_file,
    "times": _times_file,
    **{panel.key: _ranking_file(panel) for panel in PANELS},
}


def _tell_the_browser(server: Flask, app: Dash) -> None:
    """Every answer forbids the browser to ask any other host, or to show the page inside another one."""
    policy: list[str] = []

    @server.after_request
    def add_headers(response: Response) -> Response:
        if not policy:
            policy.append(_policy(app.csp_hashes()))
        response.headers["Content-Security-Policy"] = policy[0]
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        if request.path.startswith(("/export/", "/_dash-update-component")):
            response.headers["Cache-Control"] = "no-store"
        return response


def _policy(inline_scripts: Iterable[str]) -> str:
    scripts = " ".join(inline_scripts)
    return (
        f"default-src 'self'; script-src 'self' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
    )
