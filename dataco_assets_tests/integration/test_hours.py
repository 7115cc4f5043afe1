"""Tests a refresh that is interleaved with other work or killed at each step: in the end the index is correct.

The functions of the assets run on real servers, with other actions between their steps. `dataco verify`, which shares
no aggregation code with them, checks the result.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pyarrow as pa
import pytest

from dataco_assets.aggregates.reading import read_hour
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets import es_click_index
from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.row import cells, row_key
from dataco_assets.clients.elasticsearch import SearchClient, connect, open_client
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.index import few_documents
from dataco_assets.index.differences import Written
from dataco_assets.privacy.erasure import erase
from dataco_assets_tests.platforms import NOON, Platform, click, epoch_ms
from dataco_assets_tests.refreshes import STEPS, Died, Refreshes, die, failure_of, interpose
from spark_resources import publication

pytestmark = pytest.mark.stack
HOURS = [NOON - HOUR_MS, NOON, NOON + HOUR_MS]
MINUTE = 60_000


@pytest.fixture
def search(platform: Platform) -> Iterator[SearchClient]:
    client = connect(platform.settings)
    yield client
    client.close()


def send(platform: Platform, *clicks: bytes) -> None:
    """Sends clicks through Kafka into HBase."""
    platform.produce(clicks)
    platform.drain()


def visit(platform: Platform, name: str, minute: int = 50) -> None:
    """A visit with its own page and user that ends 15 minutes later, in the hour after noon's."""
    url = f"https://shop.example/{name.replace(' ', '-')}"
    first = NOON + minute * MINUTE
    send(
        platform,
        click(f"{name}-1", at=first, user=name, url=url),
        click(f"{name}-2", at=first + 15 * MINUTE, user=name, url=url),
    )


def documents(search: SearchClient, alias: str) -> dict[tuple[int, str], dict[str, Any]]:
    """Everything readers see, by hour and page."""
    search.indices.refresh(index=alias)
    hits = search.search(index=alias, size=10_000)["hits"]["hits"]
    return {(epoch_ms(hit["_source"]["hour"]), hit["_source"]["page"]): hit["_source"] for hit in hits}


def seconds(search: SearchClient, platform: Platform, name: str) -> float:
    """Time spent on a visit's page in the noon hour, as readers see it."""
    found = documents(search, platform.settings.index_alias)
    return found[NOON, f"https://shop.example/{name.replace(' ', '-')}"]["time_spent_seconds_sum"]


