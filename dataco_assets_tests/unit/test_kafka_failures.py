"""Tests the classification of Kafka's errors: which can be retried, and what the messages name."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from dataco_assets.clients.kafka.failures import (
    KafkaFailure,
    KafkaUnavailable,
    MessageRefused,
    TopicMissing,
    Undeliverable,
    delivery_failure,
    translate,
)
from dataco_assets.errors import ErrorKind


def failure(code: int, text: str = "words") -> KafkaFailure:
    return translate(KafkaException(KafkaError(code, text)), "broker:9092", "clicks")


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._NOENT,  # "Failed to query partition leaders: No leaders found", while a broker starts
        KafkaError._WAIT_COORD,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
    ],
)
def test_brokers_that_are_away_or_not_ready_are_worth_another_try(code: int) -> None:
    found = failure(code)

    assert type(found) is KafkaUnavailable
    assert found.kind is ErrorKind.PASSING
    assert "broker:9092 does not answer (words)" in str(found)


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC])
def test_a_missing_topic_is_named_with_the_way_out(code: int) -> None:
    found = failure(code)

    assert type(found) is TopicMissing
    assert str(found) == "Topic clicks does not exist. `dataco setup` creates the platform's topics."


@pytest.mark.parametrize(
    "code", [KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION, KafkaError.INVALID_CONFIG]
)
def test_a_refusal_is_not_tried_again(code: int) -> None:
    found = failure(code)

    assert type(found) is KafkaFailure
    assert found.kind is ErrorKind.PERMANENT
    assert str(found) == "Kafka at broker:9092 refuses a request about clicks: words."


@pytest.mark.parametrize(
    ("code", "kind", "way_out"),
    [
        (KafkaError._MSG_TIMED_OUT, Undeliverable, "Is the broker running"),
        (KafkaError.NOT_ENOUGH_REPLICAS, Undeliverable, "Is the broker running"),
        (KafkaError._ALL_BROKERS_DOWN, Undeliverable, "Is the broker running"),
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageRefused, "max.message.bytes"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, MessageRefused, "permitted"),
        (KafkaError._UNKNOWN_TOPIC, TopicMissing, "dataco setup"),
    ],
)
def test_a_message_that_is_not_delivered(code: int, kind: type[KafkaFailure], way_out: str) -> None:
    found = delivery_failure(KafkaError(code, "words"), "broker:9092", "clicks")

    assert type(found) is kind
    assert way_out in str(found)
    assert found.kind is (ErrorKind.PASSING if kind is Undeliverable else ErrorKind.PERMANENT)
