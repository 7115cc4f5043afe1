"""Rebuilds an index with this version's layout, without interrupting readers and without losing writes.

Belongs here: replacing the indices behind the alias with new ones that hold the same documents. Does not belong here:
recomputing documents; that is a backfill.

For each month, oldest first:
    1. a new index, `…-rN`, is created from its template, outside the alias, and compared with this version's layout;
    2. all documents are copied into it, with ids and versions, while writers keep writing to the old index; documents
       of an older layout are converted to this version's;
    3. writes to the old index are blocked: writes in progress finish first, later ones fail and leave their hours
       dirty;
    4. the hours that changed since step 2 are copied again, until the sums by hour are equal in both indices;
    5. the alias is moved in one request: a search sees either the old index or the new one, never both or neither;
    6. after a grace period for searches in progress, the old index is deleted.
A failure before step 5 unblocks the old index and deletes the new one. An index name can be created only once, so two
rebuilds cannot work on the same month; the error names what a killed rebuild left behind, and `restart` deletes it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.totals import sum_difference
from dataco_assets.clicks.hour import hour_key
from dataco_assets.clients.elasticsearch import SearchClient, bulk, count, refresh, scan_documents
from dataco_assets.elasticsearch_errors import IndexClosed
from dataco_assets.index.contents import NO_DOCUMENTS, HourContent, read_contents
from dataco_assets.index.indices import Index, IndexMismatch, IndexState, batch_filter, closed_text, shows
from dataco_assets.index.layout import upgraded
from dataco_assets.index.setup import check_made
from dataco_assets.index.templates import check_precedence, put_templates
from dataco_assets.settings import Settings

GRACE_SECONDS = 10.0
_EVERYTHING = {"match_all": {}}

Progress = Callable[[str, int, int], None]
"""Called with the old index's name, the number of documents copied so far, and the number at the start."""


@dataclass(frozen=True)
class Rebuilt:
    """The result for one month: the old index, the new one, and how many documents and hours were copied."""

    old: str
    new: str
    documents: int
    hours_copied_again: int


def rebuild(
    index: Index,
    settings: Settings,
    *,
    months: Sequence[str] = (),
    restart: bool = False,
    progress: Progress = lambda *_: None,
    grace_seconds: float = GRACE_SECONDS,
) -> Iterator[Rebuilt]:
    """Replaces the templates and the indices behind the alias; yields a result for each month.

    Args:
        index: The alias.
        settings: Shards, replicas.
        months: `YYYY.MM` to rebuild; empty: all.
        restart: Delete what an interrupted rebuild left before starting; only when no rebuild is running.
        progress: Called as documents are copied.
        grace_seconds: How long a replaced index stays available to searches in progress.

    Raises:
        IndexMismatch: an earlier rebuild left indices (without `restart`), a month has no index, or a template that
            is not the platform's would apply to the new indices. Raised before anything is replaced.
        IndexClosed: one of the indices is closed.
        ElasticsearchError: Elasticsearch does not answer or refuses; months not yet replaced are unchanged.
    """
    client = index.look_again().client
    _clear_leftovers(client, index.states(), restart=restart)
    behind = {state.name.month: state for state in index.behind_alias()}
    if unknown := sorted(set(months) - set(behind)):
        raise IndexMismatch(
            f"Alias {index.alias} has no index for {', '.join(unknown)}; it has {', '.join(behind) or 'none'}."
        )
    to_rebuild = [behind[month] for month in sorted(set(months) or behind)]
    if closed := [state for state in to_rebuild if state.closed]:
        raise IndexClosed(f"{' '.join(map(closed_text, closed))} Nothing was replaced; --month picks single months.")
    put_templates(index, settings)
    check_precedence(index, settings, [state.name.successor for state in to_rebuild])
    replaced: list[str] = []
    try:
        for state in to_rebuild:
            result = _Month(index, settings, state, progress).replace()
            replaced.append(result.old)
            yield result
    finally:
        if replaced:
            time.sleep(grace_seconds)
            for name in replaced:
                client.indices.delete(index=name)


