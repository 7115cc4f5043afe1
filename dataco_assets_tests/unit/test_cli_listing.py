"""Tests how a command keeps a listing up to date: each look in turn, errors that pass, and the end by Ctrl-C."""

from collections.abc import Callable

import pytest

from dataco_assets.cli.listing import Listing, watch
from dataco_assets.errors import DatacoError, ErrorKind


class Away(DatacoError):
    """A server is away."""

    kind = ErrorKind.PASSING


class Wrong(DatacoError):
    """What no new try mends."""

    kind = ErrorKind.PERMANENT


def looks(*found: Listing | BaseException) -> Callable[[], Listing]:
    """Finds these one after another; then a person presses Ctrl-C."""
    left = iter((*found, KeyboardInterrupt()))

    def look() -> Listing:
        each = next(left)
        if isinstance(each, BaseException):
            raise each
        return each

    return look


def listing(clicks: int) -> Listing:
    return Listing("Pages.", ("page", "clicks"), [("/\x1b[31m", str(clicks))], ("clicks",), "What it means.")


def test_each_look_is_printed_below_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    watch(looks(listing(1), Away("Elasticsearch is away."), listing(2), Listing("Nothing.")), 0)
    header = ["Pages.", "page\tclicks"]
    assert capsys.readouterr().out.splitlines() == [
        *(*header, r"/\x1b[31m" + "\t1"),
        "Tried again: Elasticsearch is away.",
        *(*header, r"/\x1b[31m" + "\t2"),
        "Nothing.",
    ]


def test_a_terminal_shows_the_last_look_in_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    watch(looks(listing(1), listing(2)), 0)
    shown = capsys.readouterr().out
    assert 0 < shown.index("  1  ") < shown.index("  2  ")
    assert "What it means." in shown
    assert "\x1b[31m" not in shown, "text of a click never controls the terminal"
    assert "\x1b[1A" in shown, "the cursor went up again"


def test_the_first_look_and_what_does_not_pass_end_it() -> None:
    with pytest.raises(Away):
        watch(looks(Away("away")), 0)
    with pytest.raises(Wrong):
        watch(looks(listing(1), Wrong("wrong")), 0)
