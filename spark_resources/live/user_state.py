"""One user's recent clicks as they are kept between micro-batches, and what a micro-batch changes in them. Pure.

The state is bounded by event time: a click leaves it when the watermark has passed it, and no hour that depends on it
is computed any more (`exact_from`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from dataco_assets.aggregates.contributions import (
    MEASURES,
    Group,
    Sums,
    UserClick,
    contributions,
    difference,
    with_arrivals,
)
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS, hour_of, touched_hours

_NEVER: Final = -1


def watermark_delay_ms(hours: int) -> int:
    """How far the watermark stays behind the newest click, so that so many hours are exact, the newest one included."""
    return hours * HOUR_MS + VISIT_GAP_MS


def exact_from(watermark_ms: int) -> int:
    """The first hour that is exact at a watermark: all clicks that it depends on lie after the watermark, epoch ms."""
    first_needed_ms = watermark_ms + 1 + VISIT_GAP_MS
    return hour_of(first_needed_ms + HOUR_MS - 1)


class Arrival(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A click of a micro-batch, with its place in Kafka, which is the order in which clicks overwrite each other."""

    partition: int
    offset: int
    timestamp: int
    key: bytes
    arrived: int
    group: tuple[str, ...]

    @property
    def click(self) -> UserClick:
        """What is kept of it."""
        return UserClick(self.timestamp, self.key, self.arrived, self.group)


class UserState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a user.

    Attributes:
        clicks: Recent clicks, in order.
        erased_at: When the user was erased, epoch ms; -1: never.
    """

    clicks: list[UserClick] = []
    erased_at: int = _NEVER

    @property
    def needed_until(self) -> int:
        """The watermark (epoch ms) at which nothing of it is needed any more."""
        newest = self.clicks[-1].timestamp if self.clicks else _NEVER
        # A click that arrived before the erasure happened at most so long after it.
        return max(newest, self.erased_at + MAX_AHEAD_MS if self.erased_at != _NEVER else _NEVER)


def advanced(
    state: UserState, arrivals: Iterable[Arrival], erasures: Iterable[int], *, watermark_ms: int, first_hour: int
) -> tuple[UserState, Mapping[Group, Sums]]:
    """The state after a micro-batch, and the differences of the user's contributions.

    Args:
        state: The state before.
        arrivals: Clicks of the user, in any order.
        erasures: When the user was erased, epoch ms, if this became known.
        watermark_ms: The micro-batch's watermark, epoch ms.
        first_hour: The first hour of the whole run, epoch ms; earlier ones are not computed.
    """
    erased_at = max((state.erased_at, *erasures))
    in_order = sorted(arrivals, key=lambda each: (each.partition, each.offset))
    clicks = with_arrivals(state.clicks, (each.click for each in in_order))
    if erased_at != _NEVER:
        clicks = [click for click in clicks if min(click.timestamp, click.arrived) > erased_at]
    from_hour = max(first_hour, exact_from(watermark_ms))
    changed = set(state.clicks).symmetric_difference(clicks)
    hours = {hour for click in changed for hour in touched_hours(click.timestamp) if hour >= from_hour}
    change = difference(contributions(state.clicks, hours), contributions(clicks, hours)) if hours else {}
    return UserState([click for click in clicks if click.timestamp > watermark_ms], erased_at), change


_encode_state = msgspec.msgpack.Encoder().encode
_decode_state = msgspec.msgpack.Decoder(UserState).decode
_decode_arrival = msgspec.msgpack.Decoder(Arrival).decode
_Differences = list[tuple[int, tuple[str, ...], list[int]]]
_decode_differences = msgspec.msgpack.Decoder(_Differences).decode
_FIRST_ARRAY: Final = 0x90
"""The first byte of every arrival is at least this; that of an erasure is a digit."""


def encode(value: UserState | Arrival) -> bytes:
    """A state or an arrival as bytes."""
    return _encode_state(value)


def decode_state(data: bytes) -> UserState:
    """The state that these bytes are."""
    return _decode_state(data)


def decode_events(events: Iterable[bytes]) -> tuple[list[Arrival], list[int]]:
    """The arrivals of a user, and the times of erasure (each as decimal digits)."""
    arrivals: list[Arrival] = []
    erasures: list[int] = []
    for event in events:
        if event[0] < _FIRST_ARRAY:
            erasures.append(int(event))
        else:
            arrivals.append(_decode_arrival(event))
    return arrivals, erasures


def encode_differences(change: Mapping[Group, Sums]) -> bytes:
    """Differences as bytes: of each group, only the numbers that change, each behind its place."""
    sparse = [
        (group[0], group[1:], [part for place, number in enumerate(sums) if number for part in (place, number)])
        for group, sums in change.items()
    ]
    return _encode_state(sparse)


def decode_differences(data: bytes) -> Mapping[Group, Sums]:
    """The differences that these bytes are, from `encode_differences`."""
    found: dict[Group, Sums] = {}
    for hour, values, sparse in _decode_differences(data):
        found[hour, *values] = _dense(sparse)
    return found


def _dense(sparse: Sequence[int]) -> Sums:
    sums = [0] * len(MEASURES)
    for place, number in zip(sparse[::2], sparse[1::2], strict=True):
        sums[place] = number
    return sums
