"""Tests that commands tell how final hours are as a table of the planted hours says, on a real Elasticsearch."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.cli import listing
from dataco_assets.cli import status as status_command
from dataco_assets.cli import top as top_command
from dataco_assets.clicks.finality import Finality
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import Index
from dataco_assets.index.reading import held_hours
from dataco_assets.settings import settings, variable
from dataco_assets_tests.site_traffic import DAY, HOUR, NEWEST, NOW, Site, call, restatement, site
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

KEPT_DAYS = 15
STATES = ("running", "provisional", "final", "restated", "expired")


@pytest.fixture(scope="module")
def known(stack: Stack) -> Iterator[Site]:
    with site(stack.env()["DATACO_ELASTICSEARCH_URL"], clicks_ttl_days=KEPT_DAYS) as made:
        plant(made)
        yield made


def plant(made: Site) -> None:
    made.restate([restatement(hour, NOW - HOUR, "late_clicks", (4, 5), (2, 2)) for hour in restated(made)])


def hours_of(made: Site) -> list[int]:
    return sorted({click.timestamp // HOUR * HOUR for click in made.clicks})


def restated(made: Site) -> list[int]:
    """Some hours of yesterday, one of the first day, one that has no documents, and the one that runs."""
    yesterday = [hour for hour in hours_of(made) if NEWEST - 40 * HOUR < hour < NEWEST - 20 * HOUR]
    return [*yesterday[:4], hours_of(made)[0], NEWEST + 100 * HOUR, NEWEST]


def expected(made: Site, since: int = 0) -> dict[str, int]:
    """Number of hours by state, from the table of the planted ones."""
    first_kept = NOW - KEPT_DAYS * DAY + 2 * HOUR  # the hour before counts, and a margin of an hour
    table = {hour: "expired" if hour < first_kept else "final" for hour in hours_of(made)}
    table |= {hour: "restated" for hour in restated(made) if table.get(hour) == "final"}
    table |= {NEWEST: "running", NEWEST - HOUR: "provisional"}
    found = Counter(state for hour, state in table.items() if hour >= since)
    assert all(found[state] for state in STATES if since == 0), "a pass must not be vacuous"
    return {state: found[state] for state in STATES}


@pytest.fixture
def told(known: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process's settings are the site's, and the time is the site's."""
    for name, value in known.settings.model_dump(exclude_unset=True).items():
        monkeypatch.setenv(variable(name), str(value))
    for module in (status_command, top_command):
        monkeypatch.setattr(module, "now_ms", lambda: NOW)
    settings.cache_clear()
    yield
    settings.cache_clear()


def shown(command: Any, *options: str) -> dict[str, Any]:
    app = typer.Typer()
    app.command()(command)
    return json.loads(CliRunner().invoke(app, ["--json", *options]).stdout)


@pytest.mark.usefixtures("told")
def test_status_counts_all_hours_of_the_index(known: Site) -> None:
    assert shown(status_command.status)["index"]["hours"] == expected(known)


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("by", ["", "browser"])
def test_top_counts_the_hours_of_its_range(known: Site, by: str) -> None:
    options = ["--by", by] if by else []
    week = shown(top_command.top, "--since", "2026-01-25", *options)["hours"]
    assert week == expected(known, NOW // DAY * DAY - 6 * DAY)
    assert shown(top_command.top, "--since", "2026-01-01", *options)["hours"] == expected(known)


@pytest.mark.usefixtures("told")
def test_top_says_it_in_words_on_a_terminal(known: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "on_terminal", lambda: True)
    app = typer.Typer()
    app.command()(top_command.top)
    text = " ".join(CliRunner().invoke(app, ["--since", "2026-01-01"]).stdout.split())
    counted = ", ".join(f"{count:,} {state}" for state, count in expected(known).items())
    assert f"{len(hours_of(known)):,} hours: {counted}. running: the hour is not over." in text


def test_hours_are_told_without_an_index_of_restatements(known: Site) -> None:
    call(known.settings, "DELETE", f"/{known.settings.index_alias}-restatements")
    with closing(connect(known.settings)) as client:
        held = held_hours(Index.of(client, known.settings, PAGES), known.settings)
    plant(known)
    assert list(held.hours) == hours_of(known)
    assert held.counted(NOW)[Finality.RESTATED] == 0
