"""Tests a broker with TLS, passwords and access control lists: clients use the settings, refusals are permanent errors.

The broker is a separate one, because that of the shared stack has no authentication; HBase is shared.
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage]  # documented as part of confluent_kafka.admin
    AclOperation,  # pyright: ignore[reportPrivateImportUsage]
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage]
    AdminClient,
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage]
    ResourceType,  # pyright: ignore[reportPrivateImportUsage]
)
from pydantic import SecretStr

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import READER_GROUP, RangeConsumer, read_all
from dataco_assets.clients.kafka.failures import AccessDenied, AuthenticationFailed, KafkaFailure, TlsRefused
from dataco_assets.clients.kafka.producer import AckedProducer, click_producer
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange
from dataco_assets.errors import ErrorKind
from dataco_assets_tests.certificates import Authority
from dataco_assets_tests.platforms import Platform, click, make_platform
from dataco_assets_tests.waiting import wait_until
from local_stack import jars, ports
from local_stack.ports import LOOPBACK
from local_stack.servers.base import properties
from local_stack.servers.kafka import POM
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

MECHANISM, USER, PASSWORD = "SCRAM-SHA-512", "dataco", "right-horse"  # made-up ones
LIMITED, LIMITED_PASSWORD = "limited", "small-horse"
SECONDS = 20
"""Longest acceptable time until a refusal is reported; each call's own timeout is longer."""


@dataclass(frozen=True)
class Listeners:
    """Addresses of the broker by what a client meets there, and the file of the authority that signed its certificates.

    Attributes:
        password: SASL without TLS.
        tls: TLS with a valid certificate; whoever connects is a super user.
        both: SASL over TLS.
        mutual: TLS to which only clients with a certificate of the authority are admitted.
        elsewhere: TLS with a certificate for another host.
        expired: TLS with a certificate of yesterday.
        authority: The authority's certificate, PEM.
        stranger: The certificate of an authority that signed nothing here.
        client: A client's certificate and key, PEM.
    """

    password: str
    tls: str
    both: str
    mutual: str
    elsewhere: str
    expired: str
    authority: Path
    stranger: Path
    client: Path


_NAMES = ("password", "tls", "both", "mutual", "elsewhere", "expired", "controller")
CLIENT = "dataco client"


def broker_properties(folder: Path, port: dict[str, int], authority: Authority) -> dict[str, object]:
    stores = {
        "tls": authority.issue(LOOPBACK),
        "both": authority.issue(LOOPBACK),
        "mutual": authority.issue(LOOPBACK),
        "elsewhere": authority.issue("kafka.elsewhere.example"),
        "expired": authority.issue(LOOPBACK, expired=True),
    }
    found: dict[str, object] = {}
    for name, pair in stores.items():
        store = folder / f"{name}.pem"
        store.write_bytes(b"".join(pair))
        found[f"listener.name.{name}.ssl.keystore.type"] = "PEM"
        found[f"listener.name.{name}.ssl.keystore.location"] = store
    protocols = {"password": "SASL_PLAINTEXT", "both": "SASL_SSL", "controller": "PLAINTEXT"}
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required"
    for name in ("password", "both"):
        found[f"listener.name.{name}.scram-sha-512.sasl.jaas.config"] = (
            f'{scram} username="{USER}" password="{PASSWORD}";'
        )
    return found | {
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.mutual.ssl.truststore.type": "PEM",
        "listener.name.mutual.ssl.truststore.location": authority.write(folder),
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": ",".join(f"{name.upper()}://{LOOPBACK}:{port[name]}" for name in _NAMES),
        "listener.security.protocol.map": ",".join(f"{n.upper()}:{protocols.get(n, 'SSL')}" for n in _NAMES),
        "inter.broker.listener.name": "PASSWORD",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{LOOPBACK}:{port['controller']}",
        "log.dirs": folder / "data",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{USER};User:ANONYMOUS;User:CN={CLIENT}",
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
    }


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listeners]:
    folder = tmp_path_factory.mktemp("broker")
    port = ports.choose(_NAMES)
    authority = Authority.make("authority")
    config = folder / "server.properties"
    config.write_text(properties(broker_properties(folder, port, authority)))
    classpath = ":".join(map(str, jars.resolve(POM)))
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", classpath]
    users = [(USER, PASSWORD), (LIMITED, LIMITED_PASSWORD)]
    scram = [word for user, word in users for word in ("--add-scram", f"{MECHANISM}=[name={user},password={word}]")]
    storage = ["kafka.tools.StorageTool", "format", "--cluster-id", "MkU3OEVBNTcwNTJENDM2Qk", "--config", str(config)]
    subprocess.run([*java, *storage, *scram], check=True, capture_output=True, timeout=120)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*java, "kafka.Kafka", str(config)], stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: not ports.is_free(port["expired"]), seconds=120, what="the broker listens")
        addresses = {name: f"{LOOPBACK}:{port[name]}" for name in _NAMES[:-1]}
        stranger = Authority.make("stranger").write(folder)
        client = folder / "client.pem"
        client.write_bytes(b"".join(authority.issue(CLIENT)))
        yield Listeners(**addresses, authority=authority.write(folder), stranger=stranger, client=client)
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture
def servers(broker: Listeners) -> str:
    return broker.password


