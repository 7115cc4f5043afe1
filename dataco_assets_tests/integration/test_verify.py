"""Tests `dataco verify` on real servers: what it finds, what is not a difference, and its exit codes."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.aggregates.table import TablePlace
from dataco_assets.cli import verify as command
from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.clicks.row import cells, row_key
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.clients.mutations import encode_row
from dataco_assets.ledgers.verified import LastVerification
from dataco_assets.settings import settings
from dataco_assets.verification import verifier
from dataco_assets.verification.compare import Outcome
from dataco_assets.verification.verifier import Verifier
from dataco_assets_tests.platforms import NOON, Platform, click, epoch_ms
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.stored_aggregates import damage, drop_column, tamper

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]
LATER = NOON + 100 * HOUR_MS


def fill(platform: Platform) -> None:
    """Stores clicks in three hours, two of them adjacent with a visit across their border."""
    platform.produce(
        [
            click("a1", at=NOON + 50 * 60_000, user="ann", url="https://shop.example/a"),
            click("a2", at=NOON + 65 * 60_000, user="ann", url="https://shop.example/b"),
            click("b1", at=NOON + 1, user="bob", url="https://shop.example/a"),
            click("c1", at=LATER + HOUR_MS // 2, user="cyd", url="https://shop.example/c"),
        ]
    )
    platform.drain()


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(command.verify)
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    return result.exit_code, result.output


def noted(platform: Platform) -> tuple[int, int, int, int]:
    """Of the last verification: its first hour, and how many hours were compared, differed and were not compared."""
    found = LastVerification(platform.hbase, platform.settings.hours_table).read()
    assert found is not None
    assert abs(found.at - time.time()) < 60
    return found.first_hour, found.compared, found.different, found.not_compared


def outcomes(refreshes: Refreshes) -> dict[int, Outcome]:
    return {verdict.hour: verdict.outcome for verdict in refreshes.verdicts()}


def test_exit_codes_and_what_is_said(platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(platform)
    code, output = run("--settle", "0")
    assert code == 0
    assert "4 hours dirty: not compared" in output
    assert f"Oldest: {hour_key(NOON - HOUR_MS)}" in output
    assert noted(platform) == (NOON - HOUR_MS, 0, 0, 4)
    assert run("--strict", "--settle", "0")[0] == 1

    refreshes.settle()
    _add_hours_that_are_dirty_for_ever(platform, monkeypatch)
    code, output = run("--strict", "--settle", "0")
    assert code == 0, "nobody can mend these hours"
    assert "4 hours compared (4 clicks in 3 groups): no difference." in output
    assert "1 hour expired: not compared" in output
    assert "1 hour outside: not compared" in output
    assert noted(platform)[1:] == (4, 0, 2)
    code, output = run("2020-06-01-12:00")
    assert "1 hour compared (2 clicks in 1 group): no difference." in output
    code, output = run("2020-06-01", "2020-06-05")
    assert "4 hours compared (4 clicks in 3 groups): no difference." in output
    assert "1 hour expired: not compared" in output
    assert noted(platform)[1:] == (4, 0, 2)

    code, output = run("2020-01-01")
    assert code == 2, "a mistyped date must not pass for ever"
    assert "nothing to verify from 2020-01-01-00:00 to 2020-01-01-23:00" in output
    assert run("yesterday")[0] == 2
    assert run("2020-06-02", "2020-06-01")[0] == 2
    for variable, value in (("ELASTICSEARCH_URL", "http://127.0.0.1:1"), ("HBASE_THRIFT_PORT", "1")):
        with monkeypatch.context() as patch:
            patch.setenv(f"DATACO_{variable}", value)
            patch.setenv("DATACO_HBASE_RETRY_SECONDS", "0")
            settings.cache_clear()
            code, output = run("--settle", "0")
            assert code == 2, "an outage is no difference"
            assert "does not answer" in output
    settings.cache_clear()


def _add_hours_that_are_dirty_for_ever(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds an hour whose clicks HBase may have dropped, and one before a first partition that was moved."""
    first = NOON - 3 * HOUR_MS  # not next to the compared hours, which would count as expired, too
    monkeypatch.setenv("DATACO_PARTITIONS_START", hour_key(first))
    settings.cache_clear()
    platform.hours.mark_dirty([first], holding_clicks=[first], stored_since_ms=1)
    platform.hours.mark_dirty([first - HOUR_MS], holding_clicks=[], stored_since_ms=0)


