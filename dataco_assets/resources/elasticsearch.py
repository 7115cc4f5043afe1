"""Elasticsearch as a Dagster resource."""

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.clients.elasticsearch import SearchClient


class ElasticsearchResource(dg.ConfigurableResource):
    """Elasticsearch, which holds the published hours."""

    settings: dg.ResourceDependency[Settings]

    @contextmanager
    def client(self) -> "Iterator[SearchClient]":
        """A client, closed afterwards."""
        from dataco_assets.clients.elasticsearch import connect

        with closing(connect(self.settings)) as client:
            yield client

    @contextmanager
    def impatient_client(self, request_seconds: float) -> "Iterator[SearchClient]":
        """A client that tries nothing again, closed afterwards: for sensors, which look again anyway.

        Args:
            request_seconds: Most one request may take.
        """
        from dataco_assets.clients.elasticsearch import connect

        with closing(connect(self.settings, request_seconds=request_seconds, retry_seconds=0)) as client:
            yield client
