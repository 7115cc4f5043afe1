"""Tests how requests of access logs become clicks: golden lines, and a real log if it is present."""

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
from dataco_assets.sources.access_logs.clicks import Example, LogReport, Site, SiteError, clicks, hours_to_now
from dataco_assets.sources.access_logs.formats import Format, recognise
from dataco_assets.sources.access_logs.request import Skip
from dataco_assets.sources.enrichment import Client, Enrichment, MissingExtraError
from dataco_assets_tests.extras import require_access_log

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "apache_access.log"
SMALL_SAMPLE = Path(__file__).parents[2] / "dataco_assets" / "sources" / "sample" / "access.log"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:24.0) Gecko/20140205 Firefox/24.0"
MAY_17_MS = 1_431_857_103_000  # 2015-05-17T10:05:03Z

needs_sample = pytest.mark.skipif(not SAMPLE.exists(), reason="no sample log at ../shared/data/apache_access.log")


class FixedLookups:
    """Returns fixed values instead of looking them up in databases."""

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


SHOP = Site("https://shop.example/")


def read(
    *lines: bytes, log_format: Format = Format.COMBINED, site: Site = SHOP, shift_ms: int = 0
) -> tuple[list[dict[str, str | int]], LogReport]:
    report = LogReport()
    found = clicks(lines, log_format, FixedLookups(), site=site, report=report, name="a.log", shift_ms=shift_ms)
    return list(found), report


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
        "url": "https://shop.example/blog/?p=1&q=%20",
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
        ("GET /a b HTTP/1.1", "https://shop.example/a%20b"),
        (r"GET /\xe4\" HTTP/1.1", "https://shop.example/%E4%22"),  # Apache; sent in ISO-8859-1
        (r"GET /\xC3\xA4?q=\x22ä\x22 HTTP/1.1", "https://shop.example/%C3%A4?q=%22%C3%A4%22"),  # nginx
        (r"GET /a\\b?c\\d HTTP/1.1", r"https://shop.example/a%5Cb?c\d"),
        ("GET /%e4%zz{}?{}|^`'[] HTTP/1.1", "https://shop.example/%e4%zz%7B%7D?{}|^`'[]"),  # as browsers send it
        ("GET http://other.example/x HTTP/1.1", "http://other.example/x"),
    ],
)
def test_targets(request_line: str, url: str) -> None:
    assert only(line(request_line))["url"] == url


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"garbage\n", Skip.OTHER_FORMAT),
        (b'192.0.2.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 5\n', Skip.OTHER_FORMAT),  # common format
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
    shown = bad.decode().rstrip("\n")
    assert report.examples == {reason: Example(1, shown if len(shown) <= 120 else shown[:120] + "…")}


