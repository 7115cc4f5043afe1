"""The page of a click: its URL in the canonical form by which clicks are grouped."""

import re
from functools import lru_cache
from socket import AF_INET6, inet_pton

_DEFAULT_PORTS = {"http": "80", "https": "443"}
_BLANK = re.compile(r"[\x00-\x20\x7f]")
_ASCII_NOT_IN_HOST = re.compile(r"(?![-a-z0-9._~!$&'()*+,;=])[\x00-\x7f]")
_PORT = re.compile(r"0*([0-9]{1,5})")
_TRACKING_PARAMETER = re.compile(r"(?:utm_[^=]*|gclid|fbclid|msclkid)(?:=|\Z)")
# Few URLs make most of the clicks, and finding one costs a thirtieth of computing it. Long ones are left out so that
# the memory stays small: about 10 MB of ASCII URLs at most.
_CACHED_URLS = 8_192
_LONGEST_CACHED_URL = 256


class InvalidUrl(ValueError):
    """Not an absolute http or https URL; the message says why, without quoting the URL."""


def page_of(url: str) -> str:
    """The page of a URL.

    Scheme and ASCII letters of the host in lower case; default port, user name and password, fragment and tracking
    parameters removed; an empty path becomes `/`. Everything else stays byte for byte. The page of a page is the page
    itself.

    Args:
        url: An absolute http or https URL without lone surrogates.

    Raises:
        InvalidUrl: it is none, or its host or port is impossible.
    """
    return _cached(url) if len(url) <= _LONGEST_CACHED_URL else _canonical(url)


def referring_host(referrer: str, page: str) -> str:
    """The host of the other site that led to a page, without port.

    Empty when there is none: the referrer is empty, names the page's own host, or is no absolute http or https URL.
    What a browser sends there is another site's affair, so it is never a reason to reject a click.

    Args:
        referrer: As sent.
        page: The page of the click.
    """
    if not referrer:
        return ""
    try:
        host = _host_of(page_of(referrer))
    except InvalidUrl:
        return ""
    return "" if host == _host_of(page) else host


def _host_of(page: str) -> str:
    location = page.split("/", 3)[2]
    if location.startswith("["):
        return location[: location.index("]") + 1]
    return location.partition(":")[0]


def _canonical(url: str) -> str:
    if _BLANK.search(url):
        raise InvalidUrl("holds a space or a control character")
    scheme, separator, rest = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in _DEFAULT_PORTS:
        raise InvalidUrl("is not absolute with http or https")
    rest, _, query = rest.partition("#")[0].partition("?")
    if "\\" in rest:
        # Browsers read it as "/", other programs as part of the host: two readings, two pages.
        raise InvalidUrl("holds a backslash before its query")
    authority, _, path = rest.partition("/")
    page = f"{scheme}://{_host_and_port(authority, _DEFAULT_PORTS[scheme])}/{path}"
    query = "&".join(part for part in query.split("&") if not _TRACKING_PARAMETER.match(part))
    return f"{page}?{query}" if query else page


_cached = lru_cache(maxsize=_CACHED_URLS)(_canonical)


def _host_and_port(authority: str, default_port: str) -> str:
    """Host in lower case and port, without user name, password and default port."""
    location = authority.rpartition("@")[2]
    if location.startswith("["):
        address, bracket, rest = location.partition("]")
        host = _ipv6(address[1:]) if bracket else ""
        _, colon, port = rest.partition(":")
        if not host or (rest and not rest.startswith(":")):
            raise InvalidUrl("has a host in broken brackets")
    else:
        name, colon, port = location.partition(":")
        host = _name(name)
    if not port:  # "host:" means the default port
        return host
    digits = _PORT.fullmatch(port) if colon else None
    if not digits or int(digits[1]) > 65_535:
        raise InvalidUrl("has a port that is not a number from 0 to 65535")
    number = str(int(digits[1]))
    return host if number == default_port else f"{host}:{number}"


def _ipv6(text: str) -> str:
    """An IPv6 address in brackets and lower case, otherwise as written.

    A zone (`%eth0`) is refused: it means nothing outside the machine that wrote it.
    """
    try:
        inet_pton(AF_INET6, text)
    except OSError:
        raise InvalidUrl("has a host in brackets that is not an IPv6 address") from None
    return f"[{text.lower()}]"


def _name(text: str) -> str:
    """A host name or IPv4 address, its ASCII letters in lower case.

    Other characters stay as written: what their lower case and normal form are depends on the version of Unicode, and
    browsers send Punycode.
    """
    if not text:
        raise InvalidUrl("has no host")
    host = text.encode().lower().decode()  # lower() of bytes changes ASCII letters only
    if _ASCII_NOT_IN_HOST.search(host):
        raise InvalidUrl("has a host with a character that no host has")
    return host
