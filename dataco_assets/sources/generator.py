"""Generates synthetic web visits as a stream of Kafka messages, each with the expected verdict on it.

The stream is a pure function of its `GeneratorSpec`, byte for byte. It is made in three stages, each a generator:

1. `_visits`: clicks in the order of their event times. A visit starts when the clicks before it have used up their
   share of the hours, and follows one of 4,096 prepared sequences of gaps. Only open visits are in memory.
2. `_held_back`: delays some of the clicks, which makes them late.
3. `generate`: adds duplicates and malformed clicks. A duplicate is drawn from a fixed-size sample of what was sent.

Memory therefore grows with the clicks per hour, not with their total number.
"""

import heapq
import itertools
import math
import random
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from dataco_assets.errors import DatacoError
from dataco_assets.sources import site
from dataco_assets.sources.malformed import MALFORMED

HOUR_MS = 3_600_000

CLICK, LATE, DUPLICATE = "click", "late", "duplicate"

_RHYTHMS = 4_096
_REMEMBERED = 1_024  # clicks a repeat can be drawn from
_NEW_VISITORS = 0.3  # share of visits by somebody never seen before
_OFFSETS = tuple(timezone(timedelta(minutes=minutes)) for minutes in (0, 120, -480, 330))

_MEAN_FOLLOWING_CLICKS = 4.0
_MOST_CLICKS = 60
_TYPICAL_GAP_SECONDS = 25.0
_VISIT_GAP_MS = HOUR_MS // 2  # a longer pause ends a visit: the platform does not count it as time spent
_LONG_GAPS = 0.04
_BORDER_GAPS = 0.003  # pauses of exactly `_VISIT_GAP_MS`, where off-by-one errors live


class GeneratorError(DatacoError):
    """A parameter of the generator is invalid; the message names it, its value and the rule."""


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """Parameters of a stream. Shares lie between 0 and 1; the same spec always yields the same stream.

    Attributes:
        count: number of messages, duplicates and malformed ones included.
        hours: length of the stream in event time; it ends at `until_ms`.
        until_ms: no valid click is later than this, epoch milliseconds.
        seed: any integer; another seed is another stream with other event ids.
        duplicates: share of messages that repeat an earlier valid click, byte for byte. Exact, but for rounding.
        malformed: share of messages that break the contract, all kinds in turn. Exact, but for rounding.
        late: share of the other messages that are sent out of the order of event times. Exact, but for rounding.
        late_hours: longest delay of a late click, hours; never beyond the end of the stream.
        event_ids: share of visits whose clicks carry an event id. The others are distinct without one: no visitor has
            two visits at once, and no two clicks of a visit have the same time.
        iso_timestamps: share of visits whose timestamps are ISO 8601 text rather than epoch milliseconds.
        users: number of returning visitors; 0: one for every 20 messages.
    """

    count: int
    hours: float = 3.0
    until_ms: int
    seed: int = 0
    duplicates: float = 0.0
    malformed: float = 0.0
    late: float = 0.0
    late_hours: float = 2.0
    event_ids: float = 1.0
    iso_timestamps: float = 0.05
    users: int = 0

    def __post_init__(self) -> None:
        for name in ("hours", "late_hours", "duplicates", "malformed", "late", "event_ids", "iso_timestamps"):
            object.__setattr__(self, name, float(getattr(self, name)))  # 3 and 3.0 are one spec: event ids hash it
        for name in ("duplicates", "malformed", "late", "event_ids", "iso_timestamps"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "must be a share between 0 and 1")
        _require(self.count >= 0, "count", self.count, "must not be negative")
        _require(self.users >= 0, "users", self.users, "must not be negative")
        _require(0 < self.hours < float("inf"), "hours", self.hours, "must be more than 0")
        _require(0 <= self.late_hours < float("inf"), "late_hours", self.late_hours, "must not be negative")
        _require(self.since_ms >= 0, "hours", self.hours, "must not reach back before 1970")
        rest = self.count - self.duplicate_count - self.malformed_count
        _require(
            rest >= (1 if self.duplicate_count else 0),
            "duplicates and malformed",
            f"{self.duplicates} and {self.malformed}",
            "must leave at least one valid click to repeat",
        )

    @property
    def since_ms(self) -> int:
        """No valid click is earlier than this, epoch milliseconds."""
        return self.until_ms - int(self.hours * HOUR_MS)

    @property
    def duplicate_count(self) -> int:
        """Messages that repeat an earlier click."""
        return round(self.count * self.duplicates)

    @property
    def malformed_count(self) -> int:
        """Messages that break the contract."""
        return round(self.count * self.malformed)

    @property
    def unique_count(self) -> int:
        """Distinct valid clicks."""
        return self.count - self.duplicate_count - self.malformed_count


