"""Tests unescaping of log text, against the escaping of servers and browsers and the library apachelogs."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import apachelogs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.page import page_of
from dataco_assets.sources.access_logs import ncsa
from dataco_assets.sources.access_logs.escapes import header_text, unescaped, url_text
from dataco_assets.sources.access_logs.request import Request


def apache_escaped(value: bytes) -> bytes:
    r"""As `ap_escape_logitem` of Apache 2.4 writes it: `\"` and `\\`, C's letters, `\xhh` for the rest."""
    letters = {8: b"\\b", 10: b"\\n", 13: b"\\r", 9: b"\\t", 11: b"\\v", 92: b"\\\\", 34: b'\\"'}
    return b"".join(letters.get(byte) or (bytes([byte]) if 32 <= byte < 127 else b"\\x%02x" % byte) for byte in value)


def nginx_escaped(value: bytes) -> bytes:
    r"""As nginx's `escape=default` writes it: `\xHH` for quote, backslash, and what is below 32 or above 126."""
    return b"".join(bytes([byte]) if 32 <= byte <= 126 and byte not in b'"\\' else b"\\x%02X" % byte for byte in value)


@given(st.binary())
def test_undoes_what_the_servers_write(value: bytes) -> None:
    assert unescaped(apache_escaped(value)) == value
    assert unescaped(nginx_escaped(value)) == value


@pytest.mark.parametrize("logged", [rb"C:\Windows\d", b"\\", rb"\x4", rb"\xzz", rb"a\ b"])
def test_a_backslash_that_begins_no_escape_stays(logged: bytes) -> None:
    assert unescaped(logged) == logged


LogParser: Any = apachelogs.LogParser  # the library has no types
COMBINED = LogParser(apachelogs.COMBINED, encoding="bytes")
COMMON = LogParser(apachelogs.COMMON, encoding="bytes")
VHOST_COMBINED = LogParser(apachelogs.VHOST_COMBINED, encoding="bytes")
TARGETS = st.binary(min_size=1).filter(lambda target: not target[:1].isspace() and b" HTTP/" not in target)
USER_AGENTS = st.binary().filter(lambda agent: agent not in (b"", b"-"))


@given(
    address=st.ip_addresses().map(str),
    user=st.sampled_from(["-", "frank", "Jane"]),
    target=TARGETS,
    user_agent=USER_AGENTS,
    seconds=st.integers(0, 4_000_000_000),
    offset=st.sampled_from(["+0000", "-0700", "+0530", "+1400"]),
)
def test_apachelogs_reads_the_same(
    address: str, user: str, target: bytes, user_agent: bytes, seconds: int, offset: str
) -> None:
    shift = timedelta(hours=int(offset[:3]), minutes=int(offset[0] + offset[3:]))
    time = (datetime.fromtimestamp(seconds, UTC) + shift).strftime("%d/%b/%Y:%H:%M:%S ") + offset
    common = f'{address} - {user} [{time}] "GET '.encode() + apache_escaped(target) + b' HTTP/1.1" 200 5'
    combined = common + b' "-" "' + apache_escaped(user_agent) + b'"'
    entries = (
        (COMMON.parse(common.decode()), ncsa.common(common)),
        (COMBINED.parse(combined.decode()), ncsa.combined(combined)),
        (VHOST_COMBINED.parse("a.example:80 " + combined.decode()), ncsa.vhost_combined(b"a.example:80 " + combined)),
    )
    for entry, request in entries:
        assert isinstance(request, Request)
        assert request.address.encode() == entry.remote_host
        assert request.timestamp == entry.request_time.timestamp() * 1_000 == seconds * 1_000
        assert b"GET " + request.target + b" HTTP/1.1" == entry.request_line
        if request.user_agent is not None:
            assert request.user_agent == header_text(entry.headers_in["User-Agent"])


ALLOWED = "!#$&'()*+,-./0123456789:;=?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~%"


@given(st.binary())
def test_a_url_is_ascii_without_blanks_and_says_the_same_bytes(target: bytes) -> None:
    text = url_text(target)
    assert text.isascii()
    assert not any(character.isspace() or character < " " or character in '"<>\x7f' for character in text)
    assert unquote_to_bytes(text) == unquote_to_bytes(target)
    assert url_text(text.encode()) == text
    assert page_of(f"https://a.example/{text}")


@given(st.binary())
def test_a_path_is_encoded_as_urllib_would(path: bytes) -> None:
    path = path.replace(b"?", b"")
    assert url_text(path).replace("|", "%7C") == quote_from_bytes(path, safe=ALLOWED)


@given(st.text())
def test_headers_are_utf_8_or_else_iso_8859_1(text: str) -> None:
    if text.isprintable():
        assert header_text(text.encode()) == text
    assert header_text(b"caf\xe9") == "café"
