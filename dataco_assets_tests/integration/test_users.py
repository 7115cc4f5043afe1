"""Tests `dataco users` on real servers: from the table and from HBase, of a page and a country, and its refusals."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from dataco_assets.aggregates.table import TablePlace
from dataco_assets.cli import app
from dataco_assets.cli.users import ClicksGone
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.settings import settings
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.stored_aggregates import tamper

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]
RANGE = ("2020-06-01-12:00", "2020-06-01-14:00")
CART = "https://shop.example/cart"


def answer(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["users", *arguments, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def said(*arguments: str) -> str:
    return " ".join(CliRunner().invoke(app, ["users", *arguments], catch_exceptions=False).output.split())


def fill(platform: Platform) -> None:
    """Eighty users at noon, of whom twenty come back in each of the next two hours, among them to the cart."""
    messages = [click(f"a{n}", at=NOON + n, user=f"user-{n}", url="https://shop.example/") for n in range(80)]
    for hour in (1, 2):
        messages += [
            click(f"b{hour}-{n}", at=NOON + hour * HOUR_MS + n, user=f"user-{n}", url=f"{CART}?utm_source=x")
            for n in range(20)
        ]
    platform.produce(messages)
    platform.drain()


def test_users_of_a_range(platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(platform)
    assert answer(*RANGE)["hours_never_computed"] == 3
    refreshes.settle()

    merged = answer(*RANGE)
    assert (merged["users"], merged["exact"], merged["source"]) == (80, False, "table")
    assert merged["lower"] <= 80 <= merged["upper"]
    assert merged["hours_never_computed"] == merged["hours_without_sketch"] == 0
    assert "in 95 of 100 cases" in said(*RANGE)
    counted = answer(*RANGE, "--exact")
    assert (counted["users"], counted["exact"], counted["source"]) == (80, True, "clicks")
    assert "Exact: counted in HBase's clicks." in said(*RANGE, "--exact")
    for options, expected in (
        (["--page", f"{CART}#top"], 20),
        (["--page", CART, "--country", "de"], 20),
        (["--country", "FR"], 0),
        (["--page", "https://shop.example/other"], 0),
    ):
        assert answer(*RANGE, *options)["users"] == expected
        assert answer(*RANGE, *options, "--exact")["users"] == expected
    hour = answer(RANGE[0], RANGE[0])
    assert (hour["users"], hour["exact"], hour["source"]) == (80, True, "table")

    tamper(TablePlace.of(platform.settings), NOON, "users_sketch", None)
    lacking = answer(*RANGE)
    assert (lacking["users"], lacking["hours_without_sketch"]) == (20, 1)
    assert f"dataco backfill {RANGE[0]} {RANGE[0]}" in said(*RANGE)

    monkeypatch.setenv("DATACO_CLICKS_TTL_DAYS", "1")
    settings.cache_clear()
    platform.hours.mark_dirty([NOON + HOUR_MS], holding_clicks=[], stored_since_ms=1)
    platform.hours.mark_dirty([NOON + 9 * HOUR_MS], holding_clicks=[NOON + 9 * HOUR_MS], stored_since_ms=1)
    assert answer(*RANGE, "--exact")["users"] == 80, "an hour beside the range does not matter"
    beyond = CliRunner().invoke(app, ["users", RANGE[0], "2020-06-01-21:00", "--exact"])
    assert isinstance(beyond.exception, ClicksGone)
    assert "1 hour from 2020-06-01-21:00 to 2020-06-01-21:00" in str(beyond.exception)
    assert beyond.exit_code == 1
