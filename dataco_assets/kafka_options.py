"""Which further options of the Kafka clients an operator may set, and the check of their names and values.

Does not belong here: making clients (`dataco_assets.clients.kafka`), and the options they set themselves.
"""

from collections.abc import Mapping
from typing import Any

_SECRET_LENGTH = 4  # shorter values are replaced in quotes only: they are part of other words
_OFFSETS = "the platform itself decides which offsets are read and when they are committed"
_ACKNOWLEDGED = "a click counts as delivered only when all in-sync replicas have it, once and in order"

RESERVED: Mapping[str, str] = {
    "bootstrap.servers": "set DATACO_KAFKA_BOOTSTRAP_SERVERS instead",
    "metadata.broker.list": "set DATACO_KAFKA_BOOTSTRAP_SERVERS instead",
    "group.id": "set DATACO_KAFKA_GROUP instead",
    "group.instance.id": _OFFSETS,
    "group.protocol": _OFFSETS,
    "enable.auto.commit": _OFFSETS,
    "auto.commit.enable": _OFFSETS,
    "enable.auto.offset.store": _OFFSETS,
    "enable.partition.eof": _OFFSETS,
    "auto.offset.reset": "an offset that is gone must be an error: any other value hides lost clicks",
    "isolation.level": "messages of aborted transactions must not be stored",
    "acks": _ACKNOWLEDGED,
    "request.required.acks": _ACKNOWLEDGED,
    "enable.idempotence": _ACKNOWLEDGED,
    "enable.gapless.guarantee": _ACKNOWLEDGED,
    "max.in.flight": _ACKNOWLEDGED,
    "max.in.flight.requests.per.connection": _ACKNOWLEDGED,
    "retries": _ACKNOWLEDGED,
    "message.send.max.retries": _ACKNOWLEDGED,
    "transactional.id": _ACKNOWLEDGED,
    "delivery.timeout.ms": "each command and run has its own deadline",
    "message.timeout.ms": "each command and run has its own deadline",
    "message.max.bytes": "the topic's own limit, which brokers enforce, is the only one",
    "receive.message.max.bytes": "a smaller limit would stop at the first larger message, for ever",
}
"""Options that the platform's guarantees rest on, with their aliases: name → why it cannot be set."""


def check_options(options: Mapping[str, str]) -> None:
    """Has the client library check further options, without a connection.

    Args:
        options: Names and values as librdkafka has them.

    Raises:
        ValueError: an option is reserved or unknown, or its value cannot be used. The message quotes no value.
    """
    if not options:
        return
    for name, why in RESERVED.items():
        if name in options:
            raise ValueError(f"must not hold {name}: {why}")

    import logging

    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    config: dict[str, Any] = {**options, "logger": logging.Logger("silent", level=logging.CRITICAL + 1)}
    try:
        AdminClient(config)
    except KafkaException as error:
        raise ValueError(f"is refused by the Kafka client: {_masked(error.args[0].str(), options)}") from None
    except (TypeError, ValueError):  # a callback of the Python client, given as a text
        raise ValueError("must hold options of librdkafka only, like security.protocol") from None


def _masked(text: str, options: Mapping[str, str]) -> str:
    for value in sorted(filter(None, options.values()), key=len, reverse=True):
        for quoted in (f'"{value}"', f": {value}", *([value] if len(value) >= _SECRET_LENGTH else ())):
            text = text.replace(quoted, quoted.replace(value, "***"))
    return " ".join(text.split())
