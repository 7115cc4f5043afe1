"""Tests properties of the click that hold for any input, with hypothesis."""

import json
import re
from copy import deepcopy
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS, Click, Reason, Rejection, parse
from dataco_assets.clicks.page import InvalidUrl, page_of
from dataco_assets.clicks.row import (
    COLUMNS,
    SALTS,
    cells,
    key_ranges,
    row_key,
    salt,
    split_keys,
    timestamp_of,
)

NOW = 1_431_857_103_000
FIRST = 1_420_070_400_000
VALID: dict[str, Any] = {
    "event_id": "e-1",
    "user_id": "u-1",
    "timestamp": NOW,
    "url": "https://example.com/a?utm_source=x&b=1",
    "ip_address": "203.0.113.7",
    "user_agent": "Mozilla/5.0",
    "country": "DE",
    "city": "Berlin",
    "browser": "Firefox",
    "operating_system": "Linux",
    "device": "Desktop",
}

# The first text drawn on a new machine builds hypothesis' table of Unicode, and the machine may be busy.
PATIENT = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
ANY_TEXT = st.text(max_size=20)  # lone surrogates too: json.dumps escapes them
TIMES = st.integers(0, MAX_TIMESTAMP_MS)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)
ALMOST_URLS = st.one_of(
    st.text("htps:/@[]?#&=.%\\ aA1é:\u212a\u0130", max_size=30),
    st.builds(
        lambda scheme, rest: f"{scheme}://{rest}",
        st.sampled_from(["http", "HTTPS"]),
        st.text("aB:/@[]?#&=.%1é\u0130\u03a3\u0308😀", max_size=30) | TEXT,
    ),
    st.builds(
        lambda host, names: f"http://{host}/?" + "&".join(names),
        st.sampled_from(["a", "A:80", "[::1]:8080", "u:p@b"]),
        st.lists(st.sampled_from(["utm_a=1", "gclid", "a=1", "", "fbclid=&", "msclkid=x", "=", "utm_"]), max_size=6),
    ),
)


@st.composite
def mutated_clicks(draw: st.DrawFn) -> dict[str, Any]:
    """A valid click with up to three fields removed or replaced."""
    click = deepcopy(VALID)
    for name in draw(st.lists(st.sampled_from(sorted(VALID)), max_size=3)):
        if draw(st.booleans()):
            click.pop(name, None)
        else:
            click[name] = draw(JSON | TEXT | ALMOST_URLS | TIMES)
    return click


