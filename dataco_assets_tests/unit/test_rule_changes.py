"""Tests which published hours a rule about bots would change; the same on real servers: `test_bot_rules.py`."""

from collections.abc import Iterable, Iterator
from typing import Any, cast

import pyarrow as pa
import pytest

from dataco_assets.aggregates.columns import AUDIENCE
from dataco_assets.aggregates.reading import HourAggregates, arrow_schema
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.cli.verify import Report
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.hbase import HBase
from dataco_assets.ledgers.hours import HourState
from dataco_assets.settings import Settings
from dataco_assets.verification import rule_changes
from dataco_assets.verification.compare import HourVerdict, Place, of_hour
from dataco_assets.verification.compare import Outcome as VerifiedAs
from dataco_assets.verification.rule_changes import HourChange, Outcome, RuleChanges
from dataco_assets.verification.stored_clicks import StoredClick

NOON = 1_773_576_000_000
HOURS = [NOON + n * HOUR_MS for n in range(6)]
PLAIN = BotRule(frozenset({"robot"}), 0)


def stored_click(number: int, hour: int, browser: str) -> StoredClick:
    texts = dict.fromkeys(AUDIENCE.group, "") | {"page": "https://a.example/", "country": "FR", "browser": browser}
    return StoredClick(b"%03d" % number, "ann", hour + number, texts)


CLICKS = [
    stored_click(number, hour, browser)
    for hour in HOURS
    for number, browser in enumerate(("robot", "Firefox", "Firefox", "Chrome"))
]


class Ledger:
    """An hour ledger in memory, in which the third hour becomes dirty after it was read once."""

    def __init__(self) -> None:
        self.reads = 0
        self.marked: tuple[list[int], Cause] | None = None

    def all(self, start_ms: int = 0, end_ms: int | None = None) -> list[HourState]:
        states = [HourState(hour, 5, 5) for hour in HOURS]
        return [each for each in states if start_ms <= each.hour < (end_ms or each.hour + 1)]

    def read(self, hours: Iterable[int]) -> dict[int, HourState]:
        self.reads += 1
        found = {hour: HourState(hour, 5, 5) for hour in hours}
        found[HOURS[1]] = HourState(HOURS[1], 6, 5)
        if self.reads > 1:
            found[HOURS[2]] = HourState(HOURS[2], 6, 5)
        return {hour: found[hour] for hour in hours}

    def expired(self, hours: Iterable[int], *, ttl_days: int) -> set[int]:  # noqa: ARG002  # as the real one
        return {HOURS[3]} & set(hours)

    def server_time_ms(self) -> int:
        return 0

    def mark_dirty(self, hours: list[int], *, cause: Cause, **_others: object) -> None:
        self.marked = hours, cause


def aggregates(place: TablePlace, hour: int) -> HourAggregates:
    """As published by `PLAIN`, but for the last hour, which an earlier version computed."""
    own = {"hour": hour * 1000, "generation": 5, "computed_at": 0}
    last = hour == HOURS[-1]
    rows = [{**own, "page": "https://a.example/", "country": "FR", "bot_clicks": None if last else 1}]
    if place.aggregate is AUDIENCE:
        marked = {"robot": 1, "Firefox": 0, "Chrome": 0}
        group = own | dict.fromkeys(AUDIENCE.group, "") | {"country": "FR"}
        rows = [{**group, "browser": name, "bot_clicks": None if last else number} for name, number in marked.items()]
    return HourAggregates(hour, pa.Table.from_pylist(rows, arrow_schema(place.aggregate)), 5, 0)


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> Ledger:
    found = Ledger()

    def clicks(_hbase: HBase, _table: str, start_ms: int, end_ms: int, _texts: object) -> Iterator[StoredClick]:
        return (click for click in CLICKS if start_ms <= click.timestamp < end_ms)

    monkeypatch.setattr(rule_changes, "HourLedger", lambda *_: found)
    monkeypatch.setattr(rule_changes, "read_clicks_in_order", clicks)
    monkeypatch.setattr(rule_changes, "read_hour", aggregates)
    return found


def compared(rule: BotRule, **settings: Any) -> dict[int, HourChange]:
    changes = RuleChanges(Settings(**settings), cast("HBase", None))
    return {change.hour: change for change in changes.compare(rule, changes.hours())}


@pytest.mark.usefixtures("ledger")
def test_the_rule_by_which_hours_were_computed_changes_only_those_that_lack_the_measure() -> None:
    found = compared(PLAIN)
    assert found == {
        HOURS[0]: HourChange(HOURS[0], Outcome.SAME, 4, 1, 1, 0),
        HOURS[1]: HourChange(HOURS[1], Outcome.WAITING),
        HOURS[2]: HourChange(HOURS[2], Outcome.WAITING),
        HOURS[3]: HourChange(HOURS[3], Outcome.EXPIRED),
        HOURS[4]: HourChange(HOURS[4], Outcome.SAME, 4, 1, 1, 0),
        HOURS[5]: HourChange(HOURS[5], Outcome.CHANGED, 4, None, 1, 4),
    }


@pytest.mark.usefixtures("ledger")
@pytest.mark.parametrize(
    ("rule", "after", "groups"),
    [
        (BotRule(frozenset({"robot", "Firefox"}), 0), 3, 2),
        (BotRule(frozenset(), 0), 0, 2),
        (BotRule(frozenset({"robot"}), 4), 4, 3),
        (BotRule(frozenset({"Chrome"}), 0), 1, 2),  # as many, but others: the pages do not show it
    ],
    ids=["another agent", "no agent", "a number of clicks", "an agent for another"],
)
def test_another_rule_changes_clicks_and_groups(rule: BotRule, after: int, groups: int) -> None:
    change = compared(rule)[HOURS[0]]
    assert change == HourChange(HOURS[0], Outcome.CHANGED, 4, 1, after, groups)
    assert change.difference == after - 1


@pytest.mark.usefixtures("ledger")
def test_hours_before_the_first_partition_are_not_compared() -> None:
    found = compared(PLAIN, partitions_start="2026-03-15-13:00")
    assert found[HOURS[0]].outcome is Outcome.OUTSIDE
    assert found[HOURS[4]].outcome is Outcome.SAME


def test_only_hours_that_change_are_marked(ledger: Ledger) -> None:
    changes = RuleChanges(Settings(clicks_topic="clicks"), cast("HBase", None))  # pyright: ignore[reportCallIssue]
    changes.refresh(list(changes.compare(PLAIN, changes.hours(HOURS[3], HOURS[5]))))
    assert ledger.marked == ([HOURS[5]], Cause.RECOMPUTED)


@pytest.mark.parametrize("others", [(), ("click_count",)])
def test_verify_says_so_where_only_the_marks_differ(others: tuple[str, ...]) -> None:
    verdict = HourVerdict(NOON, VerifiedAs.DIFFERENT)
    for field in ("bot_clicks", *others):
        verdict.add(of_hour(NOON, Place.TABLE, field, 1, 0, "audience_aggregates"))
    report = Report(limit=1)
    report.take(verdict)
    assert any("dataco rules refresh" in line for line in report.lines()) == (not others)
