"""Elasticsearch as a Dagster resource."""

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from dataco_assets.resources.environment import from_environment
from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataco_assets.clients.elasticsearch import SearchClient


class ElasticsearchResource(dg.ConfigurableResource):
    """Elasticsearch, where the hours are searched."""

    url: str = Field(description="`http(s)://host:port`.")
    username: str = Field("", description="User name; empty: no authentication.")
    password: str = Field("", description="Password of that user.")

    @classmethod
    def of(cls, settings: Settings) -> "ElasticsearchResource":
        """The resource as the environment configures it."""
        return cls(
            url=from_environment(settings, "elasticsearch_url"),
            username=from_environment(settings, "elasticsearch_username"),
            password=from_environment(settings, "elasticsearch_password"),
        )

    @contextmanager
    def client(self) -> "Iterator[SearchClient]":
        """A client, closed afterwards."""
        from dataco_assets.clients.elasticsearch import open_client

        client = open_client(self.url, username=self.username, password=self.password)
        with closing(client):
            yield client
