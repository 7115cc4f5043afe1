"""Tests every access log format, with lines taken from the documentation of the servers that write them."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dataco_assets.sources.access_logs.clicks import LogReport, Site, clicks
from dataco_assets.sources.access_logs.formats import Format, UnknownFormat, reader, recognise, shown
from dataco_assets.sources.access_logs.request import Host, Request, Skip
from dataco_assets.sources.enrichment import Client

OCTOBER_10_MS = 971_211_336_000  # 2000-10-10T20:55:36Z, the time in Apache's documentation
AGENT = "Mozilla/4.08 [en] (Win98; I ;Nav)"


def read(log_format: Format, *lines: bytes) -> list[Request | Skip | None]:
    read_line = reader(log_format)
    return [read_line(line) for line in lines]


def only(log_format: Format, *lines: bytes) -> Request:
    (request,) = [found for found in read(log_format, *lines) if found is not None]
    assert isinstance(request, Request), request
    return request


# Apache HTTP Server 2.4, "Log Files", sections "Common Log Format" and "Combined Log Format".
COMMON = b'127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326'
COMBINED = COMMON + b' "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)"'


def test_common() -> None:
    assert only(Format.COMMON, COMMON) == Request("127.0.0.1", OCTOBER_10_MS, b"/apache_pb.gif", None)


@pytest.mark.parametrize(
    "trailing",
    [
        b"",
        b" 512 2817",  # Apache's combinedio
        b' "203.0.113.7, 198.51.100.9"',  # nginx.conf of nginx.org's packages: "$http_x_forwarded_for"
        b' rt=0.004 uct="0.000" uht="0.004" urt="0.004"',  # nginx's blog on request times
        b" 583 0.004 [default-web-80] [] 10.0.0.7:8080 512 0.004 200 9f1c8e",  # ingress-nginx's upstreaminfo
    ],
)
def test_combined_with_and_without_trailing_fields(trailing: bytes) -> None:
    assert only(Format.COMBINED, COMBINED + trailing) == Request(
        "127.0.0.1", OCTOBER_10_MS, b"/apache_pb.gif", AGENT, referrer="http://www.example.com/start.html"
    )


@pytest.mark.parametrize(
    ("server", "host"),
    [
        (b"www.example.com:443", Host("www.example.com", 443, "https")),  # Debian's vhost_combined: %v:%p
        (b"www.example.com:80", Host("www.example.com", 80, "http")),
        (b"www.example.com", Host("www.example.com")),
        (b"192.0.2.80", Host("192.0.2.80")),
        (b"192.0.2.80:8080", Host("192.0.2.80", 8080, "http")),
        (b"[2001:db8::80]:443", Host("[2001:db8::80]", 443, "https")),
        (b"2001:db8::80", Host("[2001:db8::80]")),
        (b"b\xc3\xbccher.example:80", Host("bücher.example", 80, "http")),
        (b"-", None),
        (b"_", None),
        (b"a/b", None),
    ],
)
@pytest.mark.parametrize("rest", [COMMON, COMBINED])
def test_vhost_in_front(server: bytes, host: Host | None, rest: bytes) -> None:
    request = only(Format.VHOST_COMBINED, server + b" " + rest)
    assert request.host == host
    assert request.address == "127.0.0.1"
    assert request.user_agent == (AGENT if rest == COMBINED else None)


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (b"203.0.113.7", "203.0.113.7"),
        (b"203.0.113.7, 198.51.100.9", "203.0.113.7"),
        (b"203.0.113.7,198.51.100.9", "203.0.113.7"),
        (b"203.0.113.7:51234", "203.0.113.7"),  # Azure Application Gateway adds ports
        (b"[2001:db8::7]:51234", "2001:db8::7"),
        (b"2001:db8::7", "2001:db8::7"),
        (b"-", "127.0.0.1"),
    ],
)
def test_forwarded_client_in_front(forwarded: bytes, client: str) -> None:
    assert only(Format.FORWARDED_COMBINED, forwarded + b" " + COMBINED).address == client


# Caddy's documentation, "Structured Logging", and its `log` directive (`time_format iso8601`, client_ip of a proxy).
CADDY: dict[str, object] = {
    "level": "info",
    "ts": 1646861401.5241024,
    "logger": "http.log.access",
    "msg": "handled request",
    "request": {
        "remote_ip": "10.0.0.1",
        "remote_port": "41342",
        "client_ip": "203.0.113.7",
        "proto": "HTTP/2.0",
        "method": "GET",
        "host": "localhost:8443",
        "uri": '/a?b="c"',
        "headers": {"User-Agent": ["curl/7.82.0"], "Accept": ["*/*"]},
        "tls": {"resumed": False, "version": 772, "server_name": "example.com"},
    },
    "status": 200,
}


def as_line(members: object) -> bytes:
    return json.dumps(members).encode()


def test_caddy() -> None:
    assert only(Format.JSON, as_line(CADDY)) == Request(
        "203.0.113.7", 1_646_861_401_524, b'/a?b="c"', "curl/7.82.0", Host("localhost", 8443, "https")
    )
    plain = {"ts": "2022-03-09T21:30:01.524Z", "request": {"remote_ip": "2001:db8::7", "host": "a.example", "uri": "/"}}
    assert only(Format.JSON, as_line(plain)) == Request(
        "2001:db8::7", 1_646_861_401_524, b"/", None, Host("a.example", None, "http")
    )


def test_caddys_other_logs_are_no_requests() -> None:
    started = {"level": "info", "ts": 1646861401.5, "logger": "admin", "msg": "admin endpoint started", "address": "a"}
    assert read(Format.JSON, as_line(started)) == [Skip.OTHER_FORMAT]


# Traefik's documentation, "Access Logs" (format json, headers kept).
TRAEFIK: dict[str, object] = {
    "ClientAddr": "203.0.113.7:52654",
    "ClientHost": "203.0.113.7",
    "ClientPort": "52654",
    "ClientUsername": "-",
    "DownstreamStatus": 200,
    "RequestAddr": "shop.example:8443",
    "RequestHost": "shop.example",
    "RequestMethod": "GET",
    "RequestPath": "/a%20b?x=1",
    "RequestPort": "8443",
    "RequestScheme": "https",
    "StartUTC": "2025-02-28T12:11:34.10912886Z",
    "time": "2025-02-28T12:11:35Z",
    "request_User-Agent": "curl/8",
}


def test_traefik() -> None:
    request = Request("203.0.113.7", 1_740_744_694_109, b"/a%20b?x=1", "curl/8", Host("shop.example", 8443, "https"))
    assert only(Format.JSON, as_line(TRAEFIK)) == request
    dropped = {name: value for name, value in TRAEFIK.items() if name not in ("ClientHost", "request_User-Agent")}
    assert only(Format.JSON, as_line(dropped)) == request._replace(user_agent=None)


# nginx, ngx_http_log_module: `log_format json escape=json '{"remote_addr":"$remote_addr", …}'`.
@pytest.mark.parametrize(
    "time",
    [
        {"msec": "1740744694.109"},
        {"msec": 1740744694.109},
        {"time_iso8601": "2025-02-28T12:11:34.109+00:00"},
        {"@timestamp": "2025-02-28T13:11:34.109+01:00"},
    ],
)
@pytest.mark.parametrize("target", [{"request": "GET /a?b=1 HTTP/1.1"}, {"request_uri": "/a?b=1", "uri": "/a"}])
def test_nginx_json(time: dict[str, object], target: dict[str, object]) -> None:
    members = {"remote_addr": "203.0.113.7", **time, **target, "http_user_agent": 'a "b"', "host": "a.example"}
    assert only(Format.JSON, as_line({**members, "scheme": "https"})) == Request(
        "203.0.113.7", 1_740_744_694_109, b"/a?b=1", 'a "b"', Host("a.example", None, "https")
    )


def test_json_nested_deeper_than_any_log() -> None:
    assert read(Format.JSON, b'{"request":' + b"[" * 100_000) == [Skip.OTHER_FORMAT]


def test_nginx_json_in_local_time_and_with_bytes_that_are_no_text() -> None:
    line = (
        b'{"remote_addr":"203.0.113.7","time_local":"28/Feb/2025:12:11:34 +0000","request":"GET /\xe4 HTTP/1.1",'
        b'"http_user_agent":"caf\xe9"}'
    )
    assert only(Format.JSON, line) == Request("203.0.113.7", 1_740_744_694_000, b"/\xe4", "café")


# Microsoft, "W3C Logging" for IIS 8.5; the default fields.
IIS = [
    b"#Software: Microsoft Internet Information Services 10.0",
    b"#Version: 1.0",
    b"#Date: 2026-10-10 13:00:00",
    b"#Fields: date time s-ip cs-method cs-uri-stem cs-uri-query s-port cs-username c-ip cs(User-Agent) "
    b"cs(Referer) sc-status sc-substatus sc-win32-status time-taken",
]
IIS_ROW = (
    b"2026-10-10 13:55:36 192.0.2.80 GET /price+list.pdf q=a+b&p=%20 443 - 203.0.113.7 "
    b"Mozilla/5.0+(Windows+NT+10.0;+Win64;+x64) - 200 0 0 15"
)
OCTOBER_10_2026_MS = 1_791_640_536_000


def test_iis() -> None:
    assert only(Format.W3C, *IIS, IIS_ROW) == Request(
        "203.0.113.7",
        OCTOBER_10_2026_MS,
        b"/price list.pdf?q=a+b&p=%20",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64)",
    )


def test_w3c_fields_can_change_within_a_file_and_name_the_host() -> None:
    requests = read(
        Format.W3C,
        *IIS,
        IIS_ROW,
        b"#Fields: time c-ip cs-uri-stem cs-uri-query s-port cs-host",
        b"13:55:36 203.0.113.8 /c++ - 443 www.example.com",
        b"13:55:36 203.0.113.8 /c - 8080 www.example.com:8080",
        b"13:55:36 203.0.113.8 /d",
    )
    assert requests[5:] == [
        None,
        Request("203.0.113.8", OCTOBER_10_2026_MS, b"/c  ", None, Host("www.example.com", None, "https")),
        Request("203.0.113.8", OCTOBER_10_2026_MS, b"/c", None, Host("www.example.com", 8080, "http")),
        Skip.OTHER_FORMAT,
    ]


# Apache Tomcat, "Extended Access Log Valve": texts are quoted, quotes in them doubled.
def test_tomcats_extended_log() -> None:
    lines = (
        b"#Fields: c-ip date time cs-method cs-uri-stem cs-uri-query sc-status cs(User-Agent)",
        b'203.0.113.7 2026-10-10 13:55:36 GET /c++ - 200 "a ""b"" c+d"',
    )
    assert only(Format.W3C, *lines) == Request("203.0.113.7", OCTOBER_10_2026_MS, b"/c++", 'a "b" c+d')


# AWS, "Standard logging reference" of CloudFront: the file's first lines and its example.
CLOUDFRONT = [
    b"#Version: 1.0",
    b"#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    b"cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol",
]


def cloudfront_row(stem: str, agent: str, query: str, host: str = "www.example.com") -> bytes:
    values = (
        *("2026-10-10", "13:55:36", "LAX1", "392", "2001:db8::7", "GET", "d111111abcdef8.cloudfront.net"),
        *(stem, "200", "-", agent, query, "-", "Hit", "SOX4xwn4XV6Q4rgb7XiVGOHms_BGlTAC4KyHmureZmBNrjGdRLiNIQ==", host),
        "https",
    )
    return "\t".join(values).encode()


@pytest.mark.parametrize(
    ("row", "target", "user_agent"),
    [
        (
            cloudfront_row("/index.html", "Mozilla/5.0%20(X11;%20Linux)", "-"),
            b"/index.html",
            "Mozilla/5.0 (X11; Linux)",
        ),
        (cloudfront_row("/a%20b", "curl/8", "q=%20&r=https%3A%2F%2Fa"), b"/a%20b?q=%20&r=https%3A%2F%2Fa", "curl/8"),
        (cloudfront_row("/a%2520b", "a%2520b", "q=%2520"), b"/a%20b?q=%20", "a b"),  # encoded twice, until about 2020
        (cloudfront_row("/", "%D0%AF%20%22x%22%20100%25", "-"), b"/", 'Я "x" 100%'),
        (cloudfront_row("/", "-", "-"), b"/", None),
    ],
)
def test_cloudfront(row: bytes, target: bytes, user_agent: str | None) -> None:
    assert only(Format.CLOUDFRONT, *CLOUDFRONT, row) == Request(
        "2001:db8::7", OCTOBER_10_2026_MS, target, user_agent, Host("www.example.com", None, "https")
    )


def test_cloudfront_without_a_host_of_its_own() -> None:
    request = only(Format.CLOUDFRONT, *CLOUDFRONT, cloudfront_row("/", "-", "-", "-"))
    assert request.host == Host("d111111abcdef8.cloudfront.net", None, "https")


# AWS, "Access logs for your Application Load Balancer": the examples of HTTPS, HTTP/2 and WebSocket.
ALB = (
    b"https 2018-07-02T22:23:00.186641Z app/my-loadbalancer/50dc6c495c0c9188 192.168.131.39:2817 10.0.0.1:80 0.086 "
    b'0.048 0.037 200 200 0 57 "GET https://www.example.com:443/a?b=1 HTTP/1.1" "curl/7.46.0" '
    b"ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/my-targets/"
    b'73e2d6bc24d8a067 "Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:'
    b'123456789012:certificate/12345678-1234-1234-1234-123456789012" 1 2018-07-02T22:22:48.364000Z "authenticate,'
    b'forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_123456'
)
CREATED_MS = 1_530_570_168_364


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ALB, Request("192.168.131.39", CREATED_MS, b"https://www.example.com/a?b=1", "curl/7.46.0")),
        (
            ALB.replace(b"192.168.131.39:2817", b"[2001:db8::7]:2817").replace(b":443/", b":8443/"),
            Request("2001:db8::7", CREATED_MS, b"https://www.example.com:8443/a?b=1", "curl/7.46.0"),
        ),
        (
            ALB.replace(b"https 2018", b"wss 2018").replace(b'"curl/7.46.0"', b'"a \\x22b\\x22"'),
            Request("192.168.131.39", CREATED_MS, b"https://www.example.com/a?b=1", 'a "b"'),
        ),
        (  # from before 2018, when lines ended sooner
            ALB.partition(b' "www.example.com"')[0],
            Request("192.168.131.39", 1_530_570_180_186, b"https://www.example.com/a?b=1", "curl/7.46.0"),
        ),
        (  # no target answered; the request was malformed
            ALB.replace(b"10.0.0.1:80 0.086 0.048 0.037 200 200", b"- -1 -1 -1 400 -").replace(
                b"GET https://www.example.com:443/a?b=1 HTTP/1.1", b"- http://www.example.com:80- -"
            ),
            Skip.NO_REQUEST,
        ),
    ],
)
def test_alb(line: bytes, expected: Request | Skip) -> None:
    assert read(Format.ALB, line) == [expected]


SAMPLES: dict[Format, Sequence[bytes]] = {
    Format.COMMON: [COMMON],
    Format.COMBINED: [COMBINED],
    Format.VHOST_COMBINED: [b"www.example.com:443 " + COMBINED],
    Format.FORWARDED_COMBINED: [b"203.0.113.7, 198.51.100.9 " + COMBINED],
    Format.JSON: [as_line(CADDY), as_line(TRAEFIK)],
    Format.W3C: [*IIS, IIS_ROW],
    Format.CLOUDFRONT: [*CLOUDFRONT, cloudfront_row("/", "curl/8", "-")],
    Format.ALB: [ALB],
}


@pytest.mark.parametrize("log_format", Format)
def test_each_format_is_recognised_and_read_as_no_other(log_format: Format) -> None:
    assert recognise([b"garbage", *SAMPLES[log_format], b""], "a.log") is log_format
    for other in set(Format) - {log_format}:
        requests = [found for found in read(other, *SAMPLES[log_format]) if isinstance(found, Request)]
        in_front = {log_format, other} == {Format.VHOST_COMBINED, Format.FORWARDED_COMBINED}
        assert in_front or requests == []


def test_a_log_that_has_just_begun() -> None:
    assert recognise(IIS, "a.log") is Format.W3C
    assert recognise(CLOUDFRONT, "a.log") is Format.CLOUDFRONT


def with_fronts(*pairs: tuple[str, str]) -> list[bytes]:
    return [f"{first} {second} ".encode() + COMBINED.partition(b" ")[2] for first, second in pairs]


SERVER_FIRST = [("192.0.2.80", f"198.51.100.{visitor}") for visitor in range(10)]
CLIENT_FIRST = [(second, first) for first, second in SERVER_FIRST]


@pytest.mark.parametrize(
    ("pairs", "log_format"),
    [
        (SERVER_FIRST, Format.VHOST_COMBINED),
        (CLIENT_FIRST, Format.FORWARDED_COMBINED),
        ([("www.example.com", "198.51.100.1")], Format.VHOST_COMBINED),
        ([("192.0.2.80:443", "198.51.100.1")], Format.VHOST_COMBINED),
        ([*[("www.example.com:80", "198.51.100.1")] * 2, ("192.0.2.80:80", "198.51.100.2")], Format.VHOST_COMBINED),
        ([("203.0.113.7,10.0.0.1", "192.0.2.80"), ("-", "192.0.2.80")], Format.FORWARDED_COMBINED),
    ],
)
def test_many_lines_tell_a_server_in_front_from_a_client(pairs: Sequence[tuple[str, str]], log_format: Format) -> None:
    assert recognise(with_fronts(*pairs), "a.log") is log_format


@pytest.mark.parametrize(
    "pairs",
    [
        SERVER_FIRST[:3],
        CLIENT_FIRST[:9],
        [("192.0.2.80:51234", "198.51.100.1")],
        [*CLIENT_FIRST, ("unknown", "192.0.2.80")],
        [("203.0.113.7,10.0.0.1", "192.0.2.80"), *[("www.example.com", "192.0.2.80")] * 3],
    ],
)
def test_few_or_contradicting_lines_are_refused_and_the_option_is_named(pairs: Sequence[tuple[str, str]]) -> None:
    with pytest.raises(UnknownFormat, match=r"(?s)a\.log.*--format vhost_combined.*--format forwarded_combined"):
        recognise(with_fronts(*pairs), "a.log")


def test_no_visitor_gets_the_servers_address() -> None:
    lines = with_fronts(*SERVER_FIRST)
    assert [only(Format.VHOST_COMBINED, line).address for line in lines] == [client for _, client in SERVER_FIRST]
    assert set(read(Format.COMBINED, *lines)) == {Skip.OTHER_FORMAT}


def test_as_many_lines_in_one_format_as_in_another_are_refused() -> None:
    with pytest.raises(UnknownFormat, match=r"as many lines in the format .* --format"):
        recognise([COMMON, ALB], "a.log")
    assert recognise([COMMON, ALB, ALB], "a.log") is Format.ALB


def test_a_file_that_is_no_log_is_shown_escaped_and_cut() -> None:
    with pytest.raises(
        UnknownFormat, match=r"blob is not in a log format.*Line 2 is: \\x7fELF\\x00\\x1b\[2Jx+…\nKnown"
    ):
        recognise([b"", b"\x7fELF\x00\x1b[2J" + b"x" * 1_000_000], "blob")


@pytest.mark.parametrize("log_format", Format)
@settings(deadline=None)
@given(line=st.binary(max_size=300))
@example(b'{"remote_addr":"192.0.2.1","time":1e400,"uri":"/"}')
@example(b'{"remote_addr":"192.0.2.1","time":' + b"9" * 5_000 + b',"uri":"\\ud800"}')
@example(b'{"remote_addr":"192.0.2.1","time":"10/Oct/2000:13:55:36 -9900","uri":"/"}')
@example(b'192.0.2.1 - - [01/Jan/0001:00:00:00 +1400] "GET / HTTP/1.1" 200 5')
def test_no_bytes_raise(log_format: Format, line: bytes) -> None:
    for sample in SAMPLES[log_format]:
        cut = len(line) % (len(sample) + 1)
        mixed = sample[:cut] + line + sample[cut:]
        for one in (line, mixed, sample.replace(b"2", line), sample.replace(b" ", line, 3)):
            list(clicks([*SAMPLES[log_format], one], log_format, NOBODY, site=ANY_SITE, report=LogReport()))
            shown(one)
            if one:
                try_to_recognise([one])


class Nobody:
    """Finds no country, browser or device."""

    def country(self, ip_address: str) -> str | None:
        return ip_address and None

    def client(self, user_agent: str) -> Client:
        return Client(user_agent and None, None, None)


NOBODY = Nobody()
ANY_SITE = Site("https://www.example.com", "https")


def try_to_recognise(lines: Sequence[bytes]) -> None:
    try:
        assert recognise(lines, "a.log") in Format
    except UnknownFormat:
        return


@pytest.mark.parametrize(
    "piece", [b" [", b'"', b"\\", b' "', b"a ", b", ", b"1.1.1.1, ", b"%25", b'""', b" -", b"]", b"\t", b"[x] "]
)
def test_reading_takes_time_in_proportion_to_a_lines_length(piece: bytes) -> None:
    line = piece * (200_000 // len(piece))
    started = time.process_time()
    for log_format in Format:
        read(log_format, b"#Fields: c-ip date time cs-uri-stem", line, COMBINED[:60] + line, ALB[:150] + line)
    assert time.process_time() - started < 4  # 0.3 s; with the square of the length, 24 s


DOCUMENTED = re.findall(
    rf"```({'|'.join(Format)})\n(.*?)\n```",
    (Path(__file__).parents[2] / "docs" / "sources.md").read_text(),
    re.DOTALL,
)


def test_every_format_is_documented() -> None:
    assert {name for name, _ in DOCUMENTED} == set(Format)


@pytest.mark.parametrize(("name", "block"), DOCUMENTED)
def test_the_documented_lines_are_what_the_page_says(name: str, block: str) -> None:
    lines = block.encode().splitlines()
    log_format = recognise(lines, "sources.md")
    assert log_format == name
    report = LogReport()
    found = list(clicks(lines, log_format, NOBODY, site=Site("https://www.example.com"), report=report))
    assert found
    assert not report.skipped
    for click in found:
        assert click["url"] == "https://www.example.com/a?b=1"
        assert click["ip_address"] == "203.0.113.7"
        assert click["timestamp"] == OCTOBER_10_2026_MS
        assert click["user_agent"] == ("-" if log_format is Format.COMMON else "Mozilla/5.0")
        has_referrer = log_format not in (Format.COMMON, Format.ALB)
        assert click.get("referrer") == ("https://search.example/" if has_referrer else None)


@pytest.mark.parametrize(
    ("logged", "referrer"),
    [
        (b"-", None),
        (b"", None),
        (b"https://search.example/?q=a%20b", "https://search.example/?q=a%20b"),
        (b"https://search.example/?q=a b", "https://search.example/?q=a%20b"),
        (b'https://search.example/\\"\\x07\\xe4', "https://search.example/%22%07%E4"),
        ("https://search.example/ä".encode(), "https://search.example/%C3%A4"),
        (b"android-app://com.example/", "android-app://com.example/"),
    ],
)
def test_a_referrer_is_what_a_browser_would_have_sent(logged: bytes, referrer: str | None) -> None:
    line = b'203.0.113.7 - - [10/Oct/2026:13:55:36 +0000] "GET /a HTTP/1.1" 200 512 "%b" "Mozilla/5.0"' % logged
    assert only(Format.COMBINED, line).referrer == referrer


def test_a_referrer_that_iis_and_cloudfront_wrote_is_decoded() -> None:
    iis = IIS_ROW.replace(b" - 200", b" https://search.example/?q=a+b 200")
    assert only(Format.W3C, *IIS, iis).referrer == "https://search.example/?q=a%20b"
    row = cloudfront_row("/", "curl/8", "-").replace(b"\t200\t-\t", b"\t200\thttps://search.example/?q=a%20b\t")
    assert only(Format.CLOUDFRONT, *CLOUDFRONT, row).referrer == "https://search.example/?q=a%20b"
