"""Which brokers the clients use, and how they reach them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from dataco_assets.clients.kafka.logs import quiet_logger

if TYPE_CHECKING:
    from dataco_assets.settings import Settings


@dataclass(frozen=True)
class Brokers:
    """A Kafka cluster as its clients reach it.

    Attributes:
        servers: Brokers to ask first, `host:port`, comma-separated.
        options: Further librdkafka options, e.g. for TLS and authentication; not part of `repr`, for they hold secrets.
    """

    servers: str
    options: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """The brokers that the settings name."""
        return cls(settings.kafka_bootstrap_servers, settings.kafka_client_options)

    def config(self, *, fixed: Mapping[str, Any], tuning: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole configuration of one client.

        Args:
            fixed: What the client's guarantees rest on; further options do not override it.
            tuning: Defaults of the platform, which further options override.
        """
        return {
            **(tuning or {}),
            **self.options,
            **fixed,
            "bootstrap.servers": self.servers,
            "logger": quiet_logger(),
        }
