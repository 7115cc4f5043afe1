"""Tests FROM and TO on the command line, and the hours that a backfill accepts."""

import pytest
from typer.testing import CliRunner

from dataco_assets.cli import app, backfill
from dataco_assets.cli.backfill import BackfillFailed, NoSuchHours, NoWebServer
from dataco_assets.cli.times import TimeUnclear, hour_range
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.settings import settings


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        ("2026-01-31-12:00", "2026-01-31-14:00", ("2026-01-31-12:00", "2026-01-31-14:00")),
        ("2026-01-31", "2026-01-31", ("2026-01-31-00:00", "2026-01-31-23:00")),
        ("2026-01-31", "2026-02-01", ("2026-01-31-00:00", "2026-02-01-23:00")),
        ("2026-01-31T12:59Z", "2026-01-31T13:00:01+01:00", ("2026-01-31-12:00", "2026-01-31-12:00")),
        ("2026-01-31-12:00", "2026-01-31", ("2026-01-31-12:00", "2026-01-31-23:00")),
    ],
)
def test_both_ends_are_included(first: str, last: str, expected: tuple[str, str]) -> None:
    start, end = hour_range(first, last)
    assert (hour_key(start), hour_key(end)) == expected


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("yesterday", "2026-01-31", "FROM 'yesterday'"),
        ("2026-01-31", "\x1b[31m", r"TO '\x1b[31m'"),
        ("2026-01-31", "2026-01-30", "before FROM"),
    ],
)
def test_what_is_no_range_is_refused(first: str, last: str, told: str) -> None:
    with pytest.raises(TimeUnclear) as refused:
        hour_range(first, last)
    assert told in str(refused.value)


def test_a_backfill_is_of_hours_that_are_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings().partitions_start_ms
    now_ms = first + 100 * HOUR_MS + 12_345
    monkeypatch.setattr(backfill.time, "time_ns", lambda: now_ms * 1_000_000)
    running = hour_of(now_ms)

    assert backfill._existing(first, running) == (first, running)
    assert backfill._existing(first, running + 5 * HOUR_MS) == (first, running), "up to the running hour"
    with pytest.raises(NoSuchHours, match="DATACO_PARTITIONS_START"):
        backfill._existing(first - HOUR_MS, running)
    with pytest.raises(NoSuchHours, match="future"):
        backfill._existing(running + HOUR_MS, running + HOUR_MS)


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://host/", "http://", "http://a:port", "foo", "http://[x"])
def test_a_web_server_has_a_url(url: str) -> None:
    with pytest.raises(NoWebServer, match="not the URL"):
        backfill._web_server(url)


def test_a_web_server_that_is_not_there_is_named_without_the_words_of_its_client() -> None:
    with pytest.raises(BackfillFailed) as failed:
        backfill._submit(backfill._web_server("http://127.0.0.1:1"), {})
    assert "http://127.0.0.1:1 did not take the run: Connection refused. Is it up" in str(failed.value)


def test_the_url_is_checked_before_anything_is_printed() -> None:
    result = CliRunner().invoke(app, ["backfill", "2026-01-31", "2026-01-31", "--submit", "foo"])
    assert isinstance(result.exception, NoWebServer)
    assert result.output == ""
