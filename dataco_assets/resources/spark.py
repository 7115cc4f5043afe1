"""Spark as a Dagster resource: one session per run, stopped when the run ends."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr

from dataco_assets.settings import Settings
from dataco_assets.spark_configuration import spark_configuration

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass
class _Kept:
    """A session that outlives the resource that started it, and what ends it."""

    session: "SparkSession | None" = None
    opened: ExitStack = field(default_factory=ExitStack)


_kept: ContextVar[_Kept | None] = ContextVar("kept session of Spark", default=None)


@contextmanager
def session_kept() -> Iterator[None]:
    """Keeps the session that is started meanwhile, for all resources of this context; stops it in the end.

    Dagster makes a run's resources anew for each round of a run that follows the topic. To stop Spark and to start it
    again would take longer than the round's work.
    """
    kept = _Kept()
    before = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(before)
        kept.opened.close()


class SparkResource(dg.ConfigurableResource):
    """Spark, with the connectors to HBase and Elasticsearch.

    The session starts when it is first used and serves all assets of the run: aggregates and index refresh in one
    process. `dagster_pyspark.LazyPySparkResource` creates it but never stops it, so this resource does. Its JVM is one
    that waits for runs, if it is free (`spark_resources.warm_driver`), and the run's own otherwise.
    """

    settings: dg.ResourceDependency[Settings]

    _run_id: str | None = PrivateAttr(default=None)
    _session: "SparkSession | None" = PrivateAttr(default=None)
    _opened: ExitStack = PrivateAttr(default_factory=ExitStack)

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Notes the run, by which Spark's UI names the application and its jobs."""
        self._run_id = context.run_id

    @property
    def session(self) -> "SparkSession":
        """The run's session.

        Raises:
            ConnectorJarsError: the connector jars are missing and cannot be fetched.
            SparkMasterUnavailable: no master of a standalone cluster accepts a connection.
        """
        session = self._session
        if session is None and (kept := _kept.get()) is not None:
            session = self._session = kept.session
        if session is None:
            session = self._session = self._started()
            self._opened.callback(session.stop)
        return session

    def _started(self) -> "SparkSession":
        from dagster_pyspark import LazyPySparkResource

        from spark_resources.session import require_master
        from spark_resources.warm_driver import lent_driver

        require_master(self.settings.spark_master)
        configuration = spark_configuration(self.settings)
        if idle_seconds := self.settings.spark_driver_idle_seconds:
            self._opened.enter_context(lent_driver(configuration, idle_seconds))
        if not (run_id := self._run_id):
            return LazyPySparkResource(spark_config=configuration).spark_session
        # Not in the configuration by which a waiting driver is found.
        named = {**configuration, "spark.app.name": f"dataco run {run_id}"}
        session = LazyPySparkResource(spark_config=named).spark_session
        session.sparkContext.setJobGroup(run_id, f"Dagster run {run_id}")
        return session

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002  # Dagster's signature
        """Stops the session this run started, or leaves it to the run's next round."""
        if (kept := _kept.get()) is not None:
            kept.session = self._session or kept.session
            kept.opened.enter_context(self._opened.pop_all())
        self._session = None
        self._opened.close()
