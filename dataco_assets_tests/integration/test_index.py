"""Tests the index on real Elasticsearch: creation, versions, stale documents, verification, rebuild, reading.

What was written is read back with the plain client, not with the code under test.
"""

import random
import re
import signal
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from elasticsearch import Elasticsearch, NotFoundError
from typer.testing import CliRunner

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.totals import HourTotals
from dataco_assets.cli import index as index_command
from dataco_assets.cli import top as top_command
from dataco_assets.clicks.event import MAX_URL
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.page import page_of
from dataco_assets.clients.elasticsearch import SearchClient, bulk, open_client
from dataco_assets.elasticsearch_errors import (
    AlreadyThere,
    ElasticsearchRefused,
    IndexBlocked,
    IndexClosed,
    IndexMissing,
)
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index import layout, publication, setup, templates
from dataco_assets.index import rebuild as rebuild_module
from dataco_assets.index.indices import Index as Alias
from dataco_assets.index.indices import IndexMismatch, IndexReplaced
from dataco_assets.index.layout import document_id, host_and_path
from dataco_assets.index.publication import (
    PublishedHour,
    delete_own,
    delete_stale,
    refresh,
    verify_hours,
)
from dataco_assets.index.reading import Span, busiest_pages, span
from dataco_assets.index.rebuild import Rebuilt, rebuild
from dataco_assets.index.setup import ensure_index, ensure_month_indices
from dataco_assets.index.templates import ForeignTemplate
from dataco_assets.settings import Settings, settings
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

NOON = 1_591_012_800_000
"""2020-06-01 12:00 UTC."""
JULY = 1_593_561_600_000
"""2020-07-01 00:00 UTC."""
RUN = 1_700_000_000_000
Rows = Mapping[tuple[str, str], int]


@dataclass
class Index:
    """An alias for one test, and shortcuts that use the plain client."""

    settings: Settings
    client: SearchClient
    plain: Elasticsearch
    neighbours: dict[str, Any] = field(default_factory=dict)

    @property
    def looked_up(self) -> Alias:
        """The current state of the alias."""
        return Alias(self.client, self.alias)

    def write_index(self, month: str) -> str:
        """The month's index behind the alias, according to Elasticsearch."""
        (name,) = [name for name in self.indices() if re.fullmatch(rf"{self.alias}-{month}(-r\d+)?", name)]
        return name

    @property
    def alias(self) -> str:
        return self.settings.index_alias

    def create(self, *hours: int) -> "Index":
        ensure_index(self.looked_up, self.settings, now_ms=NOON)
        ensure_month_indices(self.looked_up, self.settings, hours)
        return self

    def write(self, hour: int, rows: Rows, generation: int, computed_at: int = RUN, index: str = "") -> list[Any]:
        """Writes documents as the Spark connector does; returns the failures."""
        target = index or self.write_index("2020.06" if hour < JULY else "2020.07")
        operations: list[dict[str, Any]] = []
        for (page, country), clicks in rows.items():
            version = {"version": generation, "version_type": "external_gte"}
            operations.append({"index": {"_index": target, "_id": document_id(PAGES, hour, page, country), **version}})
            operations.append(document(hour, page, country, clicks, generation, computed_at))
        if not operations:
            return []
        items = self.plain.bulk(operations=operations)["items"]
        return [item["index"]["error"]["type"] for item in items if "error" in item["index"]]

    def publish(self, hour: int, rows: Rows, generation: int, computed_at: int = RUN) -> int:
        """Writes documents and deletes stale ones; returns the number deleted."""
        assert self.write(hour, rows, generation, computed_at) == []
        return self.delete([published(hour, rows, generation, computed_at)], rows)

    def delete(self, run: list[PublishedHour], rows: Rows) -> int:
        """What a run deletes that has these rows of each of its hours; returns the number deleted."""
        hours = [each.hour for each in run]
        refresh(self.looked_up, hours)
        kept = {document_id(PAGES, hour, *group) for hour in hours for group in rows}
        query = {"terms": {"hour": hours}}
        names = self.looked_up.holding(hours)  # the index of another month may be closed
        hits = self.plain.search(index=names, query=query, size=10_000, source=False)["hits"]["hits"]
        return delete_stale(self.looked_up, run, [hit["_id"] for hit in hits if hit["_id"] not in kept])

    def rows(self, name: str = "") -> dict[tuple[int, str, str], tuple[int, int]]:
        """Clicks and generation of every document that readers see."""
        target = name or self.alias
        self.plain.indices.refresh(index=target)
        hits = self.plain.search(index=target, size=10_000, version=True)["hits"]["hits"]
        sources = [(hit["_source"], hit["_version"]) for hit in hits]
        assert all(source["generation"] == version for source, version in sources)
        return {(ms(s["hour"]), s["page"], s["country"]): (s["click_count"], s["generation"]) for s, _ in sources}

    def indices(self) -> set[str]:
        return set(self.plain.indices.get_alias(name=self.alias).body)

    def everything(self, pattern: str) -> dict[str, Any]:
        """Definition and documents of all indices that match."""
        found = self.plain.indices.get(index=pattern, allow_no_indices=True).body
        return {name: (state, self.plain.search(index=name)["hits"]["hits"]) for name, state in found.items()}


