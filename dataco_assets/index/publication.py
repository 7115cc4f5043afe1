"""Completes and verifies a publication, so that an hour's documents equal its aggregates.

Belongs here: what follows the writing of documents: refresh, delete documents of older runs, verify. Does not belong
here: writing them (`spark_resources/publication.py`), and the hour ledger.

Writes carry the generation as external version (`external_gte`), so of two runs that write a document the newer
generation wins in any order. A document that did not change keeps the generation and the time of computing of the run
that wrote it last. So a document is *stale* if the aggregates do not have it, which the comparison on Spark finds, and
if no newer run wrote it since: it has a smaller generation, or the same one and an earlier `computed_at`, or none,
which means that no run wrote it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.totals import HourTotals, sum_difference
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.elasticsearch import Hit, SearchClient, bulk, scan_documents
from dataco_assets.clients.elasticsearch import refresh as refresh_indices
from dataco_assets.index.contents import NO_DOCUMENTS, HourContent, read_contents
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import month_of

_HOURS_PER_SEARCH = 100
_IDS_PER_SEARCH = 5_000


@dataclass(frozen=True)
class PublishedHour:
    """An hour that a run published.

    Attributes:
        hour: Start, epoch ms.
        generation: Of the aggregates.
        computed_at_ms: When they were computed.
        totals: Their sums.
    """

    hour: int
    generation: int
    computed_at_ms: int
    totals: HourTotals

    @property
    def origin(self) -> tuple[int, int]:
        """What tells which computation the aggregates are of."""
        return self.generation, self.computed_at_ms


@dataclass(frozen=True)
class Mismatch:
    """An hour whose documents differ from what was published.

    Attributes:
        hour: Start, epoch ms.
        problems: What differs, one line each.
        newer_generation: Generation of a newer run that has published the hour in the meantime or is about to, if any;
            that run caused the difference and verifies the hour itself.
    """

    hour: int
    problems: tuple[str, ...]
    newer_generation: int | None = None

    def __str__(self) -> str:
        return f"{hour_key(self.hour)}: {'; '.join(self.problems)}"


def refresh(index: Index, hours: Collection[int]) -> None:
    """Makes the written documents of the hours visible to searches.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    refresh_indices(index.client, index.holding(hours))


def delete_stale(index: Index, published: Sequence[PublishedHour], ids: Iterable[str]) -> int:
    """Deletes those of the given documents that are stale; call `refresh` first.

    A document that a newer run writes between the search and the deletion survives:
        * A document of a smaller generation is deleted with version = our generation, which is accepted only while the
          document's version is smaller. The tombstone has our generation, so a late write of an older run cannot
          restore the document while the tombstone exists (`layout.TOMBSTONES_KEPT`).
        * A document of the same generation is deleted only if it has not changed since the search.

    Args:
        index: The alias.
        published: The hours that the documents are of.
        ids: Documents that the aggregates do not have. They are read one page after another.

    Returns:
        Number of documents deleted.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    deleted = 0
    remaining = iter(ids)
    while page := list(islice(remaining, _IDS_PER_SEARCH)):
        deleted += _delete(index, published, {"ids": {"values": page}})
    return deleted


def delete_own(index: Index, published: Sequence[PublishedHour]) -> int:
    """Deletes the documents that this run wrote of hours that a newer run has published meanwhile.

    The newer run, which saw that this one may still write, wrote all its documents with its own generation.

    Returns:
        Number of documents deleted.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    hours = [each.hour for each in published]
    refresh(index, hours)
    deleted = 0
    for each in published:
        own = [
            {"term": {"hour": each.hour}},
            {"term": {"generation": each.generation}},
            {"term": {"computed_at": each.computed_at_ms}},
        ]
        hits = scan_documents(index.client, index.holding([each.hour]), {"bool": {"filter": own}})
        deleted += bulk(index.client, (deletion(hit, each.generation) for hit in hits)).done
    return deleted


