"""What every measurement needs: a stack, platforms on it, and workers that run in separate processes."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import happybase
import psutil

from benchmarks.figures import Findings
from benchmarks.sizes import Sizes
from dataco_assets.clicks.hour import HOUR_MS, hour_key, hour_of
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.clients.hbase import HBase
from dataco_assets.clients.hbase import connect as connect_hbase
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError
from dataco_assets.settings import Settings
from local_stack.stack import Stack

WORKER_SECONDS = 900
_MARGIN_HOURS = 48
_IDLE_SHARE = 0.25
_IDLE_SECONDS = 30.0
_SHOWN = 4_000


class WorkerFailed(DatacoError):
    """A measurement's process failed; the message ends with its last words."""


@dataclass(frozen=True)
class Platform:
    """Names of its own on the shared servers.

    Attributes:
        name: Put before every table, topic and index.
        env: The environment a process of this platform runs in.
    """

    name: str
    env: Mapping[str, str]

    @cached_property
    def settings(self) -> Settings:
        """Its settings, for what is done with its servers from here."""
        values = {k.removeprefix("DATACO_").lower(): v for k, v in self.env.items() if k.startswith("DATACO_")}
        return Settings(**values)  # pyright: ignore[reportArgumentType]  # pydantic turns the texts into their types

    def drop_table(self, name: str) -> None:
        """Disables and deletes a table."""
        host, port = self.settings.hbase_thrift_host, self.settings.hbase_thrift_port
        with closing(happybase.Connection(host, port, timeout=60_000)) as connection:
            connection.delete_table(name, disable=True)

    @contextmanager
    def hbase(self) -> Iterator[HBase]:
        """A client of its gateway."""
        with connect_hbase(self.settings) as client:
            yield client


@dataclass
class Bench:
    """What a run measures with.

    Attributes:
        stack: The servers, up.
        folder: Scratch of this run.
        sizes: How much to measure.
        findings: Where measurements go.
    """

    stack: Stack
    folder: Path
    sizes: Sizes
    findings: Findings = field(default_factory=Findings)
    until_ms: int = field(default_factory=lambda: hour_of(now_ms()))
    _run: str = field(default_factory=lambda: f"bench{os.getpid()}x{now_ms() % 100_000}")

    def platform(self, name: str, *, of: Platform | None = None) -> Platform:
        """A platform whose tables and indices are its own.

        Args:
            name: Its name within this run.
            of: A platform whose topic it reads from the start, with offsets of its own.
        """
        own = f"{self._run}{name}"
        topic = of.settings.clicks_topic if of else f"{own}-clicks"
        first = self.until_ms - (self.sizes.hours + _MARGIN_HOURS) * HOUR_MS
        return Platform(
            own,
            {
                **self.stack.env(),
                "DATACO_CLICKS_TOPIC": topic,
                "DATACO_REJECTED_TOPIC": f"{own}-rejected",
                "DATACO_KAFKA_GROUP": own,
                "DATACO_HBASE_TABLE_PREFIX": f"{own}_",
                "DATACO_INDEX_ALIAS": own,
                "DATACO_PARTITIONS_START": hour_key(first),
                "DATACO_AGGREGATES_URI": (self.folder / "aggregates" / own).as_uri(),
                "DAGSTER_HOME": str(self.folder / "dagster"),
            },
        )

    def provision(self, *platforms: Platform) -> None:
        """Creates their topics, tables and indices as `dataco setup` does."""
        fields = ("clicks_topic", "rejected_topic", "kafka_group", "hbase_table_prefix", "index_alias")
        named = [{field: getattr(platform.settings, field) for field in fields} for platform in platforms]
        self.worker(platforms[0], "provision_all", {"named": named})

    def drop_tables(self, platform: Platform) -> None:
        """Drops its tables, so that what they hold in memory does not slow the measurements that follow."""
        with platform.hbase() as client:
            tables = [table for table in client.tables() if table.startswith(platform.settings.hbase_table_prefix)]
        for table in tables:
            platform.drop_table(table)

    def drop(self, *platforms: Platform) -> None:
        """Removes all that is theirs from the servers."""
        for platform in platforms:
            config = platform.settings
            self.drop_tables(platform)
            admin = KafkaAdmin(Brokers.of(config))
            for topic in {config.clicks_topic, config.rejected_topic} & admin.topics():
                admin.delete_topic(topic)
            with closing(connect(config)) as client:
                for index in client.indices.get(index=f"{config.index_alias}-*").body:
                    client.indices.delete(index=index)
                client.indices.delete_index_template(name=f"{config.index_alias}*")

    def worker(self, platform: Platform, name: str, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Runs one of `benchmarks.workers` in a process of its own and returns what it found.

        Raises:
            WorkerFailed: it did not end well.
        """
        with tempfile.NamedTemporaryFile(dir=self.folder, suffix=".json") as answer:
            command = [sys.executable, "-m", "benchmarks.workers", name, json.dumps(arguments or {}), answer.name]
            done = subprocess.run(
                command,
                env={**os.environ, **platform.env},
                capture_output=True,
                text=True,
                timeout=WORKER_SECONDS,
                check=False,
            )
            if done.returncode:
                raise WorkerFailed(f"The worker {name} failed:\n{(done.stdout + done.stderr)[-_SHOWN:]}")
            return json.loads(Path(answer.name).read_text())

    def server_cpu(self) -> dict[str, float]:
        """CPU seconds each server that runs has used so far."""
        used: dict[str, float] = {}
        for server in (each for each in self.stack.status() if each.running):
            times = psutil.Process(self.stack.pid(server.name)).cpu_times()
            used[server.name] = times.user + times.system
        return used

    def settle(self) -> None:
        """Waits, half a minute at most, until the servers have done what earlier measurements left them to do."""
        deadline = time.monotonic() + _IDLE_SECONDS
        before = self.server_cpu()
        while time.monotonic() < deadline:
            time.sleep(1)
            now = self.server_cpu()
            if sum(now.values()) - sum(before.values()) < _IDLE_SHARE:
                return
            before = now