def document(hour: int, page: str, country: str, clicks: int, generation: int, computed_at: int) -> dict[str, Any]:
    host, path = host_and_path(page)
    samples = clicks // 2
    return {
        "hour": iso(hour),
        "page": page,
        "country": country,
        "host": host,
        "path": path,
        "click_count": clicks,
        "unique_users": max(1, clicks // 3),
        "entering_users": clicks // 4,
        "time_spent_seconds_sum": samples * 1.1,
        "time_spent_samples": samples,
        "average_time_spent_seconds": 1.1 if samples else None,
        "entries": clicks // 5,
        "exits": clicks - samples,
        "bounces": clicks // 6,
        "time_spent_buckets": {"from_1000_ms": samples} if samples else {},
        "bot_clicks": clicks // 7,
        "generation": generation,
        "computed_at": iso(computed_at),
    }


def iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def held(source: dict[str, Any], number: str) -> float:
    """A number of a document; 0 for a bucket that it does not have."""
    name, _, bucket = number.partition(".")
    return source[name].get(bucket, 0) if bucket else source[name]


def published(hour: int, rows: Rows, generation: int, computed_at: int = RUN) -> PublishedHour:
    documents = [document(hour, *group, clicks, generation, computed_at) for group, clicks in rows.items()]
    sums = {column.name: sum(held(each, column.name) for each in documents) for column in PAGES.totalled}
    return PublishedHour(hour, generation, computed_at, HourTotals(len(rows), sums))


def pages(count: int, *, seed: int = 0) -> dict[tuple[str, str], int]:
    chance = random.Random(seed)
    return {
        (f"https://shop.example/p/{n}", chance.choice(("DE", "FR", "ZZ"))): chance.randint(1, 90) for n in range(count)
    }


@pytest.fixture
def index(stack: Stack) -> Iterator[Index]:
    url = stack.env()["DATACO_ELASTICSEARCH_URL"]
    alias = f"i{uuid.uuid4().hex[:10]}"
    chosen = Settings(elasticsearch_url=url, index_alias=alias, index_replicas=0)  # pyright: ignore[reportCallIssue]
    plain = Elasticsearch(url)
    made = Index(chosen, open_client(url, retry_seconds=5), plain)
    for name in (f"{alias}-other-2020.06", f"{alias}-2020.06-backup"):
        plain.index(index=name, document={"hour": NOON, "mine": "yes"}, refresh=True)
    made.neighbours = made.everything(f"{alias}*")
    yield made
    try:
        present = made.everything(f"{alias}*")
        assert {name: present.get(name) for name in made.neighbours} == made.neighbours, "a neighbour was touched"
    finally:
        names = list(plain.indices.get(index=f"{alias}*", allow_no_indices=True).body)
        plain.indices.delete(index=names)
        for template in (alias, f"{alias}-rebuilt"):
            plain.options(ignore_status=404).indices.delete_index_template(name=template)


# Creation


def test_setup_creates_what_is_missing_and_then_finds_it(index: Index) -> None:
    first = ensure_index(index.looked_up, index.settings, now_ms=NOON)
    before = index.everything(f"{index.alias}-*")
    second = ensure_index(index.looked_up, index.settings, now_ms=NOON)

    assert all(created for _, created in first)
    assert [created for _, created in second] == [False, False]
    assert index.everything(f"{index.alias}-*") == before
    assert index.indices() == {f"{index.alias}-2020.06"}


def test_months_are_created_once_with_alias_mapping_and_settings(index: Index) -> None:
    chosen = index.settings.model_copy(update={"index_shards": 3})
    ensure_index(index.looked_up, chosen, now_ms=NOON)

    created = ensure_month_indices(index.looked_up, chosen, [NOON, JULY - 1, JULY])
    again = ensure_month_indices(index.looked_up, chosen, [NOON, JULY])

    assert (created, again) == ([f"{index.alias}-2020.07"], [])
    state = index.plain.indices.get(index=f"{index.alias}-2020.07")[f"{index.alias}-2020.07"]
    assert state["settings"]["index"]["number_of_shards"] == "3"
    assert state["settings"]["index"]["number_of_replicas"] == "0"
    assert state["mappings"]["dynamic"] == "strict"
    assert set(state["aliases"]) == {index.alias}


def test_nothing_is_created_by_a_write(index: Index) -> None:
    index.create()
    for name in ("2021.01", "2020.06-r2"):
        with pytest.raises(NotFoundError, match="forbids index auto creation"):
            index.plain.index(index=f"{index.alias}-{name}", document={"hour": NOON})


def test_indices_of_others_made_later_are_none_of_ours(index: Index) -> None:
    index.create()
    for name in (f"{index.alias}-later", f"{index.alias}-later-2020.06", f"{index.alias}-2020.06-copy"):
        index.plain.index(index=name, id="x", document={"anything": 1})
        state = index.plain.indices.get(index=name)[name]
        assert state["aliases"] == {}
        assert state["mappings"].get("dynamic") is None
    assert index.indices() == {f"{index.alias}-2020.06"}


def test_a_month_without_a_template_is_not_created(index: Index) -> None:
    with pytest.raises(IndexMissing, match="dataco setup"):
        ensure_month_indices(index.looked_up, index.settings, [NOON])
    assert f"{index.alias}-2020.06" not in index.everything(f"{index.alias}-*")


def test_the_mapping_is_strict(index: Index) -> None:
    index.create()
    good = document(NOON, "https://a.example/", "DE", 1, 1, RUN)
    target = f"{index.alias}-2020.06"
    bad: list[dict[str, Any]] = [{"surprise": 1}, {"click_count": "many"}, {"hour": "yesterday"}]
    for change in bad:
        with pytest.raises(ElasticsearchRefused, match="400") as caught:
            bulk(index.client, [{"_op_type": "index", "_index": target, "_id": "x", "_source": {**good, **change}}])
        assert next(iter(change)) in str(caught.value)
    done = bulk(index.client, [{"_op_type": "index", "_index": target, "_id": "x", "_source": good}])
    assert done.done == 1


@pytest.mark.parametrize("letter", ["a", "ü", "界", "𐌰"])
def test_the_longest_page_can_be_stored_and_found(index: Index, letter: str) -> None:
    index.create()
    page = page_of("http://a?" + letter * (MAX_URL - 9))
    assert len(page) == MAX_URL + 1  # and the "/" that stands for the empty path
    with_longest_path = page_of("http://a/" + letter * (MAX_URL - 9))

    assert index.write(NOON, {(page, "DE"): 4, (with_longest_path, "DE"): 2}, generation=1) == []

    index.plain.indices.refresh(index=index.alias)
    for name, value in (("page", page), ("path", with_longest_path[len("http://a") :])):
        assert index.plain.count(index=index.alias, query={"term": {name: value}})["count"] == 1
    found = busiest_pages(index.looked_up, NOON, NOON + HOUR_MS)
    assert [(each.page, each.clicks) for each in found] == [(page, 4), (with_longest_path, 2)]


def test_a_template_that_differs_is_named(index: Index) -> None:
    index.create()
    changed = index.settings.model_copy(update={"index_shards": 2})
    with pytest.raises(IndexMismatch, match=r"number_of_shards should be '2' but is '1'.*dataco index rebuild"):
        ensure_index(index.looked_up, changed, now_ms=NOON)


def test_an_index_that_differs_is_named(index: Index) -> None:
    index.create()
    extra = {"referrer": {"type": "keyword"}}
    index.plain.indices.put_mapping(index=f"{index.alias}-2020.06", properties=extra)
    wanted = r"2020\.06.*referrer should be absent.*dataco index rebuild"
    with pytest.raises(IndexMismatch, match=wanted):
        ensure_index(index.looked_up, index.settings, now_ms=NOON)
    with pytest.raises(IndexMismatch, match=wanted):
        ensure_month_indices(index.looked_up, index.settings, [NOON])


def test_an_index_outside_the_alias_is_named_when_it_holds_documents(index: Index) -> None:
    index.create()
    index.write(NOON, {("https://a.example/", "DE"): 1}, 1)
    index.plain.indices.delete_alias(index=f"{index.alias}-2020.06", name=index.alias)
    with pytest.raises(IndexMismatch, match=r"2020\.06 exists but is not behind alias"):
        ensure_month_indices(index.looked_up, index.settings, [NOON])


def test_what_a_failed_creation_left_does_not_block_its_month(index: Index) -> None:
    index.create()
    stray = f"{index.alias}-2020.07"
    with foreign_template(index, priority=1000):  # an index made by it: another mapping, and no alias
        index.plain.indices.create(index=stray)

    assert ensure_month_indices(index.looked_up, index.settings, [JULY]) == [stray]

    assert index.indices() == {f"{index.alias}-2020.06", stray}
    assert index.write(JULY, {("https://a.example/", "DE"): 1}, 1) == []


@contextmanager
def foreign_template(index: Index, priority: int, **body: Any) -> Iterator[str]:
    """A foreign template that matches every index of the alias, for the duration of the block."""
    name = f"company-default-{index.alias}"
    body = body or {"template": {"settings": {"number_of_shards": 2}}}
    index.plain.indices.put_index_template(name=name, index_patterns=[f"{index.alias}-*"], priority=priority, **body)
    try:
        yield name
    finally:
        index.plain.indices.delete_index_template(name=name)


TAKES_PRECEDENCE = r"Index template {name} \(patterns .*-\*; priority 1000\) takes precedence .* lower its priority"


@pytest.mark.parametrize("body", [{}, {"data_stream": {}}, {"template": {"aliases": {"all": {}}}}])
def test_somebody_elses_template_is_named_before_anything_is_replaced(index: Index, body: dict[str, Any]) -> None:
    index.create()
    index.publish(NOON, pages(20), generation=1)
    before, everything = index.rows(), set(index.everything(f"{index.alias}-*"))

    with foreign_template(index, 1000, **body) as name:
        named = TAKES_PRECEDENCE.format(name=name)
        with pytest.raises(ForeignTemplate, match=named):
            run_rebuild(index)
        with pytest.raises(ForeignTemplate, match=named):
            ensure_index(index.looked_up, index.settings, now_ms=NOON)
        with pytest.raises(ForeignTemplate, match=named):
            ensure_month_indices(index.looked_up, index.settings, [JULY])
        assert ensure_month_indices(index.looked_up, index.settings, [NOON]) == []  # everything is unchanged

        assert set(index.everything(f"{index.alias}-*")) == everything
        assert index.rows() == before
        assert len(busiest_pages(index.looked_up, NOON, NOON + HOUR_MS, limit=50)) == 20

    assert ensure_month_indices(index.looked_up, index.settings, [JULY]) == [f"{index.alias}-2020.07"]
    assert len(run_rebuild(index)) == 2
    assert index.rows() == before


def test_a_template_that_appears_while_an_index_is_made_is_found_before_readers_get_the_index(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.create()
    index.publish(NOON, pages(20), generation=1)
    before, everything = index.rows(), set(index.everything(f"{index.alias}-*"))
    honest, looked = templates.check_precedence, []

    def not_yet_there(*arguments: Any) -> None:
        looked.append(1)
        if len(looked) > 1:
            honest(*arguments)

    monkeypatch.setattr(rebuild_module, "check_precedence", not_yet_there)
    monkeypatch.setattr(setup, "check_precedence", not_yet_there)
    with foreign_template(index, 1000) as name:
        with pytest.raises(
            IndexMismatch, match=r"2020\.06-r2 was created from an index template that is not the platform"
        ):
            run_rebuild(index)
        looked.clear()
        with pytest.raises(IndexMismatch, match=TAKES_PRECEDENCE.format(name=name)):
            ensure_month_indices(index.looked_up, index.settings, [JULY])
        assert set(index.everything(f"{index.alias}-*")) == everything
        assert index.rows() == before
    assert index.write(NOON, {("https://a.example/", "DE"): 1}, 1) == []  # writes are not blocked any more


def test_templates_that_do_not_take_precedence_do_not_matter(index: Index) -> None:
    legacy = f"legacy-{index.alias}"
    index.plain.indices.put_template(
        name=legacy, index_patterns=[f"{index.alias}-*"], order=9_000, settings={"number_of_shards": 3}
    )
    try:
        with foreign_template(index, priority=1):
            index.create(NOON, JULY)
            run_rebuild(index)
    finally:
        index.plain.indices.delete_template(name=legacy)
    states = index.plain.indices.get(index=index.alias).body.values()
    assert {state["settings"]["index"]["number_of_shards"] for state in states} == {"1"}


def test_a_closed_month_is_named_and_the_others_go_on(index: Index) -> None:
    index.create(NOON, JULY)
    for hour in (NOON, JULY):
        index.publish(hour, pages(20), generation=1)
    name = f"{index.alias}-2020.06"
    index.plain.indices.close(index=name)
    named = rf"{name}.* is closed.*POST /{name}/_open"

    looked_up = index.looked_up
    assert span(looked_up) == Span(JULY, JULY)
    assert len(busiest_pages(looked_up, JULY, JULY + HOUR_MS, limit=50)) == 20
    assert index.publish(JULY, pages(10), generation=2) == 10
    refresh(looked_up, [JULY])
    assert verify_hours(looked_up, [published(JULY, pages(10), 2)]) == []
    for use in (
        lambda: busiest_pages(looked_up, NOON, JULY + HOUR_MS),
        lambda: verify_hours(looked_up, [published(NOON, pages(20), 1)]),
        lambda: ensure_month_indices(index.looked_up, index.settings, [NOON, JULY]),
        lambda: run_rebuild(index),
    ):
        with pytest.raises(IndexClosed, match=named):
            use()
    assert [done.old for done in run_rebuild(index, months=["2020.07"])] == [f"{index.alias}-2020.07"]
    assert any(
        name in line and "closed" in line for line, _ in ensure_index(index.looked_up, index.settings, now_ms=JULY)
    )

    index.plain.indices.close(index=f"{index.alias}-2020.07-r2")
    with pytest.raises(IndexClosed, match=named):
        span(index.looked_up)
    for each in (name, f"{index.alias}-2020.07-r2"):
        index.plain.indices.open(index=each)
    index.plain.cluster.health(index=f"{index.alias}-*", wait_for_no_initializing_shards=True)


def test_a_month_that_a_rebuild_replaces_meanwhile_is_published_again(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(20), generation=1)
    looked_up = index.looked_up

    def replaced_in_the_middle() -> None:
        with looked_up.in_use([NOON]):
            run_rebuild(index)
            verify_hours(looked_up, [published(NOON, pages(20), 1)])

    with pytest.raises(IndexReplaced, match=r"replaced .*-2020\.06 meanwhile") as caught:
        replaced_in_the_middle()
    assert caught.value.kind is ErrorKind.PASSING
    assert verify_hours(looked_up, [published(NOON, pages(20), 1)]) == []
    with pytest.raises(IndexMissing) as missing, looked_up.in_use([NOON]):  # nothing was replaced
        index.client.indices.get(index=f"{index.alias}-2020.08")
    assert type(missing.value) is IndexMissing


def test_somebody_elses_index_behind_the_alias_is_named(index: Index) -> None:
    index.create()
    other = f"{index.alias}-extra"
    index.plain.indices.create(index=other, aliases={index.alias: {}})
    with pytest.raises(IndexMismatch, match=rf"{other} is behind alias {index.alias} but is not one of the platform's"):
        ensure_index(index.looked_up, index.settings, now_ms=NOON)


def test_an_index_in_the_place_of_the_alias_is_named(index: Index) -> None:
    index.plain.indices.create(index=index.alias)
    with pytest.raises(IndexMismatch, match="is an index, where an alias is expected"):
        ensure_index(index.looked_up, index.settings, now_ms=NOON)


# Publication


def test_an_older_generation_never_wins(index: Index) -> None:
    index.create()
    new, old = {("https://a.example/", "DE"): 9}, {("https://a.example/", "DE"): 2}
    assert index.write(NOON, new, generation=5) == []

    assert index.write(NOON, old, generation=4) == ["version_conflict_engine_exception"]
    assert index.write(NOON, new, generation=5, computed_at=RUN + 1) == []
    assert index.rows() == {(NOON, "https://a.example/", "DE"): (9, 5)}


def test_stale_documents_of_the_hour_go_and_no_others(index: Index) -> None:
    index.create(NOON, JULY)
    a, b, c = (f"https://{name}.example/" for name in "abc")
    for hour in (NOON, NOON + HOUR_MS, JULY):
        index.publish(hour, {(a, "DE"): 1, (b, "DE"): 2, (c, "DE"): 3}, generation=3)

    assert index.publish(NOON, {(a, "DE"): 5}, generation=4) == 2
    assert index.publish(JULY, {(a, "DE"): 6}, generation=3, computed_at=RUN + 1) == 2

    seen = index.rows()
    assert {key: value for key, value in seen.items() if key[0] != NOON + HOUR_MS} == {
        (NOON, a, "DE"): (5, 4),
        (JULY, a, "DE"): (6, 3),
    }
    assert len(seen) == 5


def test_an_hour_that_became_empty_becomes_empty(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(5_000), generation=1)
    assert index.publish(NOON, {}, generation=2) == 5_000
    refresh(index.looked_up, [NOON])
    assert verify_hours(index.looked_up, [published(NOON, {}, 2)]) == []
    assert index.rows() == {}


def test_an_older_run_deletes_nothing_of_a_newer_one(index: Index) -> None:
    index.create()
    index.publish(NOON, {("https://a.example/", "DE"): 9}, generation=5, computed_at=RUN)
    older = [published(NOON, {}, generation=4, computed_at=RUN - 1), published(NOON, {}, 5, computed_at=RUN - 1)]
    assert [index.delete([run], {}) for run in older] == [0, 0]
    assert len(index.rows()) == 1


@pytest.mark.parametrize(("stale", "ours", "newer"), [(3, 5, 6), (3, 5, 5), (5, 5, 6), (5, 5, 5)])
def test_a_newer_document_written_between_search_and_deletion_survives(
    index: Index, monkeypatch: pytest.MonkeyPatch, stale: int, ours: int, newer: int
) -> None:
    index.create()
    raced, gone = ("https://raced.example/", "DE"), ("https://gone.example/", "DE")
    index.write(NOON, {raced: 1, gone: 1}, stale, computed_at=RUN)
    refresh(index.looked_up, [NOON])
    search = publication.scan_documents

    def search_and_lose_the_race(*arguments: Any, **options: Any) -> Iterator[Any]:
        hits = list(search(*arguments, **options))
        assert len(hits) == 2
        assert index.write(NOON, {raced: 7}, newer, computed_at=RUN + 2) == []
        yield from hits

    monkeypatch.setattr(publication, "scan_documents", search_and_lose_the_race)
    assert index.delete([published(NOON, {}, ours, computed_at=RUN + 1)], {}) == 1

    assert index.rows() == {(NOON, *raced): (7, newer)}


def test_a_straggling_older_run_cannot_bring_a_deleted_document_back(index: Index) -> None:
    index.create()
    page = {("https://a.example/", "DE"): 1}
    index.publish(NOON, page, generation=3)
    assert index.publish(NOON, {}, generation=5) == 1

    assert index.write(NOON, page, generation=4) == ["version_conflict_engine_exception"]
    assert index.write(NOON, page, generation=5) == []  # the same run once more, or a later one, can


def test_a_run_that_was_overtaken_takes_back_what_it_wrote_and_nothing_else(index: Index) -> None:
    index.create()
    a, b, c = ((f"https://{name}.example/", "DE") for name in "abc")
    index.write(NOON, {a: 1}, generation=5, computed_at=RUN + 1)
    index.write(NOON, {b: 1, c: 1}, generation=4)
    index.write(NOON + HOUR_MS, {b: 1}, generation=4)

    assert delete_own(index.looked_up, [published(NOON, {}, generation=4)]) == 2

    assert index.rows() == {(NOON, *a): (1, 5), (NOON + HOUR_MS, *b): (1, 4)}


def test_verification_of_a_month_in_one_go(index: Index) -> None:
    index.create(NOON, JULY)
    hours = [NOON + n * HOUR_MS for n in range(720)]
    rows = {hour: pages(3, seed=hour) for hour in hours}
    operations: list[dict[str, Any]] = []
    for hour in hours:
        target = f"{index.alias}-2020.0{6 if hour < JULY else 7}"
        for (page, country), clicks in rows[hour].items():
            operations += [{"index": {"_index": target}}, document(hour, page, country, clicks, 1, RUN)]
    assert not index.plain.bulk(operations=operations)["errors"]
    everything = [published(hour, rows[hour], 1) for hour in hours]
    refresh(index.looked_up, hours)

    assert verify_hours(index.looked_up, everything) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"click_count": 1_000}, "clicks: "),
        ({"unique_users": 1_000}, "unique users, summed over groups: "),
        ({"entering_users": 1_000}, "unique users: "),
        ({"time_spent_samples": 1_000}, "clicks of known duration: "),
        ({"bounces": 1_000}, "bounces: "),
        ({"time_spent_seconds_sum": 0.5}, "seconds spent: "),
        ({"computed_at": RUN + 1}, "documents of another run"),
        ({"generation": None}, "1 documents that name no run"),
        (None, "documents: 49 in place of 50"),
    ],
)
def test_verification_finds_each_difference(index: Index, change: dict[str, Any] | None, told: str) -> None:
    index.create()
    rows = pages(50)
    index.publish(NOON, rows, generation=2)
    index.publish(NOON + HOUR_MS, rows, generation=2)
    (page, country), clicks = next(iter(rows.items()))
    name, identity = f"{index.alias}-2020.06", document_id(PAGES, NOON, page, country)
    if change is None:
        index.plain.delete(index=name, id=identity)
    else:
        index.plain.index(index=name, id=identity, document=document(NOON, page, country, clicks, 2, RUN) | change)
    refresh(index.looked_up, [NOON])

    expected = [published(NOON + HOUR_MS, rows, 2), published(NOON, rows, 2)]
    (mismatch,) = verify_hours(index.looked_up, expected)

    assert mismatch.hour == NOON
    assert told in str(mismatch)
    assert mismatch.newer_generation is None


