r"""Undoing what a log does to text, and doing to a URL what a browser does.

Apache and nginx write bytes that would break a line as `\xNN`, a quote as `\"` (Apache) or `\x22` (nginx), Apache some
control characters as in C. See `ap_escape_logitem` in Apache's server/util.c, and `log_format` in the documentation of
nginx's ngx_http_log_module (`escape=default`).

Browsers percent-encode characters by the sets of the URL Standard (https://url.spec.whatwg.org/#percent-encoded-bytes):
one for the path, a smaller one for the query. Clients that are not browsers send such bytes raw; they are encoded here
so that the page is the one a browser would have asked for, and so that the platform accepts it.
"""

import re

_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|([\"\\'bfnrtv]))")
_CONTROLS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}

_ENCODED_IN_PATH = re.compile(rb"[\x00-\x20\x7f-\xff\"<>^`{}\\]")
_ENCODED_IN_QUERY = re.compile(rb"[\x00-\x20\x7f-\xff\"<>]")


def unescaped(logged: bytes) -> bytes:
    """The bytes that Apache or nginx logged; a backslash that begins no escape of theirs stays."""
    return _ESCAPE.sub(_original, logged) if b"\\" in logged else logged


def url_text(target: bytes) -> str:
    """Path and query, or a whole URL, with what a URL cannot hold percent-encoded; what is encoded already stays.

    A backslash in the path is encoded too: it reached the server as such, so no browser sent it.
    """
    path, mark, query = target.partition(b"?")
    return (_ENCODED_IN_PATH.sub(_percent, path) + mark + _ENCODED_IN_QUERY.sub(_percent, query)).decode("ascii")


def header_text(value: bytes) -> str:
    """The text of a header's value: UTF-8, or else ISO-8859-1, in which any bytes are text (RFC 9110, 5.5)."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("iso-8859-1")


def _original(match: re.Match[bytes]) -> bytes:
    if match[1]:
        return bytes.fromhex(match[1].decode())
    return _CONTROLS.get(match[2], match[2])


def _percent(match: re.Match[bytes]) -> bytes:
    return b"%%%02X" % match[0][0]
