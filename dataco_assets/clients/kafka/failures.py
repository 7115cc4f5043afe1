"""Kafka's errors as this platform's: which pass by themselves, and which need a person.

KafkaFailure               anything else that Kafka refuses                    permanent
├── KafkaUnavailable       no broker answers in time                           passing
├── Undeliverable          a message was not acknowledged in time              passing
├── AuthenticationFailed   the user or password is refused                     permanent
├── AccessDenied           the user may not do what was asked (ACLs)           permanent
├── TlsRefused             a certificate is not accepted                       permanent
├── MessageRefused         a message is too large or malformed                 permanent
├── TopicMissing           the topic does not exist                            permanent
└── OffsetsLost            offsets to be read are no longer in the topic       permanent
"""

import re

from confluent_kafka import KafkaError, KafkaException

from dataco_assets.errors import DatacoError, ErrorKind


class KafkaFailure(DatacoError):
    """Kafka could not do what was asked."""


class KafkaUnavailable(KafkaFailure):
    """No broker answers in time; trying again later may help."""

    kind = ErrorKind.PASSING


class AuthenticationFailed(KafkaFailure):
    """A broker refuses the credentials, and would refuse them again."""


class AccessDenied(KafkaFailure):
    """A broker's access control lists do not let the user do what was asked."""


class TlsRefused(KafkaFailure):
    """Client or broker does not accept the other's certificate, and would not accept it again."""


class TopicMissing(KafkaFailure):
    """The topic does not exist."""


class OffsetsLost(KafkaFailure):
    """Offsets that were to be read are no longer in the topic."""


class Undeliverable(KafkaFailure):
    """A message was not acknowledged in time."""

    kind = ErrorKind.PASSING


class MessageRefused(KafkaFailure):
    """A broker refuses a message, and would refuse it again: it is too large for the topic, or malformed."""


_MISSING: frozenset[int | None] = frozenset(
    {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_ID}
)
# Those errors the protocol calls retriable (https://kafka.apache.org/protocol#protocol_error_codes) that a client
# of ours can meet, and librdkafka's own for "no broker". _NOENT: no partition has a leader, as while a broker starts.
_UNREACHABLE: frozenset[int | None] = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._RESOLVE,
        KafkaError._SSL,  # a connection that ends during the handshake; for certificates see _TLS_REFUSALS
        KafkaError._NOENT,
        KafkaError._WAIT_COORD,
        KafkaError._WAIT_CACHE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.KAFKA_STORAGE_ERROR,
    }
)


_DENIED: frozenset[int | None] = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.DELEGATION_TOKEN_AUTHORIZATION_FAILED,
    }
)
_UNAUTHENTICATED: frozenset[int | None] = frozenset(
    {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM}
)
# With TLS 1.3, the broker's refusal of the client's certificate arrives when the connection counts as established.
_TLS: frozenset[int | None] = frozenset({KafkaError._SSL, KafkaError._TRANSPORT})
# librdkafka has no code for what failed in TLS. These are OpenSSL's words for those that time does not end: a
# certificate that is not accepted here, an alert (the broker accepts neither ours nor our versions), no TLS there.
_TLS_REFUSALS = ("certificate verify failed", "certificate could not be verified", " alert ", "wrong version number")
_UNACKNOWLEDGED = frozenset(
    {
        KafkaError._MSG_TIMED_OUT,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    }
)
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE})


_MEASURED = re.compile(
    r"\bafter \d+ms (?=in state )|, \d+ identical error\(s\) suppressed| \(after \d+ms, timeout #\d+\)"
)


def text_of(error: KafkaError) -> str:
    """What the client says of an error, without what it measures: the same error has the same text each time.

    The platform compares texts to report an error once. librdkafka adds how long a connection took to fail ("after 3ms
    in state CONNECT"), how often it had been reported, and how long a request had waited.
    """
    return _MEASURED.sub("", error.str())


