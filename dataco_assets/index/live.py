"""The documents of the running hours that live keeps up to date: an index of its own for each live run.

Belongs here: the index's layout, and adding a micro-batch's differences to its documents. Does not belong here: which
hours readers get from it (`handover.py`), and computing differences (`spark_resources/live`).

One process writes to the index of a run. It reads the documents that a micro-batch changes, unless it wrote them last
itself, adds, and writes them whole. A document's version is the number of the micro-batch that changed it last, plus 1.
A micro-batch that is tried again finds that version on the documents it already changed, and leaves those; a process
that was taken for dead and goes on later is refused (`external_gte`).

A group whose clicks are all gone (its user was erased) keeps a document of zeros, for its version. Readers do not see
it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from dataco_assets.aggregates.columns import (
    AVERAGE_TIME_SPENT,
    CLICK_COUNT,
    COMPUTED_AT,
    GENERATION,
    HOUR,
    PAGES,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    TIME_SPENT_SECONDS,
)
from dataco_assets.aggregates.live_sums import MEASURES, TIME_SPENT_MS, Group, Sums
from dataco_assets.clients.elasticsearch import SearchClient, bulk, count, documents_by_id, refresh, scan_documents
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.errors import DatacoError
from dataco_assets.index.indices import IndexMismatch, listed
from dataco_assets.index.layout import (
    TEMPLATE_PRIORITY,
    differences,
    document_id,
    host_and_path,
    hour_range,
    index_settings,
    live_index_name,
    properties,
    time_text,
)

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

SOURCE: Final = "source"
"""Field that only documents of live have."""
LIVE: Final = "live"
_PRIORITY: Final = TEMPLATE_PRIORITY + 2
_DOCUMENTS_AT_ONCE: Final = 2_000
_MOST_REMEMBERED: Final = 200_000
"""Documents whose sums are kept in memory, about 100 MB, so that they need not be read before each write."""
_NOTHING: Final[Sums] = [0] * len(MEASURES)
_BUCKETS: Final = f"{TIME_SPENT.name}."


class LiveTakenOver(DatacoError):
    """Another process does this one's work by now; it must stop."""


def live_properties() -> dict[str, Any]:
    """Fields of live's documents: those of the batch's but the generation, which they have none of, and two more."""
    of_batch = {name: dict(rule) for name, rule in properties(PAGES).items() if name != GENERATION.name}
    return {**of_batch, SOURCE: {"type": "keyword"}, TIME_SPENT_MS: {"type": "long", "index": False}}


def template_name(alias: str) -> str:
    """Name of the index template of live's indices."""
    return f"{alias}-live"


def live_template(settings: "Settings", alias: str) -> dict[str, Any]:
    """The template of live's indices. A write creates none: to one that is gone it must fail."""
    # Only an explicit refresh shows documents, so that readers see whole micro-batches.
    own_settings = index_settings(settings) | {"refresh_interval": "-1"}
    return {
        "index_patterns": [live_index_name(alias, "*")],
        "priority": _PRIORITY,
        "allow_auto_create": False,
        "_meta": {"description": "Kept by `dataco live`.", "layout": PAGES.layout},
        "template": {
            "settings": {"index": own_settings},
            "mappings": {"dynamic": "strict", "_meta": {"layout": PAGES.layout}, "properties": live_properties()},
        },
    }


