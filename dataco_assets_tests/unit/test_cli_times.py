"""Tests times on the command line: they mean the same in all commands, and an end is included."""

from datetime import UTC, datetime

import pytest

from dataco_assets.cli.times import TimeUnclear, end_of, last_hour, moment


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026-01-31", at(2026, 1, 31), at(2026, 2, 1)),
        ("2026-01-31-12:00", at(2026, 1, 31, 12), at(2026, 1, 31, 13)),
        ("2026-01-31T12", at(2026, 1, 31, 12), at(2026, 1, 31, 13)),
        ("2026-01-31T12:00Z", at(2026, 1, 31, 12), at(2026, 1, 31, 12, 1)),
        ("2026-01-31 12:30", at(2026, 1, 31, 12, 30), at(2026, 1, 31, 12, 31)),
        ("2026-01-31T12:30:05+01:00", at(2026, 1, 31, 11, 30, 5), at(2026, 1, 31, 11, 30, 6)),
        ("2026-01-31T12:30:05.250Z", at(2026, 1, 31, 12, 30, 5) + 250, at(2026, 1, 31, 12, 30, 5) + 251),
        (" 2026-01-31 ", at(2026, 1, 31), at(2026, 2, 1)),
    ],
)
def test_a_time_has_a_start_and_an_end(text: str, start: int, end: int) -> None:
    assert (moment("--since", text), end_of("--until", text)) == (start, end)


@pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31-23:00", "2026-01-31T23:59:59.999Z"])
def test_the_last_hour_of_an_end_is_included(text: str) -> None:
    assert last_hour("TO", text) == at(2026, 1, 31, 23)


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30", "2026-1-1", "20260131", "2026-01-31T25:00", "2026-01-31-", "12:00", "\x1b[2J"],
)
def test_what_is_no_time_is_quoted_and_shows_the_forms(text: str) -> None:
    with pytest.raises(TimeUnclear, match=r"--since '.*' is not a time like 2026-01-31, 2026-01-31T12:00Z") as refused:
        moment("--since", text)
    assert str(refused.value).isprintable()


def test_a_long_text_is_cut() -> None:
    with pytest.raises(TimeUnclear) as refused:
        moment("--since", "9" * 1_000)
    assert len(str(refused.value)) < 200
