"""Fixtures that several integration tests share: a Spark session, and a platform for the assets' functions.

Starting a session takes longer than most tests, so there is one for the whole test run.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import AGGREGATES
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.index.indices import Index
from dataco_assets.index.setup import ensure_index
from dataco_assets.settings import settings
from dataco_assets_tests.platforms import Platform, make_platform
from dataco_assets_tests.refreshes import Refreshes
from local_stack.stack import Stack
from spark_resources.class_archive import class_archive
from spark_resources.connectors import connector_jars
from spark_resources.live.jars import live_jars
from spark_resources.session import create_session, spark_conf, with_jars


@pytest.fixture(scope="session")
def spark(stack: Stack) -> Iterator[SparkSession]:
    """A local session configured like the real one, on the shared servers."""
    jars = connector_jars()
    conf = spark_conf(
        master="local[2]",
        jars=jars,
        hbase_zookeeper_quorum=stack.env()["DATACO_HBASE_ZOOKEEPER_QUORUM"],
        driver_memory="1g",
        shuffle_partitions=2,
        class_archive=class_archive(jars),
    )
    session = create_session(with_jars(conf, live_jars()), "dataco-integration-tests")
    yield session
    session.stop()


@pytest.fixture
def platform(stack: Stack, tmp_path: Path) -> Iterator[Platform]:
    """A platform for one test."""
    aggregates = (tmp_path / "aggregates").as_uri()
    made = make_platform(stack.env(), aggregates_uri=aggregates, hbase_retry_seconds=20.0)
    made.create(partitions=1)
    search = connect(made.settings)
    for aggregate in AGGREGATES:
        ensure_index(Index.of(search, made.settings, aggregate), made.settings)
    yield made
    for index in search.indices.get(index=f"{made.settings.index_alias}-*").body:
        search.indices.delete(index=index)
    search.indices.delete_index_template(name=f"{made.settings.index_alias}*")
    search.close()
    made.drop()


@pytest.fixture
def environment(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sets this process's environment to that platform, for commands that run in this process."""
    for variable, value in platform.environment().items():
        monkeypatch.setenv(variable, value)
    settings.cache_clear()
    yield
    settings.cache_clear()


@pytest.fixture
def refreshes(platform: Platform, spark: SparkSession) -> Refreshes:
    """The assets' functions on that platform."""
    return Refreshes(platform, spark)
