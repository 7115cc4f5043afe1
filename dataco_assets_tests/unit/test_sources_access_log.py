"""Access logs as clicks: golden lines, and the real sample where it is present."""

import builtins
import json
import os
import re
import socket
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dataco_assets.clicks.event import Click, parse
from dataco_assets.sources.access_log import BaseUrlError, LogReport, Skip, clicks, hours_to_now
from dataco_assets.sources.enrichment import Client, Enrichment, MissingExtraError

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "apache_access.log"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:24.0) Gecko/20140205 Firefox/24.0"
MAY_17_MS = 1_431_857_103_000  # 2015-05-17T10:05:03Z

needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="no sample log at ../shared/data/apache_access.log")


class FixedLookups:
    """Answers without databases."""

    def country(self, ip_address: str) -> str | None:
        return "DE" if ip_address.startswith("192.0.2.") else None

    def client(self, user_agent: str) -> Client:
        return Client("Firefox", "Linux", None) if "Firefox" in user_agent else Client(None, None, None)


def line(
    request: str = "GET /a HTTP/1.1",
    *,
    address: str = "192.0.2.1",
    at: str = "17/May/2015:10:05:03 +0000",
    user_agent: str = FIREFOX,
    user: str = "-",
) -> bytes:
    return f'{address} - {user} [{at}] "{request}" 200 512 "-" "{user_agent}"\n'.encode()


def read(*lines: bytes, **options: Any) -> tuple[list[dict[str, str | int]], LogReport]:
    report = LogReport()
    return list(clicks(lines, FixedLookups(), report=report, **options)), report


def only(one: bytes, **options: Any) -> dict[str, str | int]:
    found, _ = read(one, **options)
    assert len(found) == 1
    return found[0]


def test_a_plain_line() -> None:
    click = only(line("GET /blog/?p=1&q=%20 HTTP/1.1"))
    assert re.fullmatch("[0-9a-f]{32}", str(click.pop("event_id")))
    assert re.fullmatch("[0-9a-f]{32}", str(click.pop("user_id")))
    assert click == {
        "timestamp": MAY_17_MS,
        "url": "http://www.semicomplete.com/blog/?p=1&q=%20",
        "ip_address": "192.0.2.1",
        "user_agent": FIREFOX,
        "country": "DE",
        "browser": "Firefox",
        "operating_system": "Linux",
    }


@pytest.mark.parametrize(
    ("request_line", "url"),
    [
        ("HEAD / HTTP/1.0", "https://shop.example/"),
        ("POST /a HTTP/1.1", "https://shop.example/a"),
        ("GET /a HTTP/2", "https://shop.example/a"),
        ("GET /a", "https://shop.example/a"),  # HTTP/0.9
        ("GET //favicon.ico HTTP/1.1", "https://shop.example//favicon.ico"),  # not the host favicon.ico
        ("GET /a b HTTP/1.1", "https://shop.example/a b"),
        (r"GET /\xe4\" HTTP/1.1", r"https://shop.example/\xe4\""),
        ("GET http://other.example/x HTTP/1.1", "http://other.example/x"),
    ],
)
def test_targets(request_line: str, url: str) -> None:
    assert only(line(request_line), base_url="https://shop.example/")["url"] == url


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"garbage\n", Skip.NOT_COMBINED),
        (b'192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5\n', Skip.NOT_COMBINED),  # common format
        (line("-"), Skip.NO_REQUEST),
        (line(""), Skip.NO_REQUEST),
        (line(r"\x16\x03\x01"), Skip.NO_REQUEST),  # TLS spoken to a plain port
        (line("OPTIONS * HTTP/1.0"), Skip.NO_PAGE),
        (line("CONNECT other.example:443 HTTP/1.1"), Skip.NO_PAGE),
        (line(address="crawler.example.com"), Skip.BAD_ADDRESS),
        (line(at="31/Feb/2015:10:05:03 +0000"), Skip.BAD_TIME),
        (line(at="17/May/2015:10:05:03"), Skip.BAD_TIME),
    ],
)
def test_lines_that_are_no_click_are_counted_by_reason(bad: bytes, reason: Skip) -> None:
    found, report = read(bad, b"\n", line())
    assert len(found) == report.clicks == 1
    assert report.lines == 2
    assert report.skipped == Counter([reason])


