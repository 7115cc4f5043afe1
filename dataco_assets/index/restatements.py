"""Restatements: what changed in an hour that was final when readers last got it, one record each, in an index.

Belongs here: the record, its index, and when a record is written and removed. Does not belong here: finding the
difference (`spark_resources/index_documents.py`), and the cells that keep it until then (`ledgers/restating.py`).

The record is noted in the hour ledger before the documents are written, and written to the index after they were
compared, under an id that follows from the computation, and only if no document has that id. So each restatement is in
the index once, wherever a run dies.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dataco_assets import clock
from dataco_assets.clicks.finality import Cause, expired_before
from dataco_assets.clicks.hour import DAY_MS, hour_key
from dataco_assets.clients.elasticsearch import SearchClient, bulk, documents_by_id, refresh, scan_documents, search
from dataco_assets.elasticsearch_errors import AlreadyThere, IndexMissing
from dataco_assets.index.differences import ChangedRow, HourDifference
from dataco_assets.index.indices import IndexMismatch, listed
from dataco_assets.index.layout import MOST_HOURS, differences, hour_range, time_of, time_text

if TYPE_CHECKING:
    from dataco_assets.index.publication import PublishedHour
    from dataco_assets.ledgers.restating import Former, Restating
    from dataco_assets.settings import Settings

_CLOCKS_DIFFER_MS: Final = DAY_MS
_TIMES: Final = ("hour", "computed_at", "noted_at")
_MAPPINGS: Final[Mapping[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        **{name: {"type": "date"} for name in _TIMES},
        **{
            name: {"type": "long"}
            for name in (
                *("generation_before", "generation", "clicks_before", "clicks", "users_before", "users"),
                "groups_changed",
            )
        },
        "cause": {"type": "keyword"},
        "rows": {"type": "object", "enabled": False},
    },
}


@dataclass(frozen=True, kw_only=True)
class Restatement:
    """A change of an hour that was final.

    Attributes:
        hour: Its start, epoch ms.
        generation_before: Generation that readers had.
        generation: Generation that they have since.
        computed_at: When that one was computed, epoch ms by HBase's clock.
        noted_at: When the difference was found, just before its documents were written, epoch ms.
        cause: Why it changed.
        clicks_before: Clicks of the hour that readers saw.
        clicks: Clicks that they see since.
        users_before: Unique users of the hour that they saw.
        users: Unique users that they see since.
        groups_changed: Documents that were added, changed or removed.
        rows: Those that changed most.
    """

    hour: int
    generation_before: int
    generation: int
    computed_at: int
    noted_at: int
    cause: Cause
    clicks_before: int
    clicks: int
    users_before: int
    users: int
    groups_changed: int
    rows: tuple[ChangedRow, ...]

    @property
    def id(self) -> str:
        """Id of its document: hour, generation, and time of computing, since a generation can be computed twice."""
        return f"{hour_key(self.hour)}/{self.generation}/{self.computed_at}"

    @property
    def document(self) -> dict[str, Any]:
        """Its document."""
        return asdict(self) | {name: time_text(getattr(self, name)) for name in _TIMES}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Restatement":
        """From its document."""
        return msgspec.convert({**document, **{name: time_of(document[name]) for name in _TIMES}}, cls)


def index_name(alias: str) -> str:
    """Name of the index of restatements."""
    return f"{alias}-restatements"


def ensure_restatements(client: SearchClient, settings: "Settings") -> bool:
    """Creates the index if it is missing; returns whether it did.

    Raises:
        IndexMismatch: it exists and differs.
        ElasticsearchError: it does not answer or refuses.
    """
    if check_restatements(client, settings):
        return False
    try:
        client.indices.create(
            index=index_name(settings.index_alias),
            mappings=dict(_MAPPINGS),
            settings={"number_of_shards": "1", "number_of_replicas": str(settings.index_replicas)},
        )
    except AlreadyThere:  # by another run
        check_restatements(client, settings)
        return False
    return True


def check_restatements(client: SearchClient, settings: "Settings") -> bool:
    """Compares the index with what this version expects; returns False if it is missing, which a publication mends.

    Raises:
        IndexMismatch: it differs.
        ElasticsearchError: it does not answer or refuses.
    """
    name = index_name(settings.index_alias)
    try:
        found = client.indices.get_mapping(index=name).body[name]
    except IndexMissing:
        return False
    if lines := differences(_MAPPINGS, found["mappings"], "mappings"):
        raise IndexMismatch(
            f"Index {name} differs from what this version expects: {listed(lines)}. Nothing was changed. Copy it with "
            "Elasticsearch's _reindex, delete it, and start `dataco setup` again."
        )
    return True


def stated(published: "PublishedHour", former: "Former", found: HourDifference, *, noted_at: int) -> Restatement:
    """The restatement that follows from a difference.

    Args:
        published: The hour as it is published now.
        former: What readers have of it.
        found: The difference.
        noted_at: Now, epoch ms.
    """
    clicks, users = published.totals.clicks, published.totals.unique_users
    return Restatement(
        hour=published.hour,
        generation_before=former.generation,
        generation=published.generation,
        computed_at=published.computed_at_ms,
        noted_at=noted_at,
        cause=former.cause(published.generation),
        clicks_before=clicks - found.clicks,
        clicks=clicks,
        users_before=users - found.users,
        users=users,
        groups_changed=found.groups,
        rows=found.rows,
    )


def merged(pending: Restatement | None, found: Restatement) -> Restatement:
    """A restatement and one that was noted before it but never completed, as one.

    The index may hold none, some or all documents of the pending one. So it tells what readers had before, and if it is
    of the same clicks, it is what is being done again. If newer clicks came, groups and rows are those of the newer
    difference, and sums those of both.
    """
    if pending is None:
        return found
    new = (found.generation, found.clicks, found.users)
    if (pending.generation, pending.clicks, pending.users) == new:
        return pending
    return replace(
        found,
        generation_before=pending.generation_before,
        clicks_before=pending.clicks_before,
        users_before=pending.users_before,
        cause=pending.cause if found.cause is Cause.RECOMPUTED else found.cause,
    )


class RestatementLog:
    """The restatements of a run.

    Args:
        client: Elasticsearch.
        restating: The cells of the hour ledger.
        index: Name of the index of restatements.
        announce: Tells others of records, before they are in the index; after a run that died, it is called again with
            some of them.
    """

    def __init__(
        self,
        client: SearchClient,
        restating: "Restating",
        index: str,
        announce: Callable[[Sequence[Restatement]], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._restating = restating
        self._index = index
        self._announce = announce
        self._hours: dict[int, PublishedHour] = {}
        self._formers: dict[int, Former] = {}
        self._pending: dict[int, bytes] = {}

    def begin(self, published: Sequence["PublishedHour"]) -> None:
        """Finds the hours whose change would be a restatement, and what an earlier run left of them.

        Raises:
            ElasticsearchError, HBaseError: a server does not answer or refuses.
        """
        self._hours = {each.hour: each for each in published}
        self._formers = self._restating.formers(self._hours)
        left = {hour: former.pending for hour, former in self._formers.items() if former.pending is not None}
        records = {hour: _decoded(pending) for hour, pending in left.items()}
        written = documents_by_id(self._client, self._index, [each.id for each in records.values()])
        for hour, record in records.items():
            if record.id in written or record.generation < self._formers[hour].generation:
                self._restating.clear(hour, left[hour])
            else:
                self._pending[hour] = left[hour]

    @property
    def hours(self) -> Collection[int]:
        """The hours (epoch ms) whose change is a restatement."""
        return self._formers.keys()

    def note(self, found: Iterable[HourDifference]) -> None:
        """Notes differences in the hour ledger; call it before their documents are written.

        Raises:
            HBaseError: it does not answer or refuses.
        """
        now_ms = clock.now_ms()
        for each in found:
            new = stated(self._hours[each.hour], self._formers[each.hour], each, noted_at=now_ms)

            def with_pending(pending: bytes | None, new: Restatement = new) -> bytes:
                return msgspec.json.encode(merged(None if pending is None else _decoded(pending), new))

            self._pending[each.hour] = self._restating.change(each.hour, with_pending)

    def complete(self, done: Sequence["PublishedHour"]) -> int:
        """Writes the records of hours that are published; returns how many are new.

        Raises:
            ElasticsearchError, HBaseError, KafkaFailure: a server does not answer or refuses.
        """
        finished = {each.hour: self._pending[each.hour] for each in done if each.hour in self._pending}
        if not finished:
            return 0
        records = [_decoded(pending) for pending in finished.values()]
        self._announce(records)
        outcome = bulk(
            self._client,
            (
                {"_op_type": "create", "_index": self._index, "_id": each.id, "_source": each.document}
                for each in records
            ),
        )
        refresh(self._client, [self._index])
        for hour, pending in finished.items():
            self._restating.clear(hour, pending)
        return outcome.done


def read_restatements(
    client: SearchClient, alias: str, *, since_ms: int | None = None, until_ms: int | None = None
) -> Iterator[Restatement]:
    """The restatements of hours that start in [since, until), oldest hour first, then in the order they came.

    Args:
        client: The client.
        alias: The alias of the hours.
        since_ms: Epoch ms; None: from the first one on.
        until_ms: Epoch ms; None: without an end.

    Raises:
        IndexMissing: `dataco setup` has not created the index.
        ElasticsearchError: it does not answer or refuses.
    """
    order = [{"hour": "asc"}, {"generation": "asc"}, {"computed_at": "asc"}]
    for hit in scan_documents(client, [index_name(alias)], hour_range(since_ms, until_ms), source=True, sort=order):
        yield Restatement.of(hit["_source"])


def remove_old(client: SearchClient, settings: "Settings", *, now_ms: int) -> int:
    """Removes restatements that are older than the settings keep them, of hours that are expired; returns how many.

    Those of other hours stay however old they are: they are why readers see the hour as restated.

    Args:
        client: The client.
        settings: The alias of the hours, and how long restatements and clicks are kept.
        now_ms: Epoch ms.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    index = index_name(settings.index_alias)
    # As a reader sees it whose clock is behind.
    hours_before = expired_before(now_ms - _CLOCKS_DIFFER_MS, settings.clicks_ttl_days * DAY_MS)
    noted_before = now_ms - settings.restatement_retention_days * DAY_MS
    old = {"range": {"noted_at": {"lt": noted_before, "format": "epoch_millis"}}}
    query = {"bool": {"filter": [old, hour_range(None, hours_before)]}}
    try:
        found = scan_documents(client, [index], query)
        outcome = bulk(client, ({"_op_type": "delete", "_index": index, "_id": hit["_id"]} for hit in found))
        refresh(client, [index])
    except IndexMissing:  # no hour has been published yet
        return 0
    return outcome.done