def test_verification_tells_a_newer_run_from_a_fault(index: Index) -> None:
    index.create()
    rows = pages(5)
    index.publish(NOON, rows, generation=2)
    index.publish(NOON, rows, generation=3)
    refresh(index.looked_up, [NOON])
    (mismatch,) = verify_hours(index.looked_up, [published(NOON, rows, 2)])
    assert mismatch.newer_generation == 3


def test_a_month_without_an_index_is_a_mismatch_only_with_clicks(index: Index) -> None:
    index.create()
    empty, full = published(JULY, {}, 1), published(JULY, pages(2), 1)
    refresh(index.looked_up, [JULY])
    assert delete_stale(index.looked_up, [empty], ["x"]) == 0
    assert verify_hours(index.looked_up, [empty]) == []
    assert len(verify_hours(index.looked_up, [full])) == 1


def test_a_full_disk_is_an_error_that_says_so(index: Index) -> None:
    index.create()
    name = f"{index.alias}-2020.06"
    index.plain.indices.put_settings(index=name, settings={"index.blocks.read_only_allow_delete": True})
    good = document(NOON, "https://a.example/", "DE", 1, 1, RUN)
    with pytest.raises(IndexBlocked, match="its disk is full"):
        bulk(index.client, [{"_op_type": "index", "_index": name, "_id": "x", "_source": good}])
    index.plain.indices.put_settings(index=name, settings={"index.blocks.read_only_allow_delete": None})