def test_a_closed_month_is_named_and_the_others_are_compared(platform: Platform, refreshes: Refreshes) -> None:
    fill(platform)
    platform.produce([click("july", at=NOON + 40 * 24 * HOUR_MS + 45 * 60_000, user="dee")])
    platform.drain()
    refreshes.settle()
    search = connect(platform.settings)
    june = f"{platform.settings.index_alias}-2020.06"
    search.indices.close(index=june)

    code, output = run("--settle", "0")

    assert code == 0, output
    assert f"POST /{june}/_open" in output
    assert "closed: not compared" in output
    assert "1 hour compared (1 click in 1 group): no difference." in output
    assert run("--settle", "0", "--strict")[0] == 1
    search.close()


def test_tampering_is_found_wherever_it_is(platform: Platform, refreshes: Refreshes) -> None:
    fill(platform)
    refreshes.settle()
    search = connect(platform.settings)
    alias, place = platform.settings.index_alias, TablePlace.of(platform.settings)
    hits = search.search(index=alias, size=10)["hits"]["hits"]
    (cyd,) = (hit for hit in hits if hit["_source"]["page"].endswith("/c"))
    (bob,) = (hit for hit in hits if epoch_ms(hit["_source"]["hour"]) == NOON)

    def index(hit: dict[str, Any], **changed: Any) -> Callable[[], None]:
        def write() -> None:
            body = {**hit["_source"], **changed}
            where = {"index": hit["_index"], "id": changed.get("page", hit["_id"])}
            version = {"version": body["generation"], "version_type": "external_gte"}
            search.index(**where, document=body, refresh=True, **version)

        return write

    def delete() -> None:
        version = {"version": cyd["_source"]["generation"], "version_type": "external_gte"}
        search.delete(index=cyd["_index"], id=cyd["_id"], refresh=True, **version)

    def change_files() -> None:
        """Changes another value of the same row at each place."""
        tamper(place, NOON, "unique_users", 1)
        tamper(place, NOON, "entering_users", 0)
        tamper(place, NOON, "time_spent_seconds_sum", 1)
        tamper(place, NOON, "entries", 1)
        tamper(place, NOON, "users_sketch", b"")
        tamper(place, NOON, "time_spent_buckets", {"from_0_ms": 1})

    # The hour of a change, the change, and what the lines say of it: a list for each of its differences.
    tampered: list[tuple[int, Callable[[], None], list[list[str]]]] = [
        (
            NOON,
            change_files,
            [
                ["2020-06-01-12:00", "table", "unique_users"],
                ["2020-06-01-12:00", "table", "entering_users"],
                ["2020-06-01-12:00", "table", "900.0", "time_spent_seconds_sum"],
                ["2020-06-01-12:00", "table", "entries"],
                ["2020-06-01-12:00", "table", "users_sketch", "2 users"],
                ["2020-06-01-12:00", "table", "time_spent_buckets", "from_768000_ms"],
            ],
        ),
        (
            NOON,
            lambda: drop_column(place, NOON, "entering_users"),
            [["2020-06-01-12:00", "table", "files", "readable"]],
        ),
        (
            NOON,
            index(bob, entering_users=0, time_spent_buckets={}, bounces=2, time_spent_samples=2),
            [
                ["2020-06-01-12:00", "index", name]
                for name in ("entering_users", "time_spent_buckets", "bounces", "time_spent_samples")
            ],
        ),
        (
            LATER,
            index(cyd, page="[red]\x1b[31mpage"),
            [["2020-06-05-16:00", "index", r"[red]\x1b[31mpage", "absent", "1 clicks"]],
        ),
        (
            LATER,
            index(cyd, hour=LATER + 7 * HOUR_MS),
            [["2020-06-05-23:00", "index", "group", "absent"], ["2020-06-05-16:00", "index", "1 clicks", "absent"]],
        ),
        (LATER, delete, [["2020-06-05-16:00", "index", "1 clicks", "absent"]]),
    ]
    for hour, change, told in tampered:
        change()
        code, output = run("--settle", "0")
        assert code == 1, told
        lines = output.splitlines()
        for parts in told:
            assert any(all(part in line for part in parts) for line in lines), (parts, output)
        assert "\x1b[31m" not in output
        refreshes.refresh([hour])
        assert run("--settle", "0")[0] == 0, "a refresh mends it"
    search.close()