class SentClick(NamedTuple):
    """One message and what the platform must do with it.

    Attributes:
        key: the user id, UTF-8; also for a malformed click.
        value: the JSON payload; None is a tombstone.
        valid: whether the contract must accept it.
        event_id: the event id a valid click carries; None where it carries none.
        kind: `click`, `late`, `duplicate`, or for broken ones a key of `malformed.MALFORMED`. Each `click` and `late`
            is another event; each `duplicate` equals one of them.
    """

    key: bytes
    value: bytes | None
    valid: bool
    event_id: str | None
    kind: str


def generate(spec: GeneratorSpec) -> Iterator[SentClick]:
    """The stream of a spec, `spec.count` messages.

    Valid clicks come in the order of their event times, but for the late ones and the repeats.
    """
    draw = random.Random(f"{spec.seed}/delivery")  # noqa: S311  # synthetic data, not a secret
    random_share = draw.random
    fresh = _held_back(_visits(spec), spec)
    valid, repeats, broken = spec.unique_count, spec.duplicate_count, spec.malformed_count
    remembered: list[SentClick] = []
    while valid or repeats or broken:
        place = random_share() * (valid + repeats + broken)  # drawing without replacement makes the shares exact
        if place >= valid + repeats:
            broken -= 1
            yield _broken(spec, draw, broken)
        elif place < valid or not remembered:
            valid -= 1
            sent = next(fresh)
            if len(remembered) < _REMEMBERED:
                remembered.append(sent)
            elif repeats:
                remembered[int(random_share() * _REMEMBERED)] = sent
            yield sent
        else:
            repeats -= 1
            yield remembered[int(random_share() * len(remembered))]._replace(kind=DUPLICATE)


def _broken(spec: GeneratorSpec, draw: random.Random, number: int) -> SentClick:
    """A click of a random visitor, malformed; the kinds take turns."""
    visitor = draw.randrange(site.SLOTS)
    key, shared = _visitor(visitor)
    members = _payload(
        f"broken-{number}",
        b"%d" % draw.randint(spec.since_ms, spec.until_ms),
        site.url_slots()[draw.randrange(site.SLOTS)],
        shared,
    )
    kind = list(MALFORMED)[number % len(MALFORMED)]
    return SentClick(key, MALFORMED[kind](msgspec.json.decode(members)), False, None, kind)


def _held_back(clicks: Iterator[tuple[int, SentClick]], spec: GeneratorSpec) -> Iterator[SentClick]:
    """The clicks, with the late ones delayed by up to `late_hours` of event time."""
    draw = random.Random(f"{spec.seed}/late")  # noqa: S311  # synthetic data, not a secret
    random_share = draw.random
    left, late = spec.unique_count, round(spec.unique_count * spec.late)
    longest = spec.late_hours * HOUR_MS
    waiting: list[tuple[float, int, SentClick]] = []
    for event_ms, sent in clicks:
        while waiting and waiting[0][0] <= event_ms:
            yield heapq.heappop(waiting)[2]
        if late and random_share() * left < late:
            late -= 1
            release = min(event_ms + random_share() * longest, spec.until_ms)
            heapq.heappush(waiting, (release, -left, sent._replace(kind=LATE)))
        else:
            yield sent
        left -= 1
    while waiting:
        yield heapq.heappop(waiting)[2]


class _Visit(NamedTuple):
    """An open visit: what its clicks have in common."""

    start_ms: int
    rhythm: tuple[int, ...]  # milliseconds from the start to each click
    clicks: int
    visitor: int
    key: bytes
    shared: bytes  # JSON members from user_id on
    with_ids: bool
    offset: timezone | None  # None: timestamps in epoch milliseconds


def _visits(spec: GeneratorSpec) -> Iterator[tuple[int, SentClick]]:
    """`spec.unique_count` clicks with their event times (epoch ms), in that order.

    The heap holds the next click of every open visit: time, number of the visit, position in it, the visit. The first
    click of a visit has the referrer.
    """
    draw = random.Random(f"{spec.seed}/visits")  # noqa: S311  # synthetic data, not a secret
    random_share, urls, slots = draw.random, site.url_slots(), site.SLOTS
    referrers = site.referrers()
    prefix = blake2b(repr(spec).encode(), digest_size=8).hexdigest()
    in_flight: list[tuple[int, int, int, _Visit]] = []
    present: set[int] = set()
    number = 0
    for opened, visit in enumerate(itertools.chain(_openings(spec, draw, present), (None,))):
        limit = spec.until_ms + 1 if visit is None else visit.start_ms
        while in_flight and in_flight[0][0] < limit:
            event_ms, tie, done, current = in_flight[0]
            if (following := done + 1) < current.clicks:
                next_ms = current.start_ms + current.rhythm[following]
                heapq.heapreplace(in_flight, (next_ms, tie, following, current))
            else:
                heapq.heappop(in_flight)
                present.discard(current.visitor)
            number += 1
            at = b"%d" % event_ms if current.offset is None else _iso(event_ms, current.offset)
            event_id = f"{prefix}{number:012x}" if current.with_ids else None
            shared = current.shared if done else current.shared + referrers[tie % len(referrers)]
            value = _payload(event_id, at, urls[int(random_share() * slots)], shared)
            yield event_ms, SentClick(current.key, value, True, event_id, CLICK)
        if visit is not None:
            heapq.heappush(in_flight, (visit.start_ms, opened, 0, visit))


