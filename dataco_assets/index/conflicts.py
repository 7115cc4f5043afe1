"""Version conflicts during publication: documents of a newer run, or changed by something other than the platform.

A run writes its documents with their generation as version, and Elasticsearch refuses a version smaller than the
stored one. A stored version is higher in two cases: a newer run wrote the document, which must stay; or the document
was changed or deleted by hand, which would block publication permanently. The hour ledger distinguishes them: no run
has a generation above the hour's `dirty`, so while that is the generation being published, no run wrote the higher
version.

The generation of such an hour is raised above all versions found. That makes the hour dirty, and its next refresh
replaces every document by the ordinary rule. Nothing bypasses that rule, so a newer run that starts in the meantime
still wins.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.elasticsearch import refresh as refresh_indices
from dataco_assets.clients.elasticsearch import scan_documents
from dataco_assets.elasticsearch_errors import VersionConflict
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index.contents import NO_DOCUMENTS, read_contents
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import month_of
from dataco_assets.index.publication import PublishedHour
from dataco_assets.ledgers.hours import HourLedger

ROOM_FOR_CHANGES = 1_000
"""Margin added to the highest version found, because the version of a deleted document cannot be read."""

HIGHEST_VERSION = 2**53
"""Upper bound of generations. No run comes near it, but a version written by hand can exceed it."""

_HOURS_PER_SEARCH = 100


class DocumentsChanged(DatacoError):
    """Something other than the platform changed documents; the next refresh of their hours replaces them."""

    kind = ErrorKind.PASSING


class VersionTooHigh(DatacoError):
    """A document's version is higher than any generation may be."""


@dataclass(frozen=True)
class Conflicts:
    """Hours that could not be published, and why.

    Attributes:
        outdated: Clicks arrived after they were computed; a newer run publishes them.
        changed: Documents were changed by hand; the hours' generations have been raised.
    """

    outdated: tuple[int, ...]
    changed: tuple[int, ...]

    @property
    def hours(self) -> set[int]:
        """Hours of both kinds."""
        return {*self.outdated, *self.changed}

    def errors(self) -> Iterator[DatacoError]:
        """Yields one error per kind, with a message for the operator."""
        if self.outdated:
            yield VersionConflict(
                f"A newer generation of {len(self.outdated)} hours (the first: {hour_key(self.outdated[0])}) is in the "
                "index or about to be published. Nothing is lost: this run was out of date.",
                hours=self.outdated,
            )
        if self.changed:
            yield DocumentsChanged(
                f"The index holds documents of {len(self.changed)} hours (the first: {hour_key(self.changed[0])}) that "
                "something other than this platform changed or deleted. The hours' generation was raised above the "
                "documents': the next refresh of the hours replaces them.",
                hours=self.changed,
            )


def find_conflicts(index: Index, ledger: HourLedger, published: Sequence[PublishedHour]) -> Conflicts:
    """Finds the hours with version conflicts, and raises the generations of those changed by hand.

    Args:
        index: The alias.
        ledger: The hour ledger.
        published: The hours whose publication met a conflict.

    Raises:
        VersionTooHigh: a document's version is above `HIGHEST_VERSION`.
        ElasticsearchError, HBaseError: a server does not answer or refuses.
    """
    refresh_indices(index.client, index.holding(each.hour for each in published))
    ahead = _versions_ahead(index, published) or _incomplete(index, published)
    return raise_generations(ledger, published, ahead)


def raise_generations(ledger: HourLedger, published: Sequence[PublishedHour], versions: Mapping[int, int]) -> Conflicts:
    """Raises the generation of hours above the versions found in them, unless a newer run will publish them anyway.

    Args:
        ledger: The hour ledger.
        published: The hours being published.
        versions: The highest version or generation found, by hour.

    Raises:
        VersionTooHigh: a version is above `HIGHEST_VERSION`.
        HBaseError: HBase does not answer or refuses.
    """
    generations = {each.hour: each.generation for each in published}
    states = ledger.read(versions)
    outdated = tuple(sorted(hour for hour in versions if states[hour].dirty > generations[hour]))
    changed = tuple(sorted(versions.keys() - set(outdated)))
    if too_high := [hour for hour in changed if versions[hour] > HIGHEST_VERSION]:
        raise VersionTooHigh(
            f"Documents of {hour_key(too_high[0])} have a version or generation of {versions[too_high[0]]}, which was "
            "written by hand and cannot be exceeded. Delete the index of that month and backfill the month.",
            hours=too_high,
        )
    ledger.raise_dirty({hour: max(versions[hour], generations[hour]) + ROOM_FOR_CHANGES for hour in changed})
    return Conflicts(outdated, changed)


def _versions_ahead(index: Index, published: Sequence[PublishedHour]) -> dict[int, int]:
    """Highest version by hour, for hours with a version above the generation being published."""
    generations = {each.hour: each.generation for each in published}
    found: dict[int, int] = {}
    for month, name in index.by_month(generations).items():
        hours = sorted(hour for hour in generations if month_of(hour) == month)
        for start in range(0, len(hours), _HOURS_PER_SEARCH):
            query = {"terms": {"hour": hours[start : start + _HOURS_PER_SEARCH]}}
            fields = [{"field": "hour", "format": "epoch_millis"}]
            for hit in scan_documents(index.client, [name], query, fields=fields):
                hour = int(hit["fields"]["hour"][0])
                if hit["_version"] > generations[hour]:
                    found[hour] = max(hit["_version"], found.get(hour, 0))
    return found


def _incomplete(index: Index, published: Sequence[PublishedHour]) -> dict[int, int]:
    """Hours that lack documents, with their own generations: a document deleted by hand cannot be found by a search."""
    hours = [each.hour for each in published]
    contents = read_contents(index.client, index.aggregate, index.holding(hours), hours)
    return {
        each.hour: each.generation
        for each in published
        if contents.get(each.hour, NO_DOCUMENTS).documents < each.totals.groups
    }