def test_an_index_closed_for_writing_is_an_error_before_writing(index: Index) -> None:
    index.create()
    name = f"{index.alias}-2020.06"
    index.plain.indices.add_block(index=name, block="write")
    with pytest.raises(IndexBlocked, match=r"2020\.06 blocks writes"):
        ensure_month_indices(index.looked_up, index.settings, [NOON])
    good = document(NOON, "https://a.example/", "DE", 1, 1, RUN)
    with pytest.raises(IndexBlocked, match="writes are blocked"):
        bulk(index.client, [{"_op_type": "index", "_index": name, "_id": "x", "_source": good}])
    index.plain.indices.put_settings(index=name, settings={"index.blocks.write": None})


def test_a_missing_shard_is_an_outage_not_a_mismatch(index: Index) -> None:
    index.create()
    name = f"{index.alias}-2020.06"
    index.plain.indices.close(index=name)
    with pytest.raises(DatacoError, match="closed"):
        verify_hours(index.looked_up, [published(NOON, {}, 1)])


def test_creating_twice_is_told_apart(index: Index) -> None:
    index.create()
    with pytest.raises(AlreadyThere):
        index.client.indices.create(index=f"{index.alias}-2020.06")


# Rebuild


class Reader:
    """Counts clicks through the alias repeatedly, and keeps every answer."""

    def __init__(self, index: Index) -> None:
        self.answers: Counter[object] = Counter()
        self._index = index
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> "Reader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        sums = {"clicks": {"sum": {"field": "click_count"}}}
        plain = Elasticsearch(self._index.settings.elasticsearch_url, max_retries=0)
        while not self._stop.is_set():
            reply = plain.search(index=self._index.alias, size=0, aggregations=sums, track_total_hits=True)
            self.answers[reply["hits"]["total"]["value"], reply["aggregations"]["clicks"]["value"]] += 1


