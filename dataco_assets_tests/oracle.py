"""The aggregation in plain Python, written from the definitions in the docs; every test compares with it.

It is slow and simple, and must not share code with the pipeline: no test would find an error that both have.

The definitions: per hour and group, such as (hour, page, country): how many clicks; how many distinct users; how many
users whose first click of the hour, in the order of time and then row key, is one of these; and, over the clicks whose
duration is known, the sum of durations, their number and their mean. The duration of a click is the gap to the same
user's next click, on any page, in the order of time and then row key; known if the gap is at most 30 minutes. The next
click may lie in a later hour. The known durations are also counted in ranges of time, each from its limit up to the
next: 0 s, 1 s, 1.5 s, and the last two doubled again and again; a range that holds none is left out. A visit is a
longest run of a user's clicks, in that order, with no gap above 30 minutes: per hour and group also, how many of the
clicks are the first of a visit, how many the last, and how many are all of one. A click is of a bot if its browser or
its device is one of the known ones, or if its user has enough clicks in the same minute of the clock: per hour and
group also, how many of the clicks are.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from dataco_assets.clicks.bot_agents import AGENTS

_HOUR = 60 * 60 * 1000
_LONGEST_KNOWN = 30 * 60 * 1000


@dataclass(frozen=True)
class OracleClick:
    """The parts of a stored click that the aggregation needs; timestamp in epoch ms."""

    row_key: str
    user_id: str
    timestamp: int
    page: str
    country: str | None
    city: str | None = None
    browser: str | None = None
    operating_system: str | None = None
    device: str | None = None
    referrer_host: str | None = None


@dataclass(frozen=True)
class OracleRow:
    """The expected aggregates of an hour and group."""

    click_count: int
    unique_users: int
    entering_users: int
    time_spent_seconds_sum: float
    time_spent_samples: int
    average_time_spent_seconds: float | None
    entries: int
    exits: int
    bounces: int
    time_spent_buckets: dict[str, int]
    bot_clicks: int


@dataclass(frozen=True)
class Bots:
    """Which clicks are of bots: by browser or device, and by clicks of a user in a minute (0: never)."""

    agents: Collection[str]
    clicks_per_minute: int


BOTS = Bots(AGENTS, 60)
"""The rule of a platform with the default settings."""

Key = tuple[int, *tuple[str, ...]]
"""An hour, and the values of its group."""

PAGES = ("page", "country")
AUDIENCE = ("country", "city", "browser", "operating_system", "device", "referrer_host")
_UNKNOWN = {"country": "ZZ"}  # and of everything else the empty text


def aggregate(
    clicks: Iterable[OracleClick], hours: Iterable[int], by: Sequence[str] = PAGES, bots: Bots = BOTS
) -> dict[Key, OracleRow]:
    """The aggregates of the given hours (their starts, epoch ms), by hour and group.

    Args:
        clicks: All clicks. One that was sent twice has one row key, and counts once.
        hours: The hours to aggregate.
        by: The parts of a click that make its group.
        bots: Which clicks are of bots.
    """
    stored = {click.row_key: click for click in clicks}
    wanted = set(hours)
    duration = _durations(list(stored.values()))
    entrances = _entrances(list(stored.values()))
    visits = _visits(list(stored.values()))
    firsts, lasts = {visit[0] for visit in visits}, {visit[-1] for visit in visits}
    alone = {visit[0] for visit in visits if len(visit) == 1}
    of_bots = _of_bots(list(stored.values()), bots)
    groups: dict[Key, list[OracleClick]] = {}
    for click in stored.values():
        hour = click.timestamp // _HOUR * _HOUR
        if hour in wanted:
            groups.setdefault((hour, *_group(click, by)), []).append(click)
    return {key: _row(members, duration, entrances, firsts, lasts, alone, of_bots) for key, members in groups.items()}


def _group(click: OracleClick, by: Sequence[str]) -> list[str]:
    return [getattr(click, name) or _UNKNOWN.get(name, "") for name in by]


def _durations(clicks: list[OracleClick]) -> dict[str, int]:
    """Known durations in ms, by row key."""
    visits: dict[str, list[OracleClick]] = {}
    for click in clicks:
        visits.setdefault(click.user_id, []).append(click)
    durations: dict[str, int] = {}
    for own in visits.values():
        own.sort(key=lambda click: (click.timestamp, click.row_key))
        for position in range(len(own) - 1):
            gap = own[position + 1].timestamp - own[position].timestamp
            if gap <= _LONGEST_KNOWN:
                durations[own[position].row_key] = gap
    return durations


def _entrances(clicks: list[OracleClick]) -> set[str]:
    """Row keys of the clicks that are their user's first in an hour."""
    by_user_and_hour: dict[tuple[str, int], list[OracleClick]] = {}
    for click in clicks:
        by_user_and_hour.setdefault((click.user_id, click.timestamp // _HOUR), []).append(click)
    return {min(own, key=lambda click: (click.timestamp, click.row_key)).row_key for own in by_user_and_hour.values()}


def _visits(clicks: list[OracleClick]) -> list[list[str]]:
    """The row keys of each visit's clicks, in order."""
    visits: list[list[str]] = []
    latest: OracleClick | None = None
    for click in sorted(clicks, key=lambda click: (click.user_id, click.timestamp, click.row_key)):
        goes_on = latest is not None and latest.user_id == click.user_id
        if latest is not None and goes_on and click.timestamp - latest.timestamp <= _LONGEST_KNOWN:
            visits[-1].append(click.row_key)
        else:
            visits.append([click.row_key])
        latest = click
    return visits


def _of_bots(clicks: list[OracleClick], bots: Bots) -> set[str]:
    """Row keys of the clicks of bots."""
    found = {click.row_key for click in clicks if click.browser in bots.agents or click.device in bots.agents}
    if bots.clicks_per_minute:
        minutes: dict[tuple[str, int], list[str]] = {}
        for click in clicks:
            minutes.setdefault((click.user_id, click.timestamp // 60_000), []).append(click.row_key)
        found.update(key for keys in minutes.values() if len(keys) >= bots.clicks_per_minute for key in keys)
    return found


def _row(
    members: list[OracleClick],
    duration: dict[str, int],
    entrances: set[str],
    firsts: set[str],
    lasts: set[str],
    alone: set[str],
    of_bots: set[str],
) -> OracleRow:
    known = [duration[click.row_key] for click in members if click.row_key in duration]
    total = float(Fraction(sum(known), 1000))
    keys = {click.row_key for click in members}
    return OracleRow(
        click_count=len(members),
        unique_users=len({click.user_id for click in members}),
        entering_users=sum(click.row_key in entrances for click in members),
        time_spent_seconds_sum=total,
        time_spent_samples=len(known),
        average_time_spent_seconds=total / len(known) if known else None,
        entries=len(keys & firsts),
        exits=len(keys & lasts),
        bounces=len(keys & alone),
        time_spent_buckets=dict(Counter(_range_of(spent) for spent in known)),
        bot_clicks=len(keys & of_bots),
    )


def _range_of(spent_ms: int) -> str:
    limits = {0} | {second * 2**doubled for second in (1000, 1500) for doubled in range(11)}
    return f"from_{max(limit for limit in limits if limit <= spent_ms)}_ms"