@pytest.mark.parametrize(
    ("odd", "user_agent"),
    [
        (line(user_agent="-"), "-"),
        (line(user_agent=""), "-"),
        (line(user_agent=r"a \"quoted\" agent \\"), r"a \"quoted\" agent \\"),
        (line(user_agent="Mozilla/5.0 (cut off").removesuffix(b'"\n'), "Mozilla/5.0 (cut off"),
        (line().removesuffix(b"\n") + b' "extra" 17\r\n', FIREFOX),
        (line(user_agent="X").replace(b"X", b"caf\xe9"), r"caf\xe9"),
        (line(user_agent="日本"), "日本"),
        (line(user="Jane Doe"), FIREFOX),
    ],
)
def test_odd_user_agents(odd: bytes, user_agent: str) -> None:
    assert only(odd)["user_agent"] == user_agent


@pytest.mark.parametrize(
    "at", ["17/May/2015:12:05:03 +0200", "17/May/2015:04:35:03 -0530", "18/May/2015:00:05:03 +1400"]
)
def test_offsets_of_times(at: str) -> None:
    assert only(line(at=at))["timestamp"] == MAY_17_MS


def test_ids_tell_equal_lines_apart_and_repeat_with_the_file() -> None:
    first, _ = read(line(), line(), line(address="192.0.2.2"))
    again, _ = read(line(), line(), line(address="192.0.2.2"))
    assert first == again
    assert len({click["event_id"] for click in first}) == 3
    assert first[0]["user_id"] == first[1]["user_id"] != first[2]["user_id"]


def test_shift_is_whole_hours_and_ends_in_the_past_hour() -> None:
    lines = [line(at="17/May/2015:10:59:59 +0000"), b"garbage", line()]
    now_ms = int(datetime(2026, 3, 1, 12, 30, tzinfo=UTC).timestamp()) * 1000
    shift_ms = hours_to_now(lines, now_ms)
    assert shift_ms % 3_600_000 == 0
    found, _ = read(*lines, shift_ms=shift_ms)
    assert found[0]["timestamp"] == now_ms - 30 * 60_000 - 1_000  # 11:59:59
    assert hours_to_now([], now_ms) == 0


@pytest.mark.parametrize(
    "base_url", ["", "shop.example", "ftp://a", "http://", "http://a/b", "http://a:b", "http://a?x"]
)
def test_a_base_url_that_is_more_or_less_than_a_site_is_refused(base_url: str) -> None:
    with pytest.raises(BaseUrlError, match=re.escape(repr(base_url))):
        read(line(), base_url=base_url)


def test_countries_and_browsers_come_from_the_databases_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("geoip2fast", reason="needs the extra access-log")
    pytest.importorskip("ua_parser", reason="needs the extra access-log")

    def refuse(*_: object) -> None:
        raise AssertionError("network used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delitem(sys.modules, "geoip2fast")
    environment = dict(os.environ)
    lookups = Enrichment()
    assert dict(os.environ) == environment
    assert lookups.country("8.8.8.8") == "US"
    assert lookups.country("2001:4860:4860::8888") == "US"
    for unknown in ("10.0.0.1", "192.0.2.1", "2001:db8::1", "fe80::1"):
        assert lookups.country(unknown) is None
    assert lookups.client(FIREFOX) == Client("Firefox", "Linux", None)
    assert lookups.client("-") == Client(None, None, None)


@pytest.mark.parametrize("missing", ["geoip2fast", "ua_parser"])
def test_a_missing_library_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *arguments, **options)

    monkeypatch.setattr("importlib.import_module", without)
    with pytest.raises(MissingExtraError, match=rf"{missing}.*dataco-clickstream\[access-log\]"):
        Enrichment()


@needs_sample
def test_every_request_of_the_real_log_is_a_click() -> None:
    pytest.importorskip("geoip2fast", reason="needs the extra access-log")
    report = LogReport()
    with SAMPLE.open("rb") as lines:
        found = list(clicks(lines, Enrichment(), report=report))
    assert (report.lines, report.clicks, report.skipped.total()) == (10_000, 10_000, 0)
    parsed = [parse(json.dumps(click).encode(), record_time_ms=MAY_17_MS * 2, earliest_ms=0) for click in found]
    assert [click for click in parsed if not isinstance(click, Click)] == []
    assert len({click["event_id"] for click in found}) == 10_000
    # An independent count: the fields that no quoting can disturb.
    raw = SAMPLE.read_bytes().splitlines()
    assert [click["ip_address"] for click in found] == [one.split()[0].decode() for one in raw]
    times = [int(click["timestamp"]) for click in found]
    assert datetime.fromtimestamp(min(times) / 1000, UTC).hour == 10
    assert (max(times) - min(times)) // 3_600_000 == 83
