"""Maintenance of the aggregates' table: what commits leave behind is merged or removed.

Belongs here: Iceberg's maintenance actions, in the order in which they help each other. Does not belong here: when they
run (`dataco_assets/maintenance.py`).

Every commit adds a snapshot to the table's metadata, which is written anew with each commit, and keeps the files that
it replaced for readers of earlier snapshots. A refresh a minute is half a million commits a year.

Each action commits like a run does, by Iceberg's optimistic concurrency: a run that commits at the same moment loses
nothing. Only data files of hours that nobody is about to compute are merged, and if a run replaces one of them all the
same, that merge is given up.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pyspark.sql import SparkSession

from dataco_assets.aggregates.reading import ensure_table
from dataco_assets.aggregates.table import TablePlace
from spark_resources.aggregates_table import register, writing

QUIET: Final = timedelta(hours=2)
"""Hours that ended this long ago are seldom computed: their data files are merged."""
_FEWEST_FILES: Final = "2"


@dataclass(frozen=True)
class Maintained:
    """What a maintenance did, in numbers of files."""

    merged_data_files: int
    removed_data_files: int
    removed_metadata_files: int
    merged_manifests: int
    removed_orphans: int


def maintain(
    spark: SparkSession, place: TablePlace, *, now_ms: int, snapshot_retention: timedelta, orphan_retention: timedelta
) -> Maintained:
    """Merges small files, and removes what nothing refers to any more.

    Args:
        spark: Session whose workers do the work.
        place: Where the table is.
        now_ms: The time, epoch ms.
        snapshot_retention: Snapshots older than this are removed, with the files that only they have. It must be
            longer than any reader takes.
        orphan_retention: Files in the table's folder that no snapshot refers to are removed when they are older than
            this. It must be longer than any run takes: its files belong to no snapshot before its commit.

    Raises:
        AggregatesUnavailable, AggregatesRefused: catalog or storage do not answer, or refuse.
        CommitConflict: runs committed too often meanwhile for this one to be repeated.
    """
    ensure_table(place)  # also says better than Spark does what is wrong with the catalog
    register(spark, place)
    with writing(place):
        return _maintain(
            spark,
            place,
            quiet_ms=now_ms - _ms(QUIET),
            snapshots_ms=now_ms - _ms(snapshot_retention),
            orphans_ms=now_ms - _ms(orphan_retention),
        )


def _maintain(
    spark: SparkSession, place: TablePlace, *, quiet_ms: int, snapshots_ms: int, orphans_ms: int
) -> Maintained:
    jvm: Any = spark._jvm
    iceberg = jvm.org.apache.iceberg
    java_session = spark._jsparkSession
    table = iceberg.spark.Spark3Util.loadIcebergTable(java_session, place.name_in_spark)
    actions = iceberg.spark.actions.SparkActions.get(java_session)

    old = iceberg.expressions.Expressions.lessThan("hour", quiet_ms * 1000)
    merging = actions.rewriteDataFiles(table).filter(old).option("min-input-files", _FEWEST_FILES)
    # Each group of files is a commit of its own: a run that replaces an hour meanwhile costs that group alone.
    merged = merging.option("partial-progress.enabled", "true").execute()
    expired = actions.expireSnapshots(table).expireOlderThan(snapshots_ms).retainLast(1).execute()
    manifests = actions.rewriteManifests(table).execute()
    # By Iceberg's own listing: Hadoop, which Spark lists with otherwise, may not know the storage.
    orphans = actions.deleteOrphanFiles(table).olderThan(orphans_ms).usePrefixListing(True).execute()
    return Maintained(
        merged_data_files=merged.rewrittenDataFilesCount(),
        removed_data_files=expired.deletedDataFilesCount(),
        removed_metadata_files=expired.deletedManifestsCount() + expired.deletedManifestListsCount(),
        merged_manifests=sum(1 for _ in manifests.rewrittenManifests()),
        removed_orphans=sum(1 for _ in orphans.orphanFileLocations()),
    )


def _ms(span: timedelta) -> int:
    return int(span.total_seconds() * 1000)
