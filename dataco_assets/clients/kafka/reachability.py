"""Reports early that brokers refuse connections, credentials or certificates.

librdkafka by itself tries all of them again until a deadline, and then reports a time-out.
"""

import time

from confluent_kafka import KafkaError

from dataco_assets.clients.kafka.failures import KafkaFailure, KafkaUnavailable, refusal, text_of, unreachable

PERSON_SECONDS = 2.0
"""How long a person at a terminal waits for a port that refuses; a run rides over the restart of a broker."""
_UNCONNECTED = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._SSL})


class Reachability:
    """What a client's connection errors amount to; pass `on_error` to the client as its `error_cb`.

    Args:
        servers: The brokers, for the message.
        patience_seconds: For how long every broker may refuse before `check` raises; None: for ever.
    """

    def __init__(self, servers: str, patience_seconds: float | None) -> None:
        self._servers = servers
        self._patience = patience_seconds
        self._down_since: float | None = None
        self._refusal: KafkaFailure | None = None
        self.trouble: str | None = None
        """What the last connection failed with."""

    def on_error(self, error: KafkaError) -> None:
        """Takes an error of the client; called from its `poll`."""
        self._refusal = self._refusal or refusal(error, self._servers, "this client")
        if error.code() in _UNCONNECTED:
            self.trouble = text_of(error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and self._down_since is None:
            self._down_since = time.monotonic()

    def check(self) -> None:
        """Raises once a broker has refused this client, or all have refused connections beyond the patience.

        Raises:
            AuthenticationFailed, TlsRefused, AccessDenied: with the reason.
            KafkaUnavailable: with the reason of the last refusal.
        """
        if self._refusal is not None:
            raise self._refusal
        if self._patience is None or self._down_since is None:
            return
        if time.monotonic() - self._down_since >= self._patience:
            raise KafkaUnavailable(unreachable(self._servers, self.trouble or "no connection"))
