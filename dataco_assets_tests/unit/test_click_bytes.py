"""Compares the fast encoder of a click with the plain one, which another test compares with thriftpy2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataco_assets.clicks.event import Click
from dataco_assets.clicks.row import cells, row_key
from dataco_assets.clients.mutations import encode_row
from dataco_assets.ingest.click_bytes import encode_click

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=600)
OPTIONAL = st.none() | TEXT
CLICKS = st.builds(
    Click,
    event_id=TEXT,
    user_id=TEXT,
    timestamp=st.integers(0, 9_999_999_999_999),
    url=TEXT,
    page=TEXT,
    ip_address=TEXT,
    user_agent=st.just("") | TEXT,
    country=st.sampled_from(["ZZ", "CL"]),
    city=OPTIONAL,
    browser=OPTIONAL,
    operating_system=OPTIONAL,
    device=OPTIONAL,
    referrer=OPTIONAL,
    referrer_host=st.just("") | TEXT,
)


def plainly(click: Click) -> tuple[bytes, bytes]:
    key = row_key(click.user_id, click.timestamp, click.event_id)
    return key, encode_row(key, cells(click))


@given(CLICKS)
def test_same_bytes_as_the_plain_way(click: Click) -> None:
    assert encode_click(click) == plainly(click)


@pytest.mark.parametrize("field", ["url", "user_agent", "city", "device", "referrer", "referrer_host"])
@pytest.mark.parametrize("size", [127, 128, 511, 512, 8_192])
def test_lengths_around_what_is_made_ahead(field: str, size: int) -> None:
    fields = {"event_id": "e", "user_id": "u", "timestamp": 1, "url": "x", "page": "x", "ip_address": "::"}
    fields |= {
        "user_agent": "",
        "country": "ZZ",
        "city": None,
        "browser": None,
        "operating_system": "é",
        "device": None,
    }
    click = Click(**{**fields, field: "x" * size})  # pyright: ignore[reportArgumentType]
    assert encode_click(click) == plainly(click)


def test_a_time_that_would_break_the_order_is_refused() -> None:
    for timestamp in (10**13, -1):
        with pytest.raises(ValueError, match="timestamp"):
            encode_click(Click("e", "u", timestamp, "x", "x", "::", "", "ZZ", None, None, None, None))
