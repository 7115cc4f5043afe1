"""Reading the index: the busiest pages, and the hours it holds.

Presentation is in `cli/top.py`.
"""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dataco_assets.aggregates.columns import LATER_COLUMNS
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.elasticsearch import search
from dataco_assets.index.indices import Index
from dataco_assets.quantities import quantity

_GROUPS_PER_REQUEST = 10_000
_EXACT_HOURS = 40_000  # the most that Elasticsearch counts exactly: four years
_LATER = sorted(LATER_COLUMNS)
_ENDS: dict[str, Any] = {name: {name: {"field": "hour"}} for name in ("min", "max")}


@dataclass(frozen=True)
class PageTotals:
    """Totals of a page and country over a range of hours.

    Attributes:
        page: The page.
        country: ISO 3166-1 alpha-2; ZZ when unknown.
        clicks: Clicks.
        samples: Clicks of known duration.
        time_spent_seconds: Their seconds.
        most_users_in_an_hour: Distinct users in the hour with the most. Distinct users of several hours cannot be added
            up, because the same users return.
    """

    page: str
    country: str
    clicks: int
    samples: int
    time_spent_seconds: float
    most_users_in_an_hour: int

    @property
    def average_seconds(self) -> float | None:
        """Mean seconds per click of known duration, over all hours; None without one."""
        return self.time_spent_seconds / self.samples if self.samples else None


@dataclass(frozen=True)
class Span:
    """First and last hour with documents, epoch ms."""

    first_hour: int
    last_hour: int


@dataclass(frozen=True)
class IncompleteHours(Span):
    """Hours that an earlier version computed, so that documents of theirs lack measures.

    Attributes:
        count: How many.
    """

    count: int

    def __str__(self) -> str:
        span = f"{hour_key(self.first_hour)} {hour_key(self.last_hour)}"
        return (
            f"{quantity(self.count, 'hour')} computed by an earlier version without {', '.join(_LATER)}: "
            f"`dataco backfill {span}` fills them"
        )


def busiest_pages(
    index: Index, since_ms: int, until_ms: int, country: str | None = None, limit: int = 10
) -> list[PageTotals]:
    """The pages with the most clicks, by country, in the hours that start in [since_ms, until_ms).

    The result is exact: every group is read. (A terms aggregation would be faster, but takes only the top pages of each
    shard, and so misses pages that are at the top only in total.)

    Args:
        index: The alias to search.
        since_ms: Epoch ms.
        until_ms: Epoch ms.
        country: Only clicks from there.
        limit: Maximum number of pages.

    Raises:
        IndexMissing: there is no index behind the alias yet.
        IndexClosed: an index of these months is closed.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    groups = _groups(index, index.covering(since_ms, until_ms), _in_range(since_ms, until_ms, country))
    return heapq.nsmallest(limit, groups, key=lambda group: (-group.clicks, group.page, group.country))


def span(index: Index, country: str | None = None) -> Span | None:
    """First and last hour in the open indices; None if they are empty.

    Raises:
        IndexMissing: there is no index behind the alias yet.
        IndexClosed: all of them are closed.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    query = {"term": {"country": country}} if country else {"match_all": {}}
    found = search(index.client, index.searchable(), size=0, query=query, aggregations=_ENDS)["aggregations"]
    if found["min"]["value"] is None:
        return None
    return Span(int(found["min"]["value"]), int(found["max"]["value"]))


def incomplete_hours(index: Index) -> IncompleteHours | None:
    """The hours that lack measures in the open indices; None when none does.

    Raises:
        IndexMissing, IndexClosed, ElasticsearchError: as `span`.
    """
    query = {"bool": {"should": [{"bool": {"must_not": {"exists": {"field": name}}}} for name in _LATER]}}
    count = {"count": {"cardinality": {"field": "hour", "precision_threshold": _EXACT_HOURS}}}
    found = search(index.client, index.searchable(), size=0, query=query, aggregations=_ENDS | count)["aggregations"]
    if found["min"]["value"] is None:
        return None
    return IncompleteHours(int(found["min"]["value"]), int(found["max"]["value"]), found["count"]["value"])


def _in_range(since_ms: int, until_ms: int, country: str | None) -> dict[str, Any]:
    filters: list[dict[str, Any]] = [{"range": {"hour": {"gte": since_ms, "lt": until_ms, "format": "epoch_millis"}}}]
    if country:
        filters.append({"term": {"country": country}})
    return {"bool": {"filter": filters}}


def _groups(index: Index, names: list[str], query: Mapping[str, Any]) -> Iterator[PageTotals]:
    sums = {name: {"sum": {"field": name}} for name in ("click_count", "time_spent_samples", "time_spent_seconds_sum")}
    composite: dict[str, Any] = {
        "size": _GROUPS_PER_REQUEST,
        "sources": [{"page": {"terms": {"field": "page"}}}, {"country": {"terms": {"field": "country"}}}],
    }
    groups = {"composite": composite, "aggregations": {**sums, "users": {"max": {"field": "unique_users"}}}}
    while True:
        found = search(index.client, names, size=0, query=query, aggregations={"groups": groups})["aggregations"][
            "groups"
        ]
        yield from map(_totals, found["buckets"])
        if "after_key" not in found:
            return
        composite["after"] = found["after_key"]


def _totals(bucket: Mapping[str, Any]) -> PageTotals:
    return PageTotals(
        page=bucket["key"]["page"],
        country=bucket["key"]["country"],
        clicks=round(bucket["click_count"]["value"]),
        samples=round(bucket["time_spent_samples"]["value"]),
        time_spent_seconds=bucket["time_spent_seconds_sum"]["value"],
        most_users_in_an_hour=round(bucket["users"]["value"]),
    )
