"""A made-up site's clicks, their documents, and what a page about them must show, in plain Python.

The clicks are the same each time. Their documents are made from the oracle's rows and written with plain HTTP, so what
is compared with them is the reading alone. Among them are a page, a browser and a city that try to be markup, a formula
and text from right to left; visits across hours; and a user who clicks in two countries.
"""

import json
import random
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import uuid4

from dataco_assets.aggregates.columns import AGGREGATES, PAGES, Aggregate
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import alias_of, document_id, host_and_path, month_of, time_text
from dataco_assets.index.restatements import ensure_restatements
from dataco_assets.index.setup import ensure_index, ensure_month_indices
from dataco_assets.settings import Settings
from dataco_assets_tests import oracle

HOUR, MINUTE = 3_600_000, 60_000
DAY = 24 * HOUR
NOW = 1_769_869_200_000
"""2026-01-31 14:20 UTC: the hour of 14:00 is running, that of 13:00 provisional."""
NEWEST = 1_769_868_000_000
"""2026-01-31 14:00 UTC, the newest hour with clicks."""
DAYS = 20

MARKUP = "https://shop.example/<script>document.title='owned'</script>?a=<img src=x onerror=alert(1)>"
FORMULA = '=HYPERLINK("https://evil.example","click")'
BACKWARDS = "Lyon\u202egnissim"
_PAGES = (
    *(f"https://shop.example/item/{number}" for number in range(14)),
    *("https://shop.example/", "https://shop.example/cart", "https://blog.example/why-we-count", MARKUP),
)
_PROFILES: Sequence[Mapping[str, str | None]] = (
    {"country": "DE", "city": "Berlin", "browser": "Firefox", "operating_system": "Linux", "device": "desktop"},
    {"country": "DE", "city": "Berlin", "browser": "Chrome", "operating_system": "Windows", "device": "desktop"},
    {"country": "FR", "city": BACKWARDS, "browser": "Safari", "operating_system": "iOS", "device": "phone"},
    {"country": "BR", "city": "São Paulo", "browser": "Chrome", "operating_system": "Android", "device": "phone"},
    {"country": "SG", "city": "Singapore", "browser": FORMULA, "operating_system": "Android", "device": "tablet"},
    {"country": None, "city": None, "browser": None, "operating_system": None, "device": None},
)
_REFERRERS = ("search.example", "search.example", "news.example", None)


def clicks(users: int = 60, days: int = DAYS, seed: int = 7) -> list[oracle.OracleClick]:
    """Visits of some users in the days before `NOW`."""
    dice = random.Random(seed)
    made: list[oracle.OracleClick] = []
    for user in range(users):
        profile = _PROFILES[dice.choices(range(len(_PROFILES)), (8, 6, 4, 3, 2, 1))[0]]
        for _ in range(dice.randint(1, 14)):
            made += _visit(dice, f"user-{user}", profile, NOW - dice.randrange(days * DAY))
    # Today's hours are never empty; and one user is in two countries within an hour.
    for number in range(12):
        made += _visit(dice, f"today-{number}", _PROFILES[number % 6], NEWEST - number * 25 * MINUTE + 15 * MINUTE)
    for number, country in enumerate(("FR", "DE")):
        at = NEWEST - 30 * HOUR + number * MINUTE
        made.append(oracle.OracleClick(f"{at}-two", "two", at, "https://shop.example/", country))
    return [click for click in made if click.timestamp < NOW]


def _visit(
    dice: random.Random, user: str, profile: Mapping[str, str | None], start: int
) -> Iterator[oracle.OracleClick]:
    at, referrer = start, dice.choice(_REFERRERS)
    for step in range(dice.choice((1, 1, 2, 3, 4, 6))):
        page = dice.choices(_PAGES, [40 / (place + 1) for place in range(len(_PAGES))])[0]
        key = f"{at}-{user}-{step}"
        yield oracle.OracleClick(key, user, at, page, **profile, referrer_host=referrer if step == 0 else None)
        at += round(dice.lognormvariate(3.5, 1.3) * 1000)


