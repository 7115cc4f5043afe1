"""Sends generated clicks in bulk, at a steady rate or in transactions, and records them in the truth.

It uses a plain producer, not the platform's.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaError, Message, Producer

from dataco_assets.sources.generator import GeneratorSpec, SentClick, generate
from dataco_assets_tests.faults.truth import Truth
from dataco_assets_tests.platforms import Platform

_ACKNOWLEDGED_WITHIN_SECONDS = 300
_TICK_SECONDS = 0.05
_LARGEST_STREAM = 5_000_000


class Traffic:
    """The producers of one platform's clicks.

    Args:
        platform: Where the clicks go.
        seed: Seed of the generator.
    """

    def __init__(self, platform: Platform, seed: int) -> None:
        self.truth = Truth()
        self._platform = platform
        self._seed = seed
        self._streams = 0
        self._producer = self._make_producer()

    def send(self, count: int, *, encode: Callable[[bytes], bytes | None] | None = None, **spec: Any) -> None:
        """Sends messages as fast as possible, and returns when all are acknowledged.

        Args:
            count: Number of messages.
            encode: Puts valid clicks in another format; None: this one stays in JSON.
            spec: Shares that differ; see `GeneratorSpec`.
        """
        with _Sender(self._producer, self._platform.settings.clicks_topic) as sender:
            for sent in self._stream(count, **spec):
                written = encode(sent.value) if encode and sent.valid and sent.value else None
                sender.send(sent if written is None else sent._replace(value=written))
                self.truth.add(sent, written)

    def send_in_vain(self, count: int) -> None:
        """Sends messages that will be lost before they are read, without adding them to the truth."""
        with _Sender(self._producer, self._platform.settings.clicks_topic) as sender:
            for sent in self._stream(count):
                sender.send(sent)

    def steady(self, per_second: int) -> "SteadyLoad":
        """A thread that sends at a steady rate; use it as a context manager."""
        stream = self._stream(_LARGEST_STREAM, hours=48.0)
        sender = _Sender(self._producer, self._platform.settings.clicks_topic)
        return SteadyLoad(sender, self.truth, stream, per_second)

    def transaction(self, count: int, *, commit: bool) -> None:
        """Sends messages in one transaction, and commits it or rolls it back."""
        stream = list(self._stream(count))
        producer = self._make_producer(
            **{
                "transactional.id": f"{self._platform.settings.clicks_topic}-{self._streams}",
                "transaction.timeout.ms": _ACKNOWLEDGED_WITHIN_SECONDS * 1000,
            }
        )
        producer.init_transactions(60)
        producer.begin_transaction()
        with _Sender(producer, self._platform.settings.clicks_topic) as sender:
            for sent in stream:
                sender.send(sent)
        if not commit:
            producer.abort_transaction(60)
            return
        producer.commit_transaction(60)
        for sent in stream:
            self.truth.add(sent)

    def _stream(self, count: int, **spec: Any) -> Iterator[SentClick]:
        self._streams += 1
        values: dict[str, Any] = {
            "until_ms": time.time_ns() // 1_000_000,
            "seed": self._seed * 1_000 + self._streams,
            "duplicates": 0.02,
            "malformed": 0.02,
            "late": 0.05,
            "users": 5_000,
            **spec,
        }
        return generate(GeneratorSpec(count=count, **values))

    def _make_producer(self, **config: Any) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._platform.settings.kafka_bootstrap_servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "delivery.timeout.ms": _ACKNOWLEDGED_WITHIN_SECONDS * 1000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                **config,
            }
        )


class SteadyLoad:
    """Sends at a steady rate until the context is left, then waits until everything is acknowledged.

    Attributes:
        sent: Messages sent so far.
    """

    def __init__(self, sender: "_Sender", truth: Truth, stream: Iterable[SentClick], per_second: int) -> None:
        self.sent = 0
        self._sender = sender
        self._truth = truth
        self._stream = iter(stream)
        self._per_tick = max(1, int(per_second * _TICK_SECONDS))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady-load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.end()
        self._ended.set()

    def end(self) -> None:
        """Stops sending, and returns when everything sent is acknowledged."""
        self._ended.set()
        self._thread.join(_ACKNOWLEDGED_WITHIN_SECONDS)
        self._sender.wait_acknowledged()

    def _run(self) -> None:
        while not self._ended.wait(_TICK_SECONDS):
            for _ in range(self._per_tick):
                sent = next(self._stream)
                self._sender.send(sent)
                self._truth.add(sent)
                self.sent += 1


class _Sender:
    """Sends messages through a producer and checks that each is acknowledged."""

    def __init__(self, producer: Producer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._refused: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.wait_acknowledged()

    def wait_acknowledged(self) -> None:
        left = self._producer.flush(_ACKNOWLEDGED_WITHIN_SECONDS)
        assert not left, f"{left} messages were not acknowledged"
        assert not self._refused, self._refused[:3]

    def send(self, sent: SentClick) -> None:
        while True:
            try:
                self._producer.produce(self._topic, sent.value, key=sent.key, on_delivery=self._on_delivery)
            except BufferError:  # the broker is down and the queue is full
                self._producer.poll(0.1)
            else:
                self._producer.poll(0)
                return

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused.append(error.str())
