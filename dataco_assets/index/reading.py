"""Reading the indices: the busiest pages, the audience by one of its dimensions, and the hours they hold.

Presentation is in `cli/top.py`.
"""

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from dataco_assets.aggregates.columns import TIME_SPENT, Aggregate, Column
from dataco_assets.clicks.finality import HeldHours
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, hour_key
from dataco_assets.clicks.time_spent import percentile
from dataco_assets.clients.elasticsearch import search
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import MOST_HOURS, hour_range
from dataco_assets.index.restatements import restated_hours
from dataco_assets.quantities import quantity

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_GROUPS_PER_REQUEST = 10_000
_SUMS = ("click_count", "time_spent_samples", "time_spent_seconds_sum")
_TOTALS: dict[str, Any] = {
    **{name: {"sum": {"field": name}} for name in _SUMS},
    "users": {"max": {"field": "unique_users"}},
}
_DISTRIBUTION: dict[str, Any] = {
    bucket: {"sum": {"field": f"{TIME_SPENT.name}.{bucket}"}} for bucket in TIME_SPENT.buckets
}
_ENDS: dict[str, Any] = {name: {name: {"field": "hour"}} for name in ("min", "max")}
_HOURS: dict[str, Any] = {"count": {"cardinality": {"field": "hour", "precision_threshold": MOST_HOURS}}}
_TOTALS_OF_VISITORS: dict[str, Any] = {name: {"sum": {"field": name}} for name in (*_SUMS, "entering_users")}


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Totals over a range of hours.

    Attributes:
        clicks: Clicks.
        samples: Clicks of known duration.
        time_spent_seconds: Their seconds.
        most_users_in_an_hour: Distinct users in the hour with the most. Distinct users of several hours cannot be added
            up, because the same users return; `dataco users` merges sketches of them.
        time_spent: Clicks of known duration by bucket of time (`clicks/time_spent.py`); without those of hours that
            were computed before there were buckets.
    """

    clicks: int
    samples: int
    time_spent_seconds: float
    most_users_in_an_hour: int
    time_spent: Mapping[str, int] = field(default_factory=dict)

    @property
    def average_seconds(self) -> float | None:
        """Mean seconds per click of known duration, over all hours; None without one."""
        return self.time_spent_seconds / self.samples if self.samples else None

    def seconds(self, percent: float) -> float | None:
        """A percentile of the seconds per click of known duration; None without any in a bucket."""
        return percentile(self.time_spent, percent)


@dataclass(frozen=True, kw_only=True)
class PageTotals(Totals):
    """Totals of a page and country.

    Attributes:
        page: The page.
        country: ISO 3166-1 alpha-2; ZZ when unknown.
    """

    page: str
    country: str


@dataclass(frozen=True, kw_only=True)
class VisitorTotals(Totals):
    """Totals of the clicks with one value of a dimension of the audience.

    The users of an hour are those who entered it with the value: over all values, they add up to the hour's users.

    Attributes:
        value: The value, as the clicks have it; what stands for an unknown one.
    """

    value: str


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
        lacking: The measures that any of them lacks, by name.
    """

    count: int
    lacking: tuple[str, ...]

    def __str__(self) -> str:
        span = f"{hour_key(self.first_hour)} {hour_key(self.last_hour)}"
        return (
            f"{quantity(self.count, 'hour')} computed by an earlier version without {', '.join(self.lacking)}: "
            f"`dataco backfill {span}` fills them"
        )


def seen(index: Index, names: list[str]) -> list[str]:
    """What to search for what readers see of some indices: the alias while live runs, as it filters both by hour."""
    return [index.alias] if index.live() else names