@st.composite
def spoiled_payloads(draw: st.DrawFn) -> bytes:
    """The bytes of a click with a slice replaced by other bytes."""
    payload = json.dumps(draw(mutated_clicks()), ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    start = draw(st.integers(0, len(payload)))
    end = draw(st.integers(start, min(len(payload), start + 5)))
    return payload[:start] + draw(st.binary(max_size=5)) + payload[end:]


def parse_now(payload: bytes | None) -> Click | Rejection:
    return parse(payload, record_time_ms=NOW, earliest_ms=FIRST)


def assert_sound(parsed: Click | Rejection) -> None:
    """Asserts everything that the platform relies on in a parsed record."""
    if isinstance(parsed, Rejection):
        assert parsed.reason in Reason
        assert parsed.reason is not Reason.REFUSED_BY_STORE
        assert re.fullmatch(r"[ -~]{1,200}", parsed.detail)
        return
    assert FIRST <= parsed.timestamp <= NOW + 5 * 60_000
    key = row_key(parsed.user_id, parsed.timestamp, parsed.event_id)
    assert re.fullmatch(rb"0[0-9a-f]-[0-9]{13}-[0-9a-f]{32}", key)
    row = cells(parsed)
    assert [column for column, _ in row] == [*COLUMNS]
    assert all(value for column, value in row if column in COLUMNS[:6])
    for _, value in row:
        assert not re.search("[\x00-\x1f\x7f]", value.decode("utf-8"))
    assert page_of(parsed.url) == parsed.page


@PATIENT
@given(st.binary() | spoiled_payloads() | mutated_clicks().map(lambda click: json.dumps(click).encode()))
def test_any_bytes_are_a_click_or_a_rejection(payload: bytes):
    assert_sound(parse_now(payload))


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


@PATIENT
@given(
    st.lists(st.sampled_from([0, 1, 2, 3]), min_size=96, max_size=102),
    st.sampled_from(["", "[", '{"', '\\"[', "\\", '\\\\"]', "}}"]),
)
def test_depth_is_counted_as_a_plain_reading_does(wrappers: list[int], text: str):
    nested: Any = text
    for wrapper in wrappers:
        nested = ([nested], {text: nested}, [text, nested, []], {"a": [], "b": nested, "c": text})[wrapper]
    payload = json.dumps({**VALID, "x": nested}).encode()
    assert isinstance(parse_now(payload), Click) is (1 + depth_of(nested) <= 100)


@PATIENT
@given(mutated_clicks())
def test_verdict_agrees_with_a_plain_reading(click: dict[str, Any]):
    """Compares types, missing fields and lengths with the standard JSON decoder."""
    payload = json.dumps(click, allow_nan=True)
    parsed = parse_now(payload.encode())
    lengths = {"user_id": (1, 256), "url": (1, 8192), "user_agent": (0, 2048), "event_id": (0, 128)}
    lengths |= dict.fromkeys(("city", "browser", "operating_system", "device"), (0, 256))
    if isinstance(parsed, Click):
        read = json.loads(payload)
        for name in ("user_id", "url", "ip_address", "user_agent"):
            assert getattr(parsed, name) == read[name]
        for name in ("city", "browser", "operating_system", "device"):
            assert getattr(parsed, name) == (read.get(name) or None)
        for name, (least, most) in lengths.items():
            assert least <= len(read.get(name) or "") <= most
    elif parsed.reason is Reason.MISSING_FIELD:
        assert any(click.get(name) is None for name in ("user_id", "timestamp", "url", "ip_address", "user_agent"))
    elif parsed.reason is Reason.WRONG_TYPE:
        assert any(
            not isinstance(value, str | None) for name, value in click.items() if name != "timestamp"
        ) or not isinstance(click["timestamp"], str)
    elif parsed.reason is Reason.WRONG_LENGTH:
        assert any(not least <= len(click.get(name) or "") <= most for name, (least, most) in lengths.items())


@PATIENT
@given(
    st.fixed_dictionaries(
        {"user_id": TEXT, "timestamp": TIMES, "url": ALMOST_URLS, "user_agent": TEXT},
        optional={"event_id": TEXT, "city": TEXT, "device": TEXT},
    ),
    st.randoms(use_true_random=False),
)
def test_same_click_is_the_same_row_however_it_is_written(fields: dict[str, Any], random: Any):
    click = {**VALID, **fields}
    shuffled = list(click.items())
    random.shuffle(shuffled)
    one = parse(json.dumps(click).encode(), record_time_ms=MAX_TIMESTAMP_MS, earliest_ms=0)
    other = parse(
        json.dumps(dict(shuffled), ensure_ascii=False, indent=1).encode(),
        record_time_ms=MAX_TIMESTAMP_MS,
        earliest_ms=0,
    )
    if isinstance(one, Click) and isinstance(other, Click):
        assert row_key(one.user_id, one.timestamp, one.event_id) == row_key(
            other.user_id, other.timestamp, other.event_id
        )
        assert cells(one) == cells(other)
    else:
        assert isinstance(one, Rejection)
        assert isinstance(other, Rejection)


@PATIENT
@given(st.sampled_from(["user_id", "url", "user_agent", "ip_address", "timestamp"]))
def test_derived_event_id_depends_on_each_required_field(name: str):
    other = {
        "user_id": "u-2",
        "url": "https://example.com/b",
        "user_agent": "x",
        "ip_address": "::1",
        "timestamp": NOW - 1,
    }
    click = {key: value for key, value in VALID.items() if key != "event_id"}
    one = parse_now(json.dumps(click).encode())
    two = parse_now(json.dumps({**click, name: other[name]}).encode())
    assert isinstance(one, Click)
    assert isinstance(two, Click)
    assert one.event_id != two.event_id


@PATIENT
@given(ALMOST_URLS | TEXT)
@example("http://\u0130.example/")
@example("HTTP://\u039f\u03a3.example/")
@example("http://a/?utm_x=1&&")
def test_page_of_a_page_is_itself_or_the_url_is_refused(url: str):
    try:
        page = page_of(url)
    except InvalidUrl:
        return
    assert page_of(page) == page
    assert re.match(r"https?://[^/?#@\\ ]+/", page)
    assert "#" not in page


@PATIENT
@given(st.from_regex(r"(?i:https?)://[A-Za-z0-9.-]{1,20}(:[0-9]{1,5})?(/[a-z/.]*)?(\?[a-z=&]*)?", fullmatch=True))
def test_page_agrees_with_urllib_on_plain_urls(url: str):
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        with pytest.raises(InvalidUrl):
            page_of(url)
        return
    default = {"http": 80, "https": 443}[parts.scheme]
    expected = f"{parts.scheme}://{parts.hostname}" + (f":{port}" if port not in {None, default} else "")
    expected += (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if "gclid" not in url and "fbclid" not in url and "msclkid" not in url:
        assert page_of(url) == expected


@PATIENT
@given(
    st.text("0123456789.", max_size=16)
    | st.text("0123456789abcdefF:.", max_size=40)
    | st.ip_addresses().map(str)
    | TEXT.filter(str.isprintable)
)
def test_ip_addresses_are_those_of_the_ipaddress_module(text: str):
    try:
        _ = IPv6Address(text) if ":" in text else IPv4Address(text)
        valid = "%" not in text
    except AddressValueError:
        valid = False
    assert isinstance(parse_now(json.dumps({**VALID, "ip_address": text}).encode()), Click) is valid


@PATIENT
@given(TEXT.filter(bool), TIMES, TEXT.filter(bool), st.tuples(TIMES, TIMES))
@example("u", MAX_TIMESTAMP_MS, "e", (0, MAX_TIMESTAMP_MS + 1))
@example("u", NOW, "e", (NOW, NOW + 1))
@example("u", NOW, "e", (NOW - 1, NOW))
def test_key_ranges_hold_exactly_the_clicks_of_the_span(
    user_id: str, timestamp: int, event_id: str, span: tuple[int, int]
):
    key = row_key(user_id, timestamp, event_id)
    start, end = span
    for low, high in ((start, end), (timestamp, end), (start, timestamp), (start, timestamp + 1)):
        holding = [first <= key < stop for first, stop in key_ranges(low, high)]
        assert sum(holding) == (low <= timestamp < high)
        if True in holding:
            assert holding.index(True) == salt(user_id)


@PATIENT
@given(TIMES, TIMES)
def test_key_ranges_hold_every_salt_and_are_disjoint(start: int, end: int):
    key_of_salt = [b"%02x-%013d-" % (number, start) + b"0" * 32 for number in range(SALTS)]
    ranges = key_ranges(start, end)
    if start >= end:
        assert ranges == []
        return
    for key in key_of_salt:
        assert sum(first <= key < stop for first, stop in ranges) == 1
    bounds = [bound for pair in ranges for bound in pair]
    assert bounds == sorted(set(bounds))
    regions = split_keys()
    assert all(region not in (first, stop) for first, stop in ranges for region in regions)


@PATIENT
@given(TEXT.filter(bool), TIMES, TEXT.filter(bool))
def test_time_is_read_back_from_the_key(user_id: str, timestamp: int, event_id: str):
    assert timestamp_of(row_key(user_id, timestamp, event_id)) == timestamp


@PATIENT
@given(st.sampled_from(Reason), st.text())
def test_detail_is_short_and_printable_whatever_it_is_made_from(reason: Reason, detail: str):
    assert re.fullmatch(r"[ -~]{0,200}", Rejection(reason, detail).detail)