def run_rebuild(index: Index, **options: Any) -> list[Rebuilt]:
    return list(rebuild(index.looked_up, index.settings, **{"grace_seconds": 0, **options}))


def test_a_rebuild_keeps_everything_and_readers_see_no_gap(index: Index) -> None:
    index.create(NOON, JULY)
    june, july = pages(3_000), pages(2_000, seed=1)
    index.publish(NOON, june, generation=7)
    index.publish(JULY, july, generation=8)
    before = index.rows()

    with Reader(index) as reader:
        first = run_rebuild(index, grace_seconds=0.2)
        second = run_rebuild(index, grace_seconds=0.2)

    assert set(reader.answers) == {(5_000, float(sum(june.values()) + sum(july.values())))}
    assert reader.answers.total() > 10
    assert index.rows() == before
    assert [done.new for done in first] == [f"{index.alias}-2020.06-r2", f"{index.alias}-2020.07-r2"]
    assert index.indices() == {done.new for done in second}
    assert set(index.everything(f"{index.alias}-*")) == {*index.neighbours, *index.indices()}
    assert ensure_month_indices(index.looked_up, index.settings, [NOON, JULY]) == []
    assert index.write_index("2020.06") == f"{index.alias}-2020.06-r3"
    assert index.write(NOON, {next(iter(june)): 1}, generation=6) == ["version_conflict_engine_exception"]


