"""The Spark session and its configuration: every Spark and HBase-client setting that the jobs rely on, with its reason.

`spark.driver.memory` and the jars take effect only when the JVM starts: a process that already has a Spark session
keeps its first ones. Runs on Java 17 (Java 11 and 8 too); pyspark adds the `--add-opens` it needs.
"""

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pyspark
from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession

from dataco_assets.errors import DatacoError, ErrorKind

HBASE_SETTINGS: Final[Mapping[str, str]] = {
    # By default the client retries for about 20 minutes; with HBase down, the run must fail within one and be retried.
    "hbase.client.retries.number": "9",
    "hbase.client.pause": "100",
    "hbase.rpc.timeout": "20000",
    "hbase.client.operation.timeout": "25000",
    "hbase.client.meta.operation.timeout": "25000",
    "hbase.client.scanner.timeout.period": "60000",
    "hbase.ipc.client.socket.timeout.connect": "5000",
    "zookeeper.session.timeout": "30000",
    "zookeeper.recovery.retry": "1",
    "zookeeper.recovery.retry.intervalmill": "500",
}
"""HBase client settings, in ms where they are times."""

_LOG_CONFIG = Path(__file__).with_name("log4j2.properties")
_COMPILER_OPTIONS = (
    # The JVM's second compiler starts at ten times the default thresholds. In a refresh, its work would not pay off
    # before the end, and on two cores it would take one of them. Runs of many minutes lose nothing.
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
)


_MOST_OF_FEW = 20_000
_FEW_ROWS: Final[Mapping[str, str]] = {"spark.sql.codegen.wholeStage": "false", "spark.sql.adaptive.enabled": "false"}

_STANDALONE = "spark://"
_MASTER_SECONDS = 3.0


class SparkMasterUnavailable(DatacoError):
    """No master of a standalone Spark cluster accepts a connection; trying again later may help."""

    kind = ErrorKind.PASSING


def spark_conf(
    *,
    master: str,
    jars: Sequence[Path],
    hbase_zookeeper_quorum: str,
    driver_memory: str = "2g",
    shuffle_partitions: int = 8,
    class_archive: Path | None = None,
    ui: bool = False,
) -> dict[str, str]:
    """The complete configuration of a session, for `SparkSession` or `LazyPySparkResource(spark_config=...)`.

    The HBase client's settings are passed as `spark.hadoop.*` and read by `spark_resources.clicks_table`: there is no
    hbase-site.xml on a class path, and each session has its own cluster.

    Args:
        master: Spark master URL.
        jars: The connector jars (`spark_resources.connectors.connector_jars`).
        hbase_zookeeper_quorum: `host:port`, comma-separated.
        driver_memory: Driver heap, such as `2g`; takes effect only when this starts the JVM.
        shuffle_partitions: Tasks of a shuffle before adaptive execution merges small ones.
        class_archive: Archive of the driver's classes (`spark_resources.class_archive`); a `local` master's only.
        ui: Whether to serve Spark's web UI.
    """
    conf = {
        "spark.master": master,
        "spark.driver.memory": driver_memory,
        "spark.driver.extraJavaOptions": " ".join(
            [f"-Dlog4j2.configurationFile={_LOG_CONFIG.as_uri()}", *_COMPILER_OPTIONS]
        ),
        "spark.ui.enabled": str(ui).lower(),
        "spark.ui.showConsoleProgress": "false",
        # An hour is a point in UTC everywhere: in the aggregates, their directory names and the index.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        # An hour is a small table: few tasks, and adaptive execution merges those that turn out tiny or splits a
        # skewed one. A local session gains nothing from broadcasting, and never joins anyway.
        "spark.sql.shuffle.partitions": str(shuffle_partitions),
        # More than 32 hours are listed by a job, by default with a task per hour: that takes longer than reading them.
        "spark.sql.sources.parallelPartitionDiscovery.parallelism": str(shuffle_partitions),
        "spark.sql.adaptive.enabled": "true",
        "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
        "spark.sql.adaptive.advisoryPartitionSizeInBytes": "16m",
        # Never show a secret in a plan, a log or the UI; the Elasticsearch connector's option is named "...auth.pass".
        "spark.redaction.regex": "(?i)secret|password|token|access[.]key|auth[.]pass|credential",
        "spark.sql.redaction.options.regex": "(?i)url$|secret|password|token|auth[.]pass|credential",
        "spark.hadoop.hbase.zookeeper.quorum": hbase_zookeeper_quorum,
    }
    conf |= {f"spark.hadoop.{key}": value for key, value in HBASE_SETTINGS.items()}
    if runs_own_tasks(master):
        # A local driver needs no connection from other machines, and its host name may not resolve.
        conf |= {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}
        # The driver is the only executor: on its class path the jars need not be copied first, which takes seconds.
        # Spark's own are listed, too: Spark adds them as a folder, in the file system's order, and a class archive is
        # valid for one order only.
        conf["spark.driver.extraClassPath"] = os.pathsep.join(map(str, [*jars, *spark_jars()]))
        if class_archive:
            conf["spark.driver.extraJavaOptions"] += f' "-XX:SharedArchiveFile={class_archive}"'
    else:
        conf["spark.jars"] = ",".join(str(jar) for jar in jars)
    return conf