def restated_hours(
    client: SearchClient, alias: str, *, since_ms: int | None = None, until_ms: int | None = None
) -> frozenset[int]:
    """The hours that start in [since, until) of which there is a restatement, epoch ms; none without the index.

    Args:
        client: The client.
        alias: The alias of the hours.
        since_ms: Epoch ms; None: from the first one on.
        until_ms: Epoch ms; None: without an end.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    hours = {"hours": {"terms": {"field": "hour", "size": MOST_HOURS}}}
    found = _found(client, alias, size=0, query=hour_range(since_ms, until_ms), aggregations=hours)
    if found is None:
        return frozenset()
    return frozenset(int(bucket["key"]) for bucket in found["aggregations"]["hours"]["buckets"])


@dataclass(frozen=True)
class CauseTotals:
    """The restatements of one cause.

    Attributes:
        count: How many.
        clicks: By how many clicks they changed the hours, in sum.
    """

    count: int
    clicks: int


@dataclass(frozen=True)
class RecentRestatements:
    """The restatements noted from a time on.

    Attributes:
        causes: Their number and clicks by cause.
        newest: The last ones, the newest first.
    """

    causes: Mapping[Cause, CauseTotals]
    newest: tuple[Restatement, ...] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(each.count for each in self.causes.values())


def recent_restatements(client: SearchClient, alias: str, *, noted_since_ms: int, limit: int) -> RecentRestatements:
    """The restatements that were noted from a time on; none without the index.

    Args:
        client: The client.
        alias: The alias of the hours.
        noted_since_ms: Epoch ms.
        limit: Maximum number of those that are returned one by one.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    query = {"range": {"noted_at": {"gte": noted_since_ms, "format": "epoch_millis"}}}
    found = _found(
        client,
        alias,
        size=limit,
        query=query,
        sort=[{"noted_at": "desc"}, {"hour": "desc"}],
        aggregations={"causes": {"terms": {"field": "cause", "size": len(Cause)}, "aggregations": _CLICKS}},
    )
    if found is None:
        return RecentRestatements({})
    causes = {
        Cause(bucket["key"]): CauseTotals(bucket["doc_count"], _change_of_clicks(bucket))
        for bucket in found["aggregations"]["causes"]["buckets"]
    }
    return RecentRestatements(causes, tuple(Restatement.of(hit["_source"]) for hit in found["hits"]["hits"]))


def late_clicks(client: SearchClient, alias: str, *, since_ms: int) -> int:
    """Clicks of the hours from a time on that came when their hour was final; 0 without the index.

    Restatements have them in sum: one that follows from late clicks and something else counts for the other.

    Args:
        client: The client.
        alias: The alias of the hours.
        since_ms: Start of the first hour, epoch ms.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    query = {"bool": {"filter": [hour_range(since_ms, None), {"term": {"cause": str(Cause.LATE_CLICKS)}}]}}
    found = _found(client, alias, size=0, query=query, aggregations=_CLICKS)
    return 0 if found is None else _change_of_clicks(found["aggregations"])


def _found(client: SearchClient, alias: str, **body: Any) -> Mapping[str, Any] | None:
    """The answer to a search of the restatements; None: there is no index of them yet."""
    try:
        return search(client, [index_name(alias)], **body)
    except IndexMissing:
        return None


_CLICKS: Final = {name: {"sum": {"field": name}} for name in ("clicks_before", "clicks")}


def _change_of_clicks(sums: Mapping[str, Any]) -> int:
    return round(sums["clicks"]["value"] - sums["clicks_before"]["value"])


def _decoded(pending: bytes) -> Restatement:
    return msgspec.json.decode(pending, type=Restatement)