class LiveIndex:
    """The index of a live run.

    Args:
        client: The client.
        alias: The alias that readers search.
        run_id: The run.
    """

    def __init__(self, client: SearchClient, alias: str, run_id: str) -> None:
        self._client = client
        self._alias = alias
        self.name = live_index_name(alias, run_id)
        self._added: dict[str, tuple[int, Sums]] = {}

    def exists(self) -> bool:
        """Whether it exists, with the layout of this version."""
        try:
            found = self._client.indices.get(index=self.name).body[self.name]
        except IndexMissing:
            return False
        return found["mappings"].get("properties") == live_properties()

    def is_empty(self) -> bool:
        """Whether nothing was ever added to it."""
        self.show()
        return count(self._client, [self.name]) == 0

    def create(self, settings: "Settings") -> None:
        """Creates it, and its template.

        Raises:
            IndexMismatch: it is not as laid out, since a template that is not the platform's took precedence.
        """
        template = template_name(self._alias)
        self._client.indices.put_index_template(name=template, **live_template(settings, self._alias))
        self._client.indices.create(index=self.name)
        found = self._client.indices.get(index=self.name).body[self.name]
        if lines := differences(live_properties(), found["mappings"].get("properties"), "mappings"):
            self._client.indices.delete(index=self.name)
            raise IndexMismatch(
                f"Index {self.name} was created from an index template that is not the platform's: {listed(lines)}. "
                f"Narrow the patterns of the template that matches {live_index_name(self._alias, '*')}."
            )

    def add(self, batch_id: int, changes: Mapping[Group, Sums], *, at_ms: int) -> int:
        """Adds a micro-batch's differences to the documents; readers see it once `show` was called.

        Args:
            batch_id: Number of the micro-batch; what it changed already stays.
            changes: What to add, by group.
            at_ms: When the micro-batch was computed, epoch ms.

        Returns:
            Number of documents that were changed now.

        Raises:
            LiveTakenOver: later micro-batches are in the index.
            ElasticsearchError: it does not answer or refuses; part may have been added, which is no harm.
        """
        known, self._added = self._added, {}  # what fails halfway is looked up again
        if len(known) > _MOST_REMEMBERED:
            known.clear()
        version = batch_id + 1
        left = iter(changes.items())
        done = 0
        while some := dict(islice(left, _DOCUMENTS_AT_ONCE)):
            outcome = bulk(self._client, self._writes(some, version, at_ms, known))
            if outcome.conflicts:
                raise LiveTakenOver(
                    f"Index {self.name} has later micro-batches than {batch_id}: another `dataco live` goes on with "
                    "this run. This one stops; nothing was counted twice."
                )
            done += outcome.done
        self._added = known
        return done

    def show(self) -> None:
        """Makes all that was added visible to readers at once."""
        refresh(self._client, [self.name])

    def remove_before(self, hour: int) -> int:
        """Deletes the documents of the hours before one (epoch ms), of which readers get none; returns how many."""
        old = scan_documents(self._client, [self.name], hour_range(None, hour))
        deletions = ({"_op_type": "delete", "_index": self.name, "_id": hit["_id"]} for hit in old)
        return bulk(self._client, deletions).done

    def _writes(
        self, changes: Mapping[Group, Sums], version: int, at_ms: int, known: dict[str, tuple[int, Sums]]
    ) -> Iterator[dict[str, Any]]:
        """The documents to write, which `known` holds then, too: versions and sums by id."""
        ids = {document_id(PAGES, *group): group for group in changes}
        present = documents_by_id(self._client, self.name, [each for each in ids if each not in known])
        known.update((each, (hit["_version"], sums_of(hit["_source"]))) for each, hit in present.items())
        for each, group in ids.items():
            changed_by, before = known.get(each, (0, _NOTHING))
            if changed_by == version:
                continue
            after = [old + new for old, new in zip(before, changes[group], strict=True)]
            known[each] = version, after
            yield {
                "_op_type": "index",
                "_index": self.name,
                "_id": each,
                "_source": live_document(group, after, at_ms),
                "version": version,
                "version_type": "external_gte",
            }


def live_document(group: Group, sums: Sequence[int], at_ms: int) -> dict[str, Any]:
    """The document of a group: the fields that the batch's have, from the same numbers.

    Args:
        group: Hour, page and country.
        sums: Of `MEASURES`, in that order.
        at_ms: When they were computed, epoch ms.
    """
    hour, page, country = group
    numbers = dict(zip(MEASURES, sums, strict=True))
    buckets = {name.removeprefix(_BUCKETS): n for name, n in numbers.items() if name.startswith(_BUCKETS) and n}
    seconds, samples = numbers[TIME_SPENT_MS] / 1000, numbers[TIME_SPENT_SAMPLES.name]
    host, path = host_and_path(page)
    return {
        HOUR.name: time_text(hour),
        "page": page,
        "country": country,
        "host": host,
        "path": path,
        **{name: number for name, number in numbers.items() if not name.startswith(_BUCKETS)},
        TIME_SPENT_SECONDS.name: seconds,
        **({AVERAGE_TIME_SPENT.name: seconds / samples, TIME_SPENT.name: buckets} if samples else {}),
        COMPUTED_AT.name: time_text(at_ms),
        SOURCE: LIVE,
    }


def sums_of(document: Mapping[str, Any]) -> Sums:
    """The sums that a document of live holds."""
    buckets = document.get(TIME_SPENT.name, {})
    return [
        int(buckets.get(name.removeprefix(_BUCKETS), 0) if name.startswith(_BUCKETS) else document[name])
        for name in MEASURES
    ]


HAS_CLICKS: Final[Mapping[str, Any]] = {"range": {CLICK_COUNT.name: {"gt": 0}}}
"""The query that leaves out documents of zeros."""
