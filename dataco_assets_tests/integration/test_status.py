"""Tests `dataco status` on real servers: what it shows, what it reports as a problem, and which servers it queries."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.cli import status as command
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.clients.mutations import encode_row
from dataco_assets.ledgers.hours import DirtyHours, dirty_hours
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.refreshes import Refreshes

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]


def status(*options: str) -> tuple[int, dict[str, Any]]:
    app = typer.Typer()
    app.command()(command.status)
    result = CliRunner().invoke(app, ["--json", *options], catch_exceptions=False)
    return result.exit_code, json.loads(result.stdout)


def test_the_way_of_clicks_through_the_platform_is_shown(platform: Platform, refreshes: Refreshes) -> None:
    code, empty = status()
    assert (code, empty["problems"], empty["index"]["newest_hour"]) == (0, [], None)
    assert all(server["ok"] for server in empty["servers"])

    platform.produce([click("a", at=NOON + 50 * 60_000, user="ann")])
    code, waiting = status("--max-wait", "1")
    assert waiting["ingest"]["waiting"] == 1
    assert code == 0

    platform.drain()
    code, dirty = status()
    assert code == 0, "dirty since a moment ago"
    assert dirty["ingest"]["waiting"] == 0
    assert dirty["hours"]["dirty"] == 1
    assert dirty["hours"]["oldest_dirty"] == "2020-06-01T12:00:00Z"
    assert dirty["index"]["newest_hour"] is None, "readers see nothing of it yet"

    refreshes.settle()
    code, done = status()
    assert (code, done["hours"]["dirty"], done["index"]["newest_hour"]) == (0, 0, "2020-06-01T12:00:00Z")

    platform.produce([click("late", at=NOON + 51 * 60_000, user="ann")])
    platform.drain()
    code, collecting = status("--max-wait", "0")
    assert (code, collecting["hours"]["dirty"], collecting["hours"]["waiting_too_long"]) == (0, 1, 0)


def test_what_waits_for_too_long_needs_a_hand(platform: Platform) -> None:
    platform.produce([click("a", at=NOON, user="ann")])
    assert status("--max-wait", "0")[0] == 1
    platform.drain()
    code, shown = status("--max-wait", "0")
    assert (code, shown["hours"]["waiting_too_long"]) == (1, shown["hours"]["dirty"])
    assert "dirty_hours_sensor" in " ".join(shown["problems"])


def test_the_newest_hour_is_the_one_in_the_index_not_the_one_in_the_ledger(platform: Platform) -> None:
    platform.hours.set_done({NOON: 7})
    code, shown = status()
    assert code == 0
    assert shown["index"]["newest_hour"] is None


YEARS = 45_000
"""Hours in about five years."""


def test_five_years_of_hours_are_told_without_being_read(platform: Platform) -> None:
    """Told is what a look at every row tells, with hours that no refresh computes far behind the low-water mark."""
    ledger, settings = platform.hours, platform.settings
    now = ledger.server_time_ms()
    newest = now - now % HOUR_MS
    first = newest - (YEARS - 1) * HOUR_MS
    expired, outside, waiting = first + 20_000 * HOUR_MS, first + 7 * HOUR_MS, [newest - 30 * HOUR_MS, newest]
    rows: list[bytes] = []
    for hour in range(first, newest + HOUR_MS, HOUR_MS):
        done = 4 if hour in (expired, outside, *waiting) else 5
        counters = [(b"h:dirty", (5).to_bytes(8, "big")), (b"h:done", done.to_bytes(8, "big"))]
        stored = (b"h:first_stored_at", str(max(hour, expired - 24 * HOUR_MS)).encode())
        rows.append(encode_row(hour_key(hour).encode(), [*counters, stored]))
    for start in range(0, YEARS, 5_000):
        platform.hbase.put_rows(settings.hours_table, rows[start : start + 5_000])
    rules = {"earliest_ms": first + 1_000 * HOUR_MS, "ttl_days": settings.clicks_ttl_days}

    def every_row() -> DirtyHours:
        return dirty_hours(ledger.all(), now_ms=ledger.server_time_ms(), **rules)

    expected = every_row()
    assert expected == DirtyHours(waiting, [expired], [outside])
    assert ledger.dirty(**rules) == expected, "before a sensor looked, and so in a ledger of an earlier version"
    ledger.unfinished(**rules)
    assert ledger.unfinished(**rules) == DirtyHours(waiting, [], []), "the mark is raised beyond the others"
    assert ledger.dirty(**rules) == expected
    assert ledger.count() == YEARS

    # A click for the expired hour lowers the mark; the next look notes the hour again.
    ledger.mark_dirty([expired], holding_clicks=[expired], stored_since_ms=now)
    assert ledger.dirty(**rules) == expected
    ledger.unfinished(**rules)
    assert ledger.dirty(**rules) == expected
    # An hour before the first partition waits once the partitions begin earlier.
    assert ledger.dirty(earliest_ms=first, ttl_days=100_000) == DirtyHours([outside, expired, *waiting], [], [])

    whole, some = (min(seconds(look) for _ in range(3)) for look in (every_row, lambda: ledger.dirty(**rules)))
    counted = min(seconds(ledger.count) for _ in range(3))
    print(f"{YEARS:,} hours: every row {whole:.2f} s; dirty hours {some:.2f} s and their number {counted:.2f} s")
    assert some + counted < whole / 2


def seconds(look: Callable[[], object]) -> float:
    began = time.monotonic()
    look()
    return time.monotonic() - began
