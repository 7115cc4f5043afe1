"""Tests the erasure of a user: rows, aggregates, index, rejected clicks; also interrupted anywhere and repeated."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dataco_assets.cli import erase_user as command
from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.clicks.row import cells as row_cells
from dataco_assets.clicks.row import row_key, salt
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.hbase import HBase
from dataco_assets.clients.hbase_errors import HBaseRefused
from dataco_assets.clock import now_ms
from dataco_assets.ingest.drain import Step, policy_from
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.privacy import erasure
from dataco_assets.privacy.erasure import erase, preview
from dataco_assets.rejected.contents import read_rejected
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.refreshes import Died, Refreshes

pytestmark = [pytest.mark.stack, pytest.mark.usefixtures("environment")]
DAY = 24 * HOUR_MS
NEIGHBOUR = next(name for n in range(999) if salt(name := f"bob{n}") == salt("ann"))
"""Somebody whose rows lie among those of the user to be erased."""
ODD = "ann' OR qualifier=~'.*') [red]"


def send(platform: Platform, *clicks: bytes) -> Any:
    platform.produce(clicks)
    return platform.drain()


def fill(platform: Platform, user: str = "ann", noon: int = NOON) -> None:
    """Stores three clicks of the user, two in a visit across an hour's end and one a day later, and another user's."""
    send(
        platform,
        click("a1", at=noon - 60_000, user=user, url="https://shop.example/a"),
        click("a2", at=noon + 60_000, user=user, url="https://shop.example/b"),
        click("a3", at=noon + DAY + HOUR_MS // 2, user=user, url="https://shop.example/c"),
        click("b1", at=noon + 60_000, user=NEIGHBOUR, url="https://shop.example/b"),
    )


TOUCHED = {NOON - HOUR_MS, NOON, NOON + DAY}


def users(platform: Platform) -> set[str]:
    return {cells[b"click_data:user_id"].decode() for cells in platform.rows().values()}


def pages(refreshes: Refreshes) -> dict[str, int]:
    """Clicks by page, as readers see them."""
    from dataco_assets.clients.elasticsearch import connect

    settings = refreshes.platform.settings
    client = connect(settings)
    client.indices.refresh(index=settings.index_alias)
    hits = client.search(index=settings.index_alias, size=100)["hits"]["hits"]
    client.close()
    return {hit["_source"]["page"].removeprefix("https://shop.example"): hit["_source"]["click_count"] for hit in hits}


@pytest.mark.parametrize("user", ["ann", ODD])
def test_rows_aggregates_and_index_forget_the_user(platform: Platform, refreshes: Refreshes, user: str) -> None:
    fill(platform, user)
    refreshes.settle()
    assert pages(refreshes) == {"/a": 1, "/b": 2, "/c": 1}

    erased = erase(platform.settings, platform.hbase, [user])

    assert (erased.clicks, erased.hours, erased.rejected) == (3, TOUCHED, 0)
    assert (erased.first_ms, erased.last_ms) == (NOON - 60_000, NOON + DAY + HOUR_MS // 2)
    assert users(platform) == {NEIGHBOUR}
    assert set(refreshes.dirty()) == TOUCHED
    refreshes.settle()
    assert pages(refreshes) == {"/b": 1}
    assert refreshes.differences() == []
    assert platform.suppression.unfinished(user) == set()
    for key, cells in platform.hbase.scan(platform.settings.suppressed_table):
        assert user.encode() not in key + b"".join(cells) + b"".join(cells.values())


def test_what_comes_again_is_dropped_and_counted_and_what_comes_new_is_stored(platform: Platform) -> None:
    fill(platform)
    erase(platform.settings, platform.hbase, ["ann"])
    now = int(time.time() * 1000)

    platform.hbase.delete_rows(platform.settings.offsets_table, list(_keys(platform)))
    # Without a committed offset either, the whole topic comes again.
    again = Platform(platform.settings.model_copy(update={"kafka_group": "another"}), platform.hbase).drain()
    late = send(platform, click("a4", at=NOON + 120_000, user="ann"), b'{"user_id": "ann", "url": 7}')
    back = send(platform, click("a5", at=now + 1_000, user="ann"))

    assert (again.stored, again.suppressed, again.rejected.total()) == (1, 3, 0), "only the neighbour's is stored"
    assert (late.stored, late.suppressed, late.rejected.total()) == (0, 1, 1), "it came after the erasure, and is news"
    assert (back.stored, back.suppressed) == (1, 0)
    assert sorted(platform.event_ids()) == ["a5", "b1"]


def test_a_rejected_click_that_comes_again_is_not_kept_either(platform: Platform) -> None:
    platform.produce([b'{"user_id": "ann"}', b'{"user_id": "bob"}'])
    platform.suppression.suppress("ann", int(time.time() * 1000) + 60_000)

    result = platform.drain()

    assert (result.suppressed, result.rejected.total()) == (1, 1)
    assert [record.value() for record in platform.rejected()] == [b'{"user_id": "bob"}']


def test_rejected_clicks_can_no_longer_be_sent_back(platform: Platform) -> None:
    send(platform, click("a1", user="ann", url="ftp://a/"), click("b1", user="bob", url="ftp://a/"))

    erased = erase(platform.settings, platform.hbase, ["ann"])

    assert erased.rejected == 1
    contents = read_rejected(platform.settings, platform.hbase)
    assert (len(contents.entries), len(contents.erased)) == (1, 1)


def test_one_that_a_drain_rejected_behind_the_erasures_back_is_gone_too(platform: Platform) -> None:
    """The drain began before the erasure; its rejected record comes after the erasure's marks."""
    erase(platform.settings, platform.hbase, ["ann"])
    erased = platform.suppression.read()
    _forget_suppression(platform)
    platform.produce([click("a1", user="ann", url="ftp://a/"), click("b1", user="bob", url="ftp://a/")])
    platform.drain()
    (key,) = erased
    platform.suppression.suppress("ann", int(time.time() * 1000) + 60_000)
    assert set(platform.suppression.read()) == {key}

    contents = read_rejected(platform.settings, platform.hbase)

    assert (len(contents.entries), len(contents.erased)) == (1, 1)


