"""Tests the generator against its specification, and its verdict on each click against the contract's parser."""

import ipaddress
import tracemalloc
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime
from itertools import islice, pairwise
from urllib.parse import urlsplit

import msgspec
import pytest

from dataco_assets.clicks.event import Click, Rejection, parse
from dataco_assets.sources import site
from dataco_assets.sources.generator import (
    CLICK,
    DUPLICATE,
    HOUR_MS,
    LATE,
    GeneratorError,
    GeneratorSpec,
    SentClick,
    generate,
)
from dataco_assets.sources.malformed import MALFORMED

UNTIL_MS = 1_767_225_600_000
HALF_HOUR_MS = 1_800_000
MIXED = GeneratorSpec(
    count=40_000, hours=6, until_ms=UNTIL_MS, seed=7, duplicates=0.05, malformed=0.03, late=0.1, event_ids=0.5
)


@pytest.fixture(scope="module")
def mixed() -> list[SentClick]:
    return list(generate(MIXED))


def time_of(sent: SentClick) -> int:
    """Event time, read from the JSON alone."""
    stamp = msgspec.json.decode(sent.value or b"")["timestamp"]
    if isinstance(stamp, int):
        return stamp
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def test_same_spec_same_bytes_other_seed_other_stream(mixed: list[SentClick]) -> None:
    assert list(generate(MIXED)) == mixed
    assert list(islice(generate(replace(MIXED, hours=6.0)), 100)) == mixed[:100]
    other = list(generate(replace(MIXED, seed=8)))
    ids = {sent.event_id for sent in mixed if sent.event_id}
    assert ids
    assert ids.isdisjoint(sent.event_id for sent in other if sent.event_id)


def test_shares_are_exact(mixed: list[SentClick]) -> None:
    kinds = Counter(sent.kind for sent in mixed)
    assert len(mixed) == MIXED.count
    assert kinds[DUPLICATE] == 2_000
    assert sum(kinds[kind] for kind in MALFORMED) == 1_200
    assert kinds[LATE] == 3_680
    assert kinds[CLICK] == 40_000 - 2_000 - 1_200 - 3_680
    assert set(MALFORMED) <= set(kinds)


def test_share_of_event_ids_is_about_what_was_asked(mixed: list[SentClick]) -> None:
    fresh = [sent for sent in mixed if sent.kind in (CLICK, LATE)]
    share = sum(sent.event_id is not None for sent in fresh) / len(fresh)
    assert 0.45 < share < 0.55


def test_the_contract_agrees_on_every_message(mixed: list[SentClick]) -> None:
    wrong = []
    for sent in mixed:
        found = parse(sent.value, record_time_ms=UNTIL_MS, earliest_ms=MIXED.since_ms)
        if isinstance(found, Click) != sent.valid:
            wrong.append((sent.kind, sent.value, found))
    assert wrong == []


def test_every_kind_of_malformed_click_is_rejected_for_its_own_reason(mixed: list[SentClick]) -> None:
    reasons = defaultdict(set)
    for sent in mixed:
        found = parse(sent.value, record_time_ms=UNTIL_MS, earliest_ms=MIXED.since_ms)
        if isinstance(found, Rejection):
            reasons[sent.kind].add(found.reason)
    assert set(reasons) == set(MALFORMED)
    assert all(len(found) == 1 for found in reasons.values()), reasons
    assert len({reason for found in reasons.values() for reason in found}) >= 8


def test_clicks_are_unique_and_duplicates_repeat_an_earlier_one(mixed: list[SentClick]) -> None:
    seen: set[bytes] = set()
    for sent in mixed:
        if sent.kind in (CLICK, LATE):
            assert sent.value not in seen
            seen.add(sent.value or b"")
        elif sent.kind == DUPLICATE:
            assert sent.value in seen
    events = set()
    for value in seen:
        found = parse(value, record_time_ms=UNTIL_MS, earliest_ms=MIXED.since_ms)
        assert isinstance(found, Click)
        events.add((found.timestamp, found.event_id))
    assert len(events) == len(seen) == MIXED.unique_count


