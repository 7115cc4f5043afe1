"""Tests the parts of the index that need no server: names, ids, template, stale documents, comparison, times."""

import hashlib
import re
from copy import deepcopy
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.aggregates.columns import AGGREGATES, PAGES
from dataco_assets.aggregates.totals import HourTotals
from dataco_assets.cli.times import TimeUnclear, moment
from dataco_assets.cli.top import time_range
from dataco_assets.clicks.event import MAX_URL
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.page import page_of
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.index.contents import NO_DOCUMENTS, HourContent
from dataco_assets.index.indices import IndexState
from dataco_assets.index.layout import (
    MAX_TERM_BYTES,
    IndexName,
    alias_of,
    differences,
    document_id,
    host_and_path,
    mappings,
    month_of,
    months_of,
    parse_name,
    properties,
    template_bodies,
)
from dataco_assets.index.publication import PublishedHour, compare, deletion
from dataco_assets.index.reading import Span
from dataco_assets.settings import Settings

NOON = 1_591_012_800_000
"""2020-06-01 12:00 UTC."""
ALIAS = "dataco-url-country"
SETTINGS = Settings(index_alias=ALIAS, index_shards=3, index_replicas=2)  # pyright: ignore[reportCallIssue]


def test_ids_are_the_hash_of_hour_page_and_country() -> None:
    told = hashlib.sha256("1591012800000|https://ü.example/|DE".encode()).hexdigest()
    assert document_id(PAGES, NOON, "https://ü.example/", "DE") == told[:32]


@given(
    st.integers(0, 300), st.integers(1, 12), st.integers(1, 999_998), st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,30}\Z")
)
def test_names_come_back_as_they_were(year: int, month: int, rebuild: int, alias: str) -> None:
    name = IndexName(alias, f"{1900 + year}.{month:02d}", rebuild)
    assert parse_name(alias, str(name)) == name
    assert parse_name(alias, str(name.successor)) == name.successor


@pytest.mark.parametrize(
    "index",
    [
        "dataco-url-country",
        "dataco-url-country-other",
        "dataco-url-country-other-2026.01",
        "dataco-url-country-2026.13",
        "dataco-url-country-2026.1",
        "dataco-url-country-2026.01-backup",
        "dataco-url-country-2026.01\n",
        "dataco-url-countryx2026.01",
        "xdataco-url-country-2026.01",
    ],
)
def test_names_of_others_are_none_of_ours(index: str) -> None:
    assert parse_name(ALIAS, index) is None
    assert not any(_in_template(index, name) for name in template_bodies(SETTINGS))


@pytest.mark.parametrize("index_alias", [ALIAS, "a", "a-audience", "x-audience-audience", "2026.01"])
def test_no_index_of_an_aggregate_is_another_s(index_alias: str) -> None:
    chosen = Settings(index_alias=index_alias)  # pyright: ignore[reportCallIssue]
    aliases = [alias_of(chosen, aggregate) for aggregate in AGGREGATES]
    months = [f"2026.{month:02d}{end}" for month in range(1, 13) for end in ("", "-r2")]
    names = {alias: [f"{alias}-{month}" for month in months] for alias in aliases}
    for aggregate, alias in zip(AGGREGATES, aliases, strict=True):
        for other in set(aliases) - {alias}:
            for index in names[other]:
                assert parse_name(alias, index) is None
                for body in template_bodies(chosen, aggregate).values():
                    assert not any(fnmatchcase(index, pattern) for pattern in body["index_patterns"])
    assert len({name for aggregate in AGGREGATES for name in template_bodies(chosen, aggregate)}) == 2 * len(AGGREGATES)


@pytest.mark.parametrize("suffix", ["-r0", "-r01", "-r", "-r1x"])
def test_a_rebuild_has_a_number(suffix: str) -> None:
    assert parse_name(ALIAS, f"{ALIAS}-2026.01{suffix}") is None


def test_first_indices_and_those_of_a_rebuild_have_a_template_each() -> None:
    for index in ("dataco-url-country-2026.01", "dataco-url-country-1999.12"):
        assert _in_template(index, ALIAS)
        assert not _in_template(index, f"{ALIAS}-rebuilt")
        assert _in_template(f"{index}-r2", f"{ALIAS}-rebuilt")
        assert not _in_template(f"{index}-r2", ALIAS)
    assert "aliases" not in template_bodies(SETTINGS)[f"{ALIAS}-rebuilt"]["template"]


def _in_template(index: str, name: str) -> bool:
    return any(fnmatchcase(index, pattern) for pattern in template_bodies(SETTINGS)[name]["index_patterns"])


