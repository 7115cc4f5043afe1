"""A platform that has stored, computed and published a made-up site's clicks, among them some that came late."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import AGGREGATES, Aggregate
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import alias_of
from dataco_assets.index.restatements import ensure_restatements
from dataco_assets.index.setup import ensure_index
from dataco_assets_tests import oracle, site_traffic
from dataco_assets_tests.platforms import Platform, make_platform
from dataco_assets_tests.refreshes import Refreshes
from dataco_assets_tests.site_traffic import HOUR, Expected, Site, call

DAYS = 4
MIDNIGHT = 1_769_817_600_000
"""2026-01-31 00:00 UTC."""
LATE_USER = "user-8"
ALIAS = "dataco-url-country"
"""The alias that documentation and boards name: the default."""


@dataclass(frozen=True)
class Filled:
    """A filled platform, and what it was filled with.

    Attributes:
        platform: The platform.
        site: All clicks, the late ones included.
        punctual: Those that came before their hours were published.
    """

    platform: Platform
    site: Site
    punctual: Sequence[oracle.OracleClick]
    _documents: dict[str, list[Mapping[str, Any]]] = field(default_factory=dict)

    def expected(self, aggregate: Aggregate, since: int, until: int) -> Expected:
        """What the hours from a time to a time must come to."""
        return self.site.expected(aggregate, since, until)

    def here(self, text: str) -> str:
        """A text that names the default alias, for this platform's."""
        return text.replace(ALIAS, self.platform.settings.index_alias)

    def search(self, index: str, body: Mapping[str, Any]) -> Any:
        """What Elasticsearch answers to a search, sent by plain HTTP."""
        return call(self.platform.settings, "POST", f"/{self.here(index)}/_search", json.dumps(body).encode())

    def documents(self, index: str) -> list[Mapping[str, Any]]:
        """All documents of an alias or index."""
        if index not in self._documents:
            hits = self.search(index, {"size": 10_000})["hits"]
            assert hits["total"]["value"] == len(hits["hits"]), "more than a search returns"
            self._documents[index] = [hit["_source"] for hit in hits["hits"]]
        return self._documents[index]

    def mapping(self, index: str) -> Mapping[str, Any]:
        """The properties of an alias's or index's mapping."""
        found = call(self.platform.settings, "GET", f"/{self.here(index)}/_mapping")
        return next(iter(found.values()))["mappings"]["properties"]

    def restated(self) -> dict[int, tuple[tuple[int, int], tuple[int, int]]]:
        """Clicks before and since, and users before and since, of the hours that late clicks changed."""
        hours = {click.timestamp // HOUR * HOUR for click in self.site.clicks}
        before, since = (oracle.aggregate(clicks, hours) for clicks in (self.punctual, self.site.clicks))
        changed = {key[0] for key in {*before, *since} if before.get(key) != since.get(key)}
        published = {hour for click in self.punctual for hour in _touched(click)}
        return {
            hour: (
                (_sum(before, hour, "click_count"), _sum(since, hour, "click_count")),
                (_sum(before, hour, "entering_users"), _sum(since, hour, "entering_users")),
            )
            for hour in changed & published
        }


def _touched(click: oracle.OracleClick) -> set[int]:
    """The hours that are computed because of a click, whether they hold one or not: its own, and the one it may end."""
    hour = click.timestamp // HOUR * HOUR
    return {hour, (click.timestamp - HOUR // 2) // HOUR * HOUR}


def _sum(rows: Mapping[oracle.Key, oracle.OracleRow], hour: int, name: str) -> int:
    return sum(getattr(row, name) for key, row in rows.items() if key[0] == hour)


@contextmanager
def filled(env: Mapping[str, str], spark: SparkSession, folder: Path) -> Iterator[Filled]:
    """A filled platform; what it made on the servers goes in the end.

    Args:
        env: The stack's variables.
        spark: A session on these servers.
        folder: For the table.
    """
    platform = make_platform(env, aggregates_uri=folder.as_uri(), hbase_retry_seconds=20.0).create(partitions=1)
    settings = platform.settings
    with closing(connect(settings)) as search:
        for aggregate in AGGREGATES:
            ensure_index(Index.of(search, settings, aggregate), settings)
        ensure_restatements(search, settings)
        try:
            clicks = made_clicks()
            late = [click for click in clicks if click.user_id == LATE_USER]
            punctual = [click for click in clicks if click.user_id != LATE_USER]
            assert late
            for part in (punctual, late):
                platform.produce(_message(click) for click in part)
                platform.drain()
                Refreshes(platform, spark).settle()
            for aggregate in AGGREGATES:
                call(settings, "POST", f"/{alias_of(settings, aggregate)}/_refresh")
            yield Filled(platform, Site(settings, clicks), punctual)
        finally:
            for index in search.indices.get(index=f"{settings.index_alias}*").body:
                search.indices.delete(index=index)
            search.indices.delete_index_template(name=f"{settings.index_alias}*")
            platform.drop()


def made_clicks() -> list[oracle.OracleClick]:
    """A site's clicks; among them visits that go on from one day into the next, so that entries and exits differ."""
    clicks = [_sendable(click) for click in site_traffic.clicks(users=70, days=DAYS)]
    for user in range(3):
        for minute, page in ((-4, "https://shop.example/"), (3, "https://shop.example/cart")):
            at = MIDNIGHT + minute * 60_000 + user
            clicks.append(oracle.OracleClick(f"{at}-late", f"late-{user}", at, page, "DE", "Berlin", "Firefox"))
    return clicks


def _sendable(click: oracle.OracleClick) -> oracle.OracleClick:
    """A click whose texts the contract lets through as they are."""
    page = "https://shop.example/search?q=shoes" if click.page == site_traffic.MARKUP else click.page
    city = "Lyon" if click.city == site_traffic.BACKWARDS else click.city
    return replace(click, page=page, city=city)


def _message(click: oracle.OracleClick) -> bytes:
    referrer = f"https://{click.referrer_host}/" if click.referrer_host else None
    fields = {
        "event_id": click.row_key,
        "user_id": click.user_id,
        "timestamp": click.timestamp,
        "url": click.page,
        "ip_address": "192.0.2.1",
        "user_agent": "test",
        "referrer": referrer,
        **{name: getattr(click, name) for name in ("country", "city", "browser", "operating_system", "device")},
    }
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