def _openings(spec: GeneratorSpec, draw: random.Random, present: set[int]) -> Iterator[_Visit]:
    """Visits in the order of their starts, `spec.unique_count` clicks in all; each is cut to end by `until_ms`.

    Adds each visitor to `present`; the caller removes them when the visit ends.
    """
    random_share = draw.random
    rhythms = _rhythms()
    count, span = spec.unique_count, spec.until_ms - spec.since_ms
    users = spec.users or max(1, spec.count // 20)
    allotted = opened = 0
    while allotted < count:
        start_ms = spec.since_ms + int(span * (allotted + random_share()) / count)
        rhythm = rhythms[int(random_share() * _RHYTHMS)]
        clicks = min(bisect_right(rhythm, spec.until_ms - start_ms), count - allotted)
        visitor = int(users * random_share() ** 2)  # squared: some come back far more often than others
        if random_share() < _NEW_VISITORS or visitor in present:
            visitor = users + opened
        present.add(visitor)
        with_ids = random_share() < spec.event_ids
        offset = _OFFSETS[opened % len(_OFFSETS)] if random_share() < spec.iso_timestamps else None
        yield _Visit(start_ms, rhythm, clicks, visitor, *_visitor(visitor), with_ids, offset)
        allotted += clicks
        opened += 1


@cache
def _rhythms() -> tuple[tuple[int, ...], ...]:
    """`_RHYTHMS` sequences of times within a visit: milliseconds from its first click to each click."""
    draw = random.Random("rhythms")  # noqa: S311  # synthetic data, not a secret
    rhythms: list[tuple[int, ...]] = []
    for _ in range(_RHYTHMS):
        following = min(int(draw.expovariate(1 / _MEAN_FOLLOWING_CLICKS)), _MOST_CLICKS - 1)
        rhythms.append(tuple(itertools.accumulate((_gap_ms(draw) for _ in range(following)), initial=0)))
    return tuple(rhythms)


def _gap_ms(draw: random.Random) -> int:
    kind = draw.random()
    if kind < _BORDER_GAPS:
        return _VISIT_GAP_MS
    if kind < _BORDER_GAPS + _LONG_GAPS:
        return draw.randint(_VISIT_GAP_MS + 1, 3 * _VISIT_GAP_MS)
    seconds = draw.lognormvariate(math.log(_TYPICAL_GAP_SECONDS), 1.1)
    return min(max(int(seconds * 1000), 1_000), _VISIT_GAP_MS - 1)


def _visitor(visitor: int) -> tuple[bytes, bytes]:
    """User id, and the JSON members that all clicks of a visitor share."""
    user_id = f"u-{visitor:07d}" if visitor % 64 else f"usuário-{visitor}"
    profiles = site.profiles()
    known = msgspec.json.encode({"user_id": user_id, "ip_address": site.address(visitor)})[1:-1]
    return user_id.encode(), b"%b,%b" % (known, profiles[visitor % len(profiles)])


def _payload(event_id: str | None, timestamp: bytes, url: bytes, shared: bytes) -> bytes:
    """A click as JSON, joined from encoded members: several times faster than encoding it whole."""
    if event_id is None:
        return b'{"timestamp":%b,"url":%b,%b}' % (timestamp, url, shared)
    return b'{"event_id":"%b","timestamp":%b,"url":%b,%b}' % (event_id.encode(), timestamp, url, shared)


def _iso(timestamp_ms: int, offset: timezone) -> bytes:
    moment = datetime.fromtimestamp(timestamp_ms // 1000, tz=UTC) + timedelta(milliseconds=timestamp_ms % 1000)
    return msgspec.json.encode(moment.astimezone(offset).isoformat(timespec="milliseconds"))


def _require(holds: bool, name: str, value: object, rule: str) -> None:
    if not holds:
        raise GeneratorError(f"The generator's {name} = {value} {rule}.")