def options(password: str, user: str = USER) -> dict[str, str]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": MECHANISM,
        "sasl.username": user,
        "sasl.password": password,
    }


def tls(authority: Path) -> dict[str, str]:
    return {"security.protocol": "SSL", "ssl.ca.location": str(authority)}


@pytest.fixture(params=["password", "tls", "both", "mutual"])
def trusted(broker: Listeners, request: pytest.FixtureRequest) -> Brokers:
    """The broker as a client reaches it that has what it needs."""
    certificate = {"ssl.certificate.location": str(broker.client), "ssl.key.location": str(broker.client)}
    needed = {
        "password": options(PASSWORD),
        "tls": tls(broker.authority),
        "both": options(PASSWORD) | tls(broker.authority) | {"security.protocol": "SASL_SSL"},
        "mutual": tls(broker.authority) | certificate,
    }
    return Brokers(getattr(broker, request.param), needed[request.param])


def test_every_kind_of_client_uses_the_options(trusted: Brokers) -> None:
    admin = KafkaAdmin(trusted)
    topic = f"kept-{trusted.servers.rpartition(':')[2]}"
    assert admin.create_topic(topic, partitions=1, replication=1, config={})
    with AckedProducer(trusted, topic) as producer:
        producer.send(b"key", b"value")
    state = admin.topic(topic)
    with RangeConsumer(trusted, topic, topic, [OffsetRange(0, 0, 1)], stall_seconds=30) as consumer:
        assert [message.value() for batch in consumer.batches() for message in batch] == [b"value"]
        consumer.commit(consumer.positions)
    assert admin.committed(topic, state) == {0: 1}
    assert topic in admin.topics()


@pytest.fixture
def platform(stack: Stack, trusted: Brokers) -> Iterator[Platform]:
    given = SecretStr(json.dumps(dict(trusted.options)))
    made = make_platform(stack.env(), kafka_bootstrap_servers=trusted.servers, kafka_options=given)
    yield made.create(partitions=1)
    made.drop()


def test_a_drain_uses_the_options_of_the_settings(platform: Platform) -> None:
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


def produce(brokers: Brokers, topic: str = "clicks") -> None:
    with AckedProducer(brokers, topic, timeout_seconds=60) as producer:
        producer.send(None, b"{}")


def consume(brokers: Brokers, topic: str = "clicks", group: str = "group") -> list[object]:
    with RangeConsumer(brokers, group, topic, [OffsetRange(0, 0, 1)], stall_seconds=60) as consumer:
        return [message.value() for batch in consumer.batches() for message in batch]


def commit(brokers: Brokers) -> None:
    """What the drain does when its ranges were short: it commits before it hears of a refusal."""
    with RangeConsumer(brokers, "group", "clicks", [OffsetRange(0, 0, 0)], stall_seconds=5) as consumer:
        consumer.commit({0: 1})


