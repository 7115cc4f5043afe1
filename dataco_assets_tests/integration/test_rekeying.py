"""Tests a clicks table with row keys of version 1: drain and set-up refuse it, and it gets new keys without loss.

The old rows are written by `keys_of_version_1`, which shares no code with the product.
"""

import random
from collections.abc import Iterator
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dataco_assets.clicks.hour import HOUR_MS, touched_hours
from dataco_assets.clicks.row import KEY_VERSION, SALTS, split_keys
from dataco_assets.clients.hbase import HBaseRefused
from dataco_assets.ingest.table_keys import OtherKeys
from dataco_assets.provisioning import SetupMismatch, provision
from dataco_assets.rekeying import Rekeyed, RekeyingFailed, RekeyingStep, RekeyingUnfinished, rekey_clicks
from dataco_assets_tests.integration.keys_of_version_1 import OldRow, new_key, old_row, put_old_rows
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform
from local_stack.stack import Stack
from spark_resources.clicks_admin import ClicksAdmin, clicks_admin

pytestmark = pytest.mark.stack
USERS = 40


class Killed(BaseException):
    """Simulates kill -9: nothing catches it."""


@pytest.fixture
def platform(stack: Stack) -> Iterator[Platform]:
    """A platform as an earlier version created it: no metadata on its clicks table."""
    made = make_platform(stack.env(), hbase_retry_seconds=10.0).create(partitions=1)
    yield made
    made.drop()


@pytest.fixture
def admin(spark: SparkSession) -> Iterator[ClicksAdmin]:
    with clicks_admin(spark) as opened:
        yield opened


