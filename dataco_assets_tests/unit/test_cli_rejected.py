"""Tests `dataco rejected …` on fake contents: what is shown, what is kept from the terminal, what is refused."""

import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from dataco_assets.cli.rejected import ChoiceUnclear, NothingFits, NoValue, RepairUnusable, app
from dataco_assets.cli.times import TimeUnclear
from dataco_assets.clicks.event import Reason, Rejection
from dataco_assets.errors import DatacoError
from dataco_assets.rejected.contents import Contents, Entry, RecordGone
from dataco_assets.rejected.records import RejectedRecord
from dataco_assets.settings import settings

NOON = 1_591_012_800_000  # 2020-06-01T12:00:00Z
HOUR = 3_600_000
STILL_BAD = Rejection(Reason.INVALID_URL, "url: not http")
GOOD = (
    b'{"user_id":"u","timestamp":1591012800000,"url":"https://a.example/",'
    b'"ip_address":"192.0.2.1","user_agent":"x","event_id":"e"}'
)


class FakeTopic:
    """A fake rejected topic, which records what is sent back."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.values: dict[str, bytes | None] = {}
        self.erased: frozenset[str] = frozenset()
        self.foreign = 0
        self.sent: list[tuple[list[str], bytes | None]] = []

    def add(
        self,
        number: int,
        value: bytes | None = b"{",
        *,
        verdict: Rejection | None = None,
        replays: int = 0,
        **more: Any,
    ) -> str:
        fields: dict[str, Any] = {
            "record_id": f"clicks/0/{number}",
            "record_time_ms": NOON + number * HOUR,
            "reason": "invalid_url",
            "detail": "url: bad",
            "key": b"u1",
            "headers": (),
            "partition": 0,
            "offset": number,
            "rejected_at_ms": NOON + number * HOUR + 1_000,
            "value_bytes": None if value is None else len(value),
        }
        record = RejectedRecord(**(fields | more))
        self.entries.append(Entry(record, verdict, replays, NOON if replays else None))
        self.values[record.record_id] = value
        return record.record_id

    def found(self, _: object, __: object, record_ids: Sequence[str]) -> Contents:  # noqa: ARG002  # as the real one
        return self.contents(_, __)

    def contents(self, _: object, __: object, *, since_ms: int | None = None) -> Contents:  # noqa: ARG002
        return Contents(tuple(self.entries), self.erased, self.foreign)

    def value(self, _: object, entry: Entry) -> bytes | None:
        return self.values[entry.record_id]

    def replay(self, _: object, entries: Sequence[Entry], *, repaired: bytes | None = None) -> int:
        self.sent.append(([entry.record_id for entry in entries], repaired))
        return len(entries)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTopic]:
    fake = FakeTopic()
    monkeypatch.setattr("dataco_assets.cli.first_contact.connect_at_once", lambda *_, **__: nullcontext())
    monkeypatch.setattr("dataco_assets.rejected.contents.read_rejected", fake.contents)
    monkeypatch.setattr("dataco_assets.rejected.contents.find_rejected", fake.found)
    monkeypatch.setattr("dataco_assets.rejected.contents.read_value", fake.value)
    monkeypatch.setattr("dataco_assets.rejected.replay.replay", fake.replay)
    monkeypatch.setenv("DATACO_PARTITIONS_START", "2015-01-01-00:00")
    monkeypatch.setenv("DATACO_REJECTED_TOPIC", "bin")
    settings.cache_clear()
    yield fake
    settings.cache_clear()


def run(*arguments: str, stdin: bytes | str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


def run_well(*arguments: str, stdin: bytes | str | None = None) -> str:
    result = run(*arguments, stdin=stdin)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def refused(kind: type[DatacoError], *arguments: str) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, kind), (result.output, result.exception)
    return str(result.exception)


def shown_ids(output: str) -> list[str]:
    return [word for line in output.splitlines() for word in line.split() if word.startswith("clicks/0/")]


def test_list_shows_each_click_newest_last_and_sums_up(topic: FakeTopic) -> None:
    topic.add(1)
    topic.add(2, reason="tombstone", detail="the record has no value", verdict=STILL_BAD)
    topic.add(3, replays=2)
    output = run_well("list")
    assert shown_ids(output) == ["clicks/0/1", "clicks/0/2", "clicks/0/3"]
    rows = {line.split()[0]: line for line in output.splitlines() if "clicks/0/" in line}
    assert "2020-06-01T13:00:01" in rows["clicks/0/1"]
    assert "would pass" in rows["clicks/0/1"]
    assert "would pass" not in rows["clicks/0/2"]
    assert "the record has no value" in rows["clicks/0/2"]
    assert "replayed 2x" in rows["clicks/0/3"]
    assert "3 rejected clicks: 2 invalid_url, 1 tombstone" in output


def test_list_counts_all_but_shows_the_newest(topic: FakeTopic) -> None:
    for number in range(5):
        topic.add(number)
    output = run_well("list", "--limit", "2")
    assert shown_ids(output) == ["clicks/0/3", "clicks/0/4"]
    assert "5 rejected clicks: 5 invalid_url" in output
    assert "Older ones not shown: 3" in output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--reason", "tombstone"), [2]),
        (("--reason", "tombstone", "--reason", "invalid_url"), [1, 2, 3]),
        (("--since", "2020-06-01T14:00Z"), [2, 3]),
        (("--since", "2020-06-01-14:00"), [2, 3]),
        (("--since", "2020-06-01T16:00+02:00"), [2, 3]),
        (("--until", "2020-06-01-14:00"), [1, 2]),
        (("--since", "2020-06-01T13:00:01.001", "--until", "2020-06-01", "--reason", "invalid_url"), [3]),
    ],
)
def test_list_by_reason_and_time(topic: FakeTopic, options: tuple[str, ...], expected: list[int]) -> None:
    topic.add(1)
    topic.add(2, reason="tombstone")
    topic.add(3)
    assert shown_ids(run_well("list", *options)) == [f"clicks/0/{number}" for number in expected]


def test_nothing_to_list_is_said(topic: FakeTopic) -> None:
    assert "Topic bin holds no rejected clicks." in run_well("list")
    topic.add(1)
    assert "Topic bin holds 1 rejected click, none of them meant" in run_well("list", "--reason", "tombstone")
    topic.erased, topic.foreign = frozenset({"clicks/0/7", "clicks/0/8"}), 3
    output = run_well("list")
    assert "users were erased: 2" in output
    assert "not this platform's, left out: 3" in output


@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        (("list", "--since", "yesterday"), TimeUnclear, "--since 'yesterday' is not a time"),
        (("list", "--since", "2020-06-02", "--until", "2020-06-01"), TimeUnclear, "no time from --since"),
        (("show", "clicks/0"), ChoiceUnclear, "'clicks/0' is not the id of a rejected click"),
        (("show", "\x1b[31m/0/1"), ChoiceUnclear, r"x1b"),
        (("show", "clicks/0/9"), RecordGone, "There is no rejected click clicks/0/9"),
        (("replay", "clicks/0/1", "--reason", "tombstone"), ChoiceUnclear, "Give either ids, or"),
        (("replay", "--with", "file"), ChoiceUnclear, "exactly one id, not 0"),
        (("replay", "clicks/0/1", "clicks/0/2", "--with", "file"), ChoiceUnclear, "exactly one id, not 2"),
        (("replay", "clicks/0/1", "--with", "/no/file"), RepairUnusable, "/no/file cannot be read: No such file"),
        (("replay", "clicks/0/1", "--with", "-"), ChoiceUnclear, "add --yes or --dry-run"),
        (("replay", "clicks/0/1", "clicks/0/9", "--yes"), RecordGone, "no rejected click clicks/0/9"),
    ],
)
def test_what_makes_no_sense_is_said(
    topic: FakeTopic, arguments: tuple[str, ...], kind: type[DatacoError], told: str
) -> None:
    topic.add(1)
    message = refused(kind, *arguments)
    assert told in message
    assert message.isprintable()
    assert topic.sent == []


def test_an_unknown_reason_lists_those_there_are(topic: FakeTopic) -> None:
    topic.add(1)
    result = run("list", "--reason", "bad")
    assert result.exit_code == 2
    assert "malformed_json" in result.stderr


NASTY = "\x1b]0;owned\x07[red]x[/red][/nope]\r\x9b2J\u202e\u2028é"


def test_nothing_a_terminal_would_obey_reaches_it_and_markup_is_text(topic: FakeTopic) -> None:
    topic.add(
        1,
        NASTY.encode(),
        reason=NASTY,
        detail=NASTY,
        key=NASTY.encode() + b"\xff",
        headers=((NASTY, NASTY.encode()), ("dataco.replay_of", NASTY.encode())),
    )
    for arguments in (("list",), ("show", "clicks/0/1"), ("replay", "--dry-run")):
        output = run_well(*arguments)
        assert not [c for c in output if not c.isprintable() and c not in "\t\n"]
        if arguments[0] != "replay":
            assert "[red]x[/red][/nope]" in output
            assert r"\x1b]0;owned\x07" in output
            assert "é" in output


@pytest.mark.parametrize("time_ms", [-1, -(10**18), 10**19 - 1, 2**63 - 1, 253_402_300_800_000])
def test_times_outside_of_any_calendar_are_shown_all_the_same(topic: FakeTopic, time_ms: int) -> None:
    topic.add(1, record_time_ms=time_ms, rejected_at_ms=time_ms)
    shown = "unknown" if time_ms < 0 else f"{time_ms} ms"
    assert shown in run_well("list")
    assert run_well("show", "clicks/0/1").count(shown) == 2


def test_show_tells_everything(topic: FakeTopic) -> None:
    topic.add(1, b'{"user":\n\t"\xc3\xa9"}', headers=(("trace", b"\x00z"),), verdict=STILL_BAD, replays=1)
    topic.add(5, headers=(("dataco.replay_of", b"clicks/0/1"),), key=None)
    first = run_well("show", "clicks/0/1")
    for told in (
        "id           clicks/0/1",
        "reason       invalid_url",
        "detail       url: bad",
        "Kafka time   2020-06-01T13:00:00 UTC",
        "rejected at  2020-06-01T13:00:01 UTC (partition 0, offset 1 of topic bin)",
        "key          u1",
        r"header       trace: \x00z",
        "now          would be rejected: invalid_url, url: not http",
        "sent back    once, last 2020-06-01T12:00:00 UTC",
        "and rejected again as clicks/0/5",
        'value        15 bytes, as text:\n{"user":\n\t"é"}\n',
    ):
        assert told in first
    second = run_well("show", "clicks/0/5")
    assert "replay of    clicks/0/1" in second
    assert "key          none" in second


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"a\x1b[2J", "obey or hide"),
        ("a\u202eb".encode(), "obey or hide"),
        (b"a\rb", "hide"),
    ],
)
def test_show_puts_into_base64_what_is_not_plain_text(topic: FakeTopic, value: bytes, why: str) -> None:
    topic.add(1, value)
    output = run_well("show", "clicks/0/1")
    assert why in output
    assert base64.b64decode(output.splitlines()[-1]) == value


@pytest.mark.parametrize("value", [b"", b"\x00\xff\r\n\x1b", b"x" * 100_000])
def test_show_raw_writes_the_bytes_and_nothing_else(topic: FakeTopic, value: bytes) -> None:
    topic.add(1, value)
    result = run("show", "clicks/0/1", "--raw")
    assert result.exit_code == 0
    assert result.stdout_bytes == value


def test_a_tombstone_has_no_bytes(topic: FakeTopic) -> None:
    topic.add(1, None)
    assert "none (a tombstone)" in run_well("show", "clicks/0/1")
    assert "is a tombstone" in refused(NoValue, "show", "clicks/0/1", "--raw")


def test_list_and_show_as_json_hold_what_a_terminal_would_obey_as_text(topic: FakeTopic) -> None:
    topic.add(1, b"\xff", detail=NASTY, headers=((NASTY, b"\x00"),), verdict=STILL_BAD)
    topic.add(2, None, reason="tombstone", key=None, replays=1)
    for arguments in (("list", "--json"), ("show", "clicks/0/1", "--json")):
        assert run_well(*arguments).replace("\n", "").isprintable()
    listed = json.loads(run_well("list", "--json"))
    assert (listed["total"], listed["by_reason"]) == (2, {"invalid_url": 1, "tombstone": 1})
    first, second = listed["clicks"]
    assert (first["id"], first["detail"], first["rejected_at"]) == ("clicks/0/1", NASTY, "2020-06-01T13:00:01Z")
    assert first["would_be_rejected"] == {"reason": "invalid_url", "detail": "url: not http"}
    assert (second["replays"], second["would_be_rejected"]) == (1, None)
    shown = json.loads(run_well("show", "clicks/0/1", "--json"))
    assert base64.b64decode(shown["value_base64"]) == b"\xff"
    assert shown["headers"] == [{"name": NASTY, "value_base64": "AA=="}]
    assert json.loads(run_well("show", "clicks/0/2", "--json"))["value_base64"] is None


def test_a_list_in_a_pipe_has_tabs_and_no_frame(topic: FakeTopic) -> None:
    topic.add(1, detail="a\tb")
    lines = run_well("list").splitlines()
    assert lines[0] == "id\trejected at (UTC)\treason\tdetail\tstate"
    assert lines[1] == "clicks/0/1\t2020-06-01T13:00:01\tinvalid_url\ta\\tb\twould pass"


def test_replay_sends_what_passes_and_says_what_it_leaves_out(topic: FakeTopic) -> None:
    topic.add(1)
    topic.add(2, verdict=STILL_BAD)
    topic.add(3, replays=1)
    output = run_well("replay", "--yes")
    assert topic.sent == [(["clicks/0/1"], None)]
    assert "3 rejected clicks meant: 1 to be sent back" in output
    assert "1 left out, sent back before (--again" in output
    assert "clicks/0/2: invalid_url: url: not http" in output
    assert "1 click sent back to topic clicks;" in output


def test_replay_by_choice_and_with_everything(topic: FakeTopic) -> None:
    topic.add(1)
    topic.add(2, verdict=STILL_BAD, reason="tombstone")
    topic.add(3, replays=1)
    run_well("replay", "--yes", "--reason", "tombstone", "--anyway")
    run_well("replay", "--yes", "--again", "--since", "2020-06-01-15:00")
    run_well("replay", "--yes", "clicks/0/3", "clicks/0/1", "clicks/0/3", "--again")
    assert topic.sent == [(["clicks/0/2"], None), (["clicks/0/3"], None), (["clicks/0/3", "clicks/0/1"], None)]


def test_replay_asks_first(topic: FakeTopic) -> None:
    topic.add(1)
    for answer in ("n\n", ""):
        result = run("replay", stdin=answer)
        assert result.exit_code == 1
        assert topic.sent == []
    assert "Send 1 click to topic clicks?" in run_well("replay", stdin="y\n")
    assert topic.sent == [(["clicks/0/1"], None)]


def test_dry_run_sends_nothing_and_asks_nothing(topic: FakeTopic) -> None:
    topic.add(1)
    topic.add(2)
    assert "would send clicks/0/1\n  would send clicks/0/2\n" in run_well("replay", "--dry-run")
    assert topic.sent == []


def test_replay_of_nothing_is_no_error_but_of_nothing_that_fits_is(topic: FakeTopic) -> None:
    assert "Nothing to send: topic bin holds 0 rejected clicks" in run_well("replay", "--yes")
    topic.add(1, replays=1)
    assert "0 to be sent back" in run_well("replay", "--yes", "clicks/0/1")
    topic.add(2, verdict=STILL_BAD)
    assert "Nothing was sent." in refused(NothingFits, "replay", "--yes", "clicks/0/2")
    assert topic.sent == []


def test_repaired_bytes_are_judged_and_sent_exactly(topic: FakeTopic, tmp_path: Path) -> None:
    topic.add(1, b"{", verdict=STILL_BAD)
    file = tmp_path / "click.json"
    file.write_bytes(GOOD + b"\n")
    run_well("replay", "clicks/0/1", "--with", str(file), "--yes")
    run_well("replay", "clicks/0/1", "--with", "-", "--yes", stdin=GOOD)
    assert topic.sent == [(["clicks/0/1"], GOOD + b"\n"), (["clicks/0/1"], GOOD)]


def test_repaired_bytes_that_are_no_click_either_stay(topic: FakeTopic, tmp_path: Path) -> None:
    topic.add(1, GOOD)
    file = tmp_path / "click.json"
    file.write_bytes(b"[]")
    refused(NothingFits, "replay", "clicks/0/1", "--with", str(file), "--yes")
    assert topic.sent == []
    run_well("replay", "clicks/0/1", "--with", str(file), "--yes", "--anyway")
    assert topic.sent == [(["clicks/0/1"], b"[]")]
