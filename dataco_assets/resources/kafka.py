"""Kafka as a Dagster resource."""

import dagster as dg
from pydantic import Field

from dataco_assets.resources.environment import from_environment
from dataco_assets.settings import Settings


class KafkaResource(dg.ConfigurableResource):
    """Kafka, where the clicks arrive."""

    bootstrap_servers: str = Field(description="Brokers, `host:port`, comma-separated.")

    @classmethod
    def of(cls, settings: Settings) -> "KafkaResource":
        """The resource as the environment configures it."""
        return cls(bootstrap_servers=from_environment(settings, "kafka_bootstrap_servers"))
