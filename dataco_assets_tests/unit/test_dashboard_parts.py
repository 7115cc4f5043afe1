"""Tests the parts of the pages Trust and Operations, without a server and a browser: what they say, and of what."""

import json
from collections.abc import Sequence

import pytest
from dash._utils import to_json
from dash.development.base_component import Component

from dataco_assets.clicks.event import Reason, Rejection
from dataco_assets.clicks.finality import Cause
from dataco_assets.dashboard import operations, trust
from dataco_assets.dashboard.elements import prose
from dataco_assets.dashboard.figures import LateClicks
from dataco_assets.dashboard.latest import Answer
from dataco_assets.dashboard.parts import Part, filled
from dataco_assets.errors import DatacoError
from dataco_assets.index.restatements import CauseTotals, RecentRestatements
from dataco_assets.ingest.account import Account, Finding
from dataco_assets.ledgers.tallies import Counts, TalliedRange, Tally
from dataco_assets.ledgers.verified import Verification
from dataco_assets.monitoring.doctor import Diagnosis, Verdict
from dataco_assets.monitoring.state import State
from dataco_assets.rejected.contents import Contents, Entry
from dataco_assets.rejected.records import RejectedRecord
from dataco_assets.rejected.summary import RejectedSummary, summary
from dataco_assets_tests.components import words_of

NASTY = "\u202e\x1b[31m<img src=x onerror=alert(1)>" + "y" * 5_000


def shown(parts: Sequence[Component]) -> str:
    """All text of a part, in order."""
    return " ".join(words_of(json.loads(to_json(list(parts)) or "")).split())


def entry(number: int, reason: str, *, replays: int = 0, passes: bool = False, detail: str = "wrong") -> Entry:
    record = RejectedRecord(f"clicks/0/{number}", 0, reason, detail, None, (), 0, number, number, 10)
    return Entry(record, None if passes else Rejection(Reason.INVALID_URL, "still"), replays)


def test_rejected_clicks_are_counted_by_reason_the_most_frequent_first() -> None:
    entries = (
        entry(1, "a", passes=True),
        entry(2, "b", replays=2),
        entry(3, "b", passes=True),
        entry(4, "b", replays=1, passes=True),
        entry(5, "a"),
    )
    found = summary(Contents(entries, frozenset({"x", "y"}), skipped=7))
    counts = [(each.reason, each.clicks, each.replayed, each.passing, each.newest.record_id) for each in found.reasons]
    assert counts == [("b", 3, 2, 1, "clicks/0/4"), ("a", 2, 0, 1, "clicks/0/5")]
    assert "7 older records of these days were not read. Without 2 clicks of erased users." in shown(
        trust.rejected(found)
    )
    assert shown(trust.rejected(RejectedSummary(()))) == "None in the last 7 days."


def test_texts_of_others_are_escaped_and_shortened() -> None:
    hostile = summary(Contents((entry(1, NASTY, detail=NASTY),)))
    diagnosis = Diagnosis(NASTY, Verdict.PROBLEM, NASTY)

    def fail() -> list[Component]:
        raise DatacoError(NASTY)

    for part in (
        trust.rejected(hostile),
        operations.diagnoses(Answer([diagnosis], 0)),
        operations.status([(NASTY, NASTY)]),
        filled(Part("key", "Title", fail)),
    ):
        text = shown(part)
        assert r"\u202e\x1b[31m" in text
        assert not {"\u202e", "\x1b"} & set(text)
        assert len(text) < 1_500


def test_what_cannot_be_read_says_why() -> None:
    def fail() -> list[Component]:
        raise DatacoError("HBase does not answer. `dataco doctor` says more.")

    assert shown(filled(Part("key", "Title", fail))) == (
        "cannot be read: HBase does not answer. dataco doctor says more."
    )

    def break_down() -> list[Component]:
        raise KeyError("a mistake in the code")

    with pytest.raises(KeyError):
        filled(Part("key", "Title", break_down))


def test_a_command_is_set_as_code() -> None:
    before, command, after = prose("Start `dataco setup` again.")
    assert (before, after) == ("Start ", " again.")
    assert isinstance(command, Component)
    assert prose("") == []


def test_no_restatement_and_no_click_are_told() -> None:
    assert "No hour that was final has changed" in shown(trust.restatements(RecentRestatements({})))
    assert "\N{EN DASH}" in shown(trust.late(LateClicks(0, 0)))


def test_restatements_that_are_not_listed_are_counted() -> None:
    recent = RecentRestatements({Cause.LATE_CLICKS: CauseTotals(1_234, -5)})
    text = shown(trust.restatements(recent))
    assert "1,234 (\N{MINUS SIGN}5 clicks)" in text
    assert "1,234 older ones are not shown" in text


def test_what_is_not_known_is_no_zero() -> None:
    away = State({"Kafka": "away", "HBase": "away", "Elasticsearch": "away"}, None, None, None, 15.0, 0)
    text = shown(operations.figures(Answer(away, 3_600_000)))
    assert text.count("\N{EN DASH}") == 7
    assert "As of 01:00:00 UTC." in text


def test_what_is_wrong_comes_first() -> None:
    found = [Diagnosis(str(verdict), verdict, "text") for verdict in reversed(Verdict)]
    text = shown(operations.diagnoses(Answer(found, 0)))
    places = [text.index(f"{verdict} {verdict} text") for verdict in ("problem", "warning", "not checked", "ok")]
    assert places == sorted(places)


def test_the_account_shows_what_became_of_all_and_names_what_does_not_add_up() -> None:
    assert "No message was ingested" in shown(trust.account(Account()))
    tally = Tally(0, 0, 0, is_first=True, counts=Counts(stored=900, repeated=50, rejected=30, suppressed=15, lost=5))
    ranges = (TalliedRange(0, "id", 1_000, tally),)
    whole = shown(trust.account(Account(ranges)))
    assert "Produced 1,000 Stored 900 Repeated 50 Rejected 30 Suppressed 15 Lost, as was accepted 5" in whole
    assert "Everything adds up." in whole
    findings = tuple(Finding(n, 10, 20, f"{n} messages not accounted for") for n in range(12))
    broken = shown(trust.account(Account(ranges, findings)))
    assert "12 ranges not adding up: Partition 0, offsets [10, 20): 0 messages not accounted for" in broken
    assert "and 2 more" in broken
    assert "Everything adds up" not in broken


def test_the_last_verification_is_shown_with_its_hours() -> None:
    assert "was never run" in shown(trust.verified(None))
    noon = 1_767_268_800_000
    text = shown(trust.verified(Verification(noon / 1000 + 3_600, noon, noon + 7_200_000, 3, 1, 2, 17)))
    assert "Compared 3 Different 1 Not compared 2" in text
    assert "12:00" in text
    assert "14:00" in text
    assert "13:00" in text
