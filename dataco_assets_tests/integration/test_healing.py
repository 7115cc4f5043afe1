"""Tests that a backfill replaces documents changed by hand, but not those of newer runs; on real servers.

The result is checked by `dataco verify`, which recomputes everything from the clicks.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from dataco_assets.aggregates import columns
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.errors import DatacoError
from dataco_assets.index.conflicts import HIGHEST_VERSION
from dataco_assets.index.layout import document_id
from dataco_assets_tests.platforms import NOON, Platform, click
from dataco_assets_tests.refreshes import Refreshes, failure_of
from dataco_assets_tests.stored_aggregates import show_snapshot, snapshot_id

pytestmark = pytest.mark.stack

OTHER = NOON + 5 * HOUR_MS
PAGES = [f"https://shop.example/{name}" for name in "abc"]
CHANGED = "something other than this platform"


@pytest.fixture
def search(platform: Platform) -> Iterator[SearchClient]:
    with closing(connect(platform.settings)) as client:
        yield client


@pytest.fixture
def index(platform: Platform, refreshes: Refreshes, search: SearchClient) -> str:
    """The index of two published hours with three documents each, and nothing dirty."""
    platform.produce(
        [
            click(f"{hour}-{page}", at=hour + 40 * 60_000 + n * 1_000, user="ann", url=page)
            for hour in (NOON, OTHER)
            for n, page in enumerate(PAGES)
        ]
    )
    platform.drain()
    refreshes.settle()
    assert refreshes.differences() == []
    name = f"{platform.settings.index_alias}-2020.06"
    search.indices.refresh(index=name)
    return name


def of_page(page: str, hour: int = NOON) -> str:
    return document_id(columns.PAGES, hour, page, "DE")


def backfill(refreshes: Refreshes, hours: list[int]) -> list[str]:
    """What `dataco backfill` does: a refresh, and a second one if the first found documents changed by hand."""
    messages: list[str] = []
    for _ in range(2):
        before = set(refreshes.dirty())
        assert not before
        try:
            refreshes.refresh(hours)
        except DatacoError as error:
            messages.append(str(error))
            refreshes.settle()
        else:
            break
    return messages


Change = Callable[[SearchClient, str], Any]


def _copied(search: SearchClient, index: str, **fields: Any) -> dict[str, Any]:
    return {**search.get(index=index, id=of_page(PAGES[0]))["_source"], **fields}


def update_often(search: SearchClient, index: str) -> None:
    for clicks in range(5):
        search.update(index=index, id=of_page(PAGES[0]), doc={"click_count": 700 + clicks})


def write_with_high_version(search: SearchClient, index: str) -> None:
    body = _copied(search, index, click_count=9)
    search.index(index=index, id=of_page(PAGES[0]), document=body, version=1_800_000_000_000, version_type="external")


def delete(search: SearchClient, index: str) -> None:
    search.update(index=index, id=of_page(PAGES[0]), doc={"click_count": 7})
    search.delete(index=index, id=of_page(PAGES[0]))


def move_to_another_hour(search: SearchClient, index: str) -> None:
    search.update(index=index, id=of_page(PAGES[0]), doc={"hour": "2020-06-01T17:00:00.000Z"})


def add_a_copy(search: SearchClient, index: str) -> None:
    search.index(index=index, document=_copied(search, index))


def add_one_of_the_future(search: SearchClient, index: str) -> None:
    body = _copied(search, index, page="https://x.example/", generation=40, computed_at="2090-01-01T00:00:00Z")
    search.index(index=index, document=body)


def add_one_that_says_nothing(search: SearchClient, index: str) -> None:
    search.index(index=index, document={"hour": "2020-06-01T12:00:00Z", "page": "https://x.example/", "country": "DE"})


@pytest.mark.parametrize(
    "change",
    [
        update_often,
        delete,
        add_a_copy,
        add_one_of_the_future,
        # Each refreshes two hours twice; in `make test` the kinds above stand for these.
        pytest.param(write_with_high_version, marks=pytest.mark.soak),
        pytest.param(move_to_another_hour, marks=pytest.mark.soak),
        pytest.param(add_one_that_says_nothing, marks=pytest.mark.soak),
    ],
)
def test_a_backfill_replaces_what_was_changed_by_hand(
    refreshes: Refreshes, search: SearchClient, index: str, change: Change
) -> None:
    change(search, index)
    search.indices.refresh(index=index)
    assert refreshes.differences() != [], "`dataco verify` sees it"

    messages = backfill(refreshes, [NOON, OTHER])

    assert refreshes.differences() == []
    assert refreshes.dirty() == []
    assert all(CHANGED in each or "differs from the aggregates" in each for each in messages)


def test_other_hours_of_the_run_are_done_when_one_was_changed_by_hand(
    platform: Platform, refreshes: Refreshes, search: SearchClient, index: str
) -> None:
    update_often(search, index)
    platform.produce([click("late", at=OTHER + 41 * 60_000, user="bob", url=PAGES[0])])
    platform.drain()

    message = failure_of(lambda: refreshes.refresh([NOON, OTHER]))

    assert "documents of 1 hours (the first: 2020-06-01-12:00)" in message
    assert refreshes.dirty() == [NOON], "the other hour is done; this one is to be computed again"


def test_an_index_deleted_as_a_whole_is_made_again(refreshes: Refreshes, search: SearchClient, index: str) -> None:
    search.indices.delete(index=index)
    assert refreshes.differences() != []
    assert backfill(refreshes, [NOON, OTHER]) == []
    assert refreshes.differences() == []


def test_a_version_that_no_generation_can_exceed_is_named(
    refreshes: Refreshes, search: SearchClient, index: str
) -> None:
    version = HIGHEST_VERSION + 1
    body = _copied(search, index)
    search.index(index=index, id=of_page(PAGES[0]), document=body, version=version, version_type="external")
    message = failure_of(lambda: refreshes.refresh([NOON]))
    assert f"2020-06-01-12:00 have a version or generation of {version}" in message
    assert "Delete the index of that month" in message
    assert refreshes.dirty() == []


def test_a_newer_run_is_never_taken_for_a_change_by_hand(
    platform: Platform, refreshes: Refreshes, search: SearchClient, index: str
) -> None:
    """An older run, after a newer one published its hour, neither overwrites nor raises anything."""
    place = TablePlace.of(platform.settings)
    before = snapshot_id(place)
    platform.produce([click("late", at=NOON + 41 * 60_000, user="bob", url=PAGES[0])])
    platform.drain()
    refreshes.settle()
    newer = platform.hours.read([NOON])[NOON]
    show_snapshot(place, before)  # as the older run had read the hour

    message = failure_of(lambda: refreshes.publish([NOON]))

    assert "A newer generation of 1 hours" in message
    assert platform.hours.read([NOON])[NOON] == newer
    found = search.get(index=index, id=of_page(PAGES[0]))
    assert (found["_source"]["click_count"], found["_version"]) == (2, newer.done)


def test_a_straggler_cannot_undo_what_a_higher_generation_replaced(
    refreshes: Refreshes, platform: Platform, search: SearchClient, index: str
) -> None:
    update_often(search, index)
    place = TablePlace.of(platform.settings)
    before = snapshot_id(place)
    failure_of(lambda: refreshes.refresh([NOON]))
    refreshes.settle()
    healed = search.get(index=index, id=of_page(PAGES[0]))
    show_snapshot(place, before)

    assert "A newer generation" in failure_of(lambda: refreshes.publish([NOON]))

    assert search.get(index=index, id=of_page(PAGES[0])) == healed
