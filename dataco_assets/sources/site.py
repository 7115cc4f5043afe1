"""The synthetic web site and its visitors: pages, browsers and countries with their frequencies.

`generator` draws from these tables. All names and addresses are reserved for documentation, so that none belongs to a
real site or person: hosts of RFC 2606 and 6761, IPv4 of RFC 5737, IPv6 of RFC 3849.

The tables are the same for every seed: a page keeps its rank from one stream to the next.
"""

import itertools
import random
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv6Address
from urllib.parse import quote

import msgspec

PAGES = 2_000
ZIPF_EXPONENT = 1.0
SLOTS = 1 << 16  # size of the drawing tables: the rarest page still owns a few slots

IPV4_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")
IPV6_PREFIX = int(IPv6Address("2001:db8::"))

HOSTS = (
    ("https://www.example.com", 443, 60),
    ("https://shop.example.com", 443, 30),
    ("http://news.example.org:8080", 8080, 8),
    ("http://bücher.example", 80, 2),
)
"""Scheme and authority, port, and share of the pages in percent."""


@dataclass(frozen=True)
class Client:
    """One browser on one device: its user agent and what a parser derives from it (None: unknown)."""

    user_agent: str
    browser: str | None
    operating_system: str | None
    device: str | None
    weight: int


_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)"
_KHTML = "AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"

CLIENTS = (
    Client(f"{_WINDOWS}) {_KHTML} Chrome/140.0.0.0 Safari/537.36", "Chrome", "Windows", None, 24),
    Client(
        f"Mozilla/5.0 (Linux; Android 10; K) {_KHTML} Chrome/140.0.0.0 Mobile Safari/537.36",
        "Chrome Mobile",
        "Android",
        "K",
        24,
    ),
    Client(
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_APPLE} Version/18.6 Mobile/15E148 Safari/604.1",
        "Mobile Safari",
        "iOS",
        "iPhone",
        18,
    ),
    Client(f"{_MAC} {_APPLE} Version/18.6 Safari/605.1.15", "Safari", "Mac OS X", "Mac", 6),
    Client(f"{_MAC} {_KHTML} Chrome/140.0.0.0 Safari/537.36", "Chrome", "Mac OS X", "Mac", 6),
    Client(f"{_WINDOWS}; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox", "Windows", None, 4),
    Client("Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox", "Linux", None, 3),
    Client(f"{_WINDOWS}) {_KHTML} Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", "Edge", "Windows", None, 6),
    Client(
        f"Mozilla/5.0 (Linux; Android 15; SM-S931B) {_KHTML} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
        "Samsung Internet",
        "Android",
        "Samsung SM-S931B",
        4,
    ),
    Client(
        f"Mozilla/5.0 (iPad; CPU OS 17_7 like Mac OS X) {_APPLE} Version/17.7 Mobile/15E148 Safari/604.1",
        "Mobile Safari",
        "iOS",
        "iPad",
        2,
    ),
    Client("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot", None, "Spider", 2),
    Client("curl/8.14.1", "curl", None, None, 1),
)

COUNTRIES: tuple[tuple[str | None, int, tuple[str, ...]], ...] = (
    ("US", 280, ("New York", "Chicago", "San José", "Austin")),
    ("IN", 120, ("Mumbai", "बेंगलुरु", "Delhi")),
    ("BR", 75, ("São Paulo", "Brasília")),
    ("DE", 70, ("Berlin", "München", "Köln")),
    ("GB", 65, ("London", "Leeds")),
    ("JP", 60, ("東京", "Osaka")),
    ("FR", 55, ("Paris", "Nîmes")),
    ("ID", 45, ("Jakarta",)),
    ("MX", 40, ("Ciudad de México",)),
    ("TR", 30, ("İstanbul",)),
    ("PL", 25, ("Kraków",)),
    ("ES", 25, ("Málaga",)),
    ("IT", 25, ("Milano",)),
    ("NG", 20, ("Lagos",)),
    ("CA", 20, ("Montréal",)),
    ("AU", 15, ("Sydney",)),
    ("ZA", 10, ("Cape Town",)),
    ("IS", 3, ("Reykjavík",)),
    ("NZ", 3, ("Auckland",)),
    ("", 4, ()),  # present but empty: the contract reads it as unknown
    (None, 30, ()),  # unknown to the enrichment
)
"""Country (None: the field is absent), weight per mille or so, and its cities."""

REFERRERS = (
    (None, 42),
    ("https://www.search.example/", 30),
    ("https://search.example.net/lamps?page=2", 6),
    ("https://social.example/", 11),
    ("https://t.example/abc", 3),
    ("https://mail.example.net/", 4),
    ("https://blog.bücher.example/2026/", 2),
    ("android-app://com.example.search/", 2),
)
"""What leads to the first page of a visit (None: nothing that is known), and its share of the visits in percent."""

