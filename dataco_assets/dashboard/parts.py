"""Pages made of parts that are asked for one by one: one whose server does not answer says so beside the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dash import dcc, html
from dash.development.base_component import Component

from dataco_assets.dashboard import texts
from dataco_assets.dashboard.elements import built, element, hidden, prose
from dataco_assets.errors import DatacoError

if TYPE_CHECKING:
    from dataco_assets.dashboard.latest import Answer
    from dataco_assets.monitoring.doctor import Diagnosis
    from dataco_assets.monitoring.state import Checks, State
    from dataco_assets.rejected.summary import RejectedSummary

AGAIN: Final = "again"
"""Id of the interval in which the parts of a page look again."""


@dataclass(frozen=True)
class Others:
    """What is asked of other servers than Elasticsearch; each raises a `DatacoError` when it cannot be had.

    Attributes:
        state: What each server answers.
        status: That in words, as `dataco status` shows it.
        diagnoses: What is wrong, and what mends it.
        versions: What runs, in which version.
        rejected: Rejected clicks of the last 7 days.
        checks: What became of the messages ingested in the last 7 days, and what the last verification found.
    """

    state: "Callable[[], Answer[State]]"
    status: "Callable[[State], Sequence[tuple[str, str]]]"
    diagnoses: "Callable[[], Answer[list[Diagnosis]]]"
    versions: "Callable[[], Answer[dict[str, str]]]"
    rejected: "Callable[[], Answer[RejectedSummary]]"
    checks: "Callable[[], Answer[Checks]]"


@dataclass(frozen=True)
class Part:
    """A part of a page.

    Attributes:
        key: Its name, unique over all pages.
        title: Its heading.
        content: What is below the heading; raises a `DatacoError` when that cannot be had.
        width: `wide`: the whole width; empty: half of it.
    """

    key: str
    title: str
    content: Callable[[], Sequence[Component]]
    width: str = ""


@dataclass(frozen=True)
class PartsPage:
    """A page made of parts.

    Attributes:
        path: Where it is.
        title: Its heading.
        about: What it is about.
        refresh_ms: How often its parts look again.
        parts: Its parts.
    """

    path: str
    title: str
    about: str
    refresh_ms: int
    parts: Sequence[Part]

    def frame(self) -> list[Component]:
        """The page, whose parts are still to be filled."""
        head = html.Div([html.H1(self.title), html.P(prose(self.about), className="state")])
        return [
            html.Header(head, className="top"),
            dcc.Interval(id=AGAIN, interval=self.refresh_ms),
            html.Div([_placed(part) for part in self.parts], className="grid"),
        ]


def _placed(part: Part) -> Component:
    waiting = html.P("Loading …", className="reason")
    content = [
        html.Div(html.H2(part.title), className="heading"),
        built(html.Div, children=[waiting], id=part_id(part.key)),
    ]
    return element(html.Section, content, {"data-panel": part.title}, className=f"card {part.width}".strip())


def part_id(key: Any) -> dict[str, Any]:
    """Id of what is below the heading of a part."""
    return {"part": key}


def filled(part: Part) -> Sequence[Component]:
    """What is below the heading: what there is to show, or why it cannot be read."""
    try:
        return part.content()
    except DatacoError as error:
        said = html.P(prose(f"cannot be read: {texts.in_full(str(error))}"), className="unread", role="status")
        return [said]


def navigation(pages: Sequence[tuple[str, str]], path: str) -> Component:
    """The links between pages.

    Args:
        pages: Path and title of each.
        path: The one that is shown.
    """
    links = [
        html.Li(dcc.Link([title, hidden(" (this page)")] if at == path else title, href=at, className=_look(at, path)))
        for at, title in pages
    ]
    return element(html.Nav, html.Ul(links, className="presets"), {"aria-label": "Pages"}, className="pages")


def _look(at: str, path: str) -> str:
    return "on" if at == path else ""
