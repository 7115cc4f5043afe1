"""Creates what must exist before the first click: topics, tables, index template and alias.

What exists is compared with what the code expects, and never changed or deleted: that is an operator's decision. Only
the aggregates' table is given the columns it lacks.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, PAGES
from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.clicks.row import KEY_VERSION, SALTS, TABLE_FAMILIES, split_keys
from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.reachability import PERSON_SECONDS
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.errors import DatacoError
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.rejected.records import LARGEST_RECORD_BYTES, ROOM_BYTES
from dataco_assets.rekeying import refuse_unfinished
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.ledgers.table import LedgerTable
    from spark_resources.clicks_admin import ClicksTable

_DAY_SECONDS = 86_400


class SetupMismatch(DatacoError):
    """Something on a server differs from what the code expects; the message names the difference."""


@dataclass(frozen=True)
class Finding:
    """One thing that must exist: its name, and whether it was created just now."""

    what: str
    created: bool


def provision(
    settings: Settings, spark_session: "Callable[[], SparkSession]", *, only_clicks: bool = False
) -> Iterator[Finding]:
    """Creates what is missing, one finding after another.

    Args:
        settings: Names and addresses.
        spark_session: Returns a Spark session; called only when the clicks table is created or described, since the
            Thrift gateway can do neither in full.
        only_clicks: Only topics and HBase tables, which is what storing clicks needs; asks no other server.

    Raises:
        SetupMismatch: something exists and differs.
        KafkaUnavailable, HBaseUnavailable, AggregatesUnavailable, ElasticsearchUnavailable: a server does not answer.
    """
    if only_clicks:
        yield from _topics(settings)
        yield from _tables(settings, spark_session)
        return
    from dataco_assets.clients.elasticsearch import connect_at_once

    search = connect_at_once(settings)  # first, because tables and Spark may take minutes
    yield from _topics(settings)
    yield from _tables(settings, spark_session)
    yield from _aggregates(settings)
    yield from _index(settings, search)


def check_topics(settings: Settings, admin: KafkaAdmin) -> None:
    """Compares the topics with what the code expects; changes nothing.

    Raises:
        TopicMissing, KafkaUnavailable, SetupMismatch
    """
    admin.topic(settings.clicks_topic)
    admin.topic(settings.rejected_topic)
    _compare_rejected_topic(settings, admin)
    if settings.restatements_topic:
        admin.topic(settings.restatements_topic)


def check_tables(settings: Settings, hbase: HBase) -> None:
    """Compares the tables with what the code expects, as far as the Thrift gateway can tell; changes nothing.

    Raises:
        HBaseRefused: a table does not exist.
        HBaseUnavailable, SetupMismatch
    """
    families = {ledger.name: set(ledger.FAMILIES) for ledger in _ledgers(settings, hbase)}
    for name, expected in {**families, settings.clicks_table: set(TABLE_FAMILIES)}.items():
        hbase.require_table(name)
        _compare(f"HBase table {name}: families", expected, hbase.families(name))


def _topics(settings: Settings) -> Iterator[Finding]:
    admin = KafkaAdmin(Brokers.of(settings), refused_seconds=PERSON_SECONDS)
    created = admin.create_topic(
        settings.clicks_topic,
        partitions=settings.topic_partitions,
        replication=settings.topic_replication,
        config={},
    )
    state = admin.topic(settings.clicks_topic)
    yield Finding(f"topic {settings.clicks_topic}, {len(state.partitions)} partitions", created)
    created = admin.create_topic(
        settings.rejected_topic,
        partitions=1,
        replication=settings.topic_replication,
        config={
            # Larger than any click that can be fetched: a rejected record is the original and its headers.
            "max.message.bytes": str(LARGEST_RECORD_BYTES),
            "retention.ms": str(settings.rejected_retention_hours * HOUR_MS),
        },
    )
    _compare_rejected_topic(settings, admin)
    yield Finding(f"topic {settings.rejected_topic}, kept {settings.rejected_retention_hours} hours", created)
    if name := settings.restatements_topic:
        created = admin.create_topic(name, partitions=1, replication=settings.topic_replication, config={})
        yield Finding(f"topic {name}", created)


def _compare_rejected_topic(settings: Settings, admin: KafkaAdmin) -> None:
    source = admin.message_limit_bytes(settings.clicks_topic)
    limit = admin.message_limit_bytes(settings.rejected_topic)
    if limit < source + ROOM_BYTES:
        raise SetupMismatch(
            f"Topic {settings.rejected_topic} accepts messages of at most {limit:,} bytes, but {settings.clicks_topic} "
            f"accepts {source:,}: a large rejected click would be kept by reference only. Raise its max.message.bytes "
            f"to {source + ROOM_BYTES:,}."
        )


def _tables(settings: Settings, spark_session: "Callable[[], SparkSession]") -> Iterator[Finding]:
    with connect(settings) as hbase:
        for ledger in _ledgers(settings, hbase):
            created = ledger.create()
            _compare(f"HBase table {ledger.name}: families", set(ledger.FAMILIES), hbase.families(ledger.name))
            yield Finding(f"HBase table {ledger.name}", created)
    yield _clicks_table(settings, spark_session())


def _ledgers(settings: Settings, hbase: HBase) -> "list[LedgerTable]":
    return [
        OffsetLedger(hbase, settings.offsets_table),
        HourLedger(hbase, settings.hours_table),
        SuppressionList(hbase, settings.suppressed_table),
    ]


def _aggregates(settings: Settings) -> Iterator[Finding]:
    from dataco_assets.aggregates.reading import ensure_table
    from dataco_assets.aggregates.table import TablePlace

    for aggregate in AGGREGATES:
        place = TablePlace.of(settings, aggregate)
        yield Finding(f"Iceberg table {place.identifier} in {place.warehouse}", ensure_table(place))


def _clicks_table(settings: Settings, spark: "SparkSession") -> Finding:
    from spark_resources.clicks_admin import clicks_admin

    ttl_seconds = settings.clicks_ttl_days * _DAY_SECONDS
    what = f"HBase table {settings.clicks_table}"
    with clicks_admin(spark) as admin:
        refuse_unfinished(admin, settings.clicks_table)
        created = admin.create(settings.clicks_table, ttl_seconds=ttl_seconds)
        found = admin.describe(settings.clicks_table)
    _require_current_keys(what, found)
    _compare(f"{what}: families", set(TABLE_FAMILIES), set(found.families))
    _compare(f"{what}: TTL in seconds (DATACO_CLICKS_TTL_DAYS)", {ttl_seconds}, set(found.ttl_seconds.values()))
    missing = set(split_keys()) - set(found.split_points)
    if missing:
        raise SetupMismatch(
            f"{what} is not split at the salts {', '.join(sorted(key.decode() for key in missing))}, so writes would "
            "not spread. Split it there (`split` in the HBase shell), or let `dataco setup` create an empty one."
        )
    return Finding(f"{what}, {len(found.split_points) + 1} regions, kept {settings.clicks_ttl_days} days", created)


def _require_current_keys(what: str, found: "ClicksTable") -> None:
    if found.key_version != KEY_VERSION:
        raise SetupMismatch(
            f"{what} has row keys of version {found.key_version or 1}, but this version of DataCo writes version "
            f"{KEY_VERSION}. Nothing was changed. Stop ingest, then `dataco setup --rekey-clicks` gives every row its "
            "new key (docs/operations.md, Upgrades)."
        )
    if found.salts != SALTS:
        raise SetupMismatch(
            f"{what} was created with {found.salts} salts, but this version of DataCo writes {SALTS}. Nothing was "
            "changed; choose another table with DATACO_HBASE_TABLE_PREFIX."
        )


def _compare(what: str, expected: set[object] | set[str] | set[int], found: set[object] | set[str] | set[int]) -> None:
    if set(expected) != set(found):
        raise SetupMismatch(
            f"{what} should be {_listed(expected)}, but are {_listed(found)}. Nothing was changed; alter the table in "
            "the HBase shell or choose other names with DATACO_HBASE_TABLE_PREFIX."
        )


def _listed(values: set[object] | set[str] | set[int]) -> str:
    return ", ".join(sorted(map(str, values))) or "none"


def _index(settings: Settings, search: "SearchClient") -> Iterator[Finding]:
    from dataco_assets.index.indices import Index
    from dataco_assets.index.reading import hours_without_audience, incomplete_hours
    from dataco_assets.index.restatements import ensure_restatements, index_name
    from dataco_assets.index.setup import ensure_index

    created = ensure_restatements(search, settings)
    yield Finding(f"index {index_name(settings.index_alias)}", created)
    for aggregate in AGGREGATES:
        index = Index.of(search, settings, aggregate)
        for line, created in ensure_index(index, settings):
            yield Finding(line, created)
        if incomplete := incomplete_hours(index):
            yield Finding(str(incomplete), created=False)
    pages, audience = (Index.of(search, settings, aggregate) for aggregate in (PAGES, AUDIENCE))
    if without := hours_without_audience(pages, audience):
        yield Finding(str(without), created=False)
