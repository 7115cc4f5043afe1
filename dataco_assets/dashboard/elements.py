"""Elements that several parts of the page are made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dash import dcc, html
from dash.development.base_component import Component

from dataco_assets.dashboard import charts
from dataco_assets.dashboard.view import View

Content = Component | str | Sequence[Component | str]

_CHART: Final = {"displayModeBar": False, "responsive": True, "scrollZoom": False}


@dataclass(frozen=True)
class Screen:
    """What the browser says of itself.

    Attributes:
        scheme: `light` or `dark`.
        narrow: Whether it is as narrow as a phone.
    """

    scheme: str = "light"
    narrow: bool = False

    @property
    def colours(self) -> charts.Colours:
        """Those of its scheme."""
        return charts.SCHEMES.get(self.scheme, charts.SCHEMES["light"])


def element(make: Callable[..., Component], content: Content, attributes: Mapping[str, str], **known: Any) -> Component:
    """An element with attributes whose names are no names of Python: `data-…`, `aria-…`."""
    return make(content, **attributes, **known)


def built(make: Callable[..., Component], **properties: Any) -> Component:
    """A component with properties that it takes, though its annotations do not say so."""
    return make(**properties)


def card(
    title: str, view: View, key: str, content: Sequence[Component], *, png: str = "", width: str = ""
) -> Component:
    """A part of the page with a heading.

    Args:
        title: The heading.
        view: What is shown.
        key: Name of its CSV file; empty: it has none.
        content: What is below the heading.
        png: Id of the chart that can be saved as a picture; empty: none can.
        width: `wide`: the whole width, `third`: a third of it; empty: half of it, or what the place gives.
    """
    name = f"card {width}".strip()
    return element(html.Section, [_heading(title, view, key, png), *content], {"data-panel": title}, className=name)


def chart(name: str, about: str, figure: charts.Figure, height: int, style: str = "") -> Component:
    """A chart of plotly.js.

    Args:
        name: Its id.
        about: What it shows, for those who do not see it.
        figure: The chart.
        height: Pixels.
        style: Another class of it.
    """
    looks = {"className": f"chart {style}".strip(), "style": {"height": f"{height}px"}}
    drawn = built(dcc.Graph, id=name, figure=figure, config=_CHART, **looks)
    return element(html.Div, drawn, {"role": "img", "aria-label": f"{about}. The CSV file has the numbers."})


def table(names: Sequence[str], rows: Sequence[Sequence[Content]], numbers: Sequence[str] = ()) -> Component:
    """A table, which a narrow screen shows as a list of its rows.

    Args:
        names: Headings of the columns, each different.
        rows: A cell for each column.
        numbers: The columns that have numbers.
    """
    styles = ["number" if name in numbers else "" for name in names]
    head = [html.Th(name, scope="col", className=style) for name, style in zip(names, styles, strict=True)]
    body = [
        html.Tr(
            [
                element(html.Td, cell, {"data-label": name}, className=style)
                for cell, name, style in zip(row, names, styles, strict=True)
            ]
        )
        for row in rows
    ]
    return html.Table([html.Thead(html.Tr(head)), html.Tbody(body)], className="listed")


def pairs(*each: tuple[str, Content]) -> list[Component]:
    """Terms with what they are, for a list of definitions."""
    return [html.Div([html.Dt(name), html.Dd(value)]) for name, value in each]


def prose(text: str) -> list[Component | str]:
    """A text in which what is between backticks, such as a command, is set as code."""
    parts = text.split("`")
    return [html.Code(part) if place % 2 else part for place, part in enumerate(parts) if part]


def hidden(text: str) -> Component:
    """A text for those who hear the page."""
    return html.Span(text, className="hidden")


def _heading(title: str, view: View, key: str, png: str) -> Component:
    saves: list[Component] = []
    if png:
        about = f"Save “{title}” as a picture"
        saves.append(element(html.Button, "PNG", {"data-png": png}, type="button", title=about))
    if key:
        about = f"Save “{title}” as a table"
        saves.append(html.A("CSV", href=f"export/{key}.csv{view.query()}", download="", title=about))
    return html.Div([html.H2(title), html.Div(saves, className="saves")], className="heading")