def with_jars(conf: Mapping[str, str], jars: Sequence[Path]) -> dict[str, str]:
    """A configuration with further jars, which drivers and executors get behind the class path of the connectors.

    Args:
        conf: From `spark_conf`.
        jars: The further jars.
    """
    given = [names] if (names := conf.get("spark.jars")) else []
    return {**conf, "spark.jars": ",".join([*given, *map(str, jars)])}


def runs_own_tasks(master: str) -> bool:
    """Whether a driver with this master is its own and only executor."""
    return master.startswith("local")


def require_master(master: str) -> None:
    """Asks a standalone cluster's masters for a connection; any other master passes.

    Spark itself tries for more than a minute, and then ends the session with an error that names no address.

    Args:
        master: Spark master URL.

    Raises:
        SparkMasterUnavailable: none of them accepts one.
    """
    if not master.startswith(_STANDALONE):
        return
    problems: list[str] = []
    for address in master.removeprefix(_STANDALONE).split(","):
        host, _, port = address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=_MASTER_SECONDS):
                return
        except (OSError, ValueError) as error:
            problems.append(f"{address}: {error}")
    raise SparkMasterUnavailable(
        f"Spark's master at {master} does not answer ({'; '.join(problems)}). Is it running? Its address is "
        "DATACO_SPARK_MASTER."
    )


def spark_home() -> Path:
    """The Spark that pyspark starts."""
    return Path(os.environ.get("SPARK_HOME") or Path(pyspark.__file__).parent)


def spark_jars() -> list[Path]:
    """Spark's own jars, sorted by name."""
    return sorted((spark_home() / "jars").glob("*.jar"))


def create_session(conf: Mapping[str, str], app_name: str) -> SparkSession:
    """Starts (or, in a process that has one, reuses) a session with this configuration; stop it when done."""
    return SparkSession.Builder().appName(app_name).config(map=dict(conf)).getOrCreate()


@contextmanager
def planned_for(session: SparkSession, rows: int) -> Iterator[None]:
    """Has Spark plan the queries of this context for a number of rows that they read.

    For few rows, to generate and compile code and to plan anew behind each shuffle takes longer than what it saves: a
    third of the time of a small hour.

    Args:
        session: The session.
        rows: About how many rows.
    """
    changed = _FEW_ROWS if rows <= _MOST_OF_FEW else {}
    before = {name: session.conf.get(name) for name in changed}
    for name, value in changed.items():
        session.conf.set(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            session.conf.set(name, str(value))


def driver_runs() -> bool:
    """Whether the JVM that this process started for Spark still runs."""
    context: Any = SparkContext
    return context._gateway is not None and context._gateway.proc.poll() is None


def abandon(session: SparkSession) -> None:
    """Forgets a session whose driver has died, so that this process can start another one."""
    context: Any = SparkContext
    sessions: Any = SparkSession
    with suppress(Py4JError, OSError):
        session.stop()
    context._active_spark_context = sessions._instantiatedSession = None
    forget_gateway()


def forget_gateway() -> None:
    """Closes the connections to the JVM, so that a later session of this process starts or borrows one again."""
    context: Any = SparkContext
    if context._gateway is not None:
        context._gateway.close()
        context._gateway = context._jvm = None