def stale_query(published: Sequence[PublishedHour]) -> dict[str, Any]:
    """The query for stale documents of the hours."""
    return {"bool": {"should": [_stale(hour) for hour in published], "minimum_should_match": 1}}


def deletion(hit: Hit, generation: int) -> dict[str, Any]:
    """The bulk operation that deletes a stale document unless it has been replaced since the search.

    Args:
        hit: The document as found, with version and sequence number.
        generation: The generation we publish.
    """
    operation = {"_op_type": "delete", "_index": hit["_index"], "_id": hit["_id"]}
    if hit["_version"] < generation:
        return {**operation, "version": generation, "version_type": "external"}
    return {**operation, "if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}


def verify_hours(index: Index, published: Sequence[PublishedHour]) -> list[Mismatch]:
    """Compares the searchable documents of the hours with what was published; call `refresh` first.

    Returns:
        The hours that differ, oldest first; empty if none does.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses; this is never reported as a mismatch.
    """
    hours = [hour.hour for hour in published]
    contents = read_contents(index.client, index.aggregate, index.holding(hours), hours)
    compared = (
        compare(index.aggregate, hour, contents.get(hour.hour, NO_DOCUMENTS))
        for hour in sorted(published, key=lambda each: each.hour)
    )
    return [mismatch for mismatch in compared if mismatch is not None]


def compare(aggregate: Aggregate, published: PublishedHour, content: HourContent) -> Mismatch | None:
    """Compares the content of an hour's documents with what was published; None if they are equal."""
    expected = published.totals
    problems: list[str] = []
    if content.documents != expected.groups:
        problems.append(f"documents: {content.documents:,} in place of {expected.groups:,}")
    for column in aggregate.totalled:
        wanted, found = expected.sums[column.name], content.sums.get(column.name, 0)
        if difference := sum_difference(column, wanted, found):
            problems.append(difference)
    problems += _foreign(published, content)
    if not problems:
        return None
    newest = content.newest_generation
    return Mismatch(published.hour, tuple(problems), newest if newest > published.generation else None)


def _foreign(published: PublishedHour, content: HourContent) -> Iterator[str]:
    if content.unnamed:
        yield f"{content.unnamed:,} documents that name no run"
    newest = (content.newest_generation, content.newest_computed_at_ms)
    if newest[0] > published.generation or newest[1] > published.computed_at_ms:
        yield f"documents of another run (generation up to {newest[0]}, computed until {newest[1]} ms)"


def _delete(index: Index, published: Sequence[PublishedHour], which: Mapping[str, Any]) -> int:
    targets = {hour.hour: hour for hour in published}
    deleted = 0
    for month, name in index.by_month(targets).items():
        of_month = [target for hour, target in sorted(targets.items()) if month_of(hour) == month]
        for start in range(0, len(of_month), _HOURS_PER_SEARCH):
            batch = of_month[start : start + _HOURS_PER_SEARCH]
            deleted += bulk(index.client, _deletions(index.client, name, batch, which)).done
    return deleted


def _deletions(
    client: SearchClient, index: str, batch: Sequence[PublishedHour], which: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    generations = {hour.hour: hour.generation for hour in batch}
    query = {"bool": {"filter": [which, stale_query(batch)]}}
    for hit in scan_documents(client, [index], query, fields=[{"field": "hour", "format": "epoch_millis"}]):
        (hour,) = hit["fields"]["hour"]
        yield deletion(hit, generations[int(hour)])


def _stale(published: PublishedHour) -> Mapping[str, Any]:
    older_run = {"range": {"computed_at": {"lt": published.computed_at_ms, "format": "epoch_millis"}}}
    return {
        "bool": {
            "filter": [{"term": {"hour": published.hour}}],
            "should": [
                {"bool": {"must_not": [{"exists": {"field": "generation"}}]}},  # no run wrote it
                {"bool": {"must_not": [{"exists": {"field": "computed_at"}}]}},
                {"range": {"generation": {"lt": published.generation}}},
                {"bool": {"filter": [{"term": {"generation": published.generation}}, older_run]}},
            ],
            "minimum_should_match": 1,
        }
    }