@dataclass(frozen=True)
class Expected:
    """What the rows of some hours come to, added up without the code of the page."""

    rows: Sequence[tuple[Mapping[str, Any], oracle.OracleRow]]

    def where(self, **values: str) -> "Expected":
        """Only the rows with these values."""
        kept = [(group, row) for group, row in self.rows if all(group[name] == value for name, value in values.items())]
        return Expected(kept)

    def total(self, name: str) -> float:
        """The sum of a measure."""
        return sum(getattr(row, name) for _, row in self.rows)

    def by(self, dimension: str, name: str) -> Counter[Any]:
        """The sum of a measure by the values of a dimension, `hour` among them."""
        found: Counter[Any] = Counter()
        for group, row in self.rows:
            found[group[dimension]] += getattr(row, name)
        return found

    def most(self, dimension: str, name: str, limit: int = 10) -> Sequence[float]:
        """The largest of these sums, the largest first; which of equal ones comes first is not said."""
        return sorted((number for number in self.by(dimension, name).values() if number), reverse=True)[:limit]

    def most_users(self) -> int:
        """The users of the hour that most users entered."""
        return int(max(self.by("hour", "entering_users").values(), default=0))

    def time_spent(self) -> Counter[str]:
        """Clicks of known duration by bucket."""
        found: Counter[str] = Counter()
        for _, row in self.rows:
            found.update(row.time_spent_buckets)
        return found


