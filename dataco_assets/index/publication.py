"""Completes and verifies a publication, so that an hour's documents equal its aggregates.

Belongs here: what follows the writing of documents: refresh, delete documents of older runs, verify. Does not belong
here: writing them (`spark_resources/publication.py`), and the hour ledger.

Writes carry the generation as external version (`external_gte`), so of two runs the newer generation wins in any order.
A document is *stale* if an older run left it: it has a smaller generation, or the same generation and an earlier
`computed_at`. A document without these fields was not written by a run and is stale too.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dataco_assets.aggregates.columns import TOTALLED, Column
from dataco_assets.aggregates.totals import HourTotals
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.elasticsearch import Hit, SearchClient, bulk, scan_documents
from dataco_assets.clients.elasticsearch import refresh as refresh_indices
from dataco_assets.index.contents import RunContent, read_contents
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import month_of

_HOURS_PER_SEARCH = 100
_DOUBLES_TOLERANCE = 1e-6


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


def delete_stale(index: Index, published: Sequence[PublishedHour]) -> int:
    """Deletes stale documents of the hours; call `refresh` first.

    A document that a newer run writes between the search and the deletion survives:
        * A document of a smaller generation is deleted with version = our generation, which is accepted only while the
          document's version is smaller. The tombstone has our generation, so a late write of an older run cannot
          restore the document while the tombstone exists (`layout.TOMBSTONES_KEPT`).
        * A document of the same generation is deleted only if it has not changed since the search.

    Returns:
        Number of documents deleted.

    Raises:
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    targets = {hour.hour: hour for hour in published}
    deleted = 0
    for month, name in index.by_month(targets).items():
        of_month = [target for hour, target in sorted(targets.items()) if month_of(hour) == month]
        for start in range(0, len(of_month), _HOURS_PER_SEARCH):
            batch = of_month[start : start + _HOURS_PER_SEARCH]
            deleted += bulk(index.client, _deletions(index.client, name, batch)).done
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
    contents = read_contents(index.client, index.holding(hours), hours)
    compared = (compare(hour, contents.get(hour.hour, [])) for hour in sorted(published, key=lambda each: each.hour))
    return [mismatch for mismatch in compared if mismatch is not None]


def compare(published: PublishedHour, runs: Sequence[RunContent]) -> Mismatch | None:
    """Compares an hour's documents with what was published; None if they are equal.

    Args:
        published: What was published.
        runs: Sums of the hour's documents, by run.
    """
    expected = published.totals
    documents = sum(run.documents for run in runs)
    problems = [f"documents: {documents:,} in place of {expected.groups:,}"] if documents != expected.groups else []
    for column in TOTALLED:
        wanted, found = expected.sums[column.name], math.fsum(run.sums[column.name] for run in runs)
        if not same_sum(column, wanted, found):
            problems.append(f"{column.total}: {_shown(column, found)} in place of {_shown(column, wanted)}")
    problems += _foreign_runs(published, runs)
    newest = max((run.newest_generation for run in runs), default=published.generation)
    if not problems:
        return None
    return Mismatch(published.hour, tuple(problems), newest if newest > published.generation else None)


def same_sum(column: Column, one: float, other: float) -> bool:
    """Whether two sums of a column are the same; those of doubles depend on the order of adding."""
    if column.type == "double":
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=_DOUBLES_TOLERANCE)
    return one == other


def _shown(column: Column, number: float) -> str:
    return f"{number:,.3f}" if column.type == "double" else f"{number:,.0f}"


def _foreign_runs(published: PublishedHour, runs: Sequence[RunContent]) -> Iterator[str]:
    for run in runs:
        same = run.oldest_generation == run.newest_generation == published.generation
        if run.computed_at_ms != published.computed_at_ms or not same:
            yield (
                f"{run.documents:,} documents of another run (generation {run.oldest_generation} to "
                f"{run.newest_generation}, computed at {run.computed_at_ms} ms)"
            )


def _deletions(client: SearchClient, index: str, batch: Sequence[PublishedHour]) -> Iterator[dict[str, Any]]:
    generations = {hour.hour: hour.generation for hour in batch}
    for hit in scan_documents(
        client, [index], stale_query(batch), fields=[{"field": "hour", "format": "epoch_millis"}]
    ):
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
