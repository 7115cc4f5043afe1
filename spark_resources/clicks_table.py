"""The HBase table of clicks for Spark: read as a DataFrame, and created through the JVM's own HBase client.

Belongs here: what needs HBase's Java client: scanning by Spark, and a table split before its first row (the Thrift
gateway cannot do that). Does not belong here: the bytes of a row (`dataco_assets/clicks/row.py`), and the small ledger
tables.

A scan reads the key ranges of the asked times and no other rows, and of each row three cells; each of the table's
regions is a Spark task that streams its rows, so memory does not grow with the hour.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from py4j.protocol import Py4JJavaError
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.clicks.row import TABLE_FAMILIES, TIMESTAMP_DIGITS, key_ranges, split_keys
from dataco_assets.errors import DatacoError
from spark_resources.session import HBASE_SETTINGS

_COLUMNS = (
    "row_key STRING :key, user_id STRING click_data:user_id, page STRING click_data:page, "
    "country STRING geo_data:country"
)
_ROWS_PER_FETCH: Final = 5_000
_MOST_SPANS: Final = 16
_TIMESTAMP_AT = 4  # in the row key, counted from 1
_COMPRESSION = "GZ"  # the one codec every HBase has without native libraries; at major compactions only
_ENCODING = "FAST_DIFF"
_BLOOM = "ROW"


class ClicksTableError(DatacoError):
    """HBase's Java client could not do what was asked of the clicks table."""


class ClicksTableMissing(ClicksTableError):
    """There is no such table."""


@dataclass(frozen=True)
class ClicksTable:
    """What a clicks table was found to be like.

    Attributes:
        families: Column families, sorted.
        ttl_seconds: Time to live by family.
        max_versions: Versions kept by family.
        split_points: Where its regions begin, but for the first; sorted.
    """

    families: tuple[str, ...]
    ttl_seconds: dict[str, int]
    max_versions: dict[str, int]
    split_points: tuple[bytes, ...]


def read_clicks(spark: SparkSession, table: str, ranges: Sequence[tuple[int, int]]) -> DataFrame:
    """The clicks of the given times: row_key, user_id, timestamp (long, epoch ms), page, country (null when unknown).

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.
        table: HBase table.
        ranges: Half-open spans [start, end) in epoch ms. Each costs 16 key ranges, and hundreds of those cost the
            connector more time than reading: of more than 16 spans, the nearest are joined, and clicks between
            them come too.

    Raises:
        ValueError: no range, or one that is empty.
        ClicksTableError: HBase cannot be reached or has no such table. Reading itself may fail later, when Spark runs.
    """
    if not ranges or any(start >= end for start, end in ranges):
        raise ValueError(f"no time to read clicks of in {list(ranges)[:5]}")
    keys = sorted(key_range for span in _joined(ranges) for key_range in key_ranges(*span))
    with _explained(f"read clicks from the table {table!r}"):
        # The connector takes its HBase configuration from the context made last; this one is of this session's cluster.
        context: Any = spark.sparkContext
        _jvm(spark).org.apache.hadoop.hbase.spark.HBaseContext(context._jsc.sc(), _configuration(spark), None)
        frame = (
            spark.read.format("org.apache.hadoop.hbase.spark")
            .option("hbase.table", table)
            .option("hbase.columns.mapping", _COLUMNS)
            .option("hbase.spark.use.hbasecontext", True)
            # Filtering by column would need the connector's jar on every region server.
            .option("hbase.spark.pushdown.columnfilter", False)
            .option("hbase.spark.query.cachedrows", _ROWS_PER_FETCH)
            # A scan of an hour reads each block once: it must not push out what others read again.
            .option("hbase.spark.query.cacheblocks", False)
            .load()
        )
    timestamp = F.substring("row_key", _TIMESTAMP_AT, TIMESTAMP_DIGITS).cast("long")
    return frame.where(_any_of(keys)).select("row_key", "user_id", timestamp.alias("timestamp"), "page", "country")


def counted(clicks: DataFrame) -> tuple[DataFrame, Callable[[], int]]:
    """The same clicks, and a function that tells how many rows passed, once a job over them has ended."""
    seen = Observation()
    # Of a scan that finds nothing, Spark may drop the whole plan, and the observation with it.
    return clicks.observe(seen, F.count(F.lit(1)).alias("rows")), lambda: int(seen.get.get("rows", 0))


def create_clicks_table(spark: SparkSession, table: str, *, ttl_seconds: int) -> bool:
    """Creates the clicks table, split at the salts; False when there is a table of that name (look at it then).

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.
        table: HBase table.
        ttl_seconds: How long a cell is kept after its arrival.

    Raises:
        ClicksTableError: HBase cannot be reached, or refuses.
    """
    client = _jvm(spark).org.apache.hadoop.hbase.client
    with _explained(f"create the table {table!r}"), _admin(spark) as admin:
        name = _jvm(spark).org.apache.hadoop.hbase.TableName.valueOf(table)
        if admin.tableExists(name):
            return False
        builder = client.TableDescriptorBuilder.newBuilder(name)
        for family in TABLE_FAMILIES:
            builder.setColumnFamily(_family(spark, family, ttl_seconds))
        admin.createTable(builder.build(), _key_array(spark, split_keys()))
    return True


