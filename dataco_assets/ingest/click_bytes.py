"""A click straight to the bytes of its `BatchMutation`, in little more than half the time of `cells` and `encode_row`.

Belongs here: the shortcut alone. Does not belong here: what the bytes are; `clicks/row.py` and `clients/mutations.py`
say that, and a test holds this against them. What makes it fast: no pair per cell, no look-up per column, and what
stands between two values made ahead for every length, so that a row is one join of a flat list.
"""

from msgspec.structs import astuple

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.row import COLUMNS, cells, key_of
from dataco_assets.clients.mutations import CELL_END, ROW_END, cell_heads, encode_row, row_heads

_LONGEST = 511
_KEY_BYTES = 49
_REQUIRED = 8  # cells that every click has, the first of `COLUMNS`

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
    event_id, user_id, at, url, page = (
        event_id.encode(),
        user_id.encode(),
        b"%d" % timestamp,
        url.encode(),
        page.encode(),
    )
    ip, agent, country = ip.encode(), agent.encode(), country.encode()
    key, count = key_of(user_id, timestamp, event_id), _REQUIRED
    try:
        parts = [
            *(_BEFORE_KEY, key, b"", _EVENT[len(event_id)], event_id, _USER[len(user_id)], user_id),
            *(_TIME[len(at)], at, _URL[len(url)], url, _PAGE[len(page)], page, _IP[len(ip)], ip),
            *(_AGENT[len(agent)], agent, _COUNTRY[len(country)], country),
        ]
        if city is not None:
            value = city.encode()
            parts += (_CITY[len(value)], value)
            count += 1
        if browser is not None:
            value = browser.encode()
            parts += (_BROWSER[len(value)], value)
            count += 1
        if system is not None:
            value = system.encode()
            parts += (_SYSTEM[len(value)], value)
            count += 1
        if device is not None:
            value = device.encode()
            parts += (_DEVICE[len(value)], value)
            count += 1
    except IndexError:  # a field longer than what was made ahead
        return encode_row(key, cells(click))
    parts[2] = _BEHIND_KEY[count]
    parts.append(_END)
    return b"".join(parts)
