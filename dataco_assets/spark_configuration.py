"""The configuration of Spark sessions that follows from the settings: one for runs, for live, and for benchmarks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataco_assets.settings import Settings


def spark_configuration(settings: "Settings") -> dict[str, str]:
    """The whole configuration of a session.

    Args:
        settings: Where Spark runs and how large, where HBase is, and what a person adds (`DATACO_SPARK_CONF`).

    Raises:
        ConnectorJarsError: the connector jars are missing and cannot be fetched.
    """
    from spark_resources.class_archive import class_archive
    from spark_resources.connectors import connector_jars
    from spark_resources.session import spark_conf

    jars = connector_jars(settings.connector_jars or None)
    own = spark_conf(
        master=settings.spark_master,
        jars=jars,
        class_archive=class_archive(jars),
        hbase_zookeeper_quorum=settings.hbase_zookeeper_quorum,
        driver_memory=settings.spark_driver_memory,
        shuffle_partitions=settings.spark_shuffle_partitions,
    )
    return own | settings.spark_options
