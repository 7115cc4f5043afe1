"""Tests that commands report at once brokers that refuse connections or whose name does not resolve."""

import time

import pytest

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.failures import KafkaUnavailable
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clients.kafka.topics import KafkaAdmin

NOBODY = [("127.0.0.1:1", "Connection refused"), ("nohost.invalid:9092", "Failed to resolve")]


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


def test_a_run_waits_for_its_whole_timeout() -> None:
    with pytest.raises(KafkaUnavailable):
        KafkaAdmin(Brokers("127.0.0.1:1"), timeout_seconds=1.0).topic("clicks")
