"""Generated records for the differential test of the codecs: payloads near the borders of the contract.

A record begins as a click whose fields are drawn from values on both sides of each rule; it is written as JSON in one
of many ways (order, white space, escapes, equal keys, unknown fields), and a part of the payloads is then damaged.
Whether a payload is valid is nobody's business here: the codecs only have to agree.
"""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from dataco_assets.clicks.event import (
    MAX_AHEAD_MS,
    MAX_DEPTH,
    MAX_EVENT_ID,
    MAX_OPTIONAL,
    MAX_PAYLOAD_BYTES,
    MAX_TIMESTAMP_MS,
    MAX_URL,
    MAX_USER_AGENT,
    MAX_USER_ID,
)

NOW = 1_431_857_103_000
FIRST = 1_420_070_400_000
_LIMITS = {
    "user_id": MAX_USER_ID,
    "url": MAX_URL,
    "user_agent": MAX_USER_AGENT,
    "event_id": MAX_EVENT_ID,
    "referrer": MAX_URL,
    **dict.fromkeys(("city", "browser", "operating_system", "device"), MAX_OPTIONAL),
}
_NAMES = (
    *("user_id", "timestamp", "url", "ip_address", "user_agent", "event_id"),
    *("country", "city", "browser", "operating_system", "device", "referrer"),
)
_CHARACTERS = [
    *"abcXYZ 019-_.:/?#&=@%+~!$'()*,;\"\\[]{}<>|^`",
    *"\x00\x1f\x7f\x80\x85\xa0éßüÜ\u0130\u0131\u017f\u0308\u03a3\u1e9e\u1fef\u200d\u2028\u212a\ufeff\ufffd\uffff",
    *"\U00010000\U0001d160\U0001f600\U0010ffff\u037e\u0345",
]
_TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"\\u", b"\\ud800", b"\\udc00", b"\\u0000", b"\\x", b"\\/"),
    *(b"null", b"true", b"fals", b"NaN", b"Infinity", b"-", b"+", b".", b"e", b"0", b"1", b" ", b"\t", b"\n", b"\x0b"),
    *(b"\x00", b"\x1f", b"\x7f", b"\x80", b"\xbf", b"\xc0\x80", b"\xc2", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xff"),
    *(b"\xf0\x9f\x98\x80", b"\xf4\x90\x80\x80", b"\xf0\x80\x80\x80", b"\xc3\xa9", b"\xe2\x80\xa8", b"//", b"/*", b"'"),
]
_NUMBERS = [
    *("0", "-0", "-1", "1.0", "1e12", "1E+2", "1e400", "-1e999", "0." + "0" * 400 + "1", "1" * 5_000 + ".5"),
    *(str(NOW), f"{NOW}.0", f"-{NOW}", str(MAX_TIMESTAMP_MS), str(MAX_TIMESTAMP_MS + 1), "9" * 19, "9" * 25, "1" * 400),
    *(str(2**63 - 1), str(2**63), str(-(2**63)), str(2**64), str(2**64 + NOW), str(FIRST), str(FIRST - 1)),
    *("1" * 4_300, "1" * 4_301, "-" + "1" * 5_000),
]
_LITERALS = ["null", "null", "true", "false"]
_NO_VALUES = [
    *("00", "01", "-01", "1.", ".5", "-", "+1", "1e", "1e+", "-.1", "0x10", "1_0", f"0{NOW}", "1" * 5_000 + "."),
    *("NaN", "-Infinity", "Infinity", "nul", "True", "undefined", "'a'", "", "//", "[1,]", "[,1]", '{"a":1,}', "{a:1}"),
    *('{"a"}', '{"a":}', "{1:2}", "[1 2]", '{"a":1 "b":2}', "[[]", '"', '"\\"', "tru e", "- 1", "1 .5"),
]
_SCHEMES = ["http", "https", "HTTP", "hTTps", "ftp", "http:", "", "\u212attp", "http\u017f", "ws"]
_HOSTS = [
    *("a", "Example.COM", "b\u00dccher.example", "bu\u0308cher.example", "\u0130.example", "\u039f\u03a3.example", ""),
    *("\u212a", "xn--bcher-kva", "a_b.", "[::1]", "[2001:DB8::1]", "[::1", "[]", "[::ffff:1.2.3.4]", "[1.2.3.4]"),
    *("[fe80::1%25e]", "a]b", "a[b", "a b", "a%41", "a\\b", "1.2.3.4", "a:b", "[::1]x", "\u1fef", "😀", "[V1.a]"),
]
_USERS = ["", "", "", "u@", "u:p@", "u@v@", "@", "u:[@", "ü@"]
_PORTS = [
    "",
    "",
    "",
    ":",
    ":80",
    ":443",
    ":8080",
    ":0080",
    ":0",
    ":65535",
    ":65536",
    ":99999999999",
    ":8a",
    ":-1",
    ":\u0661",
]
_PATHS = ["", "/", "/a/b", "//", "/a/../b", "/Ü", "/a\\b", "/%7e", "/a b", "/@:[]", "/é😀"]
_QUERIES = [
    *(
        "utm_a=1",
        "UTM_a=1",
        "utm_",
        "utm",
        "gclid",
        "gclid=1",
        "gclidx=1",
        "fbclid=",
        "msclkid=a=b",
        "a=1",
        "b",
        "",
        "=",
    ),
    *("a=utm_x", "utm%5fa=1", "é=1", "utm_é", "a=?", "\\", ";utm_a=1", "utm_a;b=1", "utm_\u2028=1", "gclid\u0085", "/"),
]
_FRAGMENTS = ["", "", "#", "#a?utm_a=1", "#\\", "##", "# "]
_ADDRESSES = [
    *("203.0.113.7", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4 ", "1..2.3"),  # noqa: S104
    *("::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8::", ":::", "1:::2"),
    *("::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "1.2.3.4::", "::01.2.3.4", "1::2::3"),
    *(
        ":1",
        "1:",
        ":1::2",
        "12345::",
        "::g",
        "ABCD:ef01::",
        "fe80::1%eth0",
        "[::1]",
        "localhost",
        "",
        "::ffff:1.2.3.400",
    ),
    *(
        "\uff11.2.3.4",
        "::\uff11",
        "1.2.3.4:80",
        "1:2:3:4:5:6:7",
        "::1:2:3:4:5:6:7:8",
        "::00000",
        "+1.2.3.4",
        "1.2.3.-4",
    ),
]
_REFERRERS = [
    *("", "https://www.search.example/", "http://a.example/?q=1", "HTTPS://A.example:8443", "https://é.example/x"),
    *("https://u:p@[2001:DB8::1]:80/", "android-app://com.example/", "about:blank", "https://", "search.example"),
]
_COUNTRIES = ["DE", "ZZ", "", "de", "D", "DEU", "D1", "ÄB", "\uff24E", "😀", "AZ", "A[", "@A", "A\u030a"]


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the clicks topic.

    Attributes:
        payload: Its value; None is a tombstone.
        record_time_ms: Its Kafka timestamp, epoch ms.
        earliest_ms: Start of the first partition, epoch ms.
    """

    payload: bytes | None
    record_time_ms: int
    earliest_ms: int

    def as_vector(self) -> dict[str, Any]:
        """The members of a test vector that describe this record."""
        times = {"record_time_ms": self.record_time_ms, "earliest_ms": self.earliest_ms}
        if self.payload is None:
            return {"payload": None, **times}
        try:
            return {"payload": self.payload.decode(), **times}
        except UnicodeDecodeError:
            return {"payload_base64": base64.b64encode(self.payload).decode(), **times}


def records(random: Random, number: int) -> Iterator[Record]:
    """Generated records; the same for the same state of `random`."""
    for _ in range(number):
        yield Record(_payload(random), *_times(random))


def _times(random: Random) -> tuple[int, int]:
    if random.random() < 0.9:
        return NOW, FIRST
    step = random.choice((-1, 0, 1))
    record_time = (NOW - MAX_AHEAD_MS + step, NOW, -1, MAX_TIMESTAMP_MS, 2**63 - 1, -(2**63), NOW + step)
    earliest = (NOW + step, FIRST, 0, -1, -(2**63), 2**63 - 1)
    return random.choice(record_time), random.choice(earliest)


def _payload(random: Random) -> bytes | None:
    kind = random.random()
    if kind < 0.001:
        return None
    if kind < 0.01:
        return random.choice(
            (b"", b" ", b"[]", b"{}", b'"a"', b"1", b"-1.5e3", b"null", b"true ", b"[1,2", b"\xef\xbb\xbf{}")
        )
    if kind < 0.02:
        return b"".join(random.choice(_TOKENS) for _ in range(random.randrange(30)))
    payload = _written(random, _members(random))
    if kind < 0.0203:
        return payload.ljust(MAX_PAYLOAD_BYTES + random.choice((0, 1)))
    return _damaged(random, payload) if kind < 0.2 else payload


def _members(random: Random) -> list[tuple[str, str]]:
    """Names and raw JSON values of an object, in the order in which they are written."""
    unusual = set(random.sample(_NAMES, random.choice((0, 0, 1, 1, 2, 3))))
    members = [(name, _unusual(random, name) if name in unusual else _usual(random, name)) for name in _NAMES]
    members = [(name, value) for name, value in members if value and (name in _NAMES[:5] or random.random() < 0.6)]
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        members.append((random.choice(("x", "session", "user_ID", "", "é", "url ")), _any_value(random)))
    if random.random() < 0.2:
        name = random.choice(_NAMES)
        members.append((name, random.choice((_usual, _unusual))(random, name) or "null"))
    if random.random() < 0.3:
        random.shuffle(members)
    return members


def _usual(random: Random, name: str) -> str:
    """A valid value."""
    match name:
        case "timestamp":
            return (
                str(NOW - random.randrange(10**9))
                if random.random() < 0.7
                else json.dumps(iso_time(random, broken=False))
            )
        case "url":
            return _string(
                random, f"https://{random.choice('abAé')}.example/{random.randrange(100)}?q={random.choice('aü😀')}"
            )
        case "ip_address":
            return _string(random, random.choice(("203.0.113.7", "::1", "2001:DB8::7", "10.0.0.1")))
        case "country":
            return random.choice(('"DE"', '"FR"', "null", '""'))
        case "referrer":
            return _string(random, random.choice(_REFERRERS))
        case _:
            return _string(random, "".join(random.choices("abcdeé😀 ß", k=random.randrange(1, 12))))


def _unusual(random: Random, name: str) -> str:
    """A value on either side of a rule; empty when the field is absent."""
    kind = random.random()
    if kind < 0.1:
        return ""
    if kind < 0.25:
        return _any_value(random)
    return {
        "timestamp": _unusual_timestamp,
        "url": lambda random: _string(random, unusual_url(random)),
        "referrer": lambda random: (
            _string(random, unusual_url(random)) if random.random() < 0.7 else _unusual_text(random, "referrer")
        ),
        "ip_address": lambda random: _string(random, unusual_address(random)),
        "country": lambda random: _string(random, random.choice(_COUNTRIES)),
    }.get(name, lambda random: _unusual_text(random, name))(random)


def _unusual_text(random: Random, name: str) -> str:
    if random.random() < 0.4:
        character = random.choice("aé界😀")
        return _string(random, character * (_LIMITS[name] + random.choice((-1, 0, 1))), escaping=False)
    return _string(random, short_text(random))


def _unusual_timestamp(random: Random) -> str:
    if random.random() < 0.4:
        return random.choice(_NUMBERS)
    if random.random() < 0.3:
        edge = random.choice((NOW + MAX_AHEAD_MS, FIRST, 0, MAX_TIMESTAMP_MS))
        return str(edge + random.choice((-1, 0, 1)))
    return _string(random, iso_time(random, broken=random.random() < 0.5))


def iso_time(random: Random, *, broken: bool) -> str:
    year = random.choice((2015, 2015, 1969, 1970, 2286, 9999, 1, 0, 2012, 2100, 2000)) if broken else 2015
    month, day = random.randrange(0 if broken else 1, 14 if broken else 5), random.randrange(1, 33 if broken else 29)
    hour, minute = random.randrange(25 if broken else 24), random.randrange(61 if broken else 60)
    text = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"
    if random.random() < 0.8:
        text += f":{random.randrange(61 if broken else 60):02d}"
        if random.random() < 0.6:
            text += "." + "".join(random.choices("0129", k=random.randrange(1, 12)))
    text += random.choice(("Z", "+00:00", "-00:00", "+02:00", "-11:30", "+23:59", "-23:59"))
    if broken and random.random() < 0.5:
        at = random.randrange(len(text) + 1)
        text = (
            text[:at]
            + random.choice(("", "0", "z", " ", ":", "\u0661", "-", ",", "+24:00", "Z", "\n"))
            + text[at + random.randrange(2) :]
        )
    return text


def unusual_url(random: Random) -> str:
    def one(parts: list[str]) -> str:
        return random.choice(parts)

    query = "&".join(random.choices(_QUERIES, k=random.randrange(5)))
    url = f"{one(_SCHEMES[:4]) if random.random() < 0.8 else one(_SCHEMES)}://{one(_USERS)}{one(_HOSTS)}{one(_PORTS)}"
    url += f"{one(_PATHS)}{'?' * random.choice((0, 1, 1, 2))}{query}{one(_FRAGMENTS)}"
    if random.random() < 0.3:
        at = random.randrange(len(url) + 1)
        url = url[:at] + random.choice(_CHARACTERS) + url[at + random.randrange(2) :]
    if random.random() < 0.05:
        url += "x" * (MAX_URL - len(url) + random.choice((-1, 0, 1)))
    return url


def unusual_address(random: Random) -> str:
    kind = random.random()
    if kind < 0.5:
        return random.choice(_ADDRESSES)
    if kind < 0.75:
        groups = [
            random.choice(("0", "1", "ab", "ABCD", "00001", "", "1.2.3.4")) for _ in range(random.randrange(1, 10))
        ]
        return ":".join(groups)
    address = random.choice(_ADDRESSES)
    at = random.randrange(len(address) + 1)
    return address[:at] + random.choice("0:.1fg% é") + address[at + random.randrange(2) :]


def short_text(random: Random) -> str:
    return "".join(random.choices(_CHARACTERS, k=random.randrange(8)))


def _any_value(random: Random, depth: int = 0) -> str:
    """A JSON value, or something like one."""
    kinds: list[Callable[[], str]] = [
        lambda: random.choice(_NUMBERS),
        lambda: random.choice(_LITERALS),
        lambda: _string(random, short_text(random)),
        lambda: "[" + ",".join(_any_value(random, depth + 1) for _ in range(random.randrange(4))) + "]",
        lambda: (
            "{" + ",".join(f"{_string(random, short_text(random))}:{_any_value(random, depth + 1)}" for _ in "ab") + "}"
        ),
        lambda: _nested(random),
    ]
    if random.random() < 0.03:
        return random.choice(_NO_VALUES)
    return random.choice(kinds if depth < 3 else kinds[:3])()


def _nested(random: Random) -> str:
    """Brackets around the maximum depth; the object of the click is one level more."""
    depth = MAX_DEPTH - 1 + random.choice((-2, -1, 0, 0, 0, 1))
    pairs = random.choices((("[", "]"), ('{"a":', "}"), ('[1,"[",', "]"), ('{"\\"{":[],"b":', "}")), k=depth - 1)
    core = random.choice(("[]", "{}", '["]"]', "[[]]"))
    return "".join(start for start, _ in pairs) + core + "".join(end for _, end in reversed(pairs))


def _string(random: Random, text: str, *, escaping: bool = True) -> str:
    """A text as JSON string; each character raw, or as one of its escapes. Now and then one that JSON does not have."""
    style = random.random()
    if not escaping or style < 0.5:
        return json.dumps(text, ensure_ascii=style < 0.1)
    return '"' + "".join(_character(random, character) for character in text) + '"'


def _character(random: Random, character: str) -> str:
    kind = random.random()
    if kind < 0.7:
        return json.dumps(character, ensure_ascii=False)[1:-1]
    if kind < 0.999:
        units = character.encode("utf-16-be")
        digits = random.choice(("{:04x}", "{:04X}"))
        return "".join("\\u" + digits.format(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2))
    return random.choice(
        (character, f"\\{character}", "\\ud83d", "\\uDE00", "\\u12", "\\ud800\\u0041", "\\ud83d\\ud83d\\ude00")
    )


def _written(random: Random, members: list[tuple[str, str]]) -> bytes:
    def blank() -> str:
        return random.choice(("", "", "", " ", "\n", "\t\r ")) if spacious else ""

    spacious = random.random() < 0.2
    written = [f"{blank()}{_name(random, name)}{blank()}:{blank()}{value}{blank()}" for name, value in members]
    return f"{blank()}{{{','.join(written)}}}{blank()}".encode(errors="surrogatepass")


def _name(random: Random, name: str) -> str:
    return _string(random, name) if random.random() < 0.05 else json.dumps(name, ensure_ascii=False)


def _damaged(random: Random, payload: bytes) -> bytes:
    """The payload with one to three small changes."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        start = random.randrange(len(payload) + 1)
        end = min(len(payload), start + random.choice((0, 0, 1, 1, 2, 5)))
        change = random.random()
        if change < 0.5:
            payload = payload[:start] + random.choice(_TOKENS) + payload[end:]
        elif change < 0.7:
            payload = payload[:start] + payload[end + 1 :]
        elif change < 0.8:
            payload = payload[:start] + payload[start:end] * 2 + payload[end:]
        elif change < 0.9:
            payload = payload[:start]
        else:
            payload = payload[:start] + bytes([random.randrange(256)]) + payload[start + 1 :]
    return payload
