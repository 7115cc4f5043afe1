"""Spark as a Dagster resource: one session per run, stopped when the run ends."""

from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from dataco_assets.resources.environment import from_environment
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


class SparkResource(dg.ConfigurableResource):
    """Spark, with the connectors to HBase and Elasticsearch.

    The session starts when it is first asked for and serves all assets of the run: aggregates and index refresh in one
    process. `dagster_pyspark.LazyPySparkResource` makes it but never stops it, so this resource does.
    """

    master: str = Field(description="Spark master URL.")
    driver_memory: str = Field("2g", description="Driver heap.")
    shuffle_partitions: int = Field(8, description="Tasks of a shuffle.")
    zookeeper_quorum: str = Field(description="ZooKeeper by which Spark finds HBase.")
    connector_jars: str = Field("", description="Folder of the connector jars; empty: the user's cache.")

    _session: "SparkSession | None" = PrivateAttr(default=None)

    @classmethod
    def of(cls, settings: Settings) -> "SparkResource":
        """The resource as the environment configures it."""
        return cls(
            master=from_environment(settings, "spark_master"),
            driver_memory=settings.spark_driver_memory,
            shuffle_partitions=settings.spark_shuffle_partitions,
            zookeeper_quorum=from_environment(settings, "hbase_zookeeper_quorum"),
            connector_jars=settings.connector_jars,
        )

    @property
    def session(self) -> "SparkSession":
        """The run's session.

        Raises:
            ConnectorJarsError: the connector jars are missing and cannot be fetched.
        """
        session = self._session
        if session is None:
            from dagster_pyspark import LazyPySparkResource

            session = self._session = LazyPySparkResource(spark_config=self.configuration()).spark_session
        return session

    def configuration(self) -> dict[str, str]:
        """The session's whole configuration."""
        from spark_resources.class_archive import class_archive
        from spark_resources.connectors import connector_jars
        from spark_resources.session import spark_conf

        jars = connector_jars(self.connector_jars or None)
        return spark_conf(
            master=self.master,
            jars=jars,
            class_archive=class_archive(jars),
            hbase_zookeeper_quorum=self.zookeeper_quorum,
            driver_memory=self.driver_memory,
            shuffle_partitions=self.shuffle_partitions,
        )

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002  # Dagster's signature
        """Stops the session this run started."""
        if self._session is not None:
            self._session.stop()
            self._session = None
