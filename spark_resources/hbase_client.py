"""HBase's Java client in the Spark session's JVM: its configuration, and its exceptions as `DatacoError`s."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from dataco_assets.errors import DatacoError, ErrorKind
from spark_resources.jvm_errors import reported
from spark_resources.session import HBASE_SETTINGS


class ClicksTableError(DatacoError):
    """HBase's Java client could not perform an operation on the clicks table."""


class ClicksTableUnavailable(ClicksTableError):
    """HBase does not answer, or does not serve the table just now; trying again later may help."""

    kind = ErrorKind.PASSING


_OF_HBASE = re.compile(r"\borg\.apache\.(?:hadoop\.hbase|zookeeper)\.[\w.$]*Exception\b")
# What the client reports when it has given up on a server, or found a region or the table not served just now.
_NO_ANSWER = re.compile(
    r"\b(?:RetriesExhausted\w*|CallTimeout|ConnectionClosing|ConnectionClosed|FailedServer|MasterNotRunning"
    r"|ZooKeeperConnection|ConnectionLoss|SessionExpired|NoServerForRegion|NotServingRegion|RegionOffline"
    r"|TableNotEnabled|ServerNotRunningYet|RegionServerStopped|RegionTooBusy|CallQueueTooBig|Timeout\w*)Exception\b"
    r"|\bjava\.net\.\w+Exception\b|\bKeeperErrorCode = NoNode\b"
)


def jvm(spark: SparkSession) -> Any:
    """The classes of the session's JVM."""
    context: Any = spark.sparkContext
    return context._jvm


def configuration(spark: SparkSession) -> Any:
    """The HBase client's configuration: Hadoop's in the Spark context, overridden by this session's."""
    context: Any = spark.sparkContext
    hadoop = context._jsc.hadoopConfiguration()
    found = jvm(spark).org.apache.hadoop.hbase.HBaseConfiguration.create(hadoop)
    for key in ("hbase.zookeeper.quorum", *HBASE_SETTINGS):
        # A process keeps its first Spark context; a session made later may still name another cluster.
        value = spark.conf.get(f"spark.hadoop.{key}", None)
        if value is not None:
            found.set(key, value)
    return found


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turns an exception of HBase's Java client into a `ClicksTableError`.

    Args:
        doing: What was attempted, to follow "HBase did not let Spark".

    Raises:
        ClicksTableUnavailable: HBase does not answer, or does not serve the table just now.
        ClicksTableError
    """
    try:
        yield
    except Py4JJavaError as error:
        raise _meaning(doing, reported(error)) from error


@contextmanager
def scanning(table: str) -> Iterator[None]:
    """Encloses a Spark action that reads clicks: failures of HBase become errors of this module.

    A DataFrame of clicks reads nothing until Spark runs, so an outage appears in the action that runs it. Other errors
    are raised unchanged.

    Args:
        table: The clicks table.

    Raises:
        ClicksTableUnavailable: HBase does not answer, or does not serve the table just now.
        ClicksTableError: HBase refuses; the table may be gone.
    """
    try:
        yield
    except (Py4JJavaError, PySparkException) as error:
        text = reported(error)
        if not _OF_HBASE.search(text):
            raise
        raise _meaning(f"read clicks from the table {table!r}", text) from error


def _meaning(doing: str, text: str) -> ClicksTableError:
    of_hbase = next((line for line in text.splitlines() if _OF_HBASE.search(line)), text)
    kind = ClicksTableUnavailable if _NO_ANSWER.search(text) else ClicksTableError
    return kind(
        f"HBase did not let Spark {doing}: {of_hbase.strip()[:300]!a}. Is HBase up, and "
        "DATACO_HBASE_ZOOKEEPER_QUORUM its ZooKeeper? `dataco setup` creates missing tables."
    )
