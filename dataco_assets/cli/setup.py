"""`dataco setup`: creates what is missing on the servers and on this machine, and says what it found."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from dataco_assets.cli.output import Json, print_json, stderr_console
from dataco_assets.provisioning import Finding, provision
from dataco_assets.settings import settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def setup(
    this_machine: Annotated[
        bool, typer.Option("--this-machine", help="Only what needs no server, for when an image is built.")
    ] = False,
    only_clicks: Annotated[
        bool,
        typer.Option(
            "--only-clicks",
            help="Only the topics and HBase tables that storing clicks needs, by the drain or Kafka Connect; needs no "
            "Elasticsearch.",
        ),
    ] = False,
    rekey_clicks: Annotated[
        bool,
        typer.Option(
            "--rekey-clicks",
            help="First give the rows of a clicks table from an earlier version the row keys of this one. Stop ingest "
            "before. Interrupted, start it again.",
        ),
    ] = False,
    import_aggregates: Annotated[
        Path | None,
        typer.Option(
            "--import-aggregates",
            metavar="FOLDER",
            help="Also take over the aggregates that an earlier version kept as Parquet files in this folder (its "
            "DATACO_AGGREGATES_URI). The files stay. Interrupted, start it again.",
            file_okay=False,
            exists=True,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Create missing topics, tables, index template and alias.

    Also stores an archive of Java classes with which Spark starts faster on this machine. Safe to run again at any
    time: nothing that exists is changed, and what differs from the code is an error that says how.
    """
    from spark_resources.class_archive import ClassArchiveFailed

    if only_clicks and (this_machine or import_aggregates):
        raise typer.BadParameter(
            "it goes with neither --this-machine nor --import-aggregates", param_hint="--only-clicks"
        )
    console = stderr_console() if as_json else Console(highlight=False)
    findings: list[Finding] = []
    if not this_machine:
        findings += _provision(console, rekey=rekey_clicks, old_aggregates=import_aggregates, only_clicks=only_clicks)
    try:
        if not only_clicks:
            _archive_classes(console, findings)
    except ClassArchiveFailed as error:
        if this_machine:
            raise
        console.print(f"  [yellow]without[/]  {escape(str(error))} Each run starts some seconds later.")
    needed = "Everything that storing clicks needs" if only_clicks else "Everything the platform needs"
    console.print("This machine is prepared." if this_machine else f"{needed} is there.")
    if as_json:
        print_json({"findings": [{"what": finding.what, "created": finding.created} for finding in findings]})


def _provision(console: Console, *, rekey: bool, old_aggregates: Path | None, only_clicks: bool) -> list[Finding]:
    findings: list[Finding] = []
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
            # Of the options, those of Hadoop and HBase: the rest is about sizes, and this session does next to nothing.
            hadoop = {name: each for name, each in settings().spark_options.items() if name.startswith("spark.hadoop.")}
            spark = create_session(conf | hadoop, "dataco setup")
            cleanup.callback(spark.stop)
            return spark

        if rekey:
            _rekey(console, session())
        if old_aggregates is not None:
            _import(console, session(), old_aggregates)
        for finding in provision(settings(), session, only_clicks=only_clicks):
            _show(console, finding)
            findings.append(finding)
    return findings


def _rekey(console: Console, spark: "SparkSession") -> None:
    from dataco_assets.clients.hbase import connect
    from dataco_assets.rekeying import rekey_clicks
    from spark_resources.clicks_admin import clicks_admin

    table = settings().clicks_table
    with (
        console.status(f"Copying the rows of {table}") as status,
        connect(settings()) as hbase,
        clicks_admin(spark) as admin,
    ):
        done = rekey_clicks(
            settings(), hbase, admin, on_progress=lambda rows: status.update(f"Copying the rows of {table}: {rows:,}")
        )
    if done is None:
        console.print(f"  [dim]there  [/]  row keys of {escape(table)}: nothing to do")
        return
    rows = "the rows that an earlier attempt copied" if done.rows is None else f"{done.rows:,} rows"
    console.print(f"  [green]rekeyed[/]  {rows} of {escape(table)}; {done.hours:,} hours marked dirty")


def _import(console: Console, spark: "SparkSession", folder: Path) -> None:
    from dataco_assets.aggregates.table import TablePlace
    from spark_resources.aggregates_import import import_hours

    with console.status("Importing the aggregates of an earlier version"):
        done = import_hours(spark, TablePlace.of(settings()), folder)
    kept = f"; {done.kept:,} left, of which the table has a newer generation" if done.kept else ""
    console.print(f"  [green]imported[/]  aggregates of {done.taken:,} hours{kept}")


def _archive_classes(console: Console, findings: list[Finding]) -> None:
    from spark_resources.class_archive import make_class_archive
    from spark_resources.connectors import connector_jars
    from spark_resources.session import runs_own_tasks

    jars = connector_jars(settings().connector_jars or None)
    if not runs_own_tasks(settings().spark_master):
        return  # it would not fit
    with console.status("Making a class archive, with which Spark starts faster"):
        made = make_class_archive(jars)
    finding = Finding("class archive of Spark's driver, in this user's cache folder", made)
    _show(console, finding)
    findings.append(finding)


def _show(console: Console, finding: Finding) -> None:
    verdict = "[green]created[/]" if finding.created else "[dim]there  [/]"
    console.print(f"  {verdict}  {escape(finding.what)}")
