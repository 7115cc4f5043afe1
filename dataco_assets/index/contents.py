"""Sums of the index's documents by hour and run, which publication and rebuild compare."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataco_assets.aggregates.columns import TOTALLED, Column
from dataco_assets.clients.elasticsearch import SearchClient, search

HOURS_PER_REQUEST = 500
_RUNS_PER_HOUR = 50


@dataclass(frozen=True)
class RunContent:
    """Sums over the documents of an hour that one run wrote.

    Attributes:
        computed_at_ms: `computed_at` of the documents, which identifies the run; epoch ms.
        documents: Number of documents.
        sums: Sum of each field that is added up (`columns.TOTALLED`), by its name; 0 of documents that were written
            before there was such a field.
        oldest_generation: Smallest generation.
        newest_generation: Largest generation.
    """

    computed_at_ms: int
    documents: int
    sums: Mapping[str, int | float]
    oldest_generation: int
    newest_generation: int


def read_contents(
    client: SearchClient, indices: Sequence[str], hours: Collection[int] | None = None
) -> dict[int, list[RunContent]]:
    """Reads the sums of the hours (None: all) by run; hours without documents are left out.

    Only refreshed documents are visible. A month of hours takes two requests.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    if not indices:
        return {}
    wanted = sorted(hours) if hours is not None else hours_held(client, indices)
    found: dict[int, list[RunContent]] = {}
    for start in range(0, len(wanted), HOURS_PER_REQUEST):
        batch = wanted[start : start + HOURS_PER_REQUEST]
        reply = search(
            client,
            indices,
            size=0,
            query={"terms": {"hour": batch}},
            aggregations={"hours": _by_hour(len(batch))},
        )
        found |= {int(bucket["key"]): _runs(bucket) for bucket in reply["aggregations"]["hours"]["buckets"]}
    return found


def hours_held(client: SearchClient, indices: Sequence[str]) -> list[int]:
    """Hours (epoch ms) that have documents in the given indices or aliases, oldest first.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    return sorted(_pages_of_hours(client, indices))


def _by_hour(count: int) -> dict[str, Any]:
    sums: dict[str, Any] = {column.name: {"sum": {"field": column.name}} for column in TOTALLED}
    sums["oldest"] = {"min": {"field": "generation"}}
    sums["newest"] = {"max": {"field": "generation"}}
    runs = {"terms": {"field": "computed_at", "size": _RUNS_PER_HOUR}, "aggregations": sums}
    # The size is the number of existing terms, which makes the result exact for any number of shards.
    return {"terms": {"field": "hour", "size": count}, "aggregations": {"runs": runs}}


def _runs(bucket: Mapping[str, Any]) -> list[RunContent]:
    runs = [
        RunContent(
            computed_at_ms=int(run["key"]),
            documents=int(run["doc_count"]),
            sums={column.name: _number(column, run[column.name]["value"]) for column in TOTALLED},
            oldest_generation=int(run["oldest"]["value"]),
            newest_generation=int(run["newest"]["value"]),
        )
        for run in bucket["runs"]["buckets"]
    ]
    return sorted(runs, key=lambda run: run.computed_at_ms)


def _number(column: Column, value: float) -> int | float:
    # Elasticsearch answers every sum as a double.
    return float(value) if column.type == "double" else round(value)


def _pages_of_hours(client: SearchClient, indices: Sequence[str]) -> Iterator[int]:
    after: Mapping[str, Any] | None = None
    while True:
        composite: dict[str, Any] = {"size": 1_000, "sources": [{"hour": {"terms": {"field": "hour"}}}]}
        if after is not None:
            composite["after"] = after
        reply = search(client, indices, size=0, aggregations={"hours": {"composite": composite}})
        found = reply["aggregations"]["hours"]
        yield from (int(bucket["key"]["hour"]) for bucket in found["buckets"])
        after = found.get("after_key")
        if after is None:
            return