def refusal(use: Callable[[], object], kind: type[KafkaFailure], *, seconds: float = SECONDS) -> str:
    """The message of a permanent error that comes soon."""
    began = time.monotonic()
    with pytest.raises(KafkaFailure) as caught:
        use()
    assert time.monotonic() - began < seconds
    assert type(caught.value) is kind
    assert caught.value.kind is ErrorKind.PERMANENT
    assert "DATACO_KAFKA_OPTIONS" in str(caught.value)
    return str(caught.value)


CALLS = [
    lambda brokers: KafkaAdmin(brokers, timeout_seconds=60).topic("clicks"),
    lambda brokers: KafkaAdmin(brokers, timeout_seconds=3).topics(),
    lambda brokers: KafkaAdmin(brokers, timeout_seconds=60).create_topic("x", partitions=1, replication=1, config={}),
    produce,
    consume,
]
calls = pytest.mark.parametrize("use", CALLS, ids=["describe", "list", "create", "produce", "consume"])


@calls
def test_a_wrong_password_is_reported_at_once_and_as_permanent(use: Callable[[Brokers], object], servers: str) -> None:
    message = refusal(lambda: use(Brokers(servers, options("wr0ng-horse"))), AuthenticationFailed)
    assert "refuses the authentication" in message
    assert "invalid credentials" in message
    assert "wr0ng-horse" not in message


@calls
def test_a_client_without_the_certificate_it_needs_is_told_at_once_and_as_permanent(
    use: Callable[[Brokers], object], broker: Listeners
) -> None:
    message = refusal(lambda: use(Brokers(broker.mutual, tls(broker.authority))), TlsRefused)
    assert f"Kafka at {broker.mutual} and this machine do not trust each other" in message
    assert "certificate" in message


@calls
@pytest.mark.parametrize("problem", ["unknown authority", "another host", "expired"])
def test_a_certificate_that_is_not_accepted_is_reported_at_once_and_as_permanent(
    use: Callable[[Brokers], object], problem: str, broker: Listeners
) -> None:
    servers = {"unknown authority": broker.tls, "another host": broker.elsewhere, "expired": broker.expired}[problem]
    authority = broker.stranger if problem == "unknown authority" else broker.authority
    message = refusal(lambda: use(Brokers(servers, tls(authority))), TlsRefused)
    assert f"Kafka at {servers} and this machine do not trust each other" in message
    assert "certificate verify failed" in message
    assert "ssl.ca.location" in message


def test_tls_to_a_port_without_it_may_pass_and_says_what_happened(servers: str, broker: Listeners) -> None:
    """It looks like a broker that goes away during the handshake, so it cannot be permanent."""
    with pytest.raises(KafkaFailure, match=r"connecting to a PLAINTEXT broker listener") as caught:
        KafkaAdmin(Brokers(servers, tls(broker.authority)), timeout_seconds=3).topic("clicks")
    assert caught.value.kind is ErrorKind.PASSING


@dataclass(frozen=True)
class Rights:
    """A user with few rights, and what the broker grants them."""

    limited: Brokers
    boss: Brokers

    def grant(self, operation: AclOperation, name: str, resource: ResourceType = ResourceType.TOPIC) -> None:
        client = AdminClient(self.boss.config(fixed={}))
        anywhere, literal = "*", ResourcePatternType.LITERAL
        binding = AclBinding(resource, name, literal, f"User:{LIMITED}", anywhere, operation, AclPermissionType.ALLOW)
        for future in client.create_acls([binding]).values():
            future.result(30)


