"""The page Operations: what waits, and what needs a person. Its parts, from what was asked. Pure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dash import html
from dash.development.base_component import Component

from dataco_assets.dashboard import texts
from dataco_assets.dashboard.elements import element, prose, table
from dataco_assets.dashboard.view import written

if TYPE_CHECKING:
    from dataco_assets.dashboard.latest import Answer
    from dataco_assets.monitoring.doctor import Diagnosis
    from dataco_assets.monitoring.state import State


def figures(answer: "Answer[State]") -> list[Component]:
    """What waits, and for how long."""
    state = answer.value
    ingest, ledger = state.ingest, state.hours
    found = [
        ("waiting", "Clicks waiting in Kafka", _whole(ingest and ingest.lag.total)),
        ("behind", "Behind: age of the oldest", _since(state.oldest_waiting_seconds, is_known=ingest is not None)),
        ("headroom", "Until Kafka removes it", _headroom(state)),
        ("dirty", "Hours to be refreshed", _whole(ledger and len(ledger.dirty.waiting))),
        ("oldest", "The oldest ended ago", _since(state.oldest_dirty_seconds, is_known=ledger is not None)),
        ("overdue", "Hours that wait too long", _whole(ledger and len(ledger.waiting))),
        ("parked", "Parked", _whole(ledger and len(ledger.parked))),
    ]
    facts = [
        html.Div([html.Dt(title), element(html.Dd, text, {"data-figure": name})], className="fact")
        for name, title, text in found
    ]
    problems = [texts.in_full(problem) for problem in state.problems()]
    verdict = (
        html.P("Nothing needs a person.", className="fine", id="verdict")
        if not problems
        else html.Ul([html.Li(prose(problem)) for problem in problems], className="problems", id="verdict")
    )
    return [html.Dl(facts, className="facts"), verdict, _as_of(answer.at_ms)]


def diagnoses(answer: "Answer[list[Diagnosis]]") -> list[Component]:
    """What `dataco doctor` says of each part of the platform, what is wrong first."""
    found = sorted(answer.value, key=lambda each: _URGENCY.index(str(each.verdict)))
    rows = [[_badge(each), texts.line(each.part), prose(texts.in_full(each.found))] for each in found]
    return [table(("Verdict", "Part", "Found, and what mends it"), rows), _as_of(answer.at_ms)]


def status(rows: Sequence[tuple[str, str]]) -> list[Component]:
    """The rows of `dataco status`."""
    return [table(("What", "State"), [[texts.line(what.strip()), texts.in_full(state)] for what, state in rows])]


def versions(answer: "Answer[dict[str, str]]") -> list[Component]:
    """What runs, in which version."""
    return [table(("What", "Version"), [[what, texts.line(version)] for what, version in answer.value.items()])]


_URGENCY = ("problem", "warning", "not checked", "ok")


def _badge(each: "Diagnosis") -> Component:
    tone = {"problem": "bad", "warning": "provisional", "ok": "good"}.get(str(each.verdict), "")
    return html.Span(str(each.verdict), className=f"badge {tone}")


def _whole(number: int | None) -> str:
    return texts.UNKNOWN_FIGURE if number is None else texts.whole(number)


def _since(seconds: float | None, *, is_known: bool) -> str:
    if seconds is None:
        return "none waits" if is_known else texts.UNKNOWN_FIGURE
    return texts.duration(seconds)


def _headroom(state: "State") -> str:
    if state.ingest is None:
        return texts.UNKNOWN_FIGURE
    seconds = state.retention_headroom_seconds
    return "never" if seconds is None else texts.duration(max(0.0, seconds))


def _as_of(at_ms: int) -> Component:
    return html.P(f"As of {written(at_ms, '%H:%M:%S')} UTC.", className="note")
