"""Asks the servers whenever Prometheus scrapes, and answers with metrics."""

import logging
from collections.abc import Iterator
from threading import Lock

import dagster as dg
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from dataco_assets.clients.connect import Connect, Connector, ConnectorMissing, ConnectUnavailable
from dataco_assets.clock import now_ms
from dataco_assets.monitoring.canary import Canary
from dataco_assets.monitoring.metrics import metrics
from dataco_assets.monitoring.orchestration import Orchestration, Reports, look, storage_errors
from dataco_assets.monitoring.state import ask
from dataco_assets.settings import Settings
from dataco_assets.untrusted import printable

_SHOWN = 300
_logger = logging.getLogger(__name__)


class Exporter(Collector):
    """The platform's metrics, made anew for each scrape; two at a time take turns.

    Args:
        config: Addresses and names; may be replaced between two scrapes.
        instance: Dagster's storage; None: what Dagster knows is left out.
        max_wait_minutes: Longest acceptable wait of clicks and of dirty hours.
        canary: The sender of canary clicks; None: none are sent.
    """

    def __init__(
        self,
        config: Settings,
        instance: dg.DagsterInstance | None,
        max_wait_minutes: float,
        canary: Canary | None = None,
    ) -> None:
        self.config = config
        self._canary = canary
        self._instance = instance
        self._max_wait_minutes = max_wait_minutes
        self._reports: Reports | None = None
        self._turn = Lock()

    def registry(self) -> CollectorRegistry:
        """A registry that holds the exporter alone."""
        registry = CollectorRegistry()
        registry.register(self)
        return registry

    def describe(self) -> Iterator[Metric]:
        """Nothing: the metrics are known once the servers have answered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Asks all servers."""
        with self._turn:
            state = ask(self.config, self._max_wait_minutes, asked_at_ms=now_ms())
            dagster, connector = self._dagster(), self._connector()
        others = {"Dagster": dagster} if self._instance else {}
        others |= {"Kafka Connect": connector} if self.config.connect_url else {}
        answers = {name: found is not None for name, found in others.items()}
        yield from metrics(state, dagster, connector, answers, self._canary.figures() if self._canary else None)

    def _dagster(self) -> Orchestration | None:
        if self._instance is None:
            return None
        try:
            self._reports = self._reports or Reports(self._instance)
            return look(self._instance, self._reports)
        except storage_errors() as error:
            _logger.warning("Dagster's storage cannot be read: %s", printable(str(error), _SHOWN))
            return None

    def _connector(self) -> Connector | None:
        if not self.config.connect_url:
            return None
        try:
            return Connect(self.config.connect_url, self.config.connect_connector).status()
        except (ConnectorMissing, ConnectUnavailable) as error:
            _logger.warning("%s", error)
            return None
