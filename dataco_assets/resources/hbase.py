"""HBase as a Dagster resource: clients of the Thrift gateway."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.clients.hbase import HBase


class HBaseResource(dg.ConfigurableResource):
    """HBase, which stores every click exactly once."""

    settings: dg.ResourceDependency[Settings]

    @contextmanager
    def client(self, *, timeout_seconds: float | None = None, retry_seconds: float | None = None) -> "Iterator[HBase]":
        """A client, closed afterwards.

        Args:
            timeout_seconds: Seconds one call may take; None: the setting.
            retry_seconds: Seconds for which a failing call is retried, if less than the setting; sensors do not wait.
        """
        from dataco_assets.clients.hbase import connect

        with connect(self.settings, timeout_seconds=timeout_seconds, retry_seconds=retry_seconds) as hbase:
            yield hbase