@pytest.fixture(scope="module")
def rights(broker: Listeners) -> Rights:
    """Topics that the user may do nothing with, only see, and read; one of these is empty."""
    boss = Brokers(broker.password, options(PASSWORD))
    admin = KafkaAdmin(boss)
    found = Rights(Brokers(broker.password, options(LIMITED_PASSWORD, LIMITED)), boss)
    for topic in ("hidden", "seen", "read", "empty"):
        admin.create_topic(topic, partitions=1, replication=1, config={})
        if topic != "empty":
            produce(boss, topic)
    found.grant(AclOperation.DESCRIBE, "seen")
    found.grant(AclOperation.READ, "read")
    found.grant(AclOperation.READ, "empty")
    found.grant(AclOperation.READ, "readers", ResourceType.GROUP)
    # An ACL is in force when the broker has read it from the metadata log.
    limited = KafkaAdmin(found.limited)
    wait_until(lambda: limited.topics() >= {"seen", "read", "empty"}, seconds=30, what="the rights are in force")
    return found


def test_what_a_user_may_not_do_is_permanent_and_named(rights: Rights) -> None:
    admin = KafkaAdmin(rights.limited, timeout_seconds=60)
    hidden = KafkaAdmin(rights.boss).topic("hidden")
    denied: dict[str, Callable[[], object]] = {
        "hidden": lambda: admin.topic("hidden"),
        "seen": lambda: admin.topic_config("seen"),
        "new": lambda: admin.create_topic("new", partitions=1, replication=1, config={}),
        "gone": lambda: admin.delete_topic("hidden"),
        "group another": lambda: admin.committed("another", hidden),
        "topic seen": lambda: consume(rights.limited, "seen", "readers"),
        # Of an empty topic: no message can come before the group is refused, and nothing else is.
        "group other": lambda: consume(rights.limited, "empty", "other"),
        "group group": lambda: commit(rights.limited),
        "message to topic hidden": lambda: produce(rights.limited, "hidden"),
        "message to topic read": lambda: produce(rights.limited, "read"),
    }
    for what, use in denied.items():
        message = refusal(use, AccessDenied)
        assert "uthorization failed" in message, what
        assert what in message or what == "gone"
        assert "docs/operations.md" in message


def test_whoever_commits_nothing_needs_no_right_to_a_group(rights: Rights) -> None:
    assert consume(rights.limited, "read", READER_GROUP) == [b"{}"]
    assert consume(rights.limited, "read", "readers") == [b"{}"]


def test_a_drain_that_may_not_write_rejected_clicks_is_refused_before_any_offset_moves(
    stack: Stack, rights: Rights
) -> None:
    boss = SecretStr(json.dumps(dict(rights.boss.options)))
    made = make_platform(stack.env(), kafka_bootstrap_servers=rights.boss.servers, kafka_options=boss).create(1)
    names = made.settings
    limited = names.model_copy(update={"kafka_options": SecretStr(json.dumps(dict(rights.limited.options)))})
    try:
        with click_producer(names) as clicks:
            clicks.send(None, b"no click")
        rights.grant(AclOperation.READ, names.clicks_topic)
        rights.grant(AclOperation.READ, names.kafka_group, ResourceType.GROUP)
        rights.grant(AclOperation.DESCRIBE, names.rejected_topic)
        rights.grant(AclOperation.DESCRIBE_CONFIGS, names.rejected_topic)
        rights.grant(AclOperation.DESCRIBE_CONFIGS, names.clicks_topic)
        seen = KafkaAdmin(rights.limited)
        wait_until(lambda: names.rejected_topic in seen.topics(), seconds=30, what="the rights are in force")

        message = refusal(lambda: Platform(limited, made.hbase).drain(), AccessDenied, seconds=60)

        assert names.rejected_topic in message
        assert made.positions() == {}
        rights.grant(AclOperation.WRITE, names.rejected_topic)
        wait_until(lambda: _drained(Platform(limited, made.hbase)), seconds=30, what="the user may write")
        assert _rejected(made) == [b"no click"]
    finally:
        made.drop()


def _drained(platform: Platform) -> bool:
    try:
        return platform.drain().rejected.total() == 1
    except AccessDenied:  # the new right is not in force yet
        return False


def _rejected(platform: Platform) -> list[object]:
    found: list[object] = []
    read_all(
        Brokers.of(platform.settings),
        platform.admin,
        platform.settings.rejected_topic,
        lambda m: found.append(m.value()),
    )
    return found
