"""One small local Spark session for all unit tests, because starting it takes longer than most of them."""

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from spark_resources.connectors import connector_jars
from spark_resources.session import create_session, spark_conf


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A local session configured like the real one, but without servers.

    It has the connector jars, because tests that need them may run in the same process, hence the same JVM.
    """
    conf = spark_conf(
        master="local[2]",
        jars=connector_jars(),
        hbase_zookeeper_quorum="127.0.0.1:1",
        driver_memory="1g",
        shuffle_partitions=2,
    )
    session = create_session(conf, "dataco-unit-tests")
    yield session
    session.stop()