def test_the_mapping_has_the_columns_of_the_aggregates() -> None:
    types = {"timestamp": "date", "string": "keyword", "long": "long", "double": "double"}
    expected = {column.name: types[column.type] for column in PAGES.columns if column.type in types}
    simple = {name: rule["type"] for name, rule in properties(PAGES).items() if "type" in rule}
    assert simple == expected | {"host": "keyword", "path": "keyword"}
    buckets = {bucket: {"type": "long", "index": False} for bucket in BUCKETS}
    assert {name: rule for name, rule in properties(PAGES).items() if "type" not in rule} == {
        "time_spent_buckets": {"properties": buckets}
    }
    assert "users_sketch" not in properties(PAGES)
    template = template_bodies(SETTINGS)[ALIAS]["template"]
    assert template["settings"]["index"]["number_of_shards"] == "3"
    assert template["settings"]["index"]["number_of_replicas"] == "2"


def test_an_index_that_lacks_a_field_or_a_bucket_cannot_be_read() -> None:
    def unreadable(mapping: dict[str, Any]) -> list[str]:
        return IndexState(IndexName("a", "2026.01"), True, frozenset(), mapping, {}, PAGES).unreadable_fields()

    def without(*path: str) -> dict[str, Any]:
        mapping = deepcopy(mappings(PAGES))
        *outer, last = path
        inner = mapping
        for name in outer:
            inner = inner["properties"][name]
        del inner["properties"][last]
        return mapping

    assert unreadable(mappings(PAGES)) == []
    assert unreadable(without("exits")) == ["exits"]
    assert unreadable(without("time_spent_buckets")) == ["time_spent_buckets"]
    assert unreadable(without("time_spent_buckets", "from_8000_ms")) == ["time_spent_buckets"]
    assert unreadable({}) == list(properties(PAGES))


def test_months_end_with_their_last_hour_in_utc() -> None:
    new_year = 1_609_459_200_000  # 2021-01-01 00:00 UTC
    assert (month_of(new_year - 1), month_of(new_year)) == ("2020.12", "2021.01")
    assert months_of([new_year, new_year - HOUR_MS, new_year + HOUR_MS]) == ["2020.12", "2021.01"]


@pytest.mark.parametrize(
    ("page", "host", "path"),
    [
        ("https://shop.example/", "shop.example", "/"),
        ("https://shop.example/a/b?q=/c?d", "shop.example", "/a/b"),
        ("http://shop.example:8080/a", "shop.example", "/a"),
        ("http://[2001:db8::1]/a", "[2001:db8::1]", "/a"),
        ("http://[2001:db8::1]:8080/?a", "[2001:db8::1]", "/"),
        ("https://bücher.example/ü\u2028ü", "bücher.example", "/ü\u2028ü"),
        ("no page", "", ""),
    ],
)
def test_host_and_path(page: str, host: str, path: str) -> None:
    assert host_and_path(page) == (host, path)


@pytest.mark.parametrize("start", ["http://", "https://"])
def test_no_page_is_too_long_for_a_keyword(start: str) -> None:
    page = page_of(start + "𐐨" * (MAX_URL - len(start)))  # a letter of four bytes
    assert len(page) == MAX_URL + 1  # and the "/" that stands for the empty path
    assert len(page.encode()) <= MAX_TERM_BYTES


def test_differences_name_the_place() -> None:
    expected = {"a": {"b": 1, "c": [1]}, "d": "x"}
    assert differences(expected, expected) == []
    assert differences(expected, {"a": {"b": 2, "c": [1], "e": True}}) == [
        "a.b should be 1 but is 2",
        "a.e should be absent but is True",
        "d should be 'x' but is absent",
    ]


HIT = {"_index": "i", "_id": "x", "_version": 4, "_seq_no": 17, "_primary_term": 2}


def test_older_generations_are_deleted_at_ours_and_the_same_only_unchanged() -> None:
    assert deletion(HIT, 5) == {
        "_op_type": "delete",
        "_index": "i",
        "_id": "x",
        "version": 5,
        "version_type": "external",
    }
    assert deletion(HIT, 4) == {"_op_type": "delete", "_index": "i", "_id": "x", "if_seq_no": 17, "if_primary_term": 2}


SUMS = {
    "click_count": 3,
    "unique_users": 3,
    "entering_users": 2,
    "time_spent_seconds_sum": 0.3,
    "time_spent_samples": 2,
    "entries": 2,
    "exits": 1,
    "bounces": 0,
    "bot_clicks": 1,
    **{f"time_spent_buckets.{bucket}": 0 for bucket in BUCKETS},
    "time_spent_buckets.from_0_ms": 2,
}


