"""Reports early that no broker accepts a connection, which librdkafka by itself retries until a deadline."""

import time

from confluent_kafka import KafkaError

from dataco_assets.clients.kafka.failures import KafkaUnavailable, unreachable

PERSON_SECONDS = 2.0
"""How long a person at a terminal waits for a port that refuses; a run rides over the restart of a broker."""
_UNCONNECTED = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE})


class Reachability:
    """What a client's connection errors amount to; pass `on_error` to the client as its `error_cb`.

    Args:
        servers: The brokers, for the message.
        patience_seconds: For how long every broker may refuse before `check` raises; None: it never does.
    """

    def __init__(self, servers: str, patience_seconds: float | None) -> None:
        self._servers = servers
        self._patience = patience_seconds
        self._down_since: float | None = None
        self._why = "no connection"

    def on_error(self, error: KafkaError) -> None:
        """Takes an error of the client; called from its `poll`."""
        if error.code() in _UNCONNECTED:
            self._why = error.str()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._down_since is None:
            self._down_since = time.monotonic()

    def check(self) -> None:
        """Raises once all brokers have refused for longer than the patience.

        Raises:
            KafkaUnavailable: with the reason of the last refusal.
        """
        if self._patience is None or self._down_since is None:
            return
        if time.monotonic() - self._down_since >= self._patience:
            raise KafkaUnavailable(unreachable(self._servers, self._why))
