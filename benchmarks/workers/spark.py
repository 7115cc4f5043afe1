"""Creates platforms, and measures the Spark connector writing the clicks of a topic."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.clicks.row import COLUMNS
from dataco_assets.provisioning import provision
from dataco_assets.settings import settings
from dataco_assets.spark_configuration import spark_configuration
from spark_resources.class_archive import make_class_archive
from spark_resources.connectors import connector_jars
from spark_resources.session import create_session

_FIELDS = (
    "event_id string, user_id string, timestamp string, url string, ip_address string, user_agent string, "
    "country string, city string, browser string, operating_system string, device string"
)


def session(master: str = "local[*]", *, plain: bool = False) -> SparkSession:
    """A session as the platform makes it; or plain, with default JVM options, for a peer."""
    conf = spark_configuration(settings().model_copy(update={"spark_master": master}))
    if plain:
        del conf["spark.driver.extraJavaOptions"]
    return create_session(conf, "benchmarks")


def provision_all(named: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Does what `dataco setup` does, for platforms that are each named by the settings in which they differ."""
    make_class_archive(connector_jars(settings().connector_jars or None))
    spark = session("local[1]")
    for names in named:
        deque(provision(settings().model_copy(update=dict(names)), lambda: spark), maxlen=0)
    spark.stop()
    return {}


def spark_write() -> dict[str, Any]:
    """The same clicks from Kafka to HBase by hbase-spark; the session's start is not counted. No validation."""
    config = settings()
    spark = session(plain=True)
    spark.range(1_000).selectExpr("sum(id)").collect()  # the first job starts up more than itself
    started = time.monotonic()
    _write(spark, _clicks_of_topic(spark), config.clicks_table)
    seconds = time.monotonic() - started
    spark.stop()
    return {"seconds": seconds}


def _clicks_of_topic(spark: SparkSession) -> DataFrame:
    messages = (
        spark.read.format("kafka")
        .option("kafka.bootstrap.servers", settings().kafka_bootstrap_servers)
        .option("subscribe", settings().clicks_topic)
        .option("startingOffsets", "earliest")
        .option("endingOffsets", "latest")
        .load()
    )
    clicks = messages.select(F.from_json(F.col("value").cast("string"), _FIELDS).alias("click")).select("click.*")
    millis = "coalesce(cast(timestamp AS bigint), unix_millis(try_to_timestamp(timestamp)))"
    key = (
        "concat(lpad(lower(hex(crc32(encode(user_id, 'UTF-8')) % 16)), 2, '0'), '-', "
        "lpad(cast(timestamp AS string), 13, '0'), '-', md5(coalesce(event_id, url)))"
    )
    names = [column.decode().partition(":")[2] for column in COLUMNS]
    return (
        clicks.withColumn("page", F.col("url"))
        .withColumn("timestamp", F.expr(millis).cast("string"))
        .where("user_id IS NOT NULL AND timestamp IS NOT NULL AND url IS NOT NULL AND ip_address IS NOT NULL")
        .select(F.expr(key).alias("row_key"), *[F.coalesce(F.col(name), F.lit("")).alias(name) for name in names])
    )


def _write(spark: SparkSession, clicks: DataFrame, table: str) -> None:
    mapping = ["row_key STRING :key"]
    mapping += [f"{column.decode().partition(':')[2]} STRING {column.decode()}" for column in COLUMNS]
    context: Any = spark.sparkContext
    jvm = context._jvm
    hadoop = context._jsc.hadoopConfiguration()
    configuration = jvm.org.apache.hadoop.hbase.HBaseConfiguration.create(hadoop)
    jvm.org.apache.hadoop.hbase.spark.HBaseContext(context._jsc.sc(), configuration, None)
    (
        clicks.write.format("org.apache.hadoop.hbase.spark")
        .option("hbase.table", table)
        .option("hbase.columns.mapping", ", ".join(mapping))
        .option("hbase.spark.use.hbasecontext", True)
        .save()
    )