class _Month:
    """Rebuilds one month's index."""

    def __init__(self, index: Index, settings: Settings, state: IndexState, progress: Progress) -> None:
        self._index = index
        self._client = index.client
        self._settings = settings
        self._old = str(state.name)
        self._new_name = state.name.successor
        self._new = str(self._new_name)
        self._aliases = state.aliases
        self._progress = progress

    def replace(self) -> Rebuilt:
        self._client.indices.create(index=self._new)  # mapping and settings come from its template
        swapped = False
        try:
            check_made(self._new_state(), self._settings, aliases=frozenset())
            self._copy(_EVERYTHING, total=count(self._client, [self._old]))
            self._client.indices.add_block(index=self._old, block="write")  # returns when no write is in progress
            again = self._copy_changed_hours()
            documents = count(self._client, [self._new])
            self._swap()
            swapped = True
        finally:
            if not swapped:
                self._undo()
        return Rebuilt(self._old, self._new, documents, again)

    def _new_state(self) -> IndexState:
        return next(state for state in self._index.look_again().states() if state.name == self._new_name)

    def _copy(self, query: dict[str, Any], *, total: int | None = None) -> None:
        bulk(self._client, self._writes(query, total))

    def _writes(self, query: dict[str, Any], total: int | None) -> Iterator[dict[str, Any]]:
        done = 0
        for done, hit in enumerate(scan_documents(self._client, [self._old], query, source=True), start=1):
            if total is not None:
                self._progress(self._old, done, max(total, done))
            yield {
                "_op_type": "index",
                "_index": self._new,
                "_id": hit["_id"],
                "_source": upgraded(hit["_source"]),
                "version": hit["_version"],
                "version_type": "external_gte",
            }
        if total is not None:
            self._progress(self._old, done, done)

    def _copy_changed_hours(self) -> int:
        changed = self._changed_hours()
        for hour in changed:
            query = {"term": {"hour": hour}}
            self._copy(query)
            kept = {hit["_id"] for hit in scan_documents(self._client, [self._old], query)}
            bulk(self._client, self._removals(query, kept))
        left = self._changed_hours() if changed else []
        if left or count(self._client, [self._old]) != count(self._client, [self._new]):
            raise IndexMismatch(
                f"The copy {self._new} still differs from {self._old} after copying twice (hours: "
                f"{', '.join(map(hour_key, left[:5])) or 'none'}); nothing was replaced. Is something other than this "
                "platform writing to the index?"
            )
        return len(changed)

    def _changed_hours(self) -> list[int]:
        refresh(self._client, [self._old, self._new])
        aggregate = self._index.aggregate
        old, new = (read_contents(self._client, aggregate, [index]) for index in (self._old, self._new))
        pairs = ((hour, old.get(hour, NO_DOCUMENTS), new.get(hour, NO_DOCUMENTS)) for hour in sorted({*old, *new}))
        return [hour for hour, before, after in pairs if not _same(aggregate, before, after)]

    def _removals(self, query: dict[str, Any], kept: set[str]) -> Iterator[dict[str, Any]]:
        refresh(self._client, [self._new])
        for hit in scan_documents(self._client, [self._new], query):
            if hit["_id"] not in kept:
                yield {"_op_type": "delete", "_index": self._new, "_id": hit["_id"]} | _unchanged(hit)

    def _swap(self) -> None:
        actions: list[dict[str, Any]] = []
        for alias in sorted(self._aliases):
            actions.append({"remove": {"index": self._old, "alias": alias, "must_exist": True}})
            # Live may have changed the filter since: it is the one of this moment, and live sets it again if need be.
            shown = batch_filter(self._index.look_again().live()) if alias == self._index.alias else None
            actions.append(shows(self._new, alias, shown))
        self._client.indices.update_aliases(actions=actions)

    def _undo(self) -> None:
        """Restores the state before, unless the alias did move and only the reply was lost."""
        if not self._new_state().has_alias:
            self._client.indices.put_settings(index=self._old, settings={"index.blocks.write": None})
            self._client.indices.delete(index=self._new)


def _clear_leftovers(client: SearchClient, present: Sequence[IndexState], *, restart: bool) -> None:
    """Deletes what an interrupted rebuild left if `restart`; raises `IndexMismatch` otherwise."""
    unfinished = [s for s in present if not s.has_alias and (s.name.rebuild > 1 or s.write_blocked)]
    blocked = [s for s in present if s.has_alias and s.write_blocked]
    if not (unfinished or blocked):
        return
    if not restart:
        what = ", ".join(str(state.name) for state in (*unfinished, *blocked))
        raise IndexMismatch(
            f"Another rebuild is running, or an interrupted one left {what} behind. If none is running, "
            "`dataco index rebuild --restart` cleans up and starts over."
        )
    for state in blocked:
        client.indices.put_settings(index=str(state.name), settings={"index.blocks.write": None})
    for state in unfinished:
        client.indices.delete(index=str(state.name))


def _same(aggregate: Aggregate, old: HourContent, new: HourContent) -> bool:
    """Whether an hour's documents are the same in both indices: whatever a run writes has a later time of computing."""
    return replace(old, sums={}) == replace(new, sums={}) and not any(
        sum_difference(column, old.sums.get(column.name, 0), new.sums.get(column.name, 0))
        for column in aggregate.totalled
    )


def _unchanged(hit: Any) -> dict[str, Any]:
    return {"if_seq_no": hit["_seq_no"], "if_primary_term": hit["_primary_term"]}