def test_a_click_that_lands_at_any_step_is_never_forgotten(
    platform: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    visit(platform, "first")
    for place in STEPS:
        with pytest.MonkeyPatch.context() as patch:
            interpose(patch, place, before=lambda: visit(platform, place))  # noqa: B023  # called within this turn
            refreshes.refresh(HOURS)
        if place != "read the ledger":
            assert NOON in refreshes.dirty(), f"a click landed before the step {place!r}, yet the hour counts as done"
        refreshes.settle()
        assert seconds(search, platform, place) == 15 * 60
        assert refreshes.differences() == [], place
    visit(platform, "last")
    assert NOON in refreshes.dirty(), "a click landed when all was done"


def test_rows_that_come_or_go_while_an_hour_is_computed_are_no_false_alarm(
    platform: Platform, refreshes: Refreshes
) -> None:
    """Among them a row whose region server's clock is slow: its time lies before the run's start."""
    visit(platform, "first")
    made = parse(click("late", at=NOON, user="late"), record_time_ms=NOON, earliest_ms=0)
    assert isinstance(made, Click)
    table, key = platform.settings.clicks_table, row_key(made.user_id, made.timestamp, made.event_id)

    def store() -> None:
        platform.put(table, key, dict(cells(made)), time_ms=now_ms() - 10 * MINUTE)

    for change in (store, lambda: platform.hbase.delete_rows(table, [key])):
        rows = len(platform.rows())
        with pytest.MonkeyPatch.context() as patch:
            interpose(patch, "write the table", after=change)
            refreshes.compute(HOURS)
        assert len(platform.rows()) != rows


def test_an_erasure_and_new_clicks_during_a_refresh_are_no_false_alarm(
    platform: Platform, refreshes: Refreshes
) -> None:
    """As many rows afterwards as before, and fewer in between."""
    visit(platform, "stays")
    visit(platform, "erased")
    rows = len(platform.rows())
    with pytest.MonkeyPatch.context() as patch:
        interpose(patch, "scan", before=lambda: erase(platform.settings, platform.hbase, ["erased"]))
        interpose(patch, "write the table", after=lambda: visit(platform, "new"))
        refreshes.refresh(HOURS)
    assert len(platform.rows()) == rows
    assert set(HOURS[1:]) <= set(refreshes.dirty()), "computed from clicks that are not there any more"
    refreshes.settle()
    assert refreshes.differences() == []


def test_a_change_whose_mark_is_yet_to_come_is_waited_for(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A drain stores clicks first and marks their hours afterwards."""
    visit(platform, "first")
    gone, new = (parse(click(name, at=NOON, user=name), record_time_ms=NOON, earliest_ms=0) for name in ("a", "b"))
    assert isinstance(gone, Click)
    assert isinstance(new, Click)
    table, key = platform.settings.clicks_table, row_key(gone.user_id, gone.timestamp, gone.event_id)
    platform.put(table, key, dict(cells(gone)))

    def mark(_seconds: float) -> None:
        platform.hours.mark_dirty(HOURS, holding_clicks=(), stored_since_ms=0)

    monkeypatch.setattr("dataco_assets.ledgers.hours.time.sleep", mark)
    interpose(monkeypatch, "scan", before=lambda: platform.hbase.delete_rows(table, [key]))
    interpose(
        monkeypatch,
        "write the table",
        after=lambda: platform.put(table, row_key(new.user_id, new.timestamp, new.event_id), dict(cells(new))),
    )
    refreshes.compute(HOURS)
    assert NOON in refreshes.dirty()


def test_a_run_that_dies_at_any_step_leaves_its_hours_dirty(
    platform: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    for place in STEPS:
        visit(platform, place)
        with pytest.MonkeyPatch.context() as patch:
            interpose(patch, place, before=die)
            with pytest.raises(Died):
                refreshes.refresh(HOURS)
        assert refreshes.dirty() == HOURS[1:], place
        refreshes.settle()
        assert seconds(search, platform, place) == 15 * 60
        assert refreshes.differences() == [], place


@pytest.mark.parametrize(
    "place", ["write the table", "commit", "write the documents", "delete what is stale", "note as done"]
)
def test_of_two_runs_the_newer_wins(
    platform: Platform, refreshes: Refreshes, search: SearchClient, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    visit(platform, "old")

    def newer_run() -> None:
        visit(platform, "new")
        refreshes.refresh(HOURS)

    interpose(monkeypatch, place, before=newer_run)
    outcome = _outcome(lambda: refreshes.refresh(HOURS))

    assert outcome == "" or "newer generation" in outcome or "differs from the aggregates" in outcome
    assert seconds(search, platform, "new") == 15 * 60
    assert refreshes.dirty() == []
    assert refreshes.differences() == []


@pytest.fixture
def by_spark(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Has Spark's executors write the documents from now on, as those of hours of many rows."""
    return lambda: monkeypatch.setattr(few_documents, "MOST", -1)


@pytest.mark.parametrize("spark_writes", [False, True])
def test_an_older_run_that_publishes_late_changes_nothing(
    platform: Platform,
    refreshes: Refreshes,
    search: SearchClient,
    monkeypatch: pytest.MonkeyPatch,
    by_spark: Callable[[], None],
    spark_writes: bool,
) -> None:
    """The older run already has its documents in memory: only versions can prevent the write."""
    visit(platform, "old")
    refreshes.compute(HOURS)
    old = refreshes.held(HOURS)
    visit(platform, "new")
    refreshes.refresh(HOURS)
    before = documents(search, platform.settings.index_alias)

    if spark_writes:
        by_spark()
        rows = pa.concat_tables(table for tables in old.values() for table in tables).to_pandas()
        frame = refreshes.spark.createDataFrame(rows).cache()
        monkeypatch.setattr("spark_resources.aggregates_table.stored_aggregates", lambda *_: frame)
    else:
        monkeypatch.setattr(es_click_index._Part, "_rows", lambda *_: old)
    message = failure_of(lambda: refreshes.publish(HOURS))

    assert "newer generation" in message
    assert documents(search, platform.settings.index_alias) == before
    assert refreshes.differences() == []


@pytest.mark.parametrize(
    ("ends", "spark_writes"),
    [("with a conflict", False), ("with a conflict", True), ("with new pages only", False)],
)
def test_an_older_run_writes_after_a_newer_one_found_nothing_to_change(
    platform: Platform,
    refreshes: Refreshes,
    search: SearchClient,
    monkeypatch: pytest.MonkeyPatch,
    by_spark: Callable[[], None],
    ends: str,
    spark_writes: bool,
) -> None:
    """Clicks come and go again, so the documents as they are suit the newer run, and only the older one would write."""
    visit(platform, "stays")
    refreshes.settle()
    before = documents(search, platform.settings.index_alias)
    kept = platform.rows().keys()
    page = "stays" if ends == "with a conflict" else "passes"
    send(platform, click("more", at=NOON, user="bob", url=f"https://shop.example/{page}"))
    if spark_writes:
        by_spark()
    writer: Any = publication if spark_writes else few_documents
    honest, calls = writer.changes, list[str]()

    def newer_run() -> None:
        platform.hbase.delete_rows(platform.settings.clicks_table, [*(platform.rows().keys() - kept)])
        platform.hours.mark_dirty(HOURS[:2], holding_clicks=[], stored_since_ms=0)
        refreshes.refresh(HOURS)
        assert refreshes.dirty() == []

    def compared_long_before_it_is_written(*arguments: Any, **options: Any) -> Any:
        found = honest(*arguments, **options)
        if not calls:
            calls.append("older run")
            found = found.localCheckpoint() if spark_writes else found
            newer_run()
        return found

    refreshes.compute(HOURS)
    monkeypatch.setattr(writer, "changes", compared_long_before_it_is_written)
    message = failure_of(lambda: refreshes.publish(HOURS))

    assert "newer generation" in message
    after = documents(search, platform.settings.index_alias)
    assert {key: each["click_count"] for key, each in after.items()} == dict.fromkeys(before, 1)
    assert refreshes.dirty() == []
    assert refreshes.differences() == []


def test_an_hour_that_did_not_change_costs_no_document(
    platform: Platform, refreshes: Refreshes, search: SearchClient
) -> None:
    visit(platform, "first")
    visit(platform, "second")
    refreshes.settle()
    before = documents(search, platform.settings.index_alias)
    platform.hours.mark_dirty(HOURS, holding_clicks=[], stored_since_ms=0)

    assert refreshes.refresh(HOURS).documents == 0

    assert documents(search, platform.settings.index_alias) == before
    assert refreshes.dirty() == []
    assert refreshes.differences() == []
    send(platform, click("one-more", at=NOON + 51 * MINUTE, user="bob", url="https://shop.example/first"))
    assert refreshes.refresh(HOURS).documents == 2, "one of the pages, and one of the audience"
    assert refreshes.differences() == []


def test_both_ways_of_writing_make_the_same_documents(
    platform: Platform, refreshes: Refreshes, search: SearchClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the one wrote, the other finds nothing to change in, and the other way round."""
    agents = {"browser": "Googlebot"}, {"device": "Spider"}, {"city": "Köln", "operating_system": "iOS"}
    for first, second in ((few_documents.MOST, -1), (-1, few_documents.MOST)):
        for number in range(4):
            visit(platform, f"{first}/é?q={number}")
            page = f"https://shop.example:8080/{first}/{number}"
            more = agents[number % 3]
            send(platform, click(f"{first}-{number}", at=NOON + number, user=f"u{number}", url=page, **more))
        monkeypatch.setattr(few_documents, "MOST", first)
        refreshes.settle()
        assert refreshes.differences() == []
        before = documents(search, platform.settings.index_alias)

        monkeypatch.setattr(few_documents, "MOST", second)
        platform.hours.mark_dirty(HOURS, holding_clicks=[], stored_since_ms=0)
        assert refreshes.refresh(HOURS).documents == 0
        assert documents(search, platform.settings.index_alias) == before


def test_documents_of_an_hour_that_shrank_go(platform: Platform, refreshes: Refreshes, search: SearchClient) -> None:
    visit(platform, "stays")
    visit(platform, "goes")
    refreshes.settle()
    gone = [key for key, cells in platform.rows().items() if cells[b"click_data:user_id"] == b"goes"]

    platform.hbase.delete_rows(platform.settings.clicks_table, gone)
    platform.hours.mark_dirty([NOON, NOON + HOUR_MS], holding_clicks=[], stored_since_ms=0)
    refreshes.settle()

    assert {url for _, url in documents(search, platform.settings.index_alias)} == {"https://shop.example/stays"}
    assert refreshes.differences() == []


def test_an_hour_that_became_empty_is_empty(platform: Platform, refreshes: Refreshes, search: SearchClient) -> None:
    visit(platform, "goes")
    refreshes.settle()
    platform.hbase.delete_rows(platform.settings.clicks_table, list(platform.rows()))
    platform.hours.mark_dirty([NOON, NOON + HOUR_MS], holding_clicks=[], stored_since_ms=0)

    refreshes.settle()

    assert documents(search, platform.settings.index_alias) == {}
    stored = read_hour(TablePlace.of(platform.settings), NOON)
    assert stored is not None
    assert stored.table.num_rows == 0
    assert refreshes.differences() == []


def test_a_stopped_elasticsearch_leaves_the_hours_dirty(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elasticsearch is down when the run begins to publish and, in the second half, from the writing of documents."""
    monkeypatch.setitem(open_client.__kwdefaults__ or {}, "retry_seconds", 0.2)
    visit(platform, "waits")
    refreshes.compute(HOURS)

    message = failure_of(lambda: refreshes.publish(HOURS, elasticsearch_url="http://127.0.0.1:1"))

    assert "does not answer" in message
    assert "DATACO_ELASTICSEARCH_URL" in message
    assert NOON in refreshes.dirty()

    honest, away = publication.publish, publication.Server("http://127.0.0.1:1")
    with monkeypatch.context() as patch:
        patch.setattr(few_documents, "MOST", -1)
        patch.setattr(publication, "publish", lambda *a, **n: honest(*a, **{**n, "server": away}))
        message = failure_of(lambda: refreshes.publish(HOURS))
    assert "DATACO_ELASTICSEARCH_URL" in message
    in_process = few_documents.publish_few
    with monkeypatch.context() as patch, closing(open_client("http://127.0.0.1:1", retry_seconds=0.2)) as nobody:
        patch.setattr(few_documents, "publish_few", lambda _, *a, **n: in_process(nobody, *a, **n))
        message = failure_of(lambda: refreshes.publish(HOURS))
    assert "DATACO_ELASTICSEARCH_URL" in message
    assert NOON in refreshes.dirty()
    refreshes.settle()
    assert refreshes.differences() == []


@pytest.mark.parametrize("spark_writes", [False, True])
def test_a_full_disk_of_elasticsearch_leaves_the_hours_dirty(
    platform: Platform,
    refreshes: Refreshes,
    search: SearchClient,
    monkeypatch: pytest.MonkeyPatch,
    by_spark: Callable[[], None],
    spark_writes: bool,
) -> None:
    """The block that Elasticsearch puts on the indices of a node whose disk fills up; it stops deletions too."""
    if spark_writes:
        by_spark()
    monkeypatch.setitem(publication._CONNECTOR, "es.batch.write.retry.wait", "100ms")
    visit(platform, "first")
    refreshes.settle()
    visit(platform, "waits")
    index = f"{platform.settings.index_alias}-2020.06"

    with _blocked(search, index):
        message = failure_of(lambda: refreshes.refresh(HOURS))
        assert "its disk is full" in message
        assert NOON in refreshes.dirty()

        platform.hbase.delete_rows(platform.settings.clicks_table, list(platform.rows()))
        message = failure_of(lambda: refreshes.refresh(HOURS))
        assert "does not accept writes" in message, "nothing is to be written, but documents are to be deleted"
        assert NOON in refreshes.dirty()

    refreshes.settle()
    assert documents(search, platform.settings.index_alias) == {}
    assert refreshes.differences() == []


def test_documents_that_got_lost_on_the_way_are_missed(
    platform: Platform, refreshes: Refreshes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elasticsearch can report success and drop writes; the comparison sees it."""
    visit(platform, "lost")
    with monkeypatch.context() as patch:
        patch.setattr(few_documents, "publish_few", lambda *_, **__: Written(0, ()))
        message = failure_of(lambda: refreshes.refresh(HOURS))
    assert "differs from the aggregates in 2 hours, which stay to be done" in message
    assert NOON in refreshes.dirty()
    refreshes.settle()
    assert refreshes.differences() == []


def _outcome(run: Callable[[], object]) -> str:
    try:
        run()
    except DatacoError as error:
        return str(error)
    return ""


@contextmanager
def _blocked(search: SearchClient, index: str) -> Iterator[None]:
    block = "index.blocks.read_only_allow_delete"
    search.indices.put_settings(index=index, settings={block: True})
    yield
    search.indices.put_settings(index=index, settings={block: None})
