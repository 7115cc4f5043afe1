"""Tests the classification of Kafka's errors: which can be retried, and what the messages name."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from dataco_assets.clients.kafka.failures import (
    AccessDenied,
    AuthenticationFailed,
    KafkaFailure,
    KafkaUnavailable,
    MessageRefused,
    TlsRefused,
    TopicMissing,
    Undeliverable,
    delivery_failure,
    refusal,
    translate,
)
from dataco_assets.clients.kafka.reachability import Reachability
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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            "refused (after 0ms in state CONNECT)",
            "refused (after 13ms in state CONNECT, 1 identical error(s) suppressed)",
        ),
        ("Timed out (after 10003ms, timeout #0)", "Timed out (after 9999ms, timeout #3)"),
    ],
)
def test_the_same_error_has_the_same_text_each_time(first: str, second: str) -> None:
    reachability, told = Reachability("broker:9092", None), set[str | None]()
    for text in (first, second):
        error = KafkaError(KafkaError._TRANSPORT, text)
        reachability.on_error(error)
        told |= {str(failure(error.code(), text)), str(delivery_failure(error, "broker:9092", "clicks"))}
        told.add(reachability.trouble)
    assert len(told) == 3


@pytest.mark.parametrize("code", [KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC])
def test_a_missing_topic_is_named_with_the_way_out(code: int) -> None:
    found = failure(code)

    assert type(found) is TopicMissing
    assert str(found) == "Topic clicks does not exist. `dataco setup` creates the platform's topics."


def test_a_refusal_is_not_tried_again() -> None:
    found = failure(KafkaError.INVALID_CONFIG)

    assert type(found) is KafkaFailure
    assert found.kind is ErrorKind.PERMANENT
    assert str(found) == "Kafka at broker:9092 refuses a request about clicks: words."


NO_TRUST = "ssl://b/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker"
ALERT = "ssl://b/bootstrap: SSL handshake failed: error:0A00045C:SSL routines::tlsv13 alert certificate required"
NO_TLS = "ssl://b/bootstrap: SSL handshake failed: error:0A00010B:SSL routines::wrong version number"
GONE = "ssl://b/bootstrap: SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"


@pytest.mark.parametrize(
    ("code", "text", "kind"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "words", AccessDenied),
        (KafkaError.GROUP_AUTHORIZATION_FAILED, "words", AccessDenied),
        (KafkaError.CLUSTER_AUTHORIZATION_FAILED, "words", AccessDenied),
        (KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, "words", AccessDenied),
        (KafkaError._AUTHENTICATION, "words", AuthenticationFailed),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "words", AuthenticationFailed),
        (KafkaError._SSL, NO_TRUST, TlsRefused),
        (KafkaError._SSL, ALERT, TlsRefused),
        (KafkaError._SSL, NO_TLS, TlsRefused),
        (KafkaError._SSL, GONE, KafkaUnavailable),
        (KafkaError._TRANSPORT, GONE, KafkaUnavailable),
    ],
)
def test_rights_credentials_and_certificates_have_one_meaning_whoever_reports_them(
    code: int, text: str, kind: type[KafkaFailure]
) -> None:
    """In the reply to a request, for a message, as an event of a consumer, and from a connection."""
    error = KafkaError(code, text)
    permanent = kind is not KafkaUnavailable
    delivered = delivery_failure(error, "broker:9092", "clicks")
    asked = failure(code, text)
    assert type(asked) is kind
    assert type(delivered) is (kind if permanent else Undeliverable)
    assert isinstance(refusal(error, "broker:9092", "clicks"), kind if permanent else type(None))
    connection = Reachability("broker:9092", None)
    connection.on_error(error)
    if permanent:
        with pytest.raises(kind):
            connection.check()
    else:
        connection.check()
    for found in (asked, delivered):
        assert found.kind is (ErrorKind.PERMANENT if permanent else ErrorKind.PASSING)
        assert "broker:9092" in str(found)
        assert text in str(found)
        assert ("DATACO_KAFKA_OPTIONS" if permanent else "DATACO_KAFKA_BOOTSTRAP_SERVERS") in str(found)


def test_a_time_out_says_what_the_connections_failed_with() -> None:
    error = KafkaException(KafkaError(KafkaError._TIMED_OUT, "Timed out"))
    trouble = "Failed to resolve 'nohost:9092'"

    assert f"(Timed out; {trouble})" in str(translate(error, "nohost:9092", "clicks", trouble))
    assert f"Timed out; {trouble}." in str(delivery_failure(error.args[0], "nohost:9092", "clicks", trouble))


@pytest.mark.parametrize(
    ("code", "kind", "way_out"),
    [
        (KafkaError._MSG_TIMED_OUT, Undeliverable, "Is the broker running"),
        (KafkaError.NOT_ENOUGH_REPLICAS, Undeliverable, "Is the broker running"),
        (KafkaError._ALL_BROKERS_DOWN, Undeliverable, "Is the broker running"),
        (KafkaError.MSG_SIZE_TOO_LARGE, MessageRefused, "max.message.bytes"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, AccessDenied, "docs/operations.md"),
        (KafkaError._UNKNOWN_TOPIC, TopicMissing, "dataco setup"),
    ],
)
def test_a_message_that_is_not_delivered(code: int, kind: type[KafkaFailure], way_out: str) -> None:
    found = delivery_failure(KafkaError(code, "words"), "broker:9092", "clicks")

    assert type(found) is kind
    assert way_out in str(found)
    assert found.kind is (ErrorKind.PASSING if kind is Undeliverable else ErrorKind.PERMANENT)
