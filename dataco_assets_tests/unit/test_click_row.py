"""Tests the row codec and the wording of rejections: cases that are neither properties nor vectors."""

import json
import threading

import pytest

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS, Click, Reason, Rejection, parse
from dataco_assets.clicks.page import InvalidUrl, page_of
from dataco_assets.clicks.row import COLUMNS, SALTS, TABLE_FAMILIES, key_ranges, row_key, salt, split_keys, timestamp_of

NOW = 1_431_857_103_000


def test_the_layout_that_is_on_disk_already():
    assert SALTS == 16
    assert TABLE_FAMILIES == ("click_data", "geo_data", "user_agent_data")
    assert split_keys() == b"01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f".split()
    assert b" ".join(COLUMNS) == (
        b"click_data:event_id click_data:user_id click_data:timestamp click_data:url click_data:page "
        b"click_data:ip_address click_data:user_agent click_data:referrer click_data:referrer_host "
        b"geo_data:country geo_data:city "
        b"user_agent_data:browser user_agent_data:operating_system user_agent_data:device"
    )


def test_row_key_against_other_programs():
    """The CRC 0xdc8f297c is from `printf u-1 | gzip -c | tail -c8`, the hash from `b2sum -l 128`."""
    assert row_key("u-1", NOW, "e-1") == b"0c-1431857103000-6b366216e5486b5ecab7cf5d6077e43c"
    assert salt("u-1") == 12


def test_event_ids_that_are_numbered_per_user_make_different_rows():
    """48 users who all count their events from 1, at the same seconds: three rows each."""
    keys = {row_key(f"user-{user}", NOW + event * 60_000, str(event)) for user in range(48) for event in (1, 2, 3)}
    assert len(keys) == 144


def test_where_the_user_id_ends_matters():
    assert len({row_key("ab", NOW, "c")[-32:], row_key("a", NOW, "bc")[-32:], row_key("abc", NOW, "")[-32:]}) == 3


@pytest.mark.parametrize("field", ["user_id", "event_id"])
def test_no_click_holds_the_character_that_separates_user_and_event_in_the_key(field: str):
    click = {"user_id": "u", "event_id": "e", "timestamp": NOW, "url": "http://a/", "ip_address": "::1"}
    payload = json.dumps({**click, "user_agent": "", field: "a\x1fb"}).encode()
    rejection = parse(payload, record_time_ms=NOW, earliest_ms=0)
    assert rejection == Rejection(Reason.CONTROL_CHARACTER, f"{field}: U+001F at character 1")


def test_users_spread_over_all_salts():
    share = [0] * SALTS
    for number in range(16_000):
        share[salt(f"user-{number}")] += 1
    assert min(share) > 800


def test_row_key_refuses_a_time_that_would_break_the_order():
    for timestamp in (-1, MAX_TIMESTAMP_MS + 1):
        with pytest.raises(ValueError, match="timestamp"):
            row_key("u", timestamp, "e")


@pytest.mark.parametrize(
    "key",
    [
        b"",
        b"0c-1431857103000",
        b"0C-1431857103000-" + b"0" * 32,
        b"0c-143185710300-" + b"0" * 33,
        b"0c-1431857103000-" + b"0" * 32 + b"\n",
    ],
)
def test_only_row_keys_have_a_time(key: bytes):
    with pytest.raises(ValueError, match="not the row key"):
        timestamp_of(key)


def test_key_ranges_are_cut_to_the_times_a_key_can_have():
    assert key_ranges(-5, 10**15) == key_ranges(0, MAX_TIMESTAMP_MS + 1)
    assert key_ranges(0, MAX_TIMESTAMP_MS + 1)[15] == (b"0f-0000000000000", b"0f.")
    assert key_ranges(NOW, NOW) == []
    assert key_ranges(10**13, 10**14) == []


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"user_id": None}, "missing_field", "user_id is missing or null"),
        ({"city": 7}, "wrong_type", "city: Expected `str | null`, got `int`"),
        ({"user_id": ""}, "wrong_length", "user_id: Expected `str` of length >= 1, got ''"),
        ({"city": "a\u0000b"}, "control_character", "city: U+0000 at character 1"),
        ({"country": "d\u00e9"}, "invalid_country", "country: expected two letters A to Z, found 'd\\xe9'"),
        ({"url": "ftp://a/"}, "invalid_url", "url is not absolute with http or https: 'ftp://a/'"),
        (
            {"timestamp": NOW + 300_001},
            "timestamp_in_future",
            "timestamp: 300001 ms ahead of Kafka's, at most 300000: '1431857403001'",
        ),
        (
            {"timestamp": NOW - 7},
            "before_first_partition",
            "timestamp: 2 ms before the first partition: '1431857102993'",
        ),
    ],
)
def test_detail_names_the_field_and_what_was_found(change: dict[str, object], reason: str, detail: str):
    click = {"user_id": "u", "timestamp": NOW, "url": "http://a/", "ip_address": "::1", "user_agent": ""}
    rejection = parse(json.dumps({**click, **change}).encode(), record_time_ms=NOW, earliest_ms=NOW - 5)
    assert rejection == Rejection(Reason(reason), detail)


def test_detail_is_cut_and_escaped():
    assert Rejection(Reason.REFUSED_BY_STORE, "a\n\x1b[31m\u00e9\U0001f600").detail == r"a\n\x1b[31m\xe9\U0001f600"
    assert Rejection(Reason.REFUSED_BY_STORE, "x" * 200).detail == "x" * 200
    assert Rejection(Reason.REFUSED_BY_STORE, "x" * 201).detail == "x" * 197 + "..."
    assert Rejection(Reason.REFUSED_BY_STORE, "\u00e9" * 60).detail == (r"\xe9" * 50)[:197] + "..."


def test_verdict_does_not_depend_on_the_callers_stack():
    """The JSON decoder's own depth limit does; the limit of the contract comes first."""
    click = b'{"user_id":"u","timestamp":1431857103000,"url":"http://a/","ip_address":"::1","user_agent":"","x":'
    payload = click + b"[" * 99 + b"]" * 99 + b"}"
    verdicts: list[Click | Rejection] = []

    def descend(depth: int) -> None:
        if depth:
            descend(depth - 1)
        else:
            verdicts.append(parse(payload, record_time_ms=NOW, earliest_ms=0))

    for depth in (1, 700):
        thread = threading.Thread(target=descend, args=(depth,))  # a stack of known depth
        thread.start()
        thread.join()
    assert len(verdicts) == 2
    assert isinstance(verdicts[0], Click)
    assert verdicts[0] == verdicts[1]


def test_long_and_short_urls_have_the_same_rules():
    """Pages of short URLs are cached, those of long ones are computed."""
    for padding in ("", "x" * 300):
        assert page_of(f"HTTP://A:80/{padding}?utm_a=1#f") == f"http://a/{padding}"
        for _ in range(2):
            with pytest.raises(InvalidUrl, match="no host"):
                page_of(f"http:///{padding}")