@pytest.mark.parametrize(
    ("odd", "user_agent"),
    [
        (line(user_agent="-"), "-"),
        (line(user_agent=""), "-"),
        (line(user_agent=r"a \"quoted\" agent \\"), 'a "quoted" agent \\'),
        (line(user_agent=r"a \x22quoted\x22 agent \x5C"), 'a "quoted" agent \\'),
        (line(user_agent=r"\xe6\x97\xa5 caf\xc3\xa9"), "日 café"),
        (line(user_agent="Mozilla/5.0 (cut off").removesuffix(b'"\n'), "Mozilla/5.0 (cut off"),
        (line().removesuffix(b"\n") + b' "extra" 17\r\n', FIREFOX),
        (line(user_agent="Mozilla/5.0 (cut off \\").removesuffix(b'"\n'), "Mozilla/5.0 (cut off "),
        (line(user_agent="X").replace(b"X", b"caf\xe9"), "café"),
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
    shift_ms = hours_to_now(lines, Format.COMBINED, now_ms)
    assert shift_ms % 3_600_000 == 0
    found, _ = read(*lines, shift_ms=shift_ms)
    assert found[0]["timestamp"] == now_ms - 30 * 60_000 - 1_000  # 11:59:59
    assert hours_to_now([], Format.COMBINED, now_ms) == 0


@pytest.mark.parametrize("base_url", ["shop.example", "ftp://a", "http://", "http://a/b", "http://a:b", "http://a?x"])
def test_a_base_url_that_is_more_or_less_than_a_site_is_refused(base_url: str) -> None:
    with pytest.raises(SiteError, match=re.escape(repr(base_url))):
        Site(base_url)


def test_a_scheme_other_than_http_and_https_is_refused() -> None:
    with pytest.raises(SiteError, match="'ftp'"):
        Site(scheme="ftp")


VHOST = Format.VHOST_COMBINED


def vhost(server: str, *, target: str = "/a") -> bytes:
    return f"{server} ".encode() + line(f"GET {target} HTTP/1.1")


@pytest.mark.parametrize(
    ("server", "site", "url"),
    [
        ("a.example:443", Site(), "https://a.example/a"),
        ("a.example:80", Site(), "http://a.example/a"),
        ("a.example:8080", Site(), "http://a.example:8080/a"),
        ("a.example:8443", Site(), "https://a.example:8443/a"),
        ("a.example:80", Site(scheme="https"), "https://a.example/a"),  # TLS ends at a proxy
        ("a.example", Site(scheme="https"), "https://a.example/a"),
        ("2001:db8::80", Site(scheme="http"), "http://[2001:db8::80]/a"),
        ("a.example:443", SHOP, "https://a.example/a"),
        ("-", SHOP, "https://shop.example/a"),
    ],
)
def test_a_host_in_the_log_needs_no_base_url(server: str, site: Site, url: str) -> None:
    assert only(vhost(server), log_format=VHOST, site=site)["url"] == url


def test_without_a_site_the_first_request_is_refused_with_the_way_out() -> None:
    with pytest.raises(SiteError, match=r"(?s)Line 2 of a\.log .*192\.0\.2\.1 - - \[.*--base-url"):
        read(b"garbage", line(), site=Site())
    with pytest.raises(SiteError, match=r"(?s)Line 1 of a\.log .*a\.example 192.*--scheme https"):
        read(vhost("a.example"), log_format=VHOST, site=Site())


def test_a_later_request_without_a_site_is_skipped_and_counted() -> None:
    found, report = read(vhost("a.example:80"), vhost("-"), vhost("a.example"), log_format=VHOST, site=Site())
    assert len(found) == 1
    assert report.skipped == Counter([Skip.NO_HOST, Skip.NO_SCHEME])
    assert [example.number for example in report.examples.values()] == [2, 3]


def test_a_whole_url_needs_no_site() -> None:
    assert only(line("GET http://other.example/x HTTP/1.1"), site=Site())["url"] == "http://other.example/x"


def test_visitors_behind_one_server_address_stay_apart() -> None:
    lines = [f"192.0.2.80 198.51.100.{visitor} ".encode() + line().partition(b" ")[2] for visitor in range(3)]
    found, _ = read(*lines, log_format=VHOST, site=Site(scheme="https"))
    assert len({click["user_id"] for click in found}) == 3
    assert {click["url"] for click in found} == {"https://192.0.2.80/a"}


def test_countries_and_browsers_come_from_the_databases_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    require_access_log()

    def refuse(*_: object) -> None:
        raise AssertionError("network used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for name in [each for each in sys.modules if each.partition(".")[0] == "geoip2fast"]:
        monkeypatch.delitem(sys.modules, name)
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


def test_every_request_of_the_small_real_log_is_a_click() -> None:
    lines = SMALL_SAMPLE.read_bytes().splitlines()
    assert recognise(lines, SMALL_SAMPLE.name) is Format.COMBINED
    found, report = read(*lines)
    assert (report.lines, report.clicks, report.skipped.total()) == (700, 700, 0)
    assert [click["ip_address"] for click in found] == [one.split()[0].decode() for one in lines]
    assert len({click["ip_address"] for click in found}) == 135
    parsed = [parse(json.dumps(click).encode(), record_time_ms=MAY_17_MS, earliest_ms=0) for click in found]
    assert [click for click in parsed if not isinstance(click, Click)] == []
    times = [datetime.fromtimestamp(int(click["timestamp"]) / 1000, UTC) for click in found]
    assert (min(times).hour, max(times).hour) == (8, 15)


@needs_sample
def test_every_request_of_the_real_log_is_a_click() -> None:
    require_access_log()
    report = LogReport()
    with SAMPLE.open("rb") as lines:
        found = list(clicks(lines, Format.COMBINED, Enrichment(), site=SHOP, report=report))
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
