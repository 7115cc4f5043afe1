"""The Spark session of live."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataco_assets.spark_configuration import spark_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from dataco_assets.settings import Settings


@contextmanager
def session_for(settings: "Settings") -> "Iterator[SparkSession]":
    """A session as the settings describe it, stopped at the end.

    Raises:
        ConnectorJarsError: the connector jars are missing and cannot be fetched.
        LiveJarsError: the jars of live are missing and cannot be built.
        SparkMasterUnavailable: no master of a standalone cluster accepts a connection.
    """
    from spark_resources.live.jars import live_jars
    from spark_resources.session import create_session, require_master, with_jars

    jars = live_jars(settings.live_jars or None)
    require_master(settings.spark_master)
    session = create_session(with_jars(spark_configuration(settings), jars), "dataco live")
    try:
        yield session
    finally:
        session.stop()