def describe_clicks_table(spark: SparkSession, table: str) -> ClicksTable:
    """What the table is like.

    Raises:
        ClicksTableMissing: there is none.
        ClicksTableError: HBase cannot be reached.
    """
    with _explained(f"describe the table {table!r}"), _admin(spark) as admin:
        name = _jvm(spark).org.apache.hadoop.hbase.TableName.valueOf(table)
        if not admin.tableExists(name):
            raise ClicksTableMissing(f"HBase has no table {table!r}. `dataco setup` creates it.")
        families = list(admin.getDescriptor(name).getColumnFamilies())
        regions = list(admin.getRegions(name))
        starts = sorted(bytes(region.getStartKey()) for region in regions)
        return ClicksTable(
            families=tuple(sorted(family.getNameAsString() for family in families)),
            ttl_seconds={family.getNameAsString(): family.getTimeToLive() for family in families},
            max_versions={family.getNameAsString(): family.getMaxVersions() for family in families},
            split_points=tuple(start for start in starts if start),
        )


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans, overlapping ones joined, and beyond the limit those with the smallest gaps between them."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    gaps = sorted(range(1, len(spans)), key=lambda n: spans[n][0] - spans[n - 1][1], reverse=True)
    kept = sorted(gaps[: _MOST_SPANS - 1])
    return [(spans[first][0], spans[last - 1][1]) for first, last in pairwise([0, *kept, len(spans)])]


def _any_of(ranges: Sequence[tuple[bytes, bytes]]) -> Column:
    # As text, for hundreds of ranges are thousands of calls to the JVM otherwise. Keys are digits, letters and dashes.
    return F.expr(
        " OR ".join(f"(row_key >= '{start.decode()}' AND row_key < '{stop.decode()}')" for start, stop in ranges)
    )


def _family(spark: SparkSession, family: str, ttl_seconds: int) -> Any:
    hbase = _jvm(spark).org.apache.hadoop.hbase
    builder = hbase.client.ColumnFamilyDescriptorBuilder.newBuilder(family.encode())
    builder.setMaxVersions(1)
    builder.setTimeToLive(ttl_seconds)
    builder.setDataBlockEncoding(hbase.io.encoding.DataBlockEncoding.valueOf(_ENCODING))
    # A flush that compresses takes as much CPU as storing the clicks does, and what was stored lately is what refreshes
    # read. Most of a month's bytes are compressed all the same: when HBase rewrites a store as a whole.
    builder.setMajorCompactionCompressionType(hbase.io.compress.Compression.Algorithm.valueOf(_COMPRESSION))
    builder.setBloomFilterType(hbase.regionserver.BloomType.valueOf(_BLOOM))
    return builder.build()


def _key_array(spark: SparkSession, keys: Sequence[bytes]) -> Any:
    context: Any = spark.sparkContext
    array = context._gateway.new_array(_jvm(spark).byte, len(keys), len(keys[0]))
    for position, key in enumerate(keys):
        array[position] = key
    return array


def _jvm(spark: SparkSession) -> Any:
    context: Any = spark.sparkContext
    return context._jvm


def _configuration(spark: SparkSession) -> Any:
    """The HBase client's configuration: Hadoop's of the Spark context, and on it what this session says."""
    context: Any = spark.sparkContext
    hadoop = context._jsc.hadoopConfiguration()
    configuration = _jvm(spark).org.apache.hadoop.hbase.HBaseConfiguration.create(hadoop)
    for key in ("hbase.zookeeper.quorum", *HBASE_SETTINGS):
        # A process keeps its first Spark context; a session made later may still name another cluster.
        value = spark.conf.get(f"spark.hadoop.{key}", None)
        if value is not None:
            configuration.set(key, value)
    return configuration


@contextmanager
def _admin(spark: SparkSession) -> Iterator[Any]:
    connection = _jvm(spark).org.apache.hadoop.hbase.client.ConnectionFactory.createConnection(_configuration(spark))
    try:
        admin = connection.getAdmin()
        try:
            yield admin
        finally:
            admin.close()
    finally:
        connection.close()


@contextmanager
def _explained(doing: str) -> Iterator[None]:
    try:
        yield
    except Py4JJavaError as error:
        said = str(error.java_exception)[:300]
        raise ClicksTableError(
            f"HBase did not let Spark {doing}: {said}. Is HBase up, and DATACO_HBASE_ZOOKEEPER_QUORUM its ZooKeeper? "
            "`dataco setup` creates missing tables."
        ) from error
