"""Kafka Connect: one distributed worker, with the plugins of a folder. It starts only when it is asked for."""

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from local_stack import jars
from local_stack.errors import NotReady, StackError
from local_stack.servers.base import (
    LOG4J2,
    PROBE_SECONDS,
    Context,
    Launch,
    Server,
    java_command,
    listening,
    properties,
    write_if_changed,
)

POM = Path(__file__).with_name("pom.xml")
MAIN_CLASS = "org.apache.kafka.connect.cli.ConnectDistributed"
PLUGINS_VARIABLE = "STACK_CONNECT_PLUGINS"
"""Environment variable that names the folder of plugins; without it, it is where `make connect` puts the sink."""
_MADE_PLUGINS = Path(__file__).parents[3] / "kafka_connect" / "target" / "plugins"


def worker_settings(*, brokers: str, rest: str, plugins: Path, name: str) -> dict[str, object]:
    """Settings of a worker.

    Args:
        brokers: `host:port`, comma-separated.
        rest: `host:port` of its REST interface.
        plugins: Its `plugin.path`.
        name: Of its group and of its three topics.
    """
    converter = "org.apache.kafka.connect.converters.ByteArrayConverter"
    topics = {f"{purpose}.storage.topic": f"{name}.{purpose}" for purpose in ("config", "offset", "status")}
    replicas = {f"{purpose}.storage.replication.factor": 1 for purpose in ("config", "offset", "status")}
    return {
        "bootstrap.servers": brokers,
        "group.id": name,
        **topics,
        **replicas,
        "offset.storage.partitions": 1,
        "status.storage.partitions": 1,
        "key.converter": converter,
        "value.converter": converter,
        "listeners": f"http://{rest}",
        "plugin.path": plugins,
        "plugin.discovery": "service_load",
        # A worker that was killed is missed after this time; by default that takes 10 s, and its tasks wait 5 minutes.
        "session.timeout.ms": 6_000,
        "heartbeat.interval.ms": 2_000,
        "scheduled.rebalance.max.delay.ms": 0,
    }


def _plugins() -> Path:
    return Path(os.environ.get(PLUGINS_VARIABLE) or _MADE_PLUGINS).resolve()


def _fetch(_folder: Path) -> None:
    if not _plugins().is_dir():
        raise StackError(f"There are no plugins for Kafka Connect in {_plugins()}. `make connect` builds the sink.")
    jars.resolve(POM)


def _prepare(context: Context) -> Launch:
    conf = context.conf("connect")
    settings = worker_settings(
        brokers=context.address("kafka.broker"),
        rest=context.address("connect.rest"),
        plugins=_plugins(),
        name="dataco-connect",
    )
    write_if_changed(conf / "log4j2.properties", LOG4J2)
    write_if_changed(conf / "worker.properties", properties(settings))
    options = ["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}"]
    command = java_command(context, "connect", jars.resolve(POM), options, MAIN_CLASS)
    return Launch([*command, str(conf / "worker.properties")])


def _probe(context: Context, _started: float) -> None:
    listening(context, "connect.rest")
    url = f"http://{context.address('connect.rest')}/connectors"
    try:
        # Until the worker has joined its group, this answers 404 or nothing.
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:
            json.load(answer)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise NotReady(f"it does not answer GET /connectors: {error}") from error


CONNECT = Server(
    name="connect",
    ports={"connect.rest": 8083},
    needs=("kafka", "hbase"),
    fetch=_fetch,
    prepare=_prepare,
    probe=_probe,
    ready_seconds=180,
    stop_seconds=20,
)
