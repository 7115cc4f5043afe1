"""The HBase table of clicks as a Spark DataFrame.

A scan reads only the key ranges of the requested times, and of each row the cells of the user and of the dimensions.
Each region of the table is read by a Spark task that streams its rows, so memory does not grow with the size of an
hour.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.aggregates.columns import AGGREGATES, Aggregate, scanned
from dataco_assets.clicks.row import TIMESTAMP_DIGITS, key_ranges
from spark_resources.hbase_client import configuration, explained, jvm

_ROW_KEY: Final = {"row_key": ("rowkey", "key")}
"""Family and qualifier of the row key, as the connector names them."""
_USER_ID: Final = {"user_id": ("click_data", "user_id")}
_ROWS_PER_FETCH: Final = 5_000
_MOST_SPANS: Final = 16
_TIMESTAMP_AT = 4  # in the row key, counted from 1


def read_clicks(
    spark: SparkSession, table: str, ranges: Sequence[tuple[int, int]], aggregates: Sequence[Aggregate] = AGGREGATES
) -> DataFrame:
    """Reads the clicks of the given times: row_key, user_id, timestamp (long, epoch ms), and what aggregates need.

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.
        table: HBase table.
        ranges: Half-open spans [start, end) in epoch ms. Each costs a key range per salt, and hundreds of those cost
            the connector more time than reading: of more than 16 spans, the nearest are joined, and clicks between
            them are read as well.
        aggregates: Whose dimensions are read, beside what the rules see (`scanned`).

    Raises:
        ValueError: there is no range, or an empty one.
        ClicksTableError: HBase cannot be reached or has no such table. Rows are read later, when Spark runs: within
            `scanning`.
    """
    cells = {column.name: column.cell for column in scanned(aggregates)}
    rows = _read(spark, table, _ROW_KEY | _USER_ID | cells, ranges)
    return rows.select("row_key", "user_id", _timestamp(), *cells)


def read_timestamps(spark: SparkSession, table: str, ranges: Sequence[tuple[int, int]]) -> DataFrame:
    """Reads the clicks of the given times by their row keys alone: timestamp (long, epoch ms), one row per click.

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.
        table: HBase table.
        ranges: Half-open spans [start, end) in epoch ms; see `read_clicks`.

    Raises:
        ValueError: there is no range, or an empty one.
        ClicksTableError: HBase cannot be reached or has no such table.
    """
    return _read(spark, table, _ROW_KEY, ranges).select(_timestamp())


def _timestamp() -> Column:
    """The click's time, which is part of its row key."""
    return F.substring("row_key", _TIMESTAMP_AT, TIMESTAMP_DIGITS).cast("long").alias("timestamp")


def _read(
    spark: SparkSession, table: str, columns: Mapping[str, tuple[str, str]], ranges: Sequence[tuple[int, int]]
) -> DataFrame:
    if not ranges or any(start >= end for start, end in ranges):
        raise ValueError(f"no time to read clicks of in {list(ranges)[:5]}")
    keys = sorted(key_range for span in _joined(ranges) for key_range in key_ranges(*span))
    with explained(f"read clicks from the table {table!r}"):
        # The connector takes its HBase configuration from the last context created; this is one for this cluster.
        context: Any = spark.sparkContext
        jvm(spark).org.apache.hadoop.hbase.spark.HBaseContext(context._jsc.sc(), configuration(spark), None)
        frame = (
            spark.read.format("org.apache.hadoop.hbase.spark")
            .option("catalog", _catalog(table, columns))
            .option("hbase.spark.use.hbasecontext", True)
            # Filtering by column would need the connector's jar on every region server.
            .option("hbase.spark.pushdown.columnfilter", False)
            .option("hbase.spark.query.cachedrows", _ROWS_PER_FETCH)
            # A scan of an hour reads each block once: it must not evict what others read again.
            .option("hbase.spark.query.cacheblocks", False)
            .load()
        )
    return frame.where(_any_of(keys))


def counted(clicks: DataFrame) -> tuple[DataFrame, Callable[[], int]]:
    """The same clicks, and a function that returns how many rows were read, once a job over them has ended."""
    seen = Observation()
    # If a scan finds nothing, Spark may drop the whole plan, and the observation with it.
    return clicks.observe(seen, F.count(F.lit(1)).alias("rows")), lambda: int(seen.get.get("rows", 0))


def _catalog(table: str, columns: Mapping[str, tuple[str, str]]) -> str:
    """The table and some of its columns as the connector's JSON.

    Its other form, `hbase.columns.mapping`, is translated to this one by the connector, which prints it to standard
    output each time.
    """
    namespace, _, name = table.rpartition(":")
    return json.dumps(
        {
            "table": {"namespace": namespace or "default", "name": name},
            "rowkey": "key",
            "columns": {
                column: {"cf": family, "col": qualifier, "type": "string"}
                for column, (family, qualifier) in columns.items()
            },
        }
    )


def _joined(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The spans with overlapping ones joined and, beyond the limit, those with the smallest gaps between them."""
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
    # As text, because hundreds of ranges would be thousands of calls to the JVM. Keys are digits, letters and dashes.
    return F.expr(
        " OR ".join(f"(row_key >= '{start.decode()}' AND row_key < '{stop.decode()}')" for start, stop in ranges)
    )