def test_the_truth_beside_a_click_is_what_the_click_says(mixed: list[SentClick]) -> None:
    for sent in mixed:
        if sent.valid:
            members = msgspec.json.decode(sent.value or b"")
            assert members["user_id"].encode() == sent.key
            assert members.get("event_id") == sent.event_id


def test_times_lie_within_the_hours_and_reach_into_the_first_and_last(mixed: list[SentClick]) -> None:
    times = [time_of(sent) for sent in mixed if sent.valid]
    assert MIXED.since_ms <= min(times) < MIXED.since_ms + HOUR_MS // 60
    assert UNTIL_MS - HOUR_MS // 60 < max(times) <= UNTIL_MS
    per_hour = Counter((stamp - MIXED.since_ms) // HOUR_MS for stamp in times)
    assert min(per_hour[hour] for hour in range(6)) > len(times) / 6 * 0.7


@pytest.mark.parametrize(("hours", "count"), [(0.0005, 500), (0.1, 3_000), (3, 1), (3, 7), (720, 5_000)])
def test_few_clicks_and_odd_spans_keep_count_and_bounds(hours: float, count: int) -> None:
    spec = GeneratorSpec(count=count, hours=hours, until_ms=UNTIL_MS, late=0.5, duplicates=0.1)
    sent = list(generate(spec))
    assert len(sent) == count
    assert all(spec.since_ms <= time_of(one) <= UNTIL_MS for one in sent)


def test_order_is_event_time_but_for_late_clicks(mixed: list[SentClick]) -> None:
    times = [time_of(sent) for sent in mixed if sent.kind == CLICK]
    assert all(first <= second for first, second in pairwise(times))


def test_late_clicks_are_late_by_no_more_than_asked(mixed: list[SentClick]) -> None:
    clock, delays = 0, []
    for sent in mixed:
        if sent.kind == CLICK:
            clock = time_of(sent)
        elif sent.kind == LATE:
            delays.append(clock - time_of(sent))
    assert max(delays) <= MIXED.late_hours * HOUR_MS
    assert sum(delay > HOUR_MS for delay in delays) > len(delays) * 0.2


def test_visits_have_gaps_below_at_and_above_half_an_hour() -> None:
    spec = GeneratorSpec(count=60_000, hours=24, until_ms=UNTIL_MS)
    by_user = defaultdict(list)
    for sent in generate(spec):
        by_user[sent.key].append(time_of(sent))
    gaps = [second - first for times in by_user.values() for first, second in pairwise(times)]
    assert min(gaps) > 0  # no visitor clicks twice at the same time: without an event id that would be one event
    assert sum(gap < 60_000 for gap in gaps) > len(gaps) * 0.3
    assert sum(gap == HALF_HOUR_MS for gap in gaps) > 10
    assert sum(gap > HALF_HOUR_MS for gap in gaps) > len(gaps) * 0.02


def test_clicks_without_event_id_stay_distinct_in_a_crowd() -> None:
    """Two visitors and far more clicks than milliseconds: a visitor must not begin a visit during another one."""
    spec = GeneratorSpec(count=20_000, hours=0.002, until_ms=UNTIL_MS, users=2, event_ids=0)
    events = set()
    for sent in generate(spec):
        found = parse(sent.value, record_time_ms=UNTIL_MS, earliest_ms=spec.since_ms)
        assert isinstance(found, Click)
        events.add(found.event_id)
    assert len(events) == spec.count


def test_pages_are_zipf_distributed_and_urls_varied(mixed: list[SentClick]) -> None:
    clicks = [parse(sent.value, record_time_ms=UNTIL_MS, earliest_ms=0) for sent in mixed if sent.kind in (CLICK, LATE)]
    pages = Counter(click.page for click in clicks if isinstance(click, Click))
    ranked = [count for _, count in pages.most_common()]
    assert ranked[0] / ranked[9] == pytest.approx(10, rel=0.35)
    assert ranked[0] / ranked[99] == pytest.approx(100, rel=0.5)
    assert len(pages) <= site.PAGES
    urls = [click.url for click in clicks if isinstance(click, Click)]
    for sign in ("utm_source=", "gclid=", "#", ":443/", ":8080", "HTTPS://WWW", "é", "%C3%A9", "日本語"):
        assert any(sign in url for url in urls), sign
    assert len({urlsplit(url).hostname for url in urls}) == 4


def test_hosts_and_addresses_are_reserved_for_documentation(mixed: list[SentClick]) -> None:
    networks = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")]
    addresses = set()
    for sent in mixed:
        if sent.valid:
            members = msgspec.json.decode(sent.value or b"")
            addresses.add(ipaddress.ip_address(members["ip_address"]))
            host = urlsplit(members["url"]).hostname or ""
            assert host.endswith((".example.com", ".example.org", ".example"))
    assert all(any(address in network for network in networks) for address in addresses)
    assert {address.version for address in addresses} == {4, 6}


def test_the_first_click_of_most_visits_says_what_led_to_it() -> None:
    spec = GeneratorSpec(count=20_000, hours=6, until_ms=UNTIL_MS, users=1_000_000)  # so that nearly all come once
    first: dict[bytes, str | None] = {}
    for sent in generate(spec):
        referrer = msgspec.json.decode(sent.value or b"").get("referrer")
        if sent.key in first:
            assert referrer is None or referrer in dict(site.REFERRERS)
        first.setdefault(sent.key, referrer)
    found = Counter(first.values())
    assert found.keys() == dict(site.REFERRERS).keys()
    for referrer, percent in site.REFERRERS:
        assert found[referrer] / found.total() == pytest.approx(percent / 100, abs=0.02)


def test_countries_are_skewed_and_sometimes_absent() -> None:
    spec = GeneratorSpec(count=30_000, until_ms=UNTIL_MS)
    countries = Counter(msgspec.json.decode(sent.value or b"").get("country") for sent in generate(spec))
    total = countries.total()
    assert 0.2 < countries["US"] / total < 0.36
    assert 0.01 < countries[None] / total < 0.06
    assert countries[""] > 0
    assert countries["IS"] < countries["US"] / 20


def test_user_agents_are_what_an_analyser_makes_of_them() -> None:
    ua_parser = pytest.importorskip("ua_parser", reason="needs the extra access-log")
    for client in site.CLIENTS:
        found = ua_parser.parse(client.user_agent)
        families = tuple(part.family if part else None for part in (found.user_agent, found.os, found.device))
        assert families == (client.browser, client.operating_system, client.device)


def peak_bytes(spec: GeneratorSpec) -> int:
    for _ in islice(generate(spec), 1):  # tables are made once per process
        pass
    tracemalloc.start()
    try:
        for _ in generate(spec):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_depends_on_clicks_per_hour_not_on_their_number() -> None:
    small = replace(MIXED, count=10_000, hours=10, users=2_000)
    large = replace(small, count=100_000, hours=100)
    assert peak_bytes(large) < 1.3 * peak_bytes(small)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"duplicates": 1.1}, "duplicates = 1.1"),
        ({"late": -0.1}, "late = -0.1"),
        ({"malformed": float("nan")}, "malformed = nan"),
        ({"count": -1}, "count = -1"),
        ({"hours": 0}, "hours = 0.0"),
        ({"hours": 1e9}, "1970"),
        ({"duplicates": 0.6, "malformed": 0.5}, "0.6 and 0.5"),
        ({"duplicates": 1.0, "malformed": 0.0}, "at least one valid click"),
    ],
)
def test_numbers_that_do_not_fit_are_named(change: dict[str, float], named: str) -> None:
    with pytest.raises(GeneratorError, match=named):
        replace(MIXED, **change)  # pyright: ignore[reportArgumentType]  # wrong on purpose


def test_everything_may_be_malformed_and_nothing_may_be_asked() -> None:
    assert list(generate(GeneratorSpec(count=0, until_ms=UNTIL_MS))) == []
    sent = list(generate(GeneratorSpec(count=100, until_ms=UNTIL_MS, malformed=1)))
    assert len(sent) == 100
    assert not any(one.valid for one in sent)
