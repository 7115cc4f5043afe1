"""HBase's own Java client, as the Spark session's JVM has it: its configuration, and its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from dataco_assets.errors import DatacoError
from spark_resources.session import HBASE_SETTINGS


class ClicksTableError(DatacoError):
    """HBase's Java client could not do what was asked of the clicks table."""


def jvm(spark: SparkSession) -> Any:
    """The classes of the session's JVM."""
    context: Any = spark.sparkContext
    return context._jvm


def configuration(spark: SparkSession) -> Any:
    """The HBase client's configuration: that of Hadoop in the Spark context, overridden by what this session sets."""
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
        ClicksTableError
    """
    try:
        yield
    except Py4JJavaError as error:
        said = str(error.java_exception)[:300]
        raise ClicksTableError(
            f"HBase did not let Spark {doing}: {said}. Is HBase up, and DATACO_HBASE_ZOOKEEPER_QUORUM its ZooKeeper? "
            "`dataco setup` creates missing tables."
        ) from error
