"""Creates a platform for a test on the shared servers, with its own topics, tables and alias, and reads its contents.

Contents are read without the code under test where that matters.
"""

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import happybase
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]  # documented as part of confluent_kafka.admin
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage]
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from pydantic import SecretStr
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from thriftpy2.transport import TTransportException

from dataco_assets.clicks.row import TABLE_FAMILIES
from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.clock import now_ms
from dataco_assets.ingest.account import Account, compared_with_recounts, compared_with_rejected
from dataco_assets.ingest.accounting import read_account, read_rejected_places
from dataco_assets.ingest.drain import Drain, DrainPolicy, DrainResult, policy_from
from dataco_assets.ingest.recount import recount
from dataco_assets.ledgers.hours import HourLedger, HourState
from dataco_assets.ledgers.offsets import OffsetLedger
from dataco_assets.ledgers.suppression import SuppressionList
from dataco_assets.rejected.records import LARGEST_RECORD_BYTES
from dataco_assets.settings import Settings, variable

START = "2020-01-01-00:00"
NOON = 1_591_012_800_000
"""2020-06-01 12:00 UTC, epoch ms: an hour many tests use."""


@dataclass
class Platform:
    """Settings with unique names, and shortcuts to the topics and tables that they name."""

    settings: Settings
    hbase: HBase
    admin: KafkaAdmin = field(init=False)

    def __post_init__(self) -> None:
        self.admin = KafkaAdmin(Brokers.of(self.settings))

    @property
    def hours(self) -> HourLedger:
        return HourLedger(self.hbase, self.settings.hours_table)

    @property
    def offsets(self) -> OffsetLedger:
        return OffsetLedger(self.hbase, self.settings.offsets_table)

    @property
    def suppression(self) -> SuppressionList:
        return SuppressionList(self.hbase, self.settings.suppressed_table)

    def environment(self) -> dict[str, str]:
        """The environment variables that give another process these settings."""
        return {
            variable(name): value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            for name, value in self.settings.model_dump(exclude_unset=True).items()
        }

    def create(self, partitions: int = 2, *, clicks_table: bool = True) -> "Platform":
        """Creates topics and tables (the clicks table in one region: no JVM needed)."""
        families: dict[str, Mapping[str, object]] = {family: {"max_versions": 1} for family in TABLE_FAMILIES}
        steps: list[Callable[[], object]] = [self.offsets.create, self.hours.create, self.suppression.create]
        if clicks_table:
            steps.append(lambda: self.hbase.create_table(self.settings.clicks_table, families))
        # HBase takes a second to create a table, most of it waiting, so all are created at once.
        with ThreadPoolExecutor() as pool:
            made = [pool.submit(step) for step in steps]
            # In some tests the messages have the time of their clicks, years ago: by default, Kafka removes those
            # when it checks for old ones, every five minutes.
            self.admin.create_topic(
                self.settings.clicks_topic, partitions=partitions, replication=1, config={"retention.ms": "-1"}
            )
            self.create_rejected_topic()
            for future in made:
                future.result()
        return self

    def drop(self) -> None:
        """Removes topics and tables, so that the shared servers do not fill up."""
        for topic in (self.settings.clicks_topic, self.settings.rejected_topic):
            if topic in self.admin.topics():
                self.admin.delete_topic(topic)
        mine = [table for table in self.hbase.tables() if table.startswith(self.settings.hbase_table_prefix)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._delete_table, mine))
        self.hbase.close()

    # On a busy machine a gateway was seen to close a connection that waited for it.
    @retry(
        retry=retry_if_exception_type(TTransportException), wait=wait_fixed(1), stop=stop_after_delay(60), reraise=True
    )
    def _delete_table(self, name: str) -> None:
        with self.gateway() as connection:
            if name.encode() in connection.tables():
                connection.delete_table(name, disable=connection.is_table_enabled(name))

    def gateway(self) -> "closing[happybase.Connection]":
        """A plain connection to the gateway, independent of the client under test."""
        settings = self.settings
        return closing(happybase.Connection(settings.hbase_thrift_host, settings.hbase_thrift_port, timeout=60_000))

    def put(self, table: str, key: bytes, cells: Mapping[bytes, bytes], *, time_ms: int | None = None) -> None:
        """Writes cells as a region server would whose clock shows a given time (epoch ms); None: the real time."""
        with self.gateway() as connection:
            batch = connection.table(table).batch(timestamp=time_ms)
            batch.put(key, dict(cells))
            batch.send()

    def delete_records(self, before: Mapping[int, int], *, topic: str = "") -> None:
        """Deletes the messages of a topic's partitions before an offset each, as retention does; -1: all."""
        name = topic or self.settings.clicks_topic
        places = [TopicPartition(name, partition, offset) for partition, offset in before.items()]
        # A client that is no longer referenced is closed, and its requests with it: it is kept until the answers.
        admin = self._plain_admin()
        for future in admin.delete_records(places).values():
            future.result(30)

    def configure_topic(self, option: str, value: object, *, topic: str = "") -> None:
        """Sets an option of a topic."""
        entry = ConfigEntry(option, str(value), incremental_operation=AlterConfigOpType.SET)
        name = topic or self.settings.clicks_topic
        resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
        admin = self._plain_admin()  # kept until the answer, as above
        admin.incremental_alter_configs([resource])[resource].result(30)

    def _plain_admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.settings.kafka_bootstrap_servers})

    def create_rejected_topic(self) -> None:
        """Creates the rejected topic, whose limit is above that of the clicks topic."""
        self.admin.create_topic(
            self.settings.rejected_topic,
            partitions=1,
            replication=1,
            config={"max.message.bytes": str(LARGEST_RECORD_BYTES)},
        )

    def drain(self, **policy: Any) -> DrainResult:
        """Drains the topic once."""
        return self.drain_with(DrainPolicy(**{**policy_from(self.settings).__dict__, **policy}))

    def drain_with(self, policy: DrainPolicy, **hooks: Any) -> DrainResult:
        brokers = Brokers.of(self.settings)
        with Drain(self.settings, self.hbase, policy, brokers=brokers, **hooks) as drain:
            return drain.run()

    def produce(
        self,
        values: Iterable[bytes | None],
        *,
        partition: int | None = None,
        record_time_ms: int | None = None,
        **config: Any,
    ) -> None:
        """Sends messages with the plain client, and waits until they are acknowledged."""
        producer = Producer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "message.max.bytes": LARGEST_RECORD_BYTES,
                "linger.ms": 5,
                **config,
            }
        )
        refused: list[object] = []
        for value in values:
            arguments: dict[str, Any] = {"partition": partition, "timestamp": record_time_ms}
            producer.produce(
                self.settings.clicks_topic,
                value,
                on_delivery=lambda error, _: refused.append(error) if error else None,
                **{name: given for name, given in arguments.items() if given is not None},
            )
            producer.poll(0)
        assert producer.flush(60) == 0
        assert not refused

    def rows(self) -> dict[bytes, dict[bytes, bytes]]:
        """Every row of the clicks table."""
        return dict(self.hbase.scan(self.settings.clicks_table))

    def event_ids(self) -> list[str]:
        """The event id of every row; a click stored twice would be there twice."""
        return [cells[b"click_data:event_id"].decode() for cells in self.rows().values()]

    def rejected(self) -> list[Message]:
        """Every record of the rejected topic."""
        return list(read_topic(self.settings.kafka_bootstrap_servers, self.settings.rejected_topic))

    def positions(self) -> dict[int, int]:
        """The offset ledger."""
        return {p: position.next_offset for p, position in self.offsets.read(self.settings.clicks_topic).items()}

    def account(self, **hours: int) -> Account:
        """The account of the clicks as `dataco account --recount` reads it, of hours of ingestion or of all."""
        now = now_ms()
        found = read_account(self.settings, self.hbase, now_ms=now, **hours)
        rejected = read_rejected_places(self.settings, now_ms=now)
        found = compared_with_rejected(found, rejected)
        return compared_with_recounts(found, recount(self.settings, self.hbase, found.ranges, rejected, now_ms=now))

    def hour_states(self) -> dict[int, HourState]:
        """The hour ledger."""
        return {state.hour: state for state in self.hours.all()}


