"""Kafka as a Dagster resource."""

from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.settings import Settings

if TYPE_CHECKING:
    from dataco_assets.clients.kafka.brokers import Brokers


class KafkaResource(dg.ConfigurableResource):
    """Kafka, which receives the clicks."""

    settings: dg.ResourceDependency[Settings]

    @property
    def brokers(self) -> "Brokers":
        """The Kafka cluster as its clients reach it."""
        from dataco_assets.clients.kafka.brokers import Brokers

        return Brokers.of(self.settings)
