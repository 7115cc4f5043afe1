"""Kafka as a Dagster resource."""

import dagster as dg

from dataco_assets.settings import Settings


class KafkaResource(dg.ConfigurableResource):
    """Kafka, where the clicks arrive."""

    settings: dg.ResourceDependency[Settings]

    @property
    def bootstrap_servers(self) -> str:
        """Brokers, `host:port`, comma-separated."""
        return self.settings.kafka_bootstrap_servers