STEPS = [
    (SuppressionList, "suppress"),
    (SuppressionList, "begin"),
    (HourLedger, "mark_dirty"),
    (HBase, "delete_rows"),
    (erasure, "erase_from_rejected"),
    (SuppressionList, "finish"),
]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_broken_off_anywhere_and_begun_again_it_ends(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Every portion is a single row here, and dirty hours are refreshed between the two attempts.

    Before the first row goes, they are refreshed, too: of what was deleted since, only the suppression list knows the
    hours. Each step has a user and days of its own, so that no other's erasure makes up for what it leaves out.
    """
    monkeypatch.setattr(erasure, "_ROWS_AT_ONCE", 1)
    erased = [f"ann{number}" for number in range(len(STEPS))]
    for number, user in enumerate(erased):
        noon = NOON + number * 3 * DAY
        fill(platform, user, noon)
        send(platform, click("a0", at=noon - DAY, user=user))  # goes first, alone in its hours
    for user, (owner, name) in zip(erased, STEPS, strict=True):
        with monkeypatch.context() as patch:
            _die(patch, owner, name, moment, meanwhile=refreshes.settle if name == "delete_rows" else lambda: None)
            with pytest.raises(Died):
                erase(platform.settings, platform.hbase, [user])
    refreshes.settle()

    for user in erased:
        erase(platform.settings, platform.hbase, [user])
    refreshes.settle()

    assert users(platform) == {NEIGHBOUR}
    assert pages(refreshes) == {"/b": 1}
    assert refreshes.differences() == []
    assert [user for user in erased if platform.suppression.unfinished(user)] == []


def test_a_refresh_that_saw_the_clicks_while_they_went_is_done_again(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first marking of the hours and the deletion, a whole refresh ends: its hours count as done."""
    fill(platform)
    honest = HBase.delete_rows

    def refreshed_first(self: HBase, table: str, keys: Any) -> None:
        if table == platform.settings.clicks_table:
            refreshes.settle()
        honest(self, table, keys)

    monkeypatch.setattr(HBase, "delete_rows", refreshed_first)
    erase(platform.settings, platform.hbase, ["ann"])

    assert set(refreshes.dirty()) >= TOUCHED
    refreshes.settle()
    assert pages(refreshes) == {"/b": 1}
    assert refreshes.differences() == []


def test_an_ingest_run_that_began_before_the_erasure_brings_nothing_back(
    platform: Platform, refreshes: Refreshes
) -> None:
    """Its rows are stored after the erasure's scan, just before it reads the suppression list again."""
    fill(platform)
    refreshes.settle()
    platform.produce(
        [
            click("a4", at=NOON + 90_000, user="ann", url="https://shop.example/d"),
            click("a5", user="ann", url="ftp://a/"),
            click("b2", at=NOON + 90_000, user=NEIGHBOUR, url="https://shop.example/d"),
        ]
    )

    def erase_and_store_again(step: Step) -> None:
        if step is Step.ROWS_STORED:
            stored = platform.rows()
            erase(platform.settings, platform.hbase, ["ann"])
            for key, cells in stored.items():
                platform.put(platform.settings.clicks_table, key, cells)
            refreshes.settle()

    result = platform.drain_with(policy_from(platform.settings), on_step=erase_and_store_again)

    assert (result.stored, result.suppressed, result.rejected.total()) == (1, 2, 0)
    assert "a4" not in platform.event_ids()
    assert NOON in refreshes.dirty()


def test_rows_that_a_run_left_when_it_died_go_when_their_messages_come_again(
    platform: Platform, refreshes: Refreshes
) -> None:
    platform.suppression.suppress("ann", now_ms() + 60_000)
    made = parse(click("a1", user="ann"), record_time_ms=NOON, earliest_ms=0)
    assert isinstance(made, Click)
    key = row_key(made.user_id, made.timestamp, made.event_id)
    platform.put(platform.settings.clicks_table, key, dict(row_cells(made)), time_ms=now_ms() + HOUR_MS)

    result = send(platform, click("a1", user="ann"))

    assert (result.stored, result.suppressed) == (0, 1)
    assert platform.rows() == {}
    assert set(refreshes.dirty()) == {NOON - HOUR_MS, NOON}
    before = platform.hour_states()
    send(platform, click("a1", user="ann"))
    assert platform.hour_states() == before, "no row was deleted, so nothing is computed again"


def test_what_can_still_be_read_is_an_error_and_the_next_try_ends_it(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(platform)
    with monkeypatch.context() as patch:
        patch.setattr(HBase, "delete_rows", lambda *_: set())
        with pytest.raises(erasure.ErasureIncomplete, match=r"3 of 3 clicks can still be read"):
            erase(platform.settings, platform.hbase, ["ann"])
    assert platform.suppression.unfinished("ann") == TOUCHED

    assert erase(platform.settings, platform.hbase, ["ann"]).clicks == 3
    assert users(platform) == {NEIGHBOUR}
    assert platform.suppression.unfinished("ann") == set()


def test_many_users_share_a_pass_in_which_only_their_rows_cross_the_network(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fill(platform)
    others = [f"user-{number}@example.org" for number in range(40)]
    send(platform, *(click(f"u{number}", at=NOON + number, user=user) for number, user in enumerate([*others, ODD])))
    refreshes.settle()
    honest, received = HBase.scan, list[str]()

    def recorded(self: HBase, table: str, *arguments: Any, **named: Any) -> Any:
        for key, cells in honest(self, table, *arguments, **named):
            if named.get("filter_string"):
                received.append(cells[b"click_data:user_id"].decode())
            yield key, cells

    (ids := tmp_path / "ids.txt").write_text("\n".join(["ann", *others[:20], "", "nobody", "ann"]))
    with monkeypatch.context() as patch:
        patch.setattr(HBase, "scan", recorded)
        code, output = run("--yes", "--from-file", str(ids))

    assert code == 0
    assert "23 clicks deleted" in output
    assert sorted(received) == sorted(["ann"] * 3 + others[:20])
    assert users(platform) == {NEIGHBOUR, ODD, *others[20:]}
    assert len(platform.suppression.read()) == 22
    assert all(platform.suppression.unfinished(user) == set() for user in ("ann", *others))
    refreshes.settle()
    assert refreshes.differences() == []

    (bad := tmp_path / "bad.txt").write_text(f"ann\n{'x' * 1_000}\n")
    with pytest.raises(
        command.NotAUserId, match=r"bad\.txt, line 2: A user id has 1 to \d+ characters, this has 1,000"
    ):
        run("--from-file", str(bad))


def test_the_list_is_read_again_in_one_call_and_its_loss_is_noticed(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    suppression = SuppressionList(platform.hbase, platform.settings.suppressed_table)
    suppression.suppress("ann", 7)
    assert suppression.read() == {user_hash("ann"): 7}
    honest, calls = HBase._attempt, list[object]()

    def counted(self: HBase, *arguments: Any) -> Any:
        calls.append(arguments)
        return honest(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(HBase, "_attempt", counted)
        assert suppression.read() == {user_hash("ann"): 7}
    assert len(calls) == 1, "every checkpoint of a drain reads the list"

    with platform.gateway() as connection:
        connection.delete_table(suppression.name, disable=True)
    with pytest.raises(HBaseRefused):
        suppression.read()
    suppression.create()


def test_hours_that_cannot_be_computed_again_are_left_alone_and_named(platform: Platform) -> None:
    fill(platform)
    key = hour_key(NOON + DAY).encode()
    platform.put(platform.settings.hours_table, key, {b"h:first_stored_at": b"1500000000000"})
    before = platform.hour_states()[NOON + DAY].dirty

    erased = erase(platform.settings, platform.hbase, ["ann"])

    assert erased.expired == {NOON + DAY}
    assert platform.hour_states()[NOON + DAY].dirty == before
    assert users(platform) == {NEIGHBOUR}


def invoke(*arguments: str, text: str | None = None) -> Result:
    app = typer.Typer()
    app.command()(command.erase_user)
    return CliRunner().invoke(app, list(arguments), input=text, catch_exceptions=False)


def run(*arguments: str, text: str | None = None) -> tuple[int, str]:
    result = invoke(*arguments, text=text)
    return result.exit_code, result.output


def test_the_command_asks_reports_and_compacts(platform: Platform) -> None:
    fill(platform)

    code, output = run("ann", "--dry-run")
    assert code == 0
    assert "3 clicks would be deleted, from 2020-06-01 11:59:00 to 2020-06-02 12:30:00 UTC; 3 hours" in output
    document = json.loads(invoke("ann", "--dry-run", "--json").stdout)
    assert (document["dry_run"], document["clicks"], document["rejected"]) == (True, 3, None)
    assert (document["first_click"], document["last_click"]) == ("2020-06-01T11:59:00Z", "2020-06-02T12:30:00Z")
    assert len(document["hours"]) == 3
    assert len(platform.rows()) == 4
    assert platform.suppression.read() == {}

    code, _ = run("ann", text="n\n")
    assert code == 1
    assert len(platform.rows()) == 4

    code, output = run("-", "--yes", text="ann\n")
    assert code == 0
    assert "3 clicks deleted" in output
    assert "major compaction" in output
    assert "dataco backfill 2020-06-01-11:00 2020-06-01-12:00" in output
    assert set(platform.suppression.read()) == {user_hash("ann")}

    result = invoke("ann", "--yes", "--compact", "--json")
    assert result.exit_code == 0
    assert "0 clicks deleted" in result.stderr
    document = json.loads(result.stdout)
    assert (document["dry_run"], document["clicks"], document["rejected"]) == (False, 0, 0)
    assert document["compaction_requested"]
    assert preview(platform.settings, platform.hbase, ["ann"]).clicks == 0

    code, output = run("nobody", "--yes")
    assert code == 0
    assert "Neither HBase nor the rejected topic has a click of this user id" in output
    assert "suppression list" in output
    assert f"deleteall '{platform.settings.suppressed_table}', '{user_hash('nobody').decode()}'" in output


def _keys(platform: Platform) -> list[bytes]:
    return [key for key, _ in platform.hbase.scan(platform.settings.offsets_table)]


def _forget_suppression(platform: Platform) -> None:
    table = platform.settings.suppressed_table
    platform.hbase.delete_rows(table, [key for key, _ in platform.hbase.scan(table)])


def _die(
    patch: pytest.MonkeyPatch, owner: Any, name: str, moment: str, meanwhile: Callable[[], None] = lambda: None
) -> None:
    honest = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        patch.setattr(owner, name, honest)
        meanwhile()
        if moment == "after":
            honest(*arguments, **named)
        raise Died

    patch.setattr(owner, name, dying)
