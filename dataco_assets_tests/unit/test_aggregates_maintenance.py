"""The maintenance of the aggregates' table removes what nobody needs, and nothing else, also beside a run."""

import os
import time
import uuid
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from pydantic import SecretStr
from pyspark.sql import SparkSession

from dataco_assets.aggregates.reading import TableState, ensure_table, read_hour, stored_hours, table_state
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.failures import failure_of
from dataco_assets.definitions import build_defs
from dataco_assets.errors import ErrorKind
from dataco_assets.jobs import MAINTENANCE_JOB
from dataco_assets.settings import Settings
from dataco_assets_tests.stored_aggregates import data_files, iceberg_table
from dataco_assets_tests.unit.test_aggregates_table import NOON, aggregates, counts, write
from spark_resources import aggregates_table
from spark_resources.aggregates_maintenance import Maintained, maintain

HOUR = 3_600_000
DAY_SECONDS = 86_400


@pytest.fixture
def place(tmp_path: Path) -> TablePlace:
    return TablePlace((tmp_path / "aggregates").as_uri(), catalog_name=f"t{uuid.uuid4().hex[:12]}")


def maintained(spark: SparkSession, place: TablePlace, snapshot_retention: timedelta = timedelta(0)) -> Maintained:
    """Maintains the table as if it were some seconds later."""
    return maintain(
        spark,
        place,
        now_ms=int(time.time() * 1000) + 5000,
        snapshot_retention=snapshot_retention,
        orphan_retention=timedelta(days=2),
    )


def snapshots(place: TablePlace) -> int:
    return len(iceberg_table(place).metadata.snapshots)


def test_replaced_files_go_with_their_snapshots_and_the_hours_stay(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1, 2], NOON + HOUR: [3]}, 1)
    (replaced,) = data_files(place, NOON)
    write(spark, place, {NOON: [4]}, 2)

    assert maintained(spark, place, timedelta(hours=1)).removed_data_files == 0
    assert replaced.exists()
    assert maintained(spark, place).removed_data_files == 1

    assert not replaced.exists()
    assert snapshots(place) == 1
    assert (counts(place, NOON), counts(place, NOON + HOUR)) == ([4], [3])
    assert table_state(place).hours[NOON].generation == 2


def test_an_hours_many_files_become_one(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]}, 7)
    for number in range(3):  # as tasks do that share a large hour
        aggregates(spark, {NOON: [10 + number]}, 7).writeTo(place.name_in_spark).append()
    assert len(data_files(place, NOON)) == 4
    assert maintained(spark, place).merged_data_files == 4
    assert len(data_files(place, NOON)) == 1
    assert counts(place, NOON) == [1, 10, 11, 12]
    assert table_state(place).hours[NOON].generation == 7


def test_only_old_files_that_no_commit_refers_to_are_orphans(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]}, 1)
    (used,) = data_files(place, NOON)
    old, young = (used.with_name(f"{name}.parquet") for name in ("left-by-a-dead-run", "of-a-run-that-goes-on"))
    for path, days in ((used, 9), (old, 3), (young, 1)):
        path.touch()
        then = time.time() - days * DAY_SECONDS
        os.utime(path, times=(then, then))
    assert maintained(spark, place).removed_orphans == 1
    assert [used.exists(), old.exists(), young.exists()] == [True, False, True]
    assert counts(place, NOON) == [1]


def test_a_run_that_began_before_commits_after_it(
    spark: SparkSession, place: TablePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The snapshot that the run started from is gone meanwhile."""
    write(spark, place, {NOON: [1]}, 1)
    write(spark, place, {NOON + HOUR: [5]}, 1)
    done: list[Maintained] = []

    def and_maintained(place: TablePlace, hours: Sequence[int] = ()) -> TableState:
        found = table_state(place, hours)
        if not done:
            write_from_another_run()
            done.append(maintained(spark, place))
        return found

    def write_from_another_run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(aggregates_table, "table_state", table_state)
            write(spark, place, {NOON + HOUR: [6]}, 2)

    monkeypatch.setattr(aggregates_table, "table_state", and_maintained)
    write(spark, place, {NOON: [2]}, 3)
    assert done[0].removed_data_files == 1
    assert (counts(place, NOON), counts(place, NOON + HOUR)) == ([2], [6])


def test_many_commits_do_not_leave_many_lists(spark: SparkSession, place: TablePlace) -> None:
    """Manifests that a commit adds are joined by the maintenance, and stay small enough to read one hour's alone."""
    for number in range(4):
        write(spark, place, {NOON + number * HOUR: [1]}, 1)
    assert maintained(spark, place).merged_manifests == 4
    table = iceberg_table(place)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    assert len(snapshot.manifests(table.io)) == 1
    assert stored_hours(place) == [NOON + number * HOUR for number in range(4)]


def test_a_table_without_a_commit_needs_nothing(spark: SparkSession, place: TablePlace) -> None:
    ensure_table(place)
    assert maintained(spark, place) == Maintained(0, 0, 0, 0, 0)


_TABLE = ["maintain_table"]
"""The part of the job that needs no Elasticsearch."""


def _job(place: TablePlace, spark: SparkSession) -> dg.JobDefinition:
    settings = Settings.load().model_copy(
        update={
            "aggregates_uri": place.warehouse,
            "catalog_name": place.catalog_name,
            "catalog_uri": place.catalog_uri,
            "catalog_password": SecretStr(place.password),
        }
    )
    built = build_defs(settings=settings, resource_overrides={"spark": SimpleNamespace(session=spark)})
    return built.resolve_job_def(MAINTENANCE_JOB)


def test_the_job_maintains_the_table_of_the_settings(spark: SparkSession, place: TablePlace) -> None:
    write(spark, place, {NOON: [1]}, 1)
    write(spark, place, {NOON: [2]}, 2)
    assert _job(place, spark).execute_in_process(op_selection=_TABLE).success
    # The two commits are younger than DATACO_SNAPSHOT_RETENTION_HOURS; joining their manifests is a third.
    assert snapshots(place) == 3
    found = read_hour(place, NOON)
    assert found is not None
    assert found.table["click_count"].to_pylist() == [2]


def test_a_job_that_meets_an_outage_fails_as_passing(spark: SparkSession, tmp_path: Path) -> None:
    away = TablePlace(
        (tmp_path / "aggregates").as_uri(),
        catalog_uri="postgresql://127.0.0.1:1/dagster",
        catalog_name=f"t{uuid.uuid4().hex[:12]}",
    )
    with dg.DagsterInstance.ephemeral() as instance:
        job = _job(away, spark)
        result = job.execute_in_process(op_selection=_TABLE, instance=instance, raise_on_error=False)
        run = instance.get_run_by_id(result.run_id)
    assert run is not None
    failure = failure_of(run)
    assert failure is not None
    assert (failure.kind, failure.error) == (ErrorKind.PASSING, "AggregatesUnavailable")
    assert "127.0.0.1:1" in failure.message
