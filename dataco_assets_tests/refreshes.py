"""Runs the functions of the two hourly assets without Dagster, so that a test can interrupt a refresh at any step."""

import importlib
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.reading import read_hour
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets.es_click_index import Publication, publish_hours
from dataco_assets.assets.stages import Stages
from dataco_assets.assets.url_country_aggregates import compute_hours
from dataco_assets.clicks.hour import contiguous_runs, hour_key
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.errors import DatacoError, combine
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.spark import SparkResource
from dataco_assets.verification.compare import HourVerdict, Outcome
from dataco_assets.verification.verifier import Verifier
from dataco_assets_tests.platforms import Platform

STEPS = {
    "read the ledger": "dataco_assets.ledgers.hours.HourLedger.read",
    "scan": "spark_resources.clicks_table.read_clicks",
    "write the table": "spark_resources.aggregates_table.write_hours",
    "commit": "spark_resources.aggregates_table._overwrite",
    "write the documents": "dataco_assets.index.few_documents.publish_few",
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
        compute_hours(
            hours,
            uuid.uuid4().hex,
            self._stages(),
            settings=self.platform.settings,
            spark=self._spark(),
            hbase=HBaseResource(settings=self.platform.settings),
        ).refuse_problems()

    def publish(self, hours: Sequence[int], *, elasticsearch_url: str = "") -> Publication:
        """What `es_click_index` does."""
        settings = self.platform.settings
        if elasticsearch_url:
            settings = settings.model_copy(update={"elasticsearch_url": elasticsearch_url})
        done = publish_hours(
            hours,
            self._stages(),
            settings=settings,
            spark=self._spark(),
            hbase=HBaseResource(settings=settings),
            elasticsearch=ElasticsearchResource(settings=settings),
        )
        if done.withheld:
            raise combine(done.withheld)
        return done

    def refresh(self, hours: Sequence[int]) -> Publication:
        """One run of `refresh_hours`."""
        self.compute(hours)
        return self.publish(hours)

    def held(self, hours: Sequence[int]) -> dict[int, tuple[pa.Table, ...]]:
        """A copy of the hours' current aggregates."""
        stored = {hour: read_hour(TablePlace.of(self.platform.settings), hour) for hour in hours}
        return {hour: () if found is None else (found.table,) for hour, found in stored.items()}

    def dirty(self) -> list[int]:
        """The dirty hours."""
        return [state.hour for state in self.platform.hours.all() if state.is_dirty]

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
        """Every difference that it finds, as text."""
        return [
            f"{hour_key(each.hour)} {each.place} {each.aggregate} {list(each.group.values())} "
            f"{each.field}: {each.expected} -> {each.found}"
            for verdict in self.verdicts()
            for each in verdict.differences
        ]

    def _stages(self) -> Stages:
        return Stages(logging.getLogger(__name__))

    def _spark(self) -> SparkResource:
        spark = SparkResource(settings=self.platform.settings)
        spark._session = self.spark
        return spark


def range_around(hours: Sequence[int]) -> list[int]:
    """The hours, oldest first; a run may hold gaps."""
    return [hour for run in contiguous_runs(hours) for hour in run]


def interpose(patch: pytest.MonkeyPatch, step: str, *, before: Any = None, after: Any = None) -> None:
    """Calls a function once, before or after a step of the next refresh.

    Args:
        patch: Undoes the patch.
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
    """Ends the run at this point, as if its process were killed."""
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


def failure_of(run: Callable[[], object]) -> str:
    """The message of the error that a run raises."""
    with pytest.raises(DatacoError) as failed:
        run()
    return str(failed.value)
