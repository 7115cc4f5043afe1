"""Writes the documents of hours of few rows, in this process.

What follows is the same as for many rows: see `publication.py`. Hours of many rows are written by the executors of
Spark (`spark_resources/publication.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dataco_assets.clients.elasticsearch import SearchClient, bulk, scan_documents, search
from dataco_assets.elasticsearch_errors import VersionConflict
from dataco_assets.index.differences import Held, Restated, Written
from dataco_assets.index.documents import Document, Stored, changes, documents, hour_differences
from dataco_assets.index.layout import hours_by_month

if TYPE_CHECKING:
    import pyarrow as pa

    from dataco_assets.aggregates.columns import Aggregate

MOST: Final = 5_000
"""Rows, and documents, of a run that this process handles itself: about a second's work, as long as Spark needs to plan
what its executors then do faster."""


def are_few(client: SearchClient, indices: Sequence[str], hours: Sequence[int], rows: int) -> bool:
    """Whether hours have so few rows, and so few documents in the index, that this process writes them.

    Args:
        client: The client.
        indices: Where the documents are.
        hours: The hours, epoch ms.
        rows: Number of their rows.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    if rows > MOST:
        return False
    found = search(client, indices, size=0, query=_of(hours), track_total_hits=MOST + 1) if indices else None
    return found is None or int(found["hits"]["total"]["value"]) <= MOST


def publish_few(
    client: SearchClient,
    aggregate: "Aggregate",
    rows: "Mapping[int, Sequence[pa.Table]]",
    indices: Mapping[str, str],
    *,
    held: Held,
    restated: Restated | None = None,
) -> Written:
    """Writes an aggregate's rows of hours, each into the index of its month; documents that are there already are left.

    If it fails, some documents may have been written; publishing again, or a newer generation, completes them.

    Args:
        client: The client.
        aggregate: Whose rows they are.
        rows: All its columns, by hour (epoch ms).
        indices: The index of each month (`YYYY.MM`).
        held: What the index has of the hours, and must be visible to searches.
        restated: Whose differences are to be reported; None: no hour's.

    Raises:
        IndexMissing: a month has no index.
        VersionConflict: the index holds a newer version of a document.
        ElasticsearchError: it does not answer, or refuses.
    """
    written = 0
    stale: list[str] = []
    for month, members in hours_by_month(rows, indices).items():
        index = indices[month]
        wanted = documents(aggregate, (table for hour in members for table in rows[hour]))
        there = [hour for hour in members if hour in held.hours]
        stored = {
            hit["_id"]: Stored(hit["_source"], hit["_version"])
            for hit in (scan_documents(client, [index], _of(there), source=True) if there else ())
        }
        changed = changes(aggregate, wanted, stored, held.rewritten)
        told = [hour for hour in members if restated and hour in restated.hours]
        if restated and told and (changed.write or changed.delete):
            restated.note(hour_differences(changed, told))
        outcome = bulk(client, _writes(index, changed.write))
        if outcome.conflicts:
            raise VersionConflict(f"{outcome.conflicts:,} documents of {index} have a newer version.")
        written += len(changed.write)
        stale += changed.delete
    return Written(written, stale)


def _of(hours: Sequence[int]) -> dict[str, Any]:
    return {"terms": {"hour": list(hours)}}


def _writes(index: str, wanted: Mapping[str, Document]) -> Iterator[dict[str, Any]]:
    for key, document in wanted.items():
        version = {"version": document["generation"], "version_type": "external_gte"}
        yield {"_op_type": "index", "_index": index, "_id": key, **version, "_source": document}