def search_seen(index: Index, names: list[str], **request: Any) -> Mapping[str, Any]:
    """The answer to a search for what readers see.

    Args:
        index: The alias.
        names: What to search (`seen`).
        request: Keyword arguments of `Elasticsearch.search`.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    # Behind the alias may be indices of other months that are closed; those of the hours asked for were looked at.
    skips_closed = names == [index.alias] and bool(index.closed())
    return search(index.client, names, **request, **({"ignore_unavailable": True} if skips_closed else {}))


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
    names, query = seen(index, index.covering(since_ms, until_ms)), _in_range(since_ms, until_ms, country)
    groups = map(_totals, _groups(index, names, query, _TOTALS))
    busiest = heapq.nsmallest(limit, groups, key=lambda group: (-group.clicks, group.page, group.country))
    return _with_distributions(index, names, query, busiest)


def busiest_visitors(
    index: Index, dimension: str, since_ms: int, until_ms: int, country: str | None = None, limit: int = 10
) -> list[VisitorTotals]:
    """The values of a dimension with the most clicks, in the hours that start in [since_ms, until_ms).

    The result is exact: every group is read, hour by hour.

    Args:
        index: The alias of the audience.
        dimension: One of its dimensions.
        since_ms: Epoch ms.
        until_ms: Epoch ms.
        country: Only clicks from there.
        limit: Maximum number of values.

    Raises:
        IndexMissing, IndexClosed, ElasticsearchError: as `busiest_pages`.
    """
    names, query = seen(index, index.covering(since_ms, until_ms)), _in_range(since_ms, until_ms, country)
    sums: dict[str, Counter[str]] = {}
    most_users: dict[str, int] = {}
    for bucket in _groups(index, names, query, _TOTALS_OF_VISITORS, by=(dimension, "hour")):
        value = bucket["key"][dimension]
        of_value = sums.setdefault(value, Counter())
        for name in _SUMS:
            of_value[name] += bucket[name]["value"]
        most_users[value] = max(most_users.get(value, 0), round(bucket["entering_users"]["value"]))
    busiest = heapq.nsmallest(limit, sums, key=lambda value: (-sums[value]["click_count"], value))
    of_busiest = {"bool": {"filter": [query, {"terms": {dimension: busiest}}]}}
    distributions = {
        bucket["key"][dimension]: _distribution(bucket)
        for bucket in _groups(index, names, of_busiest, _DISTRIBUTION, by=(dimension,))
    }
    return [
        VisitorTotals(
            value=value,
            clicks=round(sums[value]["click_count"]),
            samples=round(sums[value]["time_spent_samples"]),
            time_spent_seconds=sums[value]["time_spent_seconds_sum"],
            most_users_in_an_hour=most_users[value],
            time_spent=distributions[value],
        )
        for value in busiest
    ]


def span(index: Index, country: str | None = None) -> Span | None:
    """First and last hour in the open indices; None if they are empty.

    Raises:
        IndexMissing: there is no index behind the alias yet.
        IndexClosed: all of them are closed.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    query = {"term": {"country": country}} if country else hour_range(None, None)
    names = seen(index, index.searchable())
    return _span_of(search_seen(index, names, size=0, query=query, aggregations=_ENDS)["aggregations"])