def test_a_rebuild_brings_the_new_mapping_and_settings(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(10), generation=1)
    changed = index.settings.model_copy(update={"index_shards": 2})
    with pytest.raises(IndexMismatch):
        ensure_index(index.looked_up, changed, now_ms=NOON)
    list(rebuild(index.looked_up, changed, grace_seconds=0))
    ensure_index(index.looked_up, changed, now_ms=NOON)
    (state,) = index.plain.indices.get(index=index.alias).body.values()
    assert state["settings"]["index"]["number_of_shards"] == "2"
    assert len(index.rows()) == 10


def test_a_rebuild_of_an_older_layout_keeps_documents_as_they_are_until_they_are_published_again(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pages(10)
    older = {name: rule for name, rule in layout.properties(PAGES).items() if name != "entering_users"}
    with monkeypatch.context() as patch:
        patch.setattr(layout, "properties", lambda _: older)
        index.create()
    for (page, country), clicks in rows.items():
        full = document(NOON, page, country, clicks, 1, RUN)
        index.plain.index(
            index=f"{index.alias}-2020.06",
            id=document_id(PAGES, NOON, page, country),
            document={name: full[name] for name in older},
            version=1,
            version_type="external_gte",
        )
    with pytest.raises(IndexMismatch, match=r"entering_users should be .* but is absent.*dataco index rebuild"):
        ensure_month_indices(index.looked_up, index.settings, [NOON])
    before = index.rows()

    run_rebuild(index)

    assert ensure_month_indices(index.looked_up, index.settings, [NOON]) == []
    assert index.rows() == before
    (mismatch,) = verify_hours(index.looked_up, [published(NOON, rows, 1)])
    assert mismatch.problems == (f"unique users: 0 in place of {published(NOON, rows, 1).totals.unique_users:,}",)
    index.publish(NOON, rows, generation=1, computed_at=RUN + 1)
    refresh(index.looked_up, [NOON])
    assert verify_hours(index.looked_up, [published(NOON, rows, 1, RUN + 1)]) == []


def test_a_rebuild_brings_documents_of_the_first_layout_into_this_one(index: Index) -> None:
    """Layout 1 as it was released: the page was `url`, times were epoch ms."""
    types = {
        "keyword": ("url", "country", "host", "path"),
        "long": ("click_count", "unique_users", "entering_users", "time_spent_samples", "generation"),
        "double": ("time_spent_seconds_sum", "average_time_spent_seconds"),
    }
    first: dict[str, Any] = {name: {"type": kind} for kind, names in types.items() for name in names}
    for name in ("hour", "computed_at"):
        first[name] = {"type": "date", "format": "epoch_millis||strict_date_optional_time"}
    rows = pages(2_000)
    old = f"{index.alias}-2020.06"
    mappings = {"dynamic": "strict", "_meta": {"layout": 1}, "properties": first}
    index.plain.indices.create(index=old, mappings=mappings, aliases={index.alias: {}})
    operations: list[dict[str, Any]] = []
    for (page, country), clicks in rows.items():
        source = document(NOON, page, country, clicks, 7, RUN) | {"url": page, "hour": NOON, "computed_at": RUN}
        for name in ("page", *PAGES.later):
            source.pop(name, None)  # documents have no sketch
        where = {
            "_index": old,
            "_id": document_id(PAGES, NOON, page, country),
            "version": 7,
            "version_type": "external_gte",
        }
        operations += [{"index": where}, source]
    assert not index.plain.bulk(operations=operations)["errors"]
    wanted = r"2020\.06.*dataco index rebuild"
    for use in (
        lambda: ensure_index(index.looked_up, index.settings, now_ms=NOON),
        lambda: span(index.looked_up),
        lambda: busiest_pages(index.looked_up, NOON, NOON + HOUR_MS),
    ):
        with pytest.raises(IndexMismatch, match=wanted):
            use()

    (done,) = run_rebuild(index)

    assert done.documents == 2_000
    assert index.rows() == {(NOON, *group): (clicks, 7) for group, clicks in rows.items()}
    index.plain.indices.refresh(index=index.alias)
    hits = index.plain.search(index=index.alias, size=3)["hits"]["hits"]
    for hit in hits:
        source = hit["_source"]
        group = (source["page"], source["country"])
        full = document(NOON, *group, rows[group], 7, RUN)
        assert source == {name: value for name, value in full.items() if name not in PAGES.later}
        assert hit["_id"] == document_id(PAGES, NOON, *group)
    whole = published(NOON, rows, 7).totals
    of_later_columns = [number.name for number in PAGES.totalled if number.name.partition(".")[0] in PAGES.later]
    lacking = HourTotals(whole.groups, dict(whole.sums) | dict.fromkeys(of_later_columns, 0))
    assert verify_hours(index.looked_up, [PublishedHour(NOON, 7, RUN, lacking)]) == []
    ensure_index(index.looked_up, index.settings, now_ms=NOON)


def test_times_are_text_in_answers_and_accepted_as_text_or_number(index: Index) -> None:
    index.create()
    index.publish(NOON, {("https://a.example/", "DE"): 3}, generation=1)
    for noon in (NOON, "2020-06-01T12:00:00Z", "2020-06-01T14:00+02:00"):
        aggregations = {"hours": {"terms": {"field": "hour"}}}
        found = index.plain.search(index=index.alias, query={"term": {"hour": noon}}, aggregations=aggregations)
        assert [hit["_source"]["hour"] for hit in found["hits"]["hits"]] == ["2020-06-01T12:00:00.000Z"]
        (bucket,) = found["aggregations"]["hours"]["buckets"]
        assert bucket["key_as_string"] == "2020-06-01T12:00:00.000Z"


def test_pages_are_found_by_the_words_in_them(index: Index) -> None:
    index.create()
    shoes = "https://shop.example/p/Red-Shoes?q=12"
    index.publish(NOON, {(shoes, "DE"): 3, ("https://other.test/", "DE"): 1}, generation=1)
    for query in ("page.words:shoes", "page.words:(example AND red)", f'page:"{shoes}"'):
        hits = index.plain.search(index=index.alias, q=query)["hits"]["hits"]
        assert [hit["_source"]["page"] for hit in hits] == [shoes], query


def test_what_is_published_during_a_rebuild_is_kept(index: Index) -> None:
    index.create()
    rows = pages(4_000)
    hours = [NOON + n * HOUR_MS for n in range(3)]
    for hour in hours:
        index.publish(hour, rows, generation=1)
    shrunk = dict(list(rows.items())[:100]) | {("https://new.example/", "DE"): 5}
    published_at: list[int] = []

    def meanwhile(_: str, done: int, total: int) -> None:
        if done == 5_000 and not published_at:  # in the middle of the copying
            published_at.append(done)
            index.publish(hours[0], shrunk, generation=2)
        if done == total == 12_000:  # right before writes are blocked
            index.publish(hours[1], rows, generation=1, computed_at=RUN + 1)
            index.publish(hours[2] + HOUR_MS, shrunk, generation=1)

    (done,) = run_rebuild(index, progress=meanwhile)

    assert published_at == [5_000]
    assert done.hours_copied_again == 3
    expected = [published(hours[0], shrunk, 2), published(hours[1], rows, 1, RUN + 1), published(hours[2], rows, 1)]
    expected.append(published(hours[2] + HOUR_MS, shrunk, 1))
    assert verify_hours(index.looked_up, expected) == []
    assert done.documents == 101 + 4_000 + 4_000 + 101


class Writer:
    """Writes one document after another to an index, and records which were acknowledged and which refused."""

    def __init__(self, index: Index) -> None:
        self.acknowledged: list[str] = []
        self.refused: Counter[str] = Counter()
        self._index = index
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        number = 0
        while not self._stop.is_set():
            # Several writes to one name, as a Spark job does that looked it up at its start.
            target = self._index.write_index("2020.06")
            for _ in range(20):
                number += 1
                page = f"https://writer.example/{number}"
                errors = self._index.write(NOON, {(page, "DE"): 1}, 1, index=target)
                self.refused.update(errors)
                if not errors:
                    self.acknowledged.append(page)


def test_a_write_during_a_rebuild_is_kept_or_refused_never_lost(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(2_000), generation=1)

    with Writer(index) as writer:
        for _ in range(3):
            run_rebuild(index)

    assert len(writer.acknowledged) > 50
    assert set(writer.refused) <= {"cluster_block_exception", "index_not_found_exception"}
    stored = {page for _, page, _ in index.rows()}
    assert set(writer.acknowledged) <= stored
    assert index.indices() == {f"{index.alias}-2020.06-r4"}


def test_a_rebuild_that_fails_leaves_everything_as_it_was(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(3_000), generation=1)
    before = index.everything(f"{index.alias}-2020.06*")

    def fail(_: str, done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_rebuild(index, progress=fail)

    assert set(index.everything(f"{index.alias}-2020.06*")) == set(before)
    assert index.write(NOON, {("https://a.example/", "DE"): 1}, generation=1) == []


def test_what_a_killed_rebuild_left_is_named_and_restart_cleans_up(index: Index) -> None:
    index.create()
    index.publish(NOON, pages(30), generation=1)
    old = f"{index.alias}-2020.06"
    index.plain.indices.create(index=f"{old}-r2")
    index.plain.indices.add_block(index=old, block="write")

    with pytest.raises(IndexMismatch, match=rf"{old}-r2, {old} behind.*--restart"):
        run_rebuild(index)
    (done,) = run_rebuild(index, restart=True)

    assert (done.new, done.documents) == (f"{old}-r2", 30)
    assert index.write(NOON, {("https://a.example/", "DE"): 1}, generation=1) == []


def test_a_rebuild_of_one_month_leaves_the_others(index: Index) -> None:
    index.create(NOON, JULY)
    run_rebuild(index, months=["2020.07"])
    assert index.indices() == {f"{index.alias}-2020.06", f"{index.alias}-2020.07-r2"}
    with pytest.raises(IndexMismatch, match=r"no index for 2020\.08"):
        run_rebuild(index, months=["2020.08"])


# Reading


def test_months_without_an_index_are_empty_whatever_other_aliases_hold(index: Index) -> None:
    index.create(NOON)
    index.publish(NOON, pages(3), generation=1)
    stranger, august = f"x{index.alias}", JULY + 31 * 24 * HOUR_MS
    index.plain.indices.create(index=stranger, mappings=layout.mappings(PAGES))
    try:
        found = document(august, "https://other.example/", "FR", 5, 1, RUN)
        index.plain.index(index=stranger, document=found, refresh=True)
        assert busiest_pages(index.looked_up, august, august + HOUR_MS) == []
    finally:
        index.plain.indices.delete(index=stranger)


def test_busiest_pages_add_up_over_hours_and_months(index: Index) -> None:
    index.create(NOON, JULY)
    hours = [NOON, NOON + HOUR_MS, JULY]
    rows = {hour: pages(300, seed=hour) for hour in hours}
    for hour in hours:
        index.publish(hour, rows[hour], generation=1)
    index.plain.indices.refresh(index=index.alias)
    expected: Counter[tuple[str, str]] = Counter()
    for hour in hours:
        expected.update(rows[hour])

    found = busiest_pages(index.looked_up, NOON, JULY + HOUR_MS, limit=1_000)

    assert [((p.page, p.country), p.clicks) for p in found] == sorted(
        expected.items(), key=lambda item: (-item[1], item[0])
    )
    top = found[0]
    per_hour = [rows[hour].get((top.page, top.country), 0) for hour in hours]
    assert top.most_users_in_an_hour == max(max(1, clicks // 3) for clicks in per_hour if clicks)
    assert top.samples == sum(clicks // 2 for clicks in per_hour)
    assert top.average_seconds == pytest.approx(1.1)
    assert top.time_spent["from_1000_ms"] == top.samples == sum(top.time_spent.values())
    assert (top.seconds(50), top.seconds(90)) == (pytest.approx(1.25), pytest.approx(1.45))
    french = busiest_pages(index.looked_up, NOON, JULY, "FR", limit=5)
    assert {page.country for page in french} == {"FR"}
    assert french[0].clicks == max(
        count for (_, country), count in (Counter(rows[NOON]) + Counter(rows[hours[1]])).items() if country == "FR"
    )
    held = span(index.looked_up)
    assert held is not None
    assert (held.first_hour, held.last_hour) == (NOON, JULY)


# Commands


@pytest.fixture
def command(index: Index, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", index.settings.elasticsearch_url)
    monkeypatch.setenv("DATACO_INDEX_ALIAS", index.alias)
    monkeypatch.setenv("DATACO_INDEX_REPLICAS", "0")
    monkeypatch.setenv("COLUMNS", "160")
    settings.cache_clear()
    app = typer.Typer()
    app.command()(top_command.top)
    app.add_typer(index_command.app, name="index")
    yield lambda *arguments: CliRunner().invoke(app, arguments)
    settings.cache_clear()


def test_top_shows_event_text_as_it_is(index: Index, command: Callable[..., Any]) -> None:
    long_ago = NOON - 48 * HOUR_MS
    index.create(long_ago)
    hostile = "https://shop.example/[red]x[/red]\x9b31m"
    index.publish(NOON, {(hostile, "DE"): 12, ("https://shop.example/quiet", "FR"): 1}, generation=1)
    may = index.write_index("2020.05")
    assert index.write(long_ago, {("https://shop.example/long-ago", "FR"): 99}, generation=1, index=may) == []
    index.plain.indices.refresh(index=index.alias)

    shown = command("top")

    assert shown.exit_code == 0, shown.output
    assert r"https://shop.example/[red]x[/red]\x9b31m" in shown.output
    assert "quiet" in shown.output
    assert "long-ago" not in shown.output
    assert "99" in command("top", "--hour", "2020-05-30-12:00").output
    assert "quiet" not in command("top", "--country", "de").output
    assert "quiet" not in command("top", "--limit", "1").output


def test_top_shows_what_came_while_it_is_watched(index: Index, command: Callable[..., Any]) -> None:
    assert command("top", "--watch", "--json").exit_code != 0
    index.create()
    page = ("https://shop.example/", "DE")
    index.publish(NOON, {page: 3}, generation=1)
    index.plain.indices.refresh(index=index.alias)
    program = str(Path(sys.executable).with_name("dataco"))
    with subprocess.Popen([program, "top", "--watch", "--limit", "1"], stdout=subprocess.PIPE, text=True) as watching:
        try:
            lines = (line.split("\t") for line in watching.stdout or ())
            assert next(line for line in lines if line[0] == "1")[1:5] == [*page, "3", ""]
            index.publish(NOON, {page: 8}, generation=2)
            index.plain.indices.refresh(index=index.alias)
            assert next(line for line in lines if line[:4] == ["1", *page, "8"])[4] == "+5"
            other = ("https://shop.example/other", "DE")
            index.publish(NOON, {page: 8, other: 20}, generation=3)
            index.plain.indices.refresh(index=index.alias)
            shown = next(line for line in lines if line[:4] == ["1", *other, "20"])
            assert shown[4] == "", "it was below the only row that was read before"
        finally:
            watching.send_signal(signal.SIGINT)
        assert watching.wait(30) == 0


def test_top_says_what_is_missing(index: Index, command: Callable[..., Any]) -> None:
    missing = command("top")
    index.create()
    empty = command("top")
    index.publish(NOON, {("https://shop.example/", "DE"): 1}, generation=1)
    index.plain.indices.refresh(index=index.alias)
    elsewhere = command("top", "--hour", "2020-06-02T00")
    nobody = command("top", "--country", "FR")

    for result, told in (
        (missing, "no index behind alias"),
        (empty, "is empty"),
        (elsewhere, "starts at 2020-06-01-12:00 and ends with 2020-06-01-12:00"),
        (nobody, "no clicks from FR"),
    ):
        assert told in (result.output if result.exit_code == 0 else str(result.exception))
        assert isinstance(result.exception, DatacoError) == (result.exit_code != 0), result.output
    assert [each.exit_code for each in (missing, empty, elsewhere, nobody)] == [1, 1, 0, 1]
    assert "dataco setup" in str(missing.exception)
    assert "dataco setup" in str(empty.exception)


def test_index_rebuild_says_what_it_did(
    index: Index, command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dataco_assets.index.rebuild.GRACE_SECONDS", 0)
    index.create()
    index.publish(NOON, pages(40), generation=1)
    done = command("index", "rebuild", "--month", "2020.06")
    assert done.exit_code == 0, done.output
    assert f"{index.alias}-2020.06-r2: 40 documents" in done.output
    assert "replaced: 1;" in done.output
    wrong = command("index", "rebuild", "--month", "june")
    assert "is not a month like 2026.01" in str(wrong.exception)
