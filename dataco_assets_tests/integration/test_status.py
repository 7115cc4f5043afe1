"""Tests `dataco status` on real servers: what it shows, what it reports as a problem, and which servers it queries."""

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.cli import status as command
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
