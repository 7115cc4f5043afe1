"""`dataco setup`: creates what is missing on the servers and on this machine, and says what it found."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dataco_assets.provisioning import Finding, provision
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def setup(
    this_machine: Annotated[
        bool, typer.Option("--this-machine", help="Only what needs no server, for when an image is built.")
    ] = False,
) -> None:
    """Create topics, tables, index template and alias where they are missing, and make Spark start fast here.

    Safe to run again at any time: nothing that exists is changed, and what differs from the code is an error that says
    how.
    """
    from spark_resources.class_archive import ClassArchiveFailed

    console = Console(highlight=False)
    if this_machine:
        _archive_classes(console)
        console.print("This machine is prepared.")
        return
    _provision(console)
    try:
        _archive_classes(console)
    except ClassArchiveFailed as error:
        console.print(f"  [yellow]without[/]  {escape(str(error))} Each run starts some seconds later.")
    console.print("Everything the platform needs is there.")


def _provision(console: Console) -> None:
    with ExitStack() as cleanup:

        def session() -> "SparkSession":
            from spark_resources.class_archive import class_archive
            from spark_resources.connectors import connector_jars
            from spark_resources.session import create_session, spark_conf

            # Only for the HBase client in its JVM, so a small one on this machine does, whatever runs the jobs.
            jars = connector_jars(settings().connector_jars or None)
            conf = spark_conf(
                master="local[1]",
                jars=jars,
                class_archive=class_archive(jars),
                hbase_zookeeper_quorum=settings().hbase_zookeeper_quorum,
                driver_memory="512m",
            )
            spark = create_session(conf, "dataco setup")
            cleanup.callback(spark.stop)
            return spark

        for finding in provision(settings(), session):
            _show(console, finding)


def _archive_classes(console: Console) -> None:
    from spark_resources.class_archive import make_class_archive
    from spark_resources.connectors import connector_jars
    from spark_resources.session import runs_own_tasks

    jars = connector_jars(settings().connector_jars or None)
    if not runs_own_tasks(settings().spark_master):
        return  # it would not fit
    with console.status("Making a class archive, with which Spark starts faster"):
        made = make_class_archive(jars)
    _show(console, Finding("class archive of Spark's driver, in this user's cache folder", made))


def _show(console: Console, finding: Finding) -> None:
    verdict = "[green]created[/]" if finding.created else "[dim]there  [/]"
    console.print(f"  {verdict}  {escape(finding.what)}")
