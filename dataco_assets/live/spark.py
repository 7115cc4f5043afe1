"""The Spark session of live."""

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.spark_configuration import spark_configuration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from dataco_assets.settings import Settings


logger = logging.getLogger(__name__)


class DriverDied(DatacoError):
    """Spark's driver, a JVM, has ended under live; a new session goes on from the checkpoint."""

    kind = ErrorKind.PASSING


@contextmanager
def session_for(settings: "Settings", run_id: str | None = None) -> "Iterator[SparkSession]":
    """A session as the settings describe it, stopped at the end.

    Args:
        settings: Where Spark runs, and how.
        run_id: The id that the process's log has, by which Spark's UI names the application.

    Raises:
        DriverDied: the driver has ended, which was the cause of the block's own error.
        ConnectorJarsError: the connector jars are missing and cannot be fetched.
        LiveJarsError: the jars of live are missing and cannot be built.
        SparkMasterUnavailable: no master of a standalone cluster accepts a connection.
    """
    from py4j.protocol import Py4JError

    from spark_resources.live.jars import live_jars
    from spark_resources.session import abandon, create_session, driver_runs, require_master, with_jars

    jars = live_jars(settings.live_jars or None)
    require_master(settings.spark_master)
    name = f"dataco live {run_id}" if run_id else "dataco live"
    session = create_session(with_jars(spark_configuration(settings), jars), name)
    try:
        yield session
    except (Py4JError, OSError) as error:
        if driver_runs():
            raise
        logger.debug("What its end looked like from here", exc_info=error)
        raise DriverDied(
            "Spark's driver has died: its JVM was killed or crashed. Did the machine run out of memory "
            "(DATACO_SPARK_DRIVER_MEMORY)?"
        ) from None
    finally:
        if driver_runs():
            session.stop()
        else:
            abandon(session)
