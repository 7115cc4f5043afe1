"""The functions of the assets, called without Dagster around them: a refresh that a test can interleave and kill.

Belongs here: calling them, interposing at their steps, and verifying what came of it. Does not belong here: what a
single test expects.
"""

import importlib
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.files import read_hour
from dataco_assets.assets.es_click_index import es_click_index
from dataco_assets.assets.url_country_aggregates import url_country_aggregates
from dataco_assets.clicks.hour import contiguous_runs, hour_key
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.verification.compare import HourVerdict, Outcome
from dataco_assets.verification.verifier import Verifier
from dataco_assets_tests.platforms import Platform

STEPS = {
    "read the ledger": "dataco_assets.ledgers.hours.HourLedger.read",
    "scan": "spark_resources.clicks_table.read_clicks",
    "write the Parquet": "spark_resources.aggregates_files.write_hours",
    "replace the Parquet": "spark_resources.aggregates_files._replace",
    "write the documents": "spark_resources.publication.publish",
    "delete what is stale": "dataco_assets.index.publication.delete_stale",
    "compare": "dataco_assets.index.publication.verify_hours",
    "note as done": "dataco_assets.ledgers.hours.HourLedger.set_done",
}
"""The steps of a refresh, in their order, and the function behind each."""


class Died(Exception):
    """A test killed the run here."""


@dataclass
class Refreshes:
    """The two hourly assets on a test's platform."""

    platform: Platform
    spark: SparkSession

    def compute(self, hours: Sequence[int]) -> None:
        """What `url_country_aggregates` does."""
        self._run(url_country_aggregates, hours, spark=self._spark(), hbase=self._hbase())

    def publish(self, hours: Sequence[int], *, elasticsearch_url: str = "") -> None:
        """What `es_click_index` does."""
        url = elasticsearch_url or self.platform.settings.elasticsearch_url
        self._run(
            es_click_index,
            hours,
            spark=self._spark(),
            hbase=self._hbase(),
            elasticsearch=ElasticsearchResource(url=url, username="", password=""),
        )

    def refresh(self, hours: Sequence[int]) -> None:
        """One run of `refresh_hours`."""
        self.compute(hours)
        self.publish(hours)

    def held(self, hours: Sequence[int]) -> DataFrame:
        """The hours' aggregates as they are now, kept apart from the files."""
        stored = (read_hour(self.platform.settings.aggregates_uri, hour) for hour in hours)
        tables = [hour.table for hour in stored if hour is not None]
        return self.spark.createDataFrame(pa.concat_tables(tables).to_pandas()).cache()

    def dirty(self) -> list[int]:
        """Hours that readers do not see all of."""
        return [state.hour for state in self.platform.hours.dirty()]

    def settle(self) -> None:
        """Refreshes until no hour is dirty."""
        for _ in range(5):
            dirty = self.dirty()
            if not dirty:
                return
            self.refresh(range_around(dirty))
        raise AssertionError(f"still dirty: {[hour_key(hour) for hour in self.dirty()][:5]}")

    def verdicts(self) -> list[HourVerdict]:
        """What `dataco verify` says of all hours."""
        with closing(connect(self.platform.settings)) as search:
            verifier = Verifier(self.platform.settings, self.platform.hbase, search, settle_seconds=0)
            return list(verifier.verify(verifier.hours()))

    def differences(self) -> list[str]:
        """Every difference that it finds, in words."""
        return [
            f"{hour_key(each.hour)} {each.place} {each.page} {each.field}: {each.expected} -> {each.found}"
            for verdict in self.verdicts()
            for each in verdict.differences
        ]

    def _run(self, asset: Any, hours: Sequence[int], **resources: Any) -> None:
        context = SimpleNamespace(
            partition_keys=[hour_key(hour) for hour in hours],
            log=logging.getLogger(__name__),
            run=SimpleNamespace(run_id=uuid.uuid4().hex),
            add_asset_metadata=lambda *_, **__: None,
        )
        asset.op.compute_fn.decorated_fn(context, **resources)

    def _spark(self) -> Any:
        return SimpleNamespace(session=self.spark)

    def _hbase(self) -> HBaseResource:
        settings = self.platform.settings
        return HBaseResource(
            thrift_host=settings.hbase_thrift_host,
            thrift_port=settings.hbase_thrift_port,
            timeout_seconds=30.0,
            retry_seconds=20.0,
        )


def range_around(hours: Sequence[int]) -> list[int]:
    """The hours, oldest first; a run may hold gaps."""
    return [hour for run in contiguous_runs(hours) for hour in run]


def interpose(patch: pytest.MonkeyPatch, step: str, *, before: Any = None, after: Any = None) -> None:
    """Lets something happen, once, before or after a step of the next refresh.

    Args:
        patch: Undoes it.
        step: One of `STEPS`.
        before: Called without arguments.
        after: Called without arguments.
    """
    owner, name = _owner(STEPS[step])
    honest = getattr(owner, name)
    waiting = {"before": before, "after": after}

    def interposed(*arguments: Any, **named: Any) -> Any:
        _once(waiting, "before")
        result = honest(*arguments, **named)
        _once(waiting, "after")
        return result

    patch.setattr(owner, name, interposed)


def _once(waiting: dict[str, Callable[[], None] | None], when: str) -> None:
    action, waiting[when] = waiting[when], None
    if action is not None:
        action()


def die() -> None:
    """Ends the run at this place, as a killed process would."""
    raise Died


def _owner(path: str) -> tuple[Any, str]:
    place, _, name = path.rpartition(".")
    try:
        return importlib.import_module(place), name
    except ModuleNotFoundError:
        module, _, kind = place.rpartition(".")
        return getattr(importlib.import_module(module), kind), name


def counted(verdicts: Sequence[HourVerdict], outcome: Outcome) -> int:
    """How many hours have an outcome."""
    return sum(1 for verdict in verdicts if verdict.outcome == outcome)


def failure_of(run: Callable[[], None]) -> str:
    """The message with which a run fails."""
    with pytest.raises(dg.Failure) as failed:
        run()
    return str(failed.value.description)
