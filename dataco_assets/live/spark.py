"""The Spark session of live."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from dataco_assets.settings import Settings


@contextmanager
def session_for(settings: "Settings") -> "Iterator[SparkSession]":
    """A session as the settings describe it, stopped at the end.

    Raises:
        ConnectorJarsError: the connector jars are missing and cannot be fetched.
        SparkMasterUnavailable: no master of a standalone cluster accepts a connection.
    """
    from spark_resources.class_archive import class_archive
    from spark_resources.connectors import connector_jars
    from spark_resources.session import create_session, require_master, spark_conf

    require_master(settings.spark_master)
    jars = connector_jars(settings.connector_jars or None)
    conf = spark_conf(
        master=settings.spark_master,
        jars=jars,
        class_archive=class_archive(jars),
        hbase_zookeeper_quorum=settings.hbase_zookeeper_quorum,
        driver_memory=settings.spark_driver_memory,
        shuffle_partitions=settings.spark_shuffle_partitions,
    )
    session = create_session(conf | settings.spark_options, "dataco live")
    try:
        yield session
    finally:
        session.stop()
