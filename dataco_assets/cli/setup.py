"""`dataco setup`: creates what is missing on the servers and says what it found."""

from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from dataco_assets.provisioning import provision
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def setup() -> None:
    """Create topics, tables, index template and alias where they are missing.

    Safe to run again at any time: nothing that exists is changed, and what differs from the code is an error that says
    how.
    """
    console = Console(highlight=False)
    with ExitStack() as cleanup:

        def session() -> "SparkSession":
            from spark_resources.connectors import connector_jars
            from spark_resources.session import create_session, spark_conf

            # Only for the HBase client in its JVM, so a small one on this machine does, whatever runs the jobs.
            conf = spark_conf(
                master="local[1]",
                jars=connector_jars(settings().connector_jars or None),
                hbase_zookeeper_quorum=settings().hbase_zookeeper_quorum,
                driver_memory="512m",
            )
            spark = create_session(conf, "dataco setup")
            cleanup.callback(spark.stop)
            return spark

        for finding in provision(settings(), session):
            verdict = "[green]created[/]" if finding.created else "[dim]there  [/]"
            console.print(f"  {verdict}  {escape(finding.what)}")
    console.print("Everything the platform needs is there.")
