"""What Kafka's errors mean: a broker away, a topic missing, offsets gone, a message not taken, or a refusal.

A broker that does not answer is `KafkaUnavailable`; offsets that no longer exist are `OffsetsLost`; neither is ever
taken for the other. Does not belong here: calls.
"""

from confluent_kafka import KafkaError, KafkaException

from dataco_assets.errors import DatacoError, ErrorKind


class KafkaFailure(DatacoError):
    """Kafka could not do what was asked."""


class KafkaUnavailable(KafkaFailure):
    """No broker answers in time; trying again later may help."""

    kind = ErrorKind.PASSING


class TopicMissing(KafkaFailure):
    """The topic does not exist."""


class OffsetsLost(KafkaFailure):
    """Offsets that were to be read are no longer in the topic."""


class Undeliverable(KafkaFailure):
    """A broker refuses a message, or did not acknowledge it in time."""

    kind = ErrorKind.PASSING


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


def missing(topic: str) -> str:
    """What to say of a topic that does not exist."""
    return f"Topic {topic} does not exist. `dataco setup` creates the platform's topics."


def unreachable(servers: str, why: str) -> str:
    """What to say of brokers that do not answer."""
    return f"Kafka at {servers} does not answer ({why}). Is it running? Its address is DATACO_KAFKA_BOOTSTRAP_SERVERS."
