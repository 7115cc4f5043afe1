"""Tests that commands report at once brokers that refuse connections or whose name does not resolve."""

import time
from collections.abc import Callable

import pytest

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import RangeConsumer
from dataco_assets.clients.kafka.failures import KafkaUnavailable, Undeliverable
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clients.kafka.topics import KafkaAdmin, OffsetRange, TopicState
from dataco_assets.errors import ErrorKind

NOBODY = [("127.0.0.1:1", "Connection refused"), ("nohost.invalid:9092", "Failed to resolve")]
_TIMEOUT_SECONDS = 3.0
"""Long enough for a resolver on a busy machine: without its answer there is no reason to report."""


@pytest.mark.parametrize(("servers", "why"), NOBODY)
def test_a_metadata_call_says_why_within_the_patience(servers: str, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(KafkaUnavailable, match=rf"{servers} does not answer.*{why}"):
        KafkaAdmin(Brokers(servers), timeout_seconds=60, refused_seconds=0.5).topic("clicks")
    assert time.monotonic() - began < 20  # not the 60 s of the call


@pytest.mark.parametrize(("servers", "why"), NOBODY)
def test_a_message_that_nobody_takes_is_given_up_within_the_patience(servers: str, why: str) -> None:
    began = time.monotonic()
    with (
        pytest.raises(KafkaUnavailable, match=rf"{servers} does not answer.*{why}"),
        AckedProducer(Brokers(servers), "clicks", timeout_seconds=60, refused_seconds=0.5) as producer,
    ):
        producer.send(None, b"{}")
    assert time.monotonic() - began < 20


def send(brokers: Brokers) -> None:
    with AckedProducer(brokers, "clicks", timeout_seconds=_TIMEOUT_SECONDS) as producer:
        producer.send(None, b"{}")


def read(brokers: Brokers) -> None:
    with RangeConsumer(brokers, "group", "clicks", [OffsetRange(0, 0, 1)], stall_seconds=_TIMEOUT_SECONDS) as consumer:
        list(consumer.batches())


@pytest.mark.parametrize(("servers", "why"), NOBODY)
@pytest.mark.parametrize(
    "use",
    [
        lambda brokers: KafkaAdmin(brokers, timeout_seconds=_TIMEOUT_SECONDS).topic("clicks"),
        lambda brokers: KafkaAdmin(brokers, timeout_seconds=_TIMEOUT_SECONDS).topics(),
        lambda brokers: KafkaAdmin(brokers, timeout_seconds=_TIMEOUT_SECONDS).committed(
            "g", TopicState("clicks", "id", (0,))
        ),
        send,
        read,
    ],
    ids=["describe", "list", "committed", "send", "read"],
)
def test_a_run_waits_for_its_whole_timeout_and_then_says_why(
    use: Callable[[Brokers], object], servers: str, why: str
) -> None:
    with pytest.raises((KafkaUnavailable, Undeliverable), match=rf"(?s){servers}.*{why}") as caught:
        use(Brokers(servers))
    assert caught.value.kind is ErrorKind.PASSING
    assert "DATACO_KAFKA_BOOTSTRAP_SERVERS" in str(caught.value)
