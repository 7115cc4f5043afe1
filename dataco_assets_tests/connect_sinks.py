"""The sink on a platform of its own, as a connector of a worker of the tests' own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dataco_assets.ledgers.offsets import Mode, Owner
from dataco_assets_tests.connect_worker import Worker
from dataco_assets_tests.faults.judge import is_drained
from dataco_assets_tests.platforms import Platform
from dataco_assets_tests.waiting import wait_until

HALTING = "dataco.connect.HaltingSinkConnector"
STORED_SECONDS = 180.0
_BEGUN_AGAIN = "Beginning again where the offset ledger is"
_BYTES = "org.apache.kafka.connect.converters.ByteArrayConverter"


@dataclass
class Sink:
    """A connector on a platform of its own.

    Attributes:
        platform: What it reads and writes.
        worker: Where it runs.
        name: Of the connector.
        step_file: See `HaltingSinkTask`.
    """

    platform: Platform
    worker: Worker
    name: str
    step_file: Path

    def config(self, **more: str) -> dict[str, str]:
        """The connector's configuration; a further setting is named with underscores for its dots."""
        settings = self.platform.settings
        return {
            "connector.class": HALTING,
            "tasks.max": "1",
            "topics": settings.clicks_topic,
            "key.converter": _BYTES,
            "value.converter": _BYTES,
            "header.converter": _BYTES,
            "consumer.override.isolation.level": "read_committed",
            "consumer.override.session.timeout.ms": "6000",
            "consumer.override.heartbeat.interval.ms": "2000",
            "consumer.override.max.poll.records": "500",
            "kafka.bootstrap.servers": settings.kafka_bootstrap_servers,
            "rejected.topic": settings.rejected_topic,
            "start.group": settings.kafka_group,
            "hbase.zookeeper.quorum": settings.hbase_zookeeper_quorum,
            "hbase.table.prefix": settings.hbase_table_prefix,
            "partitions.start": settings.partitions_start,
            "clicks.ttl.days": str(settings.clicks_ttl_days),
            "checkpoint.interval.ms": "300",
            "test.step.file": str(self.step_file),
            **{key.replace("_", "."): value for key, value in more.items()},
        }

    def give(self, mode: Mode) -> Owner:
        """Gives the topic to the drain or to Kafka Connect."""
        return self.platform.offsets.change_owner(self.platform.settings.clicks_topic, mode)

    def start(self, **more: str) -> None:
        """Creates the connector, or changes its configuration; see `config`."""
        self.worker.call("PUT", f"/connectors/{self.name}/config", self.config(**more))

    def restart(self) -> None:
        """Restarts the connector and its tasks."""
        self.worker.call("POST", f"/connectors/{self.name}/restart?includeTasks=true")

    def stop(self) -> None:
        """Stops the connector, and returns once it has no tasks; `resume` of the REST interface starts them."""
        self.worker.call("PUT", f"/connectors/{self.name}/stop")
        wait_until(lambda: not self.worker.tasks(self.name), seconds=60, what="the tasks are stopped")

    def wait_drained(self) -> None:
        """Returns once the ledger stands at the end of every partition."""
        try:
            wait_until(lambda: is_drained(self.platform), seconds=STORED_SECONDS, what="everything is stored")
        except AssertionError as error:
            error.add_note(f"Tasks: {self.worker.tasks(self.name)}")
            error.add_note(f"End of the worker's log:\n{self.worker.last_lines()}")
            raise

    def failure(self) -> str:
        """Waits until a task has failed, and returns its trace."""
        return self.worker.failure(self.name)

    def begun_again(self) -> int:
        """How often a task gave up its window and began again where the ledger is, as its worker's log says."""
        log = (self.worker.folder / "worker.log").read_text(errors="replace")
        return sum(_BEGUN_AGAIN in line and self.name in line for line in log.splitlines())

    def stop_at(self, step: str, how: Literal["halt", "suspend", "fail", "wait"]) -> None:
        """Has the task that is first at a step stop there; see `HaltingSinkTask`."""
        self.step_file.write_text(f"{step} {how}")

    def wait_stopped(self) -> None:
        """Returns once a task has stopped there."""
        wait_until(lambda: not self.step_file.exists(), seconds=STORED_SECONDS, what="the task reaches the step")

    def go_on(self) -> None:
        """Lets the task go on that waits."""
        self.step_file.with_name(f"{self.step_file.name}.go").touch()
