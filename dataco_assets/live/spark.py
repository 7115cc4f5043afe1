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
        SparkMasterUnavailable: no master of a standalone cluster accepts a connection.
    """
    from spark_resources.session import create_session, require_master

    require_master(settings.spark_master)
    session = create_session(spark_configuration(settings), "dataco live")
    try:
        yield session
    finally:
        session.stop()
