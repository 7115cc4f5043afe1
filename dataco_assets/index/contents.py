"""Sums of an index's documents by hour, which publication and rebuild compare."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataco_assets.aggregates.columns import Aggregate, Column
from dataco_assets.clients.elasticsearch import SearchClient, search

HOURS_PER_REQUEST = 500
_ORIGIN = ("generation", "computed_at")
_ALL: Mapping[str, Any] = {"match_all": {}}


@dataclass(frozen=True)
class HourContent:
    """Sums over the documents of an hour, which several runs may have written.

    Attributes:
        documents: Number of documents.
        sums: Sum of each field that is added up (`Aggregate.totalled`), by its name; 0 of documents that were written
            before there was such a field, and absent without documents.
        unnamed: Number of documents without a generation or a time of computing: no run wrote them.
        oldest_generation: Smallest generation; 0 without any.
        newest_generation: Largest generation; 0 without any.
        newest_computed_at_ms: Latest time of computing, epoch ms; 0 without any.
    """

    documents: int
    sums: Mapping[str, int | float]
    unnamed: int
    oldest_generation: int
    newest_generation: int
    newest_computed_at_ms: int


NO_DOCUMENTS = HourContent(
    documents=0,
    sums={},
    unnamed=0,
    oldest_generation=0,
    newest_generation=0,
    newest_computed_at_ms=0,
)
"""The content of an hour without documents."""


def read_contents(
    client: SearchClient,
    aggregate: Aggregate,
    indices: Sequence[str],
    hours: Collection[int] | None = None,
    *,
    of: Mapping[str, Any] = _ALL,
) -> dict[int, HourContent]:
    """Reads the sums of the hours; hours without documents are left out.

    Only refreshed documents are visible. A month of hours takes two requests.

    Args:
        client: The client.
        aggregate: Whose documents they are.
        indices: Names of the indices.
        hours: The hours, epoch ms; None: all.
        of: Only documents that this query finds.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    if not indices:
        return {}
    wanted = sorted(hours) if hours is not None else hours_held(client, indices)
    found: dict[int, HourContent] = {}
    for start in range(0, len(wanted), HOURS_PER_REQUEST):
        batch = wanted[start : start + HOURS_PER_REQUEST]
        reply = search(
            client,
            indices,
            size=0,
            query={"bool": {"filter": [{"terms": {"hour": batch}}, of]}},
            aggregations={"hours": _by_hour(aggregate, len(batch))},
        )
        found |= {
            int(bucket["key"]): _content(aggregate, bucket) for bucket in reply["aggregations"]["hours"]["buckets"]
        }
    return found


def hours_held(client: SearchClient, indices: Sequence[str], hours: Collection[int] | None = None) -> list[int]:
    """Those of the hours (epoch ms; None: of all) that have documents in the indices or aliases, oldest first.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    if not indices or (hours is not None and not hours):
        return []
    if hours is None:
        return sorted(_pages_of_hours(client, indices, {"match_all": {}}))
    # A range, for a query takes a limited number of terms.
    span = {"range": {"hour": {"gte": min(hours), "lte": max(hours), "format": "epoch_millis"}}}
    return sorted(set(hours).intersection(_pages_of_hours(client, indices, span)))


def _by_hour(aggregate: Aggregate, count: int) -> dict[str, Any]:
    each: dict[str, Any] = {column.name: {"sum": {"field": column.name}} for column in aggregate.totalled}
    each |= {name: {"stats": {"field": name}} for name in _ORIGIN}
    # The size is the number of existing terms, which makes the result exact for any number of shards.
    return {"terms": {"field": "hour", "size": count}, "aggregations": each}


def _content(aggregate: Aggregate, bucket: Mapping[str, Any]) -> HourContent:
    documents = int(bucket["doc_count"])
    generation, computed_at = (bucket[name] for name in _ORIGIN)
    return HourContent(
        documents=documents,
        sums={column.name: _number(column, bucket[column.name]["value"]) for column in aggregate.totalled},
        unnamed=documents - min(int(generation["count"]), int(computed_at["count"])),
        oldest_generation=int(generation["min"] or 0),
        newest_generation=int(generation["max"] or 0),
        newest_computed_at_ms=int(computed_at["max"] or 0),
    )


def _number(column: Column, value: float) -> int | float:
    # Elasticsearch answers every sum as a double.
    return float(value) if column.type == "double" else round(value)


def _pages_of_hours(client: SearchClient, indices: Sequence[str], query: Mapping[str, Any]) -> Iterator[int]:
    after: Mapping[str, Any] | None = None
    while True:
        composite: dict[str, Any] = {"size": 1_000, "sources": [{"hour": {"terms": {"field": "hour"}}}]}
        if after is not None:
            composite["after"] = after
        reply = search(client, indices, size=0, query=query, aggregations={"hours": {"composite": composite}})
        found = reply["aggregations"]["hours"]
        yield from (int(bucket["key"]["hour"]) for bucket in found["buckets"])
        after = found.get("after_key")
        if after is None:
            return
