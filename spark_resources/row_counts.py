"""Counts the stored clicks of hours by their row keys, on Spark, to compare the aggregates with.

The plan reads keys only and shares nothing with `aggregation`. Each region of the table is counted by a separate task;
one row per hour and task leaves the executors.
"""

from collections.abc import Sequence

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.clicks.hour import HOUR_MS, contiguous_runs
from spark_resources.clicks_table import read_timestamps
from spark_resources.hbase_client import scanning


def count_rows(spark: SparkSession, table: str, hours: Sequence[int]) -> dict[int, int]:
    """Returns the number of rows that HBase holds of each hour, in one pass over the table's regions.

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.
        table: The clicks table.
        hours: Starts of the hours, epoch ms.

    Raises:
        ClicksTableUnavailable: HBase does not answer, or does not serve the table just now.
        ClicksTableError: HBase refuses; the table may be gone.
    """
    clicks = read_timestamps(spark, table, [(run[0], run[-1] + HOUR_MS) for run in contiguous_runs(hours)])
    time_ms = F.col("timestamp")
    by_hour = clicks.groupBy((time_ms - time_ms % HOUR_MS).alias("hour")).count()
    with scanning(table):
        found = {int(row["hour"]): int(row["count"]) for row in by_hour.collect()}
    return {hour: found.get(hour, 0) for hour in hours}
