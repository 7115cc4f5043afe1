"""HBase as a Dagster resource: the Thrift gateway for single rows, the ZooKeeper quorum for Spark."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from dataco_assets.resources.environment import from_environment
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.clients.hbase import HBase


class HBaseResource(dg.ConfigurableResource):
    """HBase, where every click is kept exactly once."""

    thrift_host: str = Field(description="Host of the Thrift 1 gateway.")
    thrift_port: int = Field(description="Port of the Thrift 1 gateway.")
    timeout_seconds: float = Field(30.0, description="Seconds one call may take.")
    retry_seconds: float = Field(120.0, description="Seconds a failing call is tried again.")

    @classmethod
    def of(cls, settings: Settings) -> "HBaseResource":
        """The resource as the environment configures it."""
        return cls(
            thrift_host=from_environment(settings, "hbase_thrift_host"),
            thrift_port=from_environment(settings, "hbase_thrift_port"),
            timeout_seconds=settings.hbase_thrift_timeout_seconds,
            retry_seconds=settings.hbase_retry_seconds,
        )

    @contextmanager
    def client(self, *, timeout_seconds: float | None = None, retry_seconds: float | None = None) -> "Iterator[HBase]":
        """A client, closed afterwards.

        Args:
            timeout_seconds: Instead of the resource's own.
            retry_seconds: Instead of the resource's own; sensors do not wait.
        """
        from dataco_assets.clients.hbase import HBase

        with HBase(
            self.thrift_host,
            self.thrift_port,
            timeout_seconds=self.timeout_seconds if timeout_seconds is None else timeout_seconds,
            retry_seconds=self.retry_seconds if retry_seconds is None else retry_seconds,
        ) as hbase:
            yield hbase