def old_rows(count: int) -> list[OldRow]:
    """Clicks over five hours, some of a user in the same millisecond, with and without optional cells."""
    chance = random.Random(7)
    optional: list[dict[str, str]] = [{}, {"city": "Köln"}, {"browser": "Firefox", "device": "phone"}]
    return [
        old_row(
            f"e{number}",
            user=f"user-{chance.randrange(USERS)}",
            at=NOON + chance.randrange(5 * HOUR_MS // 30_000) * 30_000,
            **chance.choice(optional),
        )
        for number in range(count)
    ]


def stored(platform: Platform) -> dict[bytes, dict[bytes, tuple[bytes, int]]]:
    return dict(platform.hbase.scan_with_times(platform.settings.clicks_table))


def expected(rows: dict[bytes, dict[bytes, tuple[bytes, int]]]) -> dict[bytes, dict[bytes, tuple[bytes, int]]]:
    """The expected new rows: new key, every column, and the time at which the row was stored."""
    optional = {f"user_agent_data:{name}".encode() for name in ("browser", "operating_system", "device")}
    optional |= {b"geo_data:city", b"click_data:referrer", b"click_data:referrer_host"}
    moved: dict[bytes, dict[bytes, tuple[bytes, int]]] = {}
    for cells in rows.values():
        time = cells[b"click_data:event_id"][1]
        moved[new_key({column: value for column, (value, _) in cells.items()})] = {
            **dict.fromkeys(optional, (b"", time)),
            **cells,
        }
    return moved


def tied_hours(rows: list[OldRow]) -> set[int]:
    """Hours that hold several clicks of a user in one millisecond, and those before where they reach back.

    Not those after: these rows were stored without the ledger, which therefore has no hour with clicks.
    """
    seen: dict[tuple[bytes, bytes], int] = {}
    for row in rows:
        place = row.cells[b"click_data:user_id"], row.cells[b"click_data:timestamp"]
        seen[place] = seen.get(place, 0) + 1
    ties = [int(time) for (_, time), count in seen.items() if count > 1]
    return {hour for time in ties for hour in touched_hours(time) if hour <= time}


def test_a_drain_refuses_a_table_with_old_keys_and_moves_nothing(platform: Platform) -> None:
    put_old_rows(platform, [old_row("1", user="ann", at=NOON)])
    platform.produce([click("2", user="bob"), b"not a click"])

    with pytest.raises(OtherKeys, match=r"version 1.*event id alone.*dataco setup --rekey-clicks"):
        platform.drain()

    assert len(platform.rows()) == 1
    assert (platform.rejected(), platform.positions(), platform.hour_states()) == ([], {}, {})


def test_a_drain_refuses_a_table_with_another_number_of_salts(platform: Platform) -> None:
    row = old_row("1", user="ann", at=NOON)
    other = b"0%x" % ((int(row.key[:2], 16) + 1) % 16) + new_key(row.cells)[2:]
    put_old_rows(platform, [OldRow(other, row.cells)])
    with pytest.raises(OtherKeys, match=r"crc32\(user id\) % 16"):
        platform.drain()


def test_a_drain_takes_a_table_of_its_own(platform: Platform) -> None:
    platform.produce([click(str(number), user=f"u{number}") for number in range(200)])
    platform.drain()
    platform.produce([click("more")])
    assert platform.drain().stored == 1


def test_setup_refuses_a_table_with_old_keys(platform: Platform, spark: SparkSession) -> None:
    with pytest.raises(SetupMismatch, match=r"row keys of version 1.*--rekey-clicks"):
        list(provision(platform.settings, lambda: spark))


def test_setup_marks_the_table_it_creates(stack: Stack, admin: ClicksAdmin) -> None:
    made = make_platform(stack.env())
    try:
        assert admin.create(made.settings.clicks_table, ttl_seconds=1_000)
        found = admin.describe(made.settings.clicks_table)
        assert (found.key_version, found.salts, found.read_only) == (KEY_VERSION, SALTS, False)
    finally:
        made.drop()


def test_rekeying_loses_and_doubles_nothing_and_keeps_times_wherever_it_is_killed(
    platform: Platform, admin: ClicksAdmin
) -> None:
    """Killed at each step, and half-way through copying, and started again each time."""
    rows = old_rows(2_500)
    for start in range(0, len(rows), 700):  # so that rows have several times
        put_old_rows(platform, rows[start : start + 700])
    before = stored(platform)
    assert len(before) == len(rows)
    platform.hours.mark_dirty([NOON - 9 * HOUR_MS], holding_clicks=[], stored_since_ms=0)
    platform.hours.set_done({NOON - 9 * HOUR_MS: 1})

    def killed_in_the_middle(copied: int) -> None:
        if copied > len(rows) // 2:
            raise Killed

    with pytest.raises(Killed):
        rekey_clicks(platform.settings, platform.hbase, admin, on_progress=killed_in_the_middle)
    for step in RekeyingStep:
        with pytest.raises(Killed):
            rekey_clicks(platform.settings, platform.hbase, admin, on_step=killer(step))
        if admin.exists(platform.settings.clicks_table):
            assert stored(platform) in (before, expected(before))
    done = rekey_clicks(platform.settings, platform.hbase, admin)

    assert done == Rekeyed(rows=None, hours=len(tied_hours(rows)))
    assert stored(platform) == expected(before)
    assert {state.hour for state in platform.hours.all() if state.is_dirty} == tied_hours(rows)
    assert rekey_clicks(platform.settings, platform.hbase, admin) is None
    found = admin.describe(platform.settings.clicks_table)
    assert (found.key_version, found.salts, found.read_only) == (KEY_VERSION, SALTS, False)
    assert set(found.split_points) == set(split_keys())
    assert not [name for name in platform.hbase.tables() if name.startswith(f"{platform.settings.clicks_table}-")]
    assert f"{platform.settings.clicks_table}-rekeyed" not in admin.snapshots()


def killer(step: RekeyingStep) -> Any:
    def die(now: RekeyingStep) -> None:
        if now == step:
            raise Killed

    return die


def test_cells_left_over_from_an_earlier_message_with_the_same_key_are_dropped(
    platform: Platform, admin: ClicksAdmin
) -> None:
    """A put of version 1 wrote no cell for an unknown value, so that of an earlier message stayed."""
    put_old_rows(platform, [old_row("1", user="ann", at=NOON, city="Köln", device="phone")])
    put_old_rows(platform, [old_row("1", user="ann", at=NOON, device="tablet")])
    rekey_clicks(platform.settings, platform.hbase, admin)
    ((_, cells),) = platform.rows().items()
    assert (cells[b"geo_data:city"], cells[b"user_agent_data:device"]) == (b"", b"tablet")


def test_while_it_is_unfinished_setup_says_so_and_nothing_can_be_stored(
    platform: Platform, admin: ClicksAdmin, spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_old_rows(platform, [old_row("1", user="ann", at=NOON)])
    with pytest.raises(Killed):
        rekey_clicks(platform.settings, platform.hbase, admin, on_step=killer(RekeyingStep.COPIED))
    with pytest.raises(RekeyingUnfinished, match=r"--rekey-clicks"):
        list(provision(platform.settings, lambda: spark))
    # A drain of the earlier version checks no keys; HBase itself refuses its writes.
    monkeypatch.setattr("dataco_assets.ingest.drain.require_current_keys", lambda *_: None)
    platform.produce([click("2", user="bob")])
    with pytest.raises(HBaseRefused, match=r"read only"):
        platform.drain()
    assert len(platform.rows()) == 1
    assert platform.positions() == {}


def test_a_table_written_to_after_it_was_copied_is_not_deleted(platform: Platform, admin: ClicksAdmin) -> None:
    put_old_rows(platform, [old_row("1", user="ann", at=NOON)])
    with pytest.raises(Killed):
        rekey_clicks(platform.settings, platform.hbase, admin, on_step=killer(RekeyingStep.OLD_DELETED))
    families = {family: {"max_versions": 1} for family in ("click_data", "geo_data", "user_agent_data")}
    platform.hbase.create_table(platform.settings.clicks_table, families)
    put_old_rows(platform, [old_row("2", user="ann", at=NOON)])
    with pytest.raises(RekeyingFailed, match=r"can be written to"):
        rekey_clicks(platform.settings, platform.hbase, admin)
    assert len(platform.rows()) == 1
    admin.delete_snapshot(f"{platform.settings.clicks_table}-rekeyed")


def test_a_row_that_is_no_click_is_named_and_the_old_table_stays(platform: Platform, admin: ClicksAdmin) -> None:
    row = old_row("1", user="ann", at=NOON)
    put_old_rows(platform, [row, OldRow(b"zz-stray", {b"geo_data:country": b"DE"})])
    with pytest.raises(RekeyingFailed, match=r"zz-stray.*no click_data:event_id"):
        rekey_clicks(platform.settings, platform.hbase, admin)
    assert set(platform.rows()) == {row.key, b"zz-stray"}
