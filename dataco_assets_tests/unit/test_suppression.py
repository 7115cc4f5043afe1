"""Tests whose clicks are dropped, and from which time on they are stored again."""

import pytest

from dataco_assets.clicks.event import readable_user_id
from dataco_assets.clicks.suppressed import is_suppressed, is_suppressed_message, user_hash

ERASED = 1_770_000_000_000
LIST = {user_hash("ann"): ERASED}


@pytest.mark.parametrize(
    ("happened", "arrived", "dropped"),
    [
        (ERASED - 5, ERASED - 1, True),
        (ERASED - 5, ERASED + 9, True),  # late, replayed, or sent again
        (ERASED + 5, ERASED, True),  # its producer's clock was ahead
        (ERASED, ERASED + 1, True),
        (ERASED + 1, ERASED + 1, False),  # a new click
    ],
)
def test_what_happened_or_arrived_up_to_the_erasure_is_dropped(happened: int, arrived: int, dropped: bool) -> None:
    assert is_suppressed(LIST, "ann", happened, arrived) is dropped
    assert not is_suppressed(LIST, "bob", happened, arrived)
    assert not is_suppressed({}, "ann", happened, arrived)


@pytest.mark.parametrize(
    ("value", "key", "dropped"),
    [
        (b'{"user_id": "ann", "url": 7}', None, True),
        (b"not json", b"ann", True),
        (None, b"ann", True),
        (b'{"user_id": "bob"}', b"bob", False),
        (b'{"user_id": ["ann"]}', None, False),
        (b"\xff", b"\xff", False),
        (None, None, False),
    ],
)
def test_a_message_that_is_no_click_is_known_by_its_key_or_user_id(
    value: bytes | None, key: bytes | None, dropped: bool
) -> None:
    user_id = readable_user_id(value)
    assert is_suppressed_message(LIST, user_id, key, ERASED) is dropped
    assert not is_suppressed_message(LIST, user_id, key, ERASED + 1)
    assert not is_suppressed_message({}, user_id, key, ERASED)


def test_a_hash_does_not_show_the_user_and_tells_users_apart() -> None:
    hashes = {user_hash(user) for user in ("ann", "Ann", "ann ", "änn", "")}
    assert len(hashes) == 5
    assert all(len(each) == 64 and b"ann" not in each for each in hashes)


def test_a_number_as_user_id_of_a_broken_click_is_recognised() -> None:
    erased = {user_hash("7"): ERASED}
    assert is_suppressed_message(erased, readable_user_id(b'{"user_id": 7}'), None, ERASED)
