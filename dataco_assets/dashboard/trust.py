"""The page Trust: how far the numbers can be relied on. Its parts, from what was read. Pure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from dash import html
from dash.development.base_component import Component

from dataco_assets.clicks.finality import Cause, Finality, HeldHours
from dataco_assets.clicks.hour import DAY_MS
from dataco_assets.dashboard import texts
from dataco_assets.dashboard.elements import Content, pairs, prose, table
from dataco_assets.dashboard.figures import LateClicks
from dataco_assets.quantities import quantity

if TYPE_CHECKING:
    from dataco_assets.index.restatements import RecentRestatements, Restatement
    from dataco_assets.ingest.account import Account, Finding
    from dataco_assets.ledgers.verified import Verification
    from dataco_assets.rejected.summary import OfReason, RejectedSummary

RECENT_MS: Final = 7 * DAY_MS
"""How far back the page looks."""
_FINDINGS: Final = 10

_MEANINGS: Final[Mapping[Finality, str]] = {
    Finality.RUNNING: "Not over yet.",
    Finality.PROVISIONAL: "Ended less than 30 minutes ago: clicks of the next hour may continue its visits.",
    Finality.FINAL: "Ended longer ago, and has not changed since. Late clicks can still change it.",
    Finality.RESTATED: "Was final, and has changed since.",
    Finality.EXPIRED: "Clicks older than HBase keeps them: it stays as it is.",
}
_CAUSES: Final[Mapping[Cause, str]] = {
    Cause.LATE_CLICKS: "late clicks",
    Cause.ERASURE: "a user was erased",
    Cause.REPAIR: "documents were repaired",
    Cause.REPLAY: "rejected clicks were replayed",
    Cause.RECOMPUTED: "computed by other rules",
}


def hours(held: HeldHours, now_ms: int) -> list[Component]:
    """The hours of the last 7 days and of the whole index, by how final they are."""
    recent, whole = held.counted(now_ms, now_ms - RECENT_MS), held.counted(now_ms)
    rows = [[_badge(each), texts.whole(recent[each]), texts.whole(whole[each]), _MEANINGS[each]] for each in Finality]
    return [table(("State", "7 days", "All", "The hour"), rows, numbers=("7 days", "All"))]


def late(found: LateClicks) -> list[Component]:
    """The share of late clicks."""
    facts = pairs(
        ("Share of all clicks", texts.share(found.late, found.clicks)),
        ("Late clicks", texts.whole(found.late)),
        ("Clicks", texts.whole(found.clicks)),
    )
    note = (
        "Of the hours of the last 7 days: clicks that came when readers had their hour as final. Those that came late, "
        "but before that, are not among them."
    )
    return [html.Dl(facts, className="facts"), html.P(note, className="note")]


def restatements(recent: "RecentRestatements") -> list[Component]:
    """The restatements of the last 7 days: by cause, and the newest one by one."""
    if not recent.count:
        return [html.P("No hour that was final has changed in the last 7 days.", className="reason")]
    found = recent.causes.items()
    causes = pairs(*((_CAUSES[cause], f"{each.count:,} ({_signed(each.clicks)} clicks)") for cause, each in found))
    names = ("Hour (UTC)", "Noted (UTC)", "Cause", "Clicks", "Clicks ±", "Users", "Users ±", "Groups changed")
    shown = table(names, [_restated(each) for each in recent.newest], numbers=names[3:])
    rest = recent.count - len(recent.newest)
    more = f" {texts.whole(rest)} older ones are not shown." if rest else ""
    note = f"Groups: rows by page and country. `dataco restatements` lists all, with the pages that changed most.{more}"
    return [html.Dl(causes, className="facts"), shown, html.P(prose(note), className="note")]


def rejected(found: "RejectedSummary") -> list[Component]:
    """The rejected clicks of the last 7 days by reason, each with an example."""
    notes = ["`dataco rejected list` shows all, `dataco rejected replay` sends back what would pass."]
    if found.skipped:
        notes.append(f"{quantity(found.skipped, 'older record')} of these days were not read.")
    if found.erased:
        notes.append(f"Without {quantity(found.erased, 'click')} of erased users.")
    if not found.reasons:
        return [html.P(" ".join(["None in the last 7 days.", *notes[1:]]), className="reason")]
    names = ("Reason", "Clicks", "Sent back", "Would pass", "The newest, as an example")
    rows = [_reason(each) for each in found.reasons]
    return [table(names, rows, numbers=names[1:4]), html.P(prose(" ".join(notes)), className="note")]


def account(found: "Account") -> list[Component]:
    """What became of the messages of the last 7 days, and the ranges of offsets that do not add up."""
    note = "`dataco account` shows each partition, and counts the records of the rejected topic as well."
    if not found.ranges:
        told = "No message was ingested in the last 7 days by a version that keeps account."
        return [html.P(told, className="reason"), *_findings(found.problems), html.P(prose(note), className="note")]
    counts = found.counts
    figures = (
        ("Produced", found.produced),
        ("Stored", counts.stored),
        ("Repeated", counts.repeated),
        ("Rejected", counts.rejected),
        ("Suppressed", counts.suppressed),
        ("Lost, as was accepted", counts.lost),
    )
    facts = pairs(*((name, texts.whole(number)) for name, number in figures))
    badge = html.Span("ok", className="badge good") if found.adds_up else html.Span("problem", className="badge bad")
    verdict = "Everything adds up." if found.adds_up else f"{quantity(len(found.problems), 'range')} not adding up:"
    return [
        html.Dl(facts, className="facts"),
        html.P([badge, f" {verdict}"], role="status"),
        *_findings(found.problems),
        *_findings(found.notes),
        html.P(prose(note), className="note"),
    ]


def verified(found: "Verification | None") -> list[Component]:
    """What the last verification found."""
    if found is None:
        return [html.P(prose("`dataco verify` was never run. It compares hours with the clicks."), className="reason")]
    facts = pairs(
        ("When", f"{texts.clock(round(found.at * 1000))} UTC"),
        ("Hours", f"{texts.clock(found.first_hour)} to {texts.clock(found.last_hour)}"),
        ("Compared", texts.whole(found.compared)),
        ("Different", texts.whole(found.different)),
        ("Not compared", texts.whole(found.not_compared)),
    )
    note = "By `dataco verify`, which computes hours again from the clicks in HBase, without Spark."
    return [html.Dl(facts, className="facts"), html.P(prose(note), className="note")]


def _findings(found: "Sequence[Finding]") -> list[Component]:
    if not found:
        return []
    shown = [html.Li(texts.line(str(each))) for each in found[:_FINDINGS]]
    if len(found) > _FINDINGS:
        shown.append(html.Li(f"and {texts.whole(len(found) - _FINDINGS)} more"))
    return [html.Ul(shown, className="note")]


def _badge(state: Finality) -> Component:
    return html.Span(str(state), className=f"badge {state}")


def _restated(each: "Restatement") -> list[Content]:
    return [
        texts.clock(each.hour),
        texts.clock(each.noted_at),
        _CAUSES[each.cause],
        texts.whole(each.clicks),
        _signed(each.clicks - each.clicks_before),
        texts.whole(each.users),
        _signed(each.users - each.users_before),
        texts.whole(each.groups_changed),
    ]


def _reason(each: "OfReason") -> list[Content]:
    record = each.newest.record
    example = html.Div([texts.line(record.detail), html.Span(texts.line(record.record_id), className="host")])
    counts = map(texts.whole, (each.clicks, each.replayed, each.passing))
    return [texts.line(each.reason), *counts, example]


def _signed(number: int) -> str:
    return f"{number:+,}".replace("-", "\N{MINUS SIGN}") if number else "±0"
