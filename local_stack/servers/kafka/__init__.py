"""Kafka: one node, KRaft, broker and controller in one process."""

from pathlib import Path

from local_stack import jars
from local_stack.errors import NotReady
from local_stack.programs import run
from local_stack.servers.base import (
    LOG4J2,
    Context,
    Launch,
    Server,
    java_command,
    listening,
    properties,
    write_if_changed,
)

POM = Path(__file__).with_name("pom.xml")
FORMAT_SECONDS = 120
MAX_MESSAGE_BYTES = 16 * 1024 * 1024  # larger than HBase's largest cell, so that tests can send what it refuses


def _fetch(_folder: Path) -> None:
    jars.resolve(POM)


def _prepare(context: Context) -> Launch:
    conf = context.conf("kafka")
    write_if_changed(conf / "log4j2.properties", LOG4J2)
    write_if_changed(conf / "server.properties", properties(_settings(context)))
    options = ["-Xms128m", "-Xmx512m", "-XX:+UseG1GC", f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}"]
    command = java_command(context, "kafka", jars.resolve(POM), options, "kafka.Kafka")
    if not (context.data("kafka") / "meta.properties").is_file():
        _format(command[:-1], conf / "server.properties")
    return Launch([*command, str(conf / "server.properties")])


def _settings(context: Context) -> dict[str, object]:
    return {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{context.address('kafka.broker')},CONTROLLER://{context.address('kafka.controller')}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@{context.address('kafka.controller')}",
        # A broker that was killed can register again when its old session has expired; by default that takes 9 s.
        "broker.session.timeout.ms": 4_000,
        "broker.heartbeat.interval.ms": 1_000,
        "log.dirs": context.data("kafka"),
        "auto.create.topics.enable": "false",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "group.initial.rebalance.delay.ms": 0,
    }


def _format(java: list[str], config: Path) -> None:
    what, storage = "kafka: formatting its storage", [*java, "kafka.tools.StorageTool"]
    identity = run(what, [*storage, "random-uuid"], seconds=FORMAT_SECONDS).split()[-1]
    run(what, [*storage, "format", "--cluster-id", identity, "--config", str(config)], seconds=FORMAT_SECONDS)


def _probe(context: Context, _started: float) -> None:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    listening(context, "kafka.broker")
    client = AdminClient({"bootstrap.servers": context.address("kafka.broker"), "log_level": 0})
    try:
        brokers = client.list_topics(timeout=3).brokers
    except KafkaException as error:
        raise NotReady(f"metadata request failed: {error}") from error
    if not brokers:
        raise NotReady("no broker has registered")


KAFKA = Server(
    name="kafka",
    ports={"kafka.broker": 9092, "kafka.controller": 9093},
    needs=(),
    fetch=_fetch,
    prepare=_prepare,
    probe=_probe,
    ready_seconds=240,
    stop_seconds=20,
)
