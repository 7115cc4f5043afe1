"""Runs share the JVM of a Spark driver: one after another, nothing but warm code, and never at the price of a run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from dataco_assets_tests.waiting import wait_until
from dataco_assets_tests.warm_drivers import keepers_in
from spark_resources.session import spark_conf

_RUN = """
import json, sys
from spark_resources.session import create_session
from spark_resources.warm_driver import lent_driver
conf, idle_seconds = json.loads(sys.argv[1]), int(sys.argv[2])
with lent_driver(conf, idle_seconds) as lent:
    if "only-ask" in sys.argv:
        print(json.dumps({"lent": lent}))
        sys.exit()
    spark = create_session(conf, "test")
    context = spark.sparkContext
    seen = {
        "lent": lent,
        "jvm": context._jvm.java.lang.ProcessHandle.current().pid(),
        "application": context.applicationId,
        "sum": spark.range(1000).selectExpr("sum(id) AS total").first().total,
        "left": [table.name for table in spark.catalog.listTables()] + [spark.conf.get("dataco.left", "")],
        "shuffle": spark.conf.get("spark.sql.shuffle.partitions"),
    }
    spark.range(3).createOrReplaceTempView("left_behind")
    spark.conf.set("dataco.left", "behind")
    context._jvm.System.err.println("something that the driver wrote")
    print(json.dumps(seen), flush=True)
    if "stay" in sys.argv:
        sys.stdin.readline()
    if "work" in sys.argv:
        spark.range(1 << 62).selectExpr("sum(sqrt(id))").collect()
    spark.stop()
"""
_IDLE_SECONDS = 60


@dataclass
class Run:
    """A process that runs a Spark job, and what it saw."""

    process: "subprocess.Popen[str]"
    seen: dict[str, Any]

    @property
    def jvm(self) -> psutil.Process:
        """The JVM it used."""
        return psutil.Process(self.seen["jvm"])

    def end(self) -> str:
        """Lets it end, as a run does; returns what it wrote to standard error."""
        _, errors = self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0, errors
        return errors


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the keepers of these tests, which are ended with them; they share one where they can."""
    folder = tmp_path_factory.mktemp("drivers")
    yield folder
    for keeper in keepers_in(folder):
        keeper.terminate()


@pytest.fixture
def run(drivers: Path) -> Iterator[Callable[..., Run]]:
    """Starts a run: one told to `stay` waits for `end`, one told to `work` never ends by itself."""
    started: list[Run] = []

    def start(
        *,
        told: str = "",
        conf: Mapping[str, str] = {},
        idle_seconds: int = _IDLE_SECONDS,
        folder: Path = drivers,
    ) -> Run:
        of_all = spark_conf(master="local[1]", jars=[], hbase_zookeeper_quorum="nohost.invalid", driver_memory="512m")
        command = [sys.executable, "-c", _RUN, json.dumps({**of_all, **conf}), str(idle_seconds)]
        process = subprocess.Popen(
            [*command, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        assert process.stdout is not None
        line = process.stdout.readline()
        started.append(Run(process, json.loads(line or "{}")))
        assert line, process.communicate()[1]
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_runs_share_a_jvm_and_nothing_else(run: Callable[..., Run], drivers: Path) -> None:
    first = run()
    written = first.end()
    second = run()
    second.end()

    assert first.seen["lent"]
    assert second.seen["lent"]
    assert first.seen["sum"] == second.seen["sum"] == sum(range(1000))
    assert second.seen["jvm"] == first.seen["jvm"]
    assert second.seen["application"] != first.seen["application"]
    assert second.seen["left"] == [""], "a view or an option of the first run"
    assert "something that the driver wrote" in written
    assert len(keepers_in(drivers)) == 1, "runs of one configuration share a keeper"


def test_a_run_beside_another_has_a_jvm_of_its_own(run: Callable[..., Run]) -> None:
    first = run(told="stay")
    second = run()
    second.end()
    first.end()
    assert not second.seen["lent"]
    assert second.seen["jvm"] != first.seen["jvm"]
    assert run().seen["jvm"] == first.seen["jvm"], "the JVM is free again"


def test_the_context_of_a_killed_run_is_stopped(run: Callable[..., Run]) -> None:
    killed = run(told="work")
    before = killed.jvm.cpu_times().user
    wait_until(lambda: killed.jvm.cpu_times().user > before + 1, seconds=60, what="its job works")
    killed.process.kill()
    killed.process.wait()

    # A JVM holds one Spark context at a time.
    wait_until(lambda: run(told="only-ask").seen["lent"], seconds=60, what="the JVM is free again")
    after = run()
    assert after.seen["jvm"] == killed.seen["jvm"]
    assert after.seen["application"] != killed.seen["application"]
    assert after.seen["sum"] == sum(range(1000))


@pytest.mark.parametrize("victim", ["the JVM", "the keeper"])
def test_a_driver_that_was_killed_is_replaced(run: Callable[..., Run], drivers: Path, victim: str) -> None:
    before = run()
    before.end()
    jvm, keeper = before.jvm, keepers_in(drivers)[0]
    (jvm if victim == "the JVM" else keeper).send_signal(signal.SIGKILL)
    wait_until(lambda: not _lives(jvm) and not _lives(keeper), seconds=60, what="both have ended")

    after = run()
    assert after.seen["lent"]
    assert after.seen["jvm"] != jvm.pid


def test_a_driver_for_another_configuration_is_another_one(run: Callable[..., Run]) -> None:
    first = run()
    first.end()
    other = run(conf={"spark.sql.shuffle.partitions": "3"})
    assert other.seen["shuffle"] == "3"
    assert other.seen["jvm"] != first.seen["jvm"]


def test_a_driver_without_runs_ends(run: Callable[..., Run], tmp_path: Path) -> None:
    only = run(idle_seconds=1, folder=tmp_path)
    jvm, keeper = only.jvm, keepers_in(tmp_path)[0]
    only.end()
    wait_until(lambda: not _lives(jvm) and not _lives(keeper), seconds=60, what="both have ended")
    assert list(tmp_path.glob("dataco-*/*/socket")) == []


def test_a_folder_that_others_can_write_to_is_not_trusted(run: Callable[..., Run], tmp_path: Path) -> None:
    folder = tmp_path / f"dataco-{os.getuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert not run(told="only-ask", folder=tmp_path).seen["lent"]
    assert not keepers_in(tmp_path)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
