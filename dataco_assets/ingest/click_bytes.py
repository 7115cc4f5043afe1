"""A click straight to the bytes of its `BatchMutation`, in less than half the time of `cells` and `encode_row`.

Belongs here: the shortcut alone. Does not belong here: what the bytes are; `clicks/row.py` and `clients/mutations.py`
say that, and a test holds this against them. What makes it fast: no pair per cell, no look-up per column, what stands
between two values made ahead for every length, so that a row is one join of a flat list; and the cells whose values
are few (places, user agents and what they stand for) remembered whole.
"""

from functools import lru_cache

from msgspec.structs import astuple

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.row import COLUMNS, TIMESTAMP_DIGITS, cells, key_of, row_key
from dataco_assets.clients.mutations import CELL_END, ROW_END, cell_heads, encode_row, row_heads

_LONGEST = 511
_KEY_BYTES = 49
_OWN_CELLS = 7  # those of `click_data`, which every click has
# Cells remembered of each kind: 1 or 2 MB in all, and 25 MB if every value were as long as the heads reach. A longer
# one is an error here, which is never remembered.
_REMEMBERED = 4_096

_EVENT, *_OTHERS = (cell_heads(column, _LONGEST) for column in COLUMNS)
_USER, _TIME, _URL, _PAGE, _IP, _AGENT, _COUNTRY, _CITY, _BROWSER, _SYSTEM, _DEVICE = (
    [CELL_END + head for head in heads] for heads in _OTHERS
)
_BEFORE_KEY = row_heads(_KEY_BYTES, 0)[0]
_BEHIND_KEY = [row_heads(_KEY_BYTES, count)[1] for count in range(len(COLUMNS) + 1)]
_END = CELL_END + ROW_END


def encode_click(click: Click) -> bytes:
    """The same bytes as `encode_row(row_key(…), cells(click))`."""
    event_id, user_id, timestamp, url, page, ip, agent, country, city, browser, system, device = astuple(click)
    event, user, at = event_id.encode(), user_id.encode(), b"%d" % timestamp
    url, page, ip = url.encode(), page.encode(), ip.encode()
    try:
        geo_cells, geo_data = _geo_data(country, city)
        agent_cells, user_agent_data = _user_agent_data(browser, system, device)
        key = key_of(user, at.zfill(TIMESTAMP_DIGITS), event)
        behind_key = _BEHIND_KEY[_OWN_CELLS + geo_cells + agent_cells]
        # One tuple, not several unpacked into one: that alone is a twentieth of the time.
        # fmt: off
        parts = (
            _BEFORE_KEY, key, behind_key, _EVENT[len(event)], event, _USER[len(user)], user, _TIME[len(at)], at,
            _URL[len(url)], url, _PAGE[len(page)], page, _IP[len(ip)], ip, _user_agent(agent),
            geo_data, user_agent_data, _END,
        )
        # fmt: on
    except IndexError:  # a field longer than what was made ahead
        return encode_row(row_key(user_id, timestamp, event_id), cells(click))
    return b"".join(parts)


@lru_cache(_REMEMBERED)
def _user_agent(user_agent: str) -> bytes:
    return _cells((_AGENT, user_agent))[1]


@lru_cache(_REMEMBERED)
def _geo_data(country: str, city: str | None) -> tuple[int, bytes]:
    return _cells((_COUNTRY, country), (_CITY, city))


@lru_cache(_REMEMBERED)
def _user_agent_data(browser: str | None, system: str | None, device: str | None) -> tuple[int, bytes]:
    return _cells((_BROWSER, browser), (_SYSTEM, system), (_DEVICE, device))


def _cells(*found: tuple[list[bytes], str | None]) -> tuple[int, bytes]:
    """How many of these cells there are, and their bytes."""
    values = [(heads, value.encode()) for heads, value in found if value is not None]
    return len(values), b"".join(heads[len(value)] + value for heads, value in values)
