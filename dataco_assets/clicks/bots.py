"""The rule by which a click counts as of a bot: what it consists of, and its fingerprint. Pure.

A click is of a bot if its browser or its device is one of the rule's agents, or if its user made at least
`clicks_per_minute` clicks in the same minute of the clock (UTC), whatever their browsers: then all clicks of that user
and minute are. Such clicks are marked (`bot_clicks`), never left out: they count in every other measure as well.

A minute lies within an hour, so what the rule says of an hour's clicks depends on that hour alone.

The rule is applied by Spark (`spark_resources/aggregation.py`), by live (`spark_resources/java`) and, without their
code, by the verification (`verification/recompute.py`).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from dataco_assets.clicks.bot_agents import AGENTS

MINUTE_MS: Final = 60_000
_FINGERPRINT_DIGITS: Final = 12


@dataclass(frozen=True)
class BotRule:
    """Which clicks count as of bots.

    Attributes:
        agents: Browser and device families of bots, letter for letter.
        clicks_per_minute: Clicks of a user in a minute of the clock from which all of them count; 0: any number may be
            a person's.
    """

    agents: frozenset[str]
    clicks_per_minute: int

    @classmethod
    def of(cls, further_agents: Iterable[str], clicks_per_minute: int) -> Self:
        """The rule of the maintained list and further agents."""
        return cls(frozenset(AGENTS).union(further_agents), clicks_per_minute)

    @property
    def fingerprint(self) -> str:
        """The same text for the same rule only, 12 hex digits."""
        content = json.dumps([sorted(self.agents), self.clicks_per_minute])
        return hashlib.sha256(content.encode()).hexdigest()[:_FINGERPRINT_DIGITS]