def held_hours(index: Index, settings: "Settings", within: tuple[int, int] | None = None) -> HeldHours:
    """The hours that have documents, with what tells how final they are.

    Args:
        index: The alias of the pages.
        settings: Its alias, and how long clicks are kept.
        within: Only those that start from the first time on and before the second, epoch ms; None: all.

    Raises:
        IndexMissing: there is no index behind the alias yet.
        IndexClosed: an index of these months is closed; without a range: all are.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    names = seen(index, index.covering(*within) if within else index.searchable())
    since_ms, until_ms = within or (None, None)
    hours = {"hours": {"terms": {"field": "hour", "size": MOST_HOURS, "order": {"_key": "asc"}}}}
    query = hour_range(since_ms, until_ms)
    # A search without names is one of all indices of the cluster.
    found = search_seen(index, names, size=0, query=query, aggregations=hours)["aggregations"] if names else None
    return HeldHours(
        tuple(int(bucket["key"]) for bucket in found["hours"]["buckets"]) if found else (),
        restated_hours(index.client, settings.index_alias, since_ms=since_ms, until_ms=until_ms),
        settings.clicks_ttl_days * DAY_MS,
    )


def incomplete_hours(index: Index) -> IncompleteHours | None:
    """The hours that lack measures in the open indices; None when none does.

    Raises:
        IndexMissing, IndexClosed, ElasticsearchError: as `span`.
    """
    later = _later(index.aggregate)
    if not later:
        return None
    lacks = {column.name: _lacks(column) for column in later}
    query, each = {"bool": {"should": list(lacks.values())}}, {"lacks": {"filters": {"filters": lacks}}}
    asked = _ENDS | _HOURS | each
    found = search(index.client, index.searchable(), size=0, query=query, aggregations=asked)["aggregations"]
    if (held := _span_of(found)) is None:
        return None
    names = sorted(name for name, documents in found["lacks"]["buckets"].items() if documents["doc_count"])
    return IncompleteHours(held.first_hour, held.last_hour, found["count"]["value"], tuple(names))


def _later(aggregate: Aggregate) -> list[Column]:
    return [column for column in aggregate.indexed if column.name in aggregate.later]


def hours_without_audience(pages: Index, audience: Index) -> IncompleteHours | None:
    """The hours of which the pages' index has documents, and the audience's has none; None when there are none.

    Raises:
        IndexMissing, IndexClosed, ElasticsearchError: as `span`, about the pages.
    """
    of_pages = _counted(pages, hour_range(None, None))
    of_audience = _counted(audience, hour_range(None, None)) if audience.behind_alias() else None
    if of_pages is None:
        return None
    (there, wanted), (held, found) = of_pages, of_audience or (None, 0)
    if found >= wanted:
        return None
    # Mostly those before the upgrade.
    last = held.first_hour - HOUR_MS if held and held.first_hour > there.first_hour else there.last_hour
    return IncompleteHours(there.first_hour, last, wanted - found, (audience.aggregate.name,))


def _counted(index: Index, query: Mapping[str, Any]) -> tuple[Span, int] | None:
    """First hour, last hour and number of hours of the batch's documents that a query finds; None if it finds none."""
    found = search(index.client, index.searchable(), size=0, query=query, aggregations=_ENDS | _HOURS)["aggregations"]
    held = _span_of(found)
    return held and (held, found["count"]["value"])


def _span_of(found: Mapping[str, Any]) -> Span | None:
    if found["min"]["value"] is None:
        return None
    return Span(int(found["min"]["value"]), int(found["max"]["value"]))


def _lacks(column: Column) -> dict[str, Any]:
    """The query for documents of hours that were computed without a column."""
    lacks: dict[str, Any] = {"must_not": {"exists": {"field": column.name}}}
    if column.type == "histogram":  # a document of which every bucket is empty does not have it either
        lacks["filter"] = {"range": {column.counts: {"gt": 0}}}
    return {"bool": lacks}


def _in_range(since_ms: int, until_ms: int, country: str | None) -> dict[str, Any]:
    filters = [hour_range(since_ms, until_ms)]
    if country:
        filters.append({"term": {"country": country}})
    return {"bool": {"filter": filters}}


def _with_distributions(
    index: Index, names: list[str], query: Mapping[str, Any], pages: Sequence[PageTotals]
) -> list[PageTotals]:
    """The pages with their distributions of time, which would make reading every group slower."""
    if not pages:
        return []
    of_pages = {"bool": {"filter": [query, {"terms": {"page": sorted({page.page for page in pages})}}]}}
    found = {
        (group["key"]["page"], group["key"]["country"]): _distribution(group)
        for group in _groups(index, names, of_pages, _DISTRIBUTION)
    }
    return [replace(page, time_spent=found.get((page.page, page.country), {})) for page in pages]


def _distribution(group: Mapping[str, Any]) -> dict[str, int]:
    return {bucket: round(group[bucket]["value"]) for bucket in TIME_SPENT.buckets}


def _groups(
    index: Index,
    names: list[str],
    query: Mapping[str, Any],
    aggregations: Mapping[str, Any],
    by: Sequence[str] = ("page", "country"),
) -> Iterator[Mapping[str, Any]]:
    """The answer for each group of documents with the same values of some fields."""
    if not names:  # a search without names is one of all indices of the cluster
        return
    composite: dict[str, Any] = {
        "size": _GROUPS_PER_REQUEST,
        "sources": [{name: {"terms": {"field": name}}} for name in by],
    }
    groups = {"composite": composite, "aggregations": aggregations}
    while True:
        reply = search_seen(index, names, size=0, query=query, aggregations={"groups": groups})
        found = reply["aggregations"]["groups"]
        yield from found["buckets"]
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
