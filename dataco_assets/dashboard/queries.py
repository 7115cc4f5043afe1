"""The requests that the page sends to Elasticsearch, as the bodies of searches. Pure.

Every measure of the aggregates is a sum that may be added up over any rows; so each request asks for sums, and what is
shown is computed from them (`figures.py`). The exceptions are numbers of distinct users: those who enter an hour add up
over the rows of that one hour, those of a page and country over nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dataco_assets.aggregates.columns import (
    BOUNCES,
    BROWSER,
    CITY,
    CLICK_COUNT,
    COMPUTED_AT,
    COUNTRY,
    DEVICE,
    ENTERING_USERS,
    ENTRIES,
    EXITS,
    HOUR,
    OPERATING_SYSTEM,
    PAGE,
    REFERRER_HOST,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    TIME_SPENT_SECONDS,
    UNIQUE_USERS,
    Column,
)
from dataco_assets.dashboard.view import View

Body = Mapping[str, Any]

RANKED: Final = 50_000
"""Values of a dimension up to which a ranking is exact: each index answers with so many at most."""

_EXACT_COUNT: Final = 40_000  # the most that Elasticsearch counts exactly
SUMS: Final = (CLICK_COUNT, TIME_SPENT_SECONDS, TIME_SPENT_SAMPLES, ENTRIES, EXITS, BOUNCES)


@dataclass(frozen=True)
class Order:
    """What the values of a dimension are ranked by.

    Attributes:
        dimension: Whose values.
        by: The sum that is largest first.
        shown: The sums that are wanted beside it.
        rows: How many values are wanted.
    """

    dimension: str
    by: Column
    shown: tuple[Column, ...]
    rows: int

    @property
    def name(self) -> str:
        """What the answer to it is called."""
        return f"{self.dimension} by {self.by.name}"


ROWS: Final = 10
"""Rows of a panel; its CSV file has up to `EXPORTED`."""
EXPORTED: Final = 1_000
_COUNTRIES_SHOWN: Final = 300  # all there are: the map needs them

TOP_PAGES: Final = Order(PAGE.name, CLICK_COUNT, (EXITS,), ROWS)
ENTRY_PAGES: Final = Order(PAGE.name, ENTRIES, (BOUNCES,), ROWS)
EXIT_PAGES: Final = Order(PAGE.name, EXITS, (CLICK_COUNT,), ROWS)
TIMES: Final = Order(PAGE.name, TIME_SPENT_SAMPLES, (TIME_SPENT_SECONDS, CLICK_COUNT), ROWS)
COUNTRIES: Final = Order(COUNTRY.name, CLICK_COUNT, (EXITS,), _COUNTRIES_SHOWN)
REFERRERS: Final = Order(REFERRER_HOST.name, ENTRIES, (BOUNCES, CLICK_COUNT), ROWS)
CITIES, BROWSERS, SYSTEMS, DEVICES = (
    Order(column.name, CLICK_COUNT, (EXITS,), ROWS) for column in (CITY, BROWSER, OPERATING_SYSTEM, DEVICE)
)
OF_PAGES: Final = (TOP_PAGES, ENTRY_PAGES, EXIT_PAGES, TIMES)
OF_AUDIENCE: Final = (REFERRERS, CITIES, BROWSERS, SYSTEMS, DEVICES)


def held() -> Body:
    """First and last hour with documents, and when documents last changed."""
    return {
        "size": 0,
        "aggregations": {
            "first": {"min": {"field": HOUR.name}},
            "last": {"max": {"field": HOUR.name}},
            "changed": {"max": {"field": COMPUTED_AT.name}},
        },
    }


def clicks_since(since_ms: int) -> Body:
    """The clicks of the hours from a time on, epoch ms."""
    return {"size": 0, "query": _hours(since_ms), "aggregations": {"all": _sum(CLICK_COUNT)}}


def period(view: View) -> Body:
    """The sums of each hour, the distribution of time over all, and the hours that lack visits."""
    each = {column.name: _sum(column) for column in SUMS} | {"users": _users_of_an_hour(view)}
    histogram = {"field": HOUR.name, "fixed_interval": "1h", "min_doc_count": 1}
    return {
        "size": 0,
        "query": selected(view, view.filters),
        "aggregations": {
            "hours": {"date_histogram": histogram, "aggregations": each},
            "lacking": {
                "filter": {"bool": {"must_not": {"exists": {"field": EXITS.name}}}},
                "aggregations": {
                    "hours": {"cardinality": {"field": HOUR.name, "precision_threshold": _EXACT_COUNT}},
                    "first": {"min": {"field": HOUR.name}},
                    "last": {"max": {"field": HOUR.name}},
                },
            },
            **distribution(),
        },
    }


def rankings(view: View, orders: Sequence[Order]) -> Body:
    """The values of dimensions with the largest sums; and the clicks of the range and country, without other filters.

    A ranking is exact when no index holds more than `RANKED` values, so the number of values is asked for, too.
    """
    by_country = {name: value for name, value in view.filters.items() if name == COUNTRY.name}
    dimensions = dict.fromkeys(order.dimension for order in orders)
    counts = {
        f"values of {name}": {"cardinality": {"field": name, "precision_threshold": _EXACT_COUNT}}
        for name in dimensions
    }
    chosen = {
        "filter": {"bool": {"filter": _terms(view.filters)}},
        "aggregations": {order.name: _ranking(order) for order in orders} | counts,
    }
    return {
        "size": 0,
        "query": selected(view, by_country),
        "aggregations": {"all": _sum(CLICK_COUNT), **({"chosen": chosen} if orders else {})},
    }


def distributions(view: View, dimension: str, values: Sequence[str]) -> Body:
    """The distribution of time of some values of a dimension."""
    query = selected(view, view.filters)
    query["bool"]["filter"].append({"terms": {dimension: list(values)}})
    terms = {"terms": {"field": dimension, "size": max(1, len(values))}, "aggregations": distribution()}
    return {"size": 0, "query": query, "aggregations": {"values": terms}}


def distribution() -> dict[str, Any]:
    """The sum of each bucket of time spent."""
    return {bucket: {"sum": {"field": f"{TIME_SPENT.name}.{bucket}"}} for bucket in TIME_SPENT.buckets}


def selected(view: View, filters: Mapping[str, str]) -> dict[str, Any]:
    """The query for the documents of the view's hours that have these values."""
    return {"bool": {"filter": [_hours(view.since_ms, view.until_ms), *_terms(filters)]}}


def _hours(since_ms: int, until_ms: int | None = None) -> dict[str, Any]:
    until = {} if until_ms is None else {"lt": until_ms}
    return {"range": {HOUR.name: {"gte": since_ms, **until, "format": "epoch_millis"}}}


def _terms(filters: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"term": {name: {"value": value}}} for name, value in filters.items()]


def _sum(column: Column) -> dict[str, Any]:
    return {"sum": {"field": column.name}}


def _users_of_an_hour(view: View) -> dict[str, Any]:
    """Distinct users: those who entered the hour so, or of a page those of the country with the most."""
    return {"max": {"field": UNIQUE_USERS.name}} if PAGE.name in view.filters else _sum(ENTERING_USERS)


def _ranking(order: Order) -> dict[str, Any]:
    terms = {"field": order.dimension, "size": order.rows, "shard_size": RANKED, "order": {order.by.name: "desc"}}
    sums = {column.name: _sum(column) for column in dict.fromkeys((order.by, *order.shown))}
    return {"terms": terms, "aggregations": sums}