def make_platform(env: Mapping[str, str], **overrides: Any) -> Platform:
    """A platform on the servers that a stack's environment names.

    Args:
        env: The stack's `DATACO_*` variables.
        overrides: Settings that differ.
    """
    name = uuid.uuid4().hex[:10]
    values: dict[str, Any] = {
        key.removeprefix("DATACO_").lower(): value for key, value in env.items() if key.startswith("DATACO_")
    }
    values |= {
        "clicks_topic": f"clicks-{name}",
        "rejected_topic": f"clicks-{name}.rejected",
        "kafka_group": f"group-{name}",
        "hbase_table_prefix": f"t{name}_",
        "index_alias": f"t{name}",
        "catalog_name": f"t{name}",  # a Spark session, which tests share, holds one catalog of each name
        "partitions_start": START,
        "index_replicas": 0,
        "hbase_retry_seconds": 60.0,
        **overrides,
    }
    settings = Settings(**values)
    return Platform(settings, connect(settings))


def epoch_ms(text: str) -> int:
    """Epoch ms of a time as the index returns it."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def click(event_id: str, *, at: int = NOON, user: str = "u1", url: str = "https://shop.example/", **more: Any) -> bytes:
    """A valid click as the bytes of a message."""
    fields = {
        "event_id": event_id,
        "user_id": user,
        "timestamp": at,
        "url": url,
        "ip_address": "192.0.2.1",
        "user_agent": "test",
        "country": "DE",
        **more,
    }
    return json.dumps(fields).encode()


def headers_of(message: Message) -> dict[str, bytes]:
    """A message's headers; each name is there once."""
    pairs = message.headers()
    assert isinstance(pairs, list)
    found = {name: value for name, value in pairs if isinstance(value, bytes)}
    assert len(found) == len(pairs)
    return found


def read_topic(servers: str, topic: str) -> Iterator[Message]:
    """Reads a topic to its end with the plain client, committed messages only."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": LARGEST_RECORD_BYTES,
        }
    )
    partitions: Sequence[int] = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
    consumer.assign([TopicPartition(topic, p, 0) for p in partitions])
    unfinished = set(partitions)
    while unfinished:
        message = consumer.poll(10)
        assert message is not None, f"nothing came from {topic} for 10 s"
        if (problem := message.error()) is None:
            yield message
        else:
            assert problem.name() == "_PARTITION_EOF", problem
            unfinished.discard(message.partition())
    consumer.close()
