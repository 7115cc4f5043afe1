"""Who stores the clicks of a topic; recorded in the offset ledger (`offsets`), which says how it is enforced."""

from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """Who stores the clicks of a topic."""

    DRAIN = "drain"
    """Runs of Dagster."""
    CONNECT = "connect"
    """Tasks of Kafka Connect."""

    @property
    def described(self) -> str:
        """The mode in words, for messages."""
        return "the drain (runs of Dagster)" if self is Mode.DRAIN else "Kafka Connect"


@dataclass(frozen=True)
class Owner:
    """Who stores the clicks of a topic, and how often that was changed."""

    mode: Mode = Mode.DRAIN
    epoch: int = 0