_VARIANTS = {"plain": 76, "campaign": 8, "advertisement": 7, "fragment": 4, "port": 3, "capitals": 2}
"""How a page's URL is written, with the share of each in percent; all variants of a URL are one page."""

_WORDS = ("lamp", "chair", "desk", "café", "menü", "каталог", "日本語", "été", "sofa", "rug", "clock", "shelf")


@cache
def profiles() -> tuple[bytes, ...]:
    """`SLOTS // 16` visitors by number: their JSON members from `user_agent` on, without braces."""
    draw = random.Random("profiles")  # noqa: S311  # synthetic data, not a secret
    clients = draw.choices(CLIENTS, [client.weight for client in CLIENTS], k=SLOTS // 16)
    countries = draw.choices(COUNTRIES, [weight for _, weight, _ in COUNTRIES], k=SLOTS // 16)
    return tuple(
        _profile(client, country, cities, draw) for client, (country, _, cities) in zip(clients, countries, strict=True)
    )


@cache
def url_slots() -> tuple[bytes, ...]:
    """`SLOTS` URLs as JSON strings; a uniform draw among them is Zipf-distributed over the pages."""
    draw = random.Random("urls")  # noqa: S311  # synthetic data, not a secret
    weights = [1 / rank**ZIPF_EXPONENT for rank in range(1, PAGES + 1)]
    pages = draw.choices(_pages(), weights, k=SLOTS)
    return tuple(msgspec.json.encode(_as_sent(host, port, target, draw)) for host, port, target in pages)


@cache
def referrers() -> tuple[bytes, ...]:
    """4,096 referrers: each the JSON member with a comma before it, or empty where there is none."""
    draw = random.Random("referrers")  # noqa: S311  # synthetic data, not a secret
    drawn = draw.choices([name for name, _ in REFERRERS], [share for _, share in REFERRERS], k=SLOTS // 16)
    return tuple(b"" if name is None else b',"referrer":' + msgspec.json.encode(name) for name in drawn)


def address(visitor: int) -> str:
    """The IP address of a visitor: one of 762 IPv4 addresses, or for every fifth visitor an IPv6 address of its own."""
    if visitor % 5 == 0:
        return str(IPv6Address(IPV6_PREFIX + (visitor << 16) + 1))
    return f"{IPV4_NETWORKS[visitor % 3]}.{visitor % 254 + 1}"


def _profile(client: Client, country: str | None, cities: tuple[str, ...], draw: random.Random) -> bytes:
    members: dict[str, str | None] = {
        "user_agent": client.user_agent,
        "country": country,
        "city": draw.choice(cities) if cities and draw.random() < 0.9 else None,
        "browser": client.browser,
        "operating_system": client.operating_system,
        "device": client.device,
    }
    return msgspec.json.encode({name: value for name, value in members.items() if value is not None})[1:-1]


def _pages() -> list[tuple[str, int, str]]:
    """Host, port and target of every page, most visited first."""
    draw = random.Random("pages")  # noqa: S311  # synthetic data, not a secret
    hosts = draw.choices(HOSTS, [share for _, _, share in HOSTS], k=PAGES)
    found = dict.fromkeys((host, port, "/") for host, port, _ in HOSTS)  # home pages lead
    for number, (host, port, _) in zip(itertools.count(1), hosts, strict=False):
        found[host, port, _target(number, draw)] = None
    return list(found)[:PAGES]


def _target(number: int, draw: random.Random) -> str:
    """Path and query of a page; `number` makes it unique."""
    word, other = draw.choice(_WORDS), draw.choice(_WORDS)
    kind = draw.random()
    if kind < 0.45:
        return f"/products/{word}-{number}"
    if kind < 0.60:
        return f"/blog/2025/{number % 12 + 1:02d}/{word}-{other}-{number}"
    if kind < 0.75:
        return f"/{quote(word)}/{number}.html"
    if kind < 0.90:
        return f"/search?q={quote(word)}&page={number}"
    return f"/list/{number}?sort=price&sort=name&filter="


def _as_sent(host: str, port: int, target: str, draw: random.Random) -> str:
    """A page's URL as a browser might send it, sometimes in a variant that is the same page."""
    joint = "&" if "?" in target else "?"
    tracked = f"{draw.getrandbits(32):08x}"
    match draw.choices(tuple(_VARIANTS), tuple(_VARIANTS.values()))[0]:
        case "campaign":
            target += f"{joint}utm_source=newsletter&utm_medium=email&utm_campaign={draw.choice(_WORDS)}"
        case "advertisement":
            target += f"{joint}{draw.choice(('gclid', 'fbclid', 'msclkid'))}={tracked}"
        case "fragment":
            target += f"#section-{draw.randrange(9)}"
        case "port":
            host = f"{host.removesuffix(f':{port}')}:{port}"
        case "capitals":
            host = host.upper() if host.isascii() else host
    return host + target
