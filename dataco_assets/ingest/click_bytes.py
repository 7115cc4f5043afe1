"""A click as the bytes of its `BatchMutation`, in less than half the time of `cells` and `encode_row`.

The same bytes as those two produce, which a test compares. It is faster because it builds no pair per cell and looks
nothing up per column: what stands between two values is prepared for every length, so a row is one join of a flat
list; and the cells with few different values (places, user agents and what is derived from them) are cached whole.
"""

from functools import lru_cache

from msgspec.structs import astuple

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.row import COLUMNS, TIMESTAMP_DIGITS, cells, key_of, row_key
from dataco_assets.clients.mutations import CELL_END, ROW_END, cell_heads, encode_row, row_heads

_LONGEST = 511
_KEY_BYTES = 49
# Cached cells of each kind: 1 or 2 MB in all, and 25 MB if every value were as long as the heads reach. A longer value
# raises IndexError, which is never cached.
_CACHED = 4_096

_EVENT, *_OTHERS = (cell_heads(column, _LONGEST) for column in COLUMNS)
_USER, _TIME, _URL, _PAGE, _IP, _AGENT, _REFERRER, _REFERRER_HOST, _COUNTRY, _CITY, _BROWSER, _SYSTEM, _DEVICE = (
    [CELL_END + head for head in heads] for heads in _OTHERS
)
_BEFORE_KEY, _BEHIND_KEY = row_heads(_KEY_BYTES, len(COLUMNS))
_END = CELL_END + ROW_END


def encode_click(click: Click) -> tuple[bytes, bytes]:
    """The row key of a click, and the same bytes as `encode_row(row_key(…), cells(click))`."""
    event_id, user_id, timestamp, url, page, ip, agent, country, city, browser, system, device, *came = astuple(click)
    event, user, at = event_id.encode(), user_id.encode(), b"%d" % timestamp
    url, page, ip = url.encode(), page.encode(), ip.encode()
    key = key_of(user, at.zfill(TIMESTAMP_DIGITS), event)
    try:
        # One tuple, not several unpacked into one: that alone is a twentieth of the time.
        # fmt: off
        parts = (
            _BEFORE_KEY, key, _BEHIND_KEY, _EVENT[len(event)], event, _USER[len(user)], user, _TIME[len(at)], at,
            _URL[len(url)], url, _PAGE[len(page)], page, _IP[len(ip)], ip, _user_agent(agent),
            _came_from(*came), _geo_data(country, city), _user_agent_data(browser, system, device), _END,
        )
        # fmt: on
    except IndexError:  # a field longer than the prepared heads
        return key, encode_row(row_key(user_id, timestamp, event_id), cells(click))
    return key, b"".join(parts)


@lru_cache(_CACHED)
def _user_agent(user_agent: str) -> bytes:
    return _cells((_AGENT, user_agent))


@lru_cache(_CACHED)
def _came_from(referrer: str | None, host: str) -> bytes:
    return _cells((_REFERRER, referrer), (_REFERRER_HOST, host))


@lru_cache(_CACHED)
def _geo_data(country: str, city: str | None) -> bytes:
    return _cells((_COUNTRY, country), (_CITY, city))


@lru_cache(_CACHED)
def _user_agent_data(browser: str | None, system: str | None, device: str | None) -> bytes:
    return _cells((_BROWSER, browser), (_SYSTEM, system), (_DEVICE, device))


def _cells(*found: tuple[list[bytes], str | None]) -> bytes:
    """The bytes of these cells; an unknown value is an empty cell."""
    values = [(heads, (value or "").encode()) for heads, value in found]
    return b"".join(heads[len(value)] + value for heads, value in values)