def error_code(error: BaseException | None) -> int | None:
    """Kafka's code of an error of its client; None for any other."""
    return error.args[0].code() if isinstance(error, KafkaException) else None


def refusal(error: KafkaError, servers: str, what: str) -> KafkaFailure | None:
    """The permanent error that stands for refused credentials, rights or certificates; None for any other error.

    Args:
        error: As the client reported it.
        servers: The brokers.
        what: What was asked about, for the message: best a topic's name.
    """
    code, text = error.code(), text_of(error)
    if code in _DENIED:
        return AccessDenied(
            f"Kafka at {servers} does not permit a request about {what}: {text.rstrip('.')}. Grant the user of "
            "DATACO_KAFKA_OPTIONS the rights that docs/operations.md lists."
        )
    if code in _UNAUTHENTICATED:
        return AuthenticationFailed(
            f"Kafka at {servers} refuses the authentication ({text}). User and password are set by "
            "DATACO_KAFKA_OPTIONS."
        )
    if code in _TLS and any(words in text for words in _TLS_REFUSALS):
        return TlsRefused(
            f"Kafka at {servers} and this machine do not trust each other (TLS: {text}). ssl.ca.location in "
            "DATACO_KAFKA_OPTIONS must name the certificate of the authority that signed the brokers' certificates. "
            "Those must be valid today, and for the host names in DATACO_KAFKA_BOOTSTRAP_SERVERS and in the brokers' "
            "advertised.listeners. Where brokers ask for a certificate of the client, ssl.certificate.location and "
            "ssl.key.location name it."
        )
    return None


def translate(error: KafkaException, servers: str, what: str, trouble: str | None = None) -> KafkaFailure:
    """What an error means.

    Args:
        error: As the client raised it.
        servers: The brokers asked.
        what: What was asked about, for the message: best a topic's name.
        trouble: What the last connection failed with, where that is known: a time-out does not say why.
    """
    code = error_code(error)
    text = text_of(error.args[0])
    if code in _MISSING:
        return TopicMissing(missing(what))
    if refused := refusal(error.args[0], servers, what):
        return refused
    if code in _UNREACHABLE:
        return KafkaUnavailable(unreachable(servers, text, trouble))
    return KafkaFailure(f"Kafka at {servers} refuses a request about {what}: {text.rstrip('.')}.")


def delivery_failure(error: KafkaError, servers: str, topic: str, trouble: str | None = None) -> KafkaFailure:
    """The error for a message that a producer could not deliver.

    Args:
        error: As the client reported it.
        servers: The brokers.
        topic: The topic it was sent to.
        trouble: What the last connection failed with, where that is known.
    """
    code = error.code()
    if code in _MISSING:
        return TopicMissing(missing(topic))
    if refused := refusal(error, servers, f"a message to topic {topic}"):
        return refused
    if code in _UNREACHABLE or code in _UNACKNOWLEDGED or error.retriable():
        why = _joined(text_of(error), trouble)
        return Undeliverable(
            f"A message to topic {topic} was not acknowledged by Kafka at {servers}: {why}. "
            "Is the broker running (DATACO_KAFKA_BOOTSTRAP_SERVERS)?"
        )
    way_out = " Raise the topic's max.message.bytes." if code in _TOO_LARGE else ""
    return MessageRefused(f"Kafka at {servers} refuses a message to topic {topic}: {text_of(error)}.{way_out}")


def missing(topic: str) -> str:
    """What to say of a topic that does not exist."""
    return f"Topic {topic} does not exist. `dataco setup` creates the platform's topics."


def unreachable(servers: str, why: str, trouble: str | None = None) -> str:
    """What to say of brokers that do not answer."""
    return (
        f"Kafka at {servers} does not answer ({_joined(why, trouble)}). Is it running? Its address is "
        "DATACO_KAFKA_BOOTSTRAP_SERVERS."
    )


def _joined(why: str, trouble: str | None) -> str:
    return why if trouble is None or trouble in why else f"{why}; {trouble}"
