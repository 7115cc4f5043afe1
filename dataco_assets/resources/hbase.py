"""HBase as a Dagster resource: clients of the Thrift gateway."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.clients.hbase import HBase


class HBaseResource(dg.ConfigurableResource):
    """HBase, where every click is kept exactly once."""

    settings: dg.ResourceDependency[Settings]

    @contextmanager
    def client(self, *, timeout_seconds: float | None = None, retry_seconds: float | None = None) -> "Iterator[HBase]":
        """A client, closed afterwards.

        Args:
            timeout_seconds: Seconds one call may take; None: as the settings say.
            retry_seconds: Seconds a failing call is retried, if less than the settings say; sensors do not wait.
        """
        from dataco_assets.clients.hbase import connect

        with connect(self.settings, timeout_seconds=timeout_seconds, retry_seconds=retry_seconds) as hbase:
            yield hbase
