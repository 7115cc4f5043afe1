"""How Spark's Kafka consumers, which are Java's, reach the brokers: the options of librdkafka in Java's words."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from dataco_assets.errors import DatacoError

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_SAME: Final = frozenset({"security.protocol", "client.id", "client.rack"})
_MECHANISM = ("sasl.mechanism", "sasl.mechanisms")
_LOGIN: Final[Mapping[str, str]] = {
    "PLAIN": "org.apache.kafka.common.security.plain.PlainLoginModule",
    "SCRAM-SHA-256": "org.apache.kafka.common.security.scram.ScramLoginModule",
    "SCRAM-SHA-512": "org.apache.kafka.common.security.scram.ScramLoginModule",
}
_ACCESS = ("ssl.", "sasl.", "enable.ssl.", "https.", "oauth")
"""Beginnings of the options that decide whether the brokers are reached at all; others are about speed."""


class KafkaAccessUnknown(DatacoError):
    """An option of the Kafka clients that live cannot translate."""


def java_options(settings: "Settings") -> dict[str, str]:
    """The options of Spark's Kafka consumers, without the prefix `kafka.`.

    Raises:
        KafkaAccessUnknown: an option on which access depends has no translation here.
    """
    given = dict(settings.kafka_client_options)
    options = {"bootstrap.servers": settings.kafka_bootstrap_servers}
    options |= {name: given.pop(name) for name in _SAME & given.keys()}
    mechanism = next((given.pop(name) for name in _MECHANISM if name in given), "")
    user, password = given.pop("sasl.username", ""), given.pop("sasl.password", "")
    if mechanism:
        if mechanism not in _LOGIN:
            raise _unknown(_MECHANISM[0])
        options["sasl.mechanism"] = mechanism
        login = f'username="{_quoted(user)}" password="{_quoted(password)}"'
        options["sasl.jaas.config"] = f"{_LOGIN[mechanism]} required {login};"
    if authority := given.pop("ssl.ca.location", ""):
        options |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": authority}
    if left := sorted(name for name in given if name.startswith(_ACCESS)):
        raise _unknown(left[0])
    return options


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _unknown(name: str) -> KafkaAccessUnknown:
    return KafkaAccessUnknown(
        f"DATACO_KAFKA_OPTIONS has {name}, which `dataco live` cannot hand to Spark's Kafka clients. It knows "
        "security.protocol, sasl.mechanism (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), sasl.username, sasl.password and "
        "ssl.ca.location."
    )
