"""Tests a broker with authentication: every kind of client has the password, and a wrong one is reported.

The broker is a separate one, because that of the shared stack has no authentication; HBase is shared.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import RangeConsumer, read_all
from dataco_assets.clients.kafka.failures import AuthenticationFailed
from dataco_assets.clients.kafka.producer import AckedProducer, click_producer
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.errors import ErrorKind
from dataco_assets_tests.platforms import Platform, click, make_platform
from dataco_assets_tests.waiting import wait_until
from local_stack import jars, ports
from local_stack.ports import LOOPBACK
from local_stack.servers.base import properties
from local_stack.servers.kafka import POM
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

MECHANISM, USER, PASSWORD = "SCRAM-SHA-512", "dataco", "right-horse"  # made-up ones


def broker_properties(folder: Path, broker: int, controller: int) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"SASL_PLAINTEXT://{LOOPBACK}:{broker},CONTROLLER://{LOOPBACK}:{controller}",
        "listener.security.protocol.map": "SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "SASL_PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
        "log.dirs": folder / "data",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config": (
            f'org.apache.kafka.common.security.scram.ScramLoginModule required username="{USER}" password="{PASSWORD}";'
        ),
    }


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("broker")
    port = ports.choose(["broker", "controller"])
    config = folder / "server.properties"
    config.write_text(properties(broker_properties(folder, port["broker"], port["controller"])))
    classpath = ":".join(map(str, jars.resolve(POM)))
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath]
    user = f"{MECHANISM}=[name={USER},password={PASSWORD}]"
    storage = ["kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qk", "--config", str(config)]
    subprocess.run([*java, *storage, "--add-scram", user], check=True, capture_output=True, timeout=120)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*java, "kafka.Kafka", str(config)], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: not ports.is_free(port["broker"]), seconds=120, what="the broker listens")
        yield f"{LOOPBACK}:{port['broker']}"
    finally:
        process.kill()
        process.wait(30)


def options(password: str) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": MECHANISM,
        "sasl.username": USER,
        "sasl.password": password,
    }


def test_every_kind_of_client_uses_the_password(servers: str) -> None:
    brokers = Brokers(servers, options(PASSWORD))
    admin = KafkaAdmin(brokers)
    assert admin.create_topic("kept", partitions=1, replication=1, config={})
    with AckedProducer(brokers, "kept") as producer:
        producer.send(b"key", b"value")
    state = admin.topic("kept")
    with RangeConsumer(brokers, "group", "kept", [OffsetRange(0, 0, 1)], stall_seconds=30) as consumer:
        assert [message.value() for batch in consumer.batches() for message in batch] == [b"value"]
        consumer.commit(consumer.positions)
    assert admin.committed("group", state) == {0: 1}
    assert admin.topics() >= {"kept"}


@pytest.fixture
def platform(stack: Stack, servers: str) -> Iterator[Platform]:
    given = SecretStr(json.dumps(options(PASSWORD)))
    made = make_platform(stack.env(), kafka_bootstrap_servers=servers, kafka_options=given).create(partitions=1)
    yield made
    made.drop()


def test_a_drain_uses_the_password_of_the_settings(platform: Platform) -> None:
    with click_producer(platform.settings) as clicks:
        clicks.send(None, click("e1"))
        clicks.send(None, b"no click")

    result = platform.drain()

    assert (result.stored, result.rejected.total(), result.lag_left) == (1, 1, 0)
    assert platform.event_ids() == ["e1"]
    topic = platform.admin.topic(platform.settings.clicks_topic)
    assert platform.admin.committed(platform.settings.kafka_group, topic) == {0: 2}
    rejected: list[bytes | str | None] = []
    brokers = Brokers.of(platform.settings)
    read_all(brokers, platform.admin, platform.settings.rejected_topic, lambda m: rejected.append(m.value()))
    assert rejected == [b"no click"]


def produce(brokers: Brokers) -> None:
    with AckedProducer(brokers, "clicks", timeout_seconds=60) as producer:
        producer.send(None, b"{}")


def consume(brokers: Brokers) -> None:
    with RangeConsumer(brokers, "group", "clicks", [OffsetRange(0, 0, 1)], stall_seconds=60) as consumer:
        list(consumer.batches())


@pytest.mark.parametrize(
    "use",
    [
        lambda brokers: KafkaAdmin(brokers, timeout_seconds=60).topic("clicks"),
        lambda brokers: KafkaAdmin(brokers, timeout_seconds=3).topics(),
        produce,
        consume,
    ],
    ids=["describe", "list", "produce", "consume"],
)
def test_a_wrong_password_is_reported_at_once_and_as_permanent(use: Callable[[Brokers], object], servers: str) -> None:
    began = time.monotonic()
    with pytest.raises(AuthenticationFailed, match=r"refuses the authentication.*DATACO_KAFKA_OPTIONS") as caught:
        use(Brokers(servers, options("wr0ng-horse")))
    assert time.monotonic() - began < 20  # not the 60 s of the call
    assert caught.value.kind is ErrorKind.PERMANENT
    assert "invalid credentials" in str(caught.value)
    assert "wr0ng-horse" not in str(caught.value)