@dataclass(frozen=True)
class Site:
    """A site whose documents are in Elasticsearch, behind aliases of its own."""

    settings: Settings
    clicks: Sequence[oracle.OracleClick]
    _rows: dict[str, dict[oracle.Key, oracle.OracleRow]] = field(default_factory=dict)

    def expected(self, aggregate: Aggregate, since: int, until: int) -> Expected:
        """What the documents of the hours from a time to a time must come to."""
        names = ("hour", *aggregate.group)
        return Expected(
            [
                (dict(zip(names, key, strict=True)), row)
                for key, row in self.rows(aggregate).items()
                if since <= key[0] < until
            ]
        )

    def rows(self, aggregate: Aggregate) -> Mapping[oracle.Key, oracle.OracleRow]:
        """The oracle's rows of all hours."""
        if aggregate.name not in self._rows:
            hours = {click.timestamp // HOUR * HOUR for click in self.clicks}
            self._rows[aggregate.name] = oracle.aggregate(self.clicks, hours, aggregate.group)
        return self._rows[aggregate.name]

    def restate(self, documents: Sequence[Mapping[str, Any]]) -> None:
        """Writes records of restatements, in place of those that there are."""
        name = f"{self.settings.index_alias}-restatements"
        with closing(connect(self.settings)) as client:
            client.options(ignore_status=404).indices.delete(index=name)
            ensure_restatements(client, self.settings)
        lines = [json.dumps(each) for document in documents for each in ({"index": {"_index": name}}, document)]
        if lines:
            _bulk(self.settings, lines)
        call(self.settings, "POST", f"/{name}/_refresh")

    def write(
        self, aggregate: Aggregate, rows: Mapping[oracle.Key, oracle.OracleRow], lacking: Sequence[str] = ()
    ) -> None:
        """Writes the documents of rows.

        Args:
            aggregate: Whose they are.
            rows: What they say.
            lacking: Fields to leave out, as a version did that did not have them.
        """
        with closing(connect(self.settings)) as client:
            index = Index.of(client, self.settings, aggregate)
            ensure_index(index, self.settings, now_ms=NOW)
            ensure_month_indices(index, self.settings, {key[0] for key in rows})
        write(self.settings, aggregate, (document(aggregate, key, row, lacking) for key, row in rows.items()))


def restatement(hour: int, noted: int, cause: str, clicks: tuple[int, int], users: tuple[int, int]) -> dict[str, Any]:
    """The record of a restatement, as the platform writes it.

    Args:
        hour: The hour, epoch ms.
        noted: When the difference was found, epoch ms.
        cause: Why.
        clicks: Clicks before and since.
        users: Users before and since.
    """
    row = {"page": MARKUP, "country": "DE", "clicks_before": 1, "clicks": 2, "seconds_before": 1.0, "seconds": 2.0}
    return {
        "hour": time_text(hour),
        "generation_before": 1,
        "generation": 2,
        "computed_at": time_text(noted),
        "noted_at": time_text(noted),
        "cause": cause,
        "clicks_before": clicks[0],
        "clicks": clicks[1],
        "users_before": users[0],
        "users": users[1],
        "groups_changed": 3,
        "rows": [row],
    }


@contextmanager
def site(elasticsearch_url: str, made: Sequence[oracle.OracleClick] | None = None, **changed: Any) -> Iterator[Site]:
    """A site with documents of all its hours, which go in the end.

    Args:
        elasticsearch_url: The server.
        made: Its clicks; None: those of `clicks`.
        changed: Settings that differ.
    """
    alias = f"d{uuid4().hex[:10]}"
    given = {"elasticsearch_url": elasticsearch_url, "index_alias": alias, "index_replicas": 0, **changed}
    settings = Settings(**given)
    found = Site(settings, clicks() if made is None else made)
    try:
        for aggregate in AGGREGATES:
            if found.clicks:
                found.write(aggregate, found.rows(aggregate))
        yield found
    finally:
        _remove(settings)


def document(
    aggregate: Aggregate, key: oracle.Key, row: oracle.OracleRow, lacking: Sequence[str] = ()
) -> dict[str, Any]:
    """A document as the platform writes it."""
    hour, *group = key
    known = {name: value for name, value in vars(row).items() if value is not None and value != {}}
    fields = {
        "hour": time_text(hour),
        **dict(zip(aggregate.group, group, strict=True)),
        **{name: value for name, value in known.items() if name not in lacking},
        "generation": 1,
        "computed_at": time_text(max(hour, NOW - 5 * MINUTE)),
    }
    if aggregate is PAGES:
        fields |= dict(zip(("host", "path"), host_and_path(str(group[0])), strict=True))
    return fields


def write(settings: Settings, aggregate: Aggregate, documents: Iterable[Mapping[str, Any]]) -> None:
    """Writes documents to the first index of their months, and makes them visible."""
    alias, lines = alias_of(settings, aggregate), []
    for each in documents:
        hour = _hour_of(each["hour"])
        name = document_id(aggregate, hour, *(each[name] for name in aggregate.group))
        lines.append(json.dumps({"index": {"_index": f"{alias}-{month_of(hour)}", "_id": name}}))
        lines.append(json.dumps(each))
        if len(lines) >= 10_000:
            _bulk(settings, lines)
            lines = []
    if lines:
        _bulk(settings, lines)
    call(settings, "POST", f"/{alias}/_refresh")


def _hour_of(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def call(settings: Settings, method: str, path: str, body: bytes | None = None) -> Any:
    """A request to Elasticsearch, and its answer."""
    kind = {"Content-Type": "application/x-ndjson" if path == "/_bulk" else "application/json"}
    request = urllib.request.Request(settings.elasticsearch_url + path, body, kind, method=method)  # noqa: S310  # loopback
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  # loopback
        return json.load(reply)


def _bulk(settings: Settings, lines: Sequence[str]) -> None:
    answer = call(settings, "POST", "/_bulk", ("\n".join(lines) + "\n").encode())
    assert not answer["errors"], [item for item in answer["items"] if "error" in item["index"]][:1]


def _remove(settings: Settings) -> None:
    with closing(connect(settings)) as client:
        if names := list(client.indices.get(index=f"{settings.index_alias}*", allow_no_indices=True).body):
            client.indices.delete(index=names)
        client.indices.delete_index_template(name=f"{settings.index_alias}*")