def test_what_nobody_knows_of_is_found(platform: Platform, refreshes: Refreshes) -> None:
    """A deleted file, an hour that is not in the ledger, and one that HBase may have dropped."""
    fill(platform)
    refreshes.settle()
    put_unmarked(platform, "stray", LATER + 500 * HOUR_MS)
    platform.put(platform.settings.hours_table, hour_key(LATER).encode(), {b"h:first_stored_at": b"1500000000000"})
    damage(TablePlace.of(platform.settings), NOON, None)

    assert outcomes(refreshes) == {
        NOON - HOUR_MS: Outcome.EQUAL,
        NOON: Outcome.DIFFERENT,
        NOON + HOUR_MS: Outcome.EQUAL,
        LATER: Outcome.EXPIRED,
        LATER + 500 * HOUR_MS: Outcome.DIFFERENT,
    }


def put_unmarked(platform: Platform, event_id: str, at: int) -> None:
    """A row as a drain writes it, before it marks the hour."""
    made = parse(click(event_id, at=at, user="new"), record_time_ms=at, earliest_ms=0)
    assert isinstance(made, Click)
    row = encode_row(row_key(made.user_id, made.timestamp, made.event_id), cells(made))
    platform.hbase.put_rows(platform.settings.clicks_table, [row])


def test_a_click_that_lands_meanwhile_is_no_false_alarm(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(platform)
    refreshes.settle()
    honest, landed = verifier.read_hour, [False]

    def landing(place: TablePlace, hour: int) -> Any:
        """Adds a click and refreshes its hour after the clicks were read and before the table is."""
        if hour == NOON and not landed[0]:
            landed[0] = True
            platform.produce([click("late", at=NOON + 5, user="late")])
            platform.drain()
            refreshes.refresh([NOON - HOUR_MS, NOON])
        return honest(place, hour)

    monkeypatch.setattr(verifier, "read_hour", landing)
    assert set(outcomes(refreshes).values()) == {Outcome.EQUAL}
    assert landed == [True]


def test_a_click_stored_but_not_marked_yet_is_no_false_alarm(platform: Platform, refreshes: Refreshes) -> None:
    fill(platform)
    refreshes.settle()
    put_unmarked(platform, "new", NOON + 10)
    waited: list[float] = []

    def marked(seconds: float) -> None:
        waited.append(seconds)
        platform.hours.mark_dirty([NOON, NOON - HOUR_MS], holding_clicks=[NOON], stored_since_ms=0)

    search = connect(platform.settings)
    verifier = Verifier(platform.settings, platform.hbase, search, settle_seconds=60, sleep=marked)
    found = {verdict.hour: verdict.outcome for verdict in verifier.verify(verifier.hours())}
    search.close()

    assert (found[NOON], found[NOON + HOUR_MS]) == (Outcome.DIRTY, Outcome.EQUAL)
    assert len(waited) == 1
    assert 0 < waited[0] <= 60