def _content(**changes: float) -> HourContent:
    origin = {"oldest_generation": 2, "newest_generation": 4, "newest_computed_at_ms": 1}
    sums = {name: changes.pop(name, value) for name, value in SUMS.items()}
    fields = {"documents": 2, "unnamed": 0} | origin | changes
    return HourContent(**fields, sums=sums)  # pyright: ignore[reportArgumentType]


PUBLISHED = PublishedHour(NOON, 4, 1, HourTotals(2, SUMS | {"time_spent_seconds_sum": 0.1 + 0.2}))


def test_an_hour_as_published_compares_equal() -> None:
    assert {column.name for column in PAGES.totalled} == SUMS.keys()
    assert compare(PAGES, PUBLISHED, _content()) is None
    assert compare(PAGES, PublishedHour(NOON, 4, 1, HourTotals(0, dict.fromkeys(SUMS, 0))), NO_DOCUMENTS) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"documents": 3}, "documents: 3 in place of 2"),
        ({"click_count": 4}, "clicks: 4 in place of 3"),
        ({"unique_users": 4}, "unique users, summed over groups: 4 in place of 3"),
        ({"entering_users": 3}, "unique users: 3 in place of 2"),
        ({"time_spent_samples": 4}, "clicks of known duration"),
        ({"time_spent_seconds_sum": 0.301}, "seconds spent: 0.301 in place of 0.300"),
        ({"entries": 1}, "entries: 1 in place of 2"),
        ({"exits": 2}, "exits: 2 in place of 1"),
        ({"bounces": 1}, "bounces: 1 in place of 0"),
        ({"bot_clicks": 2}, "clicks of bots: 2 in place of 1"),
        ({"time_spent_buckets.from_0_ms": 1}, "clicks of known duration from_0_ms: 1 in place of 2"),
        ({"time_spent_buckets.from_1000_ms": 1}, "clicks of known duration from_1000_ms: 1 in place of 0"),
        ({"newest_computed_at_ms": 2}, "documents of another run"),
        ({"unnamed": 1}, "1 documents that name no run"),
    ],
)
def test_each_difference_is_told(change: dict[str, float], told: str) -> None:
    mismatch = compare(PAGES, PUBLISHED, _content(**change))
    assert mismatch is not None
    assert told in str(mismatch)
    assert str(mismatch).startswith("2020-06-01-12:00: ")
    assert mismatch.newer_generation is None


def test_a_newer_run_is_named() -> None:
    newer = compare(PAGES, PUBLISHED, _content(newest_generation=6))
    assert newer is not None
    assert newer.newer_generation == 6
    assert newer.problems == ("documents of another run (generation up to 6, computed until 1 ms)",)


def test_an_hour_without_documents_lacks_them_all() -> None:
    lost = compare(PAGES, PUBLISHED, NO_DOCUMENTS)
    assert lost is not None
    assert lost.problems[0] == "documents: 0 in place of 2"
    assert lost.newer_generation is None


HELD = Span(NOON - 100 * HOUR_MS, NOON)


@pytest.mark.parametrize(
    ("hour", "since", "until", "start", "end"),
    [
        ("", "", "", NOON - 23 * HOUR_MS, NOON + HOUR_MS),
        ("2020-06-01-12:00", "", "", NOON, NOON + HOUR_MS),
        ("2020-06-01T14:30+02:00", "", "", NOON, NOON + HOUR_MS),
        ("", "2020-06-01", "", NOON - 12 * HOUR_MS, NOON + HOUR_MS),
        ("", "2020-06-01T10", "2020-06-01T12:00Z", NOON - 2 * HOUR_MS, NOON + HOUR_MS),
        ("", "", "2020-06-01-12:00", NOON - 23 * HOUR_MS, NOON + HOUR_MS),
        ("", "2020-06-01", "2020-06-01", NOON - 12 * HOUR_MS, NOON + 12 * HOUR_MS),
    ],
)
def test_times_a_person_types(hour: str, since: str, until: str, start: int, end: int) -> None:
    assert time_range(hour, since, until, HELD) == (start, end)


@pytest.mark.parametrize(
    ("hour", "since", "until", "told"),
    [
        ("noon", "", "", "--hour 'noon' is not a time"),
        ("2020-06-01T12", "2020-06-01", "", "either --hour, or"),
        ("", "2020-06-01T12", "2020-06-01T11", "no hour from"),
        ("", "", "2020-13-01", "--until"),
    ],
)
def test_times_that_are_none(hour: str, since: str, until: str, told: str) -> None:
    with pytest.raises(TimeUnclear, match=re.escape(told)):
        time_range(hour, since, until, HELD)


def test_a_time_without_offset_is_utc() -> None:
    assert moment("--since", "2020-06-01T12:00") == NOON == moment("--since", "2020-06-01T14:00+02:00")
