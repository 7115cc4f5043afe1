"""Kafka's errors as this platform's: which pass by themselves, and which need a person.

KafkaFailure               anything else that Kafka refuses                    permanent
├── KafkaUnavailable       no broker answers in time                           passing
├── Undeliverable          a message was not acknowledged in time              passing
├── AuthenticationFailed   the user or password is refused                 permanent
├── MessageRefused         a message is too large, or may not be written       permanent
├── TopicMissing           the topic does not exist                            permanent
└── OffsetsLost            offsets to be read are no longer in the topic       permanent
"""

from confluent_kafka import KafkaError, KafkaException

from dataco_assets.errors import DatacoError, ErrorKind


class KafkaFailure(DatacoError):
    """Kafka could not do what was asked."""


class KafkaUnavailable(KafkaFailure):
    """No broker answers in time; trying again later may help."""

    kind = ErrorKind.PASSING


class AuthenticationFailed(KafkaFailure):
    """A broker refuses the credentials, and would refuse them again."""


class TopicMissing(KafkaFailure):
    """The topic does not exist."""


class OffsetsLost(KafkaFailure):
    """Offsets that were to be read are no longer in the topic."""


class Undeliverable(KafkaFailure):
    """A message was not acknowledged in time."""

    kind = ErrorKind.PASSING


class MessageRefused(KafkaFailure):
    """A broker refuses a message, and would refuse it again: too large for the topic, or no permission to write."""


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


def error_code(error: BaseException | None) -> int | None:
    """Kafka's code of an error of its client; None for any other."""
    return error.args[0].code() if isinstance(error, KafkaException) else None


def translate(error: KafkaException, servers: str, what: str) -> KafkaFailure:
    """What an error means.

    Args:
        error: As the client raised it.
        servers: The brokers asked.
        what: What was asked about, for the message: best a topic's name.
    """
    code = error_code(error)
    text = error.args[0].str()
    if code in _MISSING:
        return TopicMissing(missing(what))
    if code in _UNREACHABLE:
        return KafkaUnavailable(unreachable(servers, text))
    return KafkaFailure(f"Kafka at {servers} refuses a request about {what}: {text}.")


def delivery_failure(error: KafkaError, servers: str, topic: str) -> KafkaFailure:
    """The error for a message that a producer could not deliver.

    Args:
        error: As the client reported it.
        servers: The brokers.
        topic: The topic it was sent to.
    """
    code = error.code()
    if code in _MISSING:
        return TopicMissing(missing(topic))
    if code in _UNREACHABLE or code in _UNACKNOWLEDGED or error.retriable():
        return Undeliverable(
            f"A message to topic {topic} was not acknowledged by Kafka at {servers}: {error.str()}. Is the broker "
            "running (DATACO_KAFKA_BOOTSTRAP_SERVERS)?"
        )
    way_out = "Raise the topic's max.message.bytes." if code in _TOO_LARGE else "Is writing to the topic permitted?"
    return MessageRefused(f"Kafka at {servers} refuses a message to topic {topic}: {error.str()}. {way_out}")


def missing(topic: str) -> str:
    """What to say of a topic that does not exist."""
    return f"Topic {topic} does not exist. `dataco setup` creates the platform's topics."


def unauthenticated(servers: str, why: str) -> str:
    """What to say of brokers that refuse the credentials."""
    return f"Kafka at {servers} refuses the authentication ({why}). User and password are set by DATACO_KAFKA_OPTIONS."


def unreachable(servers: str, why: str) -> str:
    """What to say of brokers that do not answer."""
    return f"Kafka at {servers} does not answer ({why}). Is it running? Its address is DATACO_KAFKA_BOOTSTRAP_SERVERS."
