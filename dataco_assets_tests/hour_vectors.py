"""Reads the hand-written test vectors of hours, `vectors/hours.json`: clicks around 12:00, and that hour's aggregates.

Each implementation of the aggregates has a test that compares it with them.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dataco_assets.clicks.bot_agents import AGENTS
from dataco_assets.clicks.bots import BotRule
from dataco_assets_tests.oracle import Bots, Key, OracleClick, OracleRow

NOON = 1_773_576_000_000
"""2026-03-15 12:00 UTC, epoch ms."""
RULE = Bots(AGENTS, 6)
"""The rule about bots by which the examples are written."""
BOTS = BotRule(frozenset(RULE.agents), RULE.clicks_per_minute)
"""The same for the platform."""


@dataclass(frozen=True)
class HourVector:
    """One example.

    Attributes:
        clicks: All clicks; users, pages and row keys occur in no other example.
        touches: For each click, the hours it touches, epoch ms.
        rows: The expected aggregates of the hour at 12:00.
    """

    clicks: tuple[OracleClick, ...]
    touches: tuple[tuple[int, ...], ...]
    rows: dict[Key, OracleRow]


def read_vectors() -> dict[str, HourVector]:
    """The examples by name."""
    found = json.loads((Path(__file__).parent / "vectors" / "hours.json").read_text(encoding="utf-8"))
    return {example["name"]: _vector(number, example) for number, example in enumerate(found)}


def _vector(number: int, example: dict[str, Any]) -> HourVector:
    clicks = tuple(
        OracleClick(
            row_key=f"{number:02d}-{place:02d}",
            user_id=f"{click['user']}-{number}",
            timestamp=_time(click["at"]),
            page=_page(number, click["page"]),
            country=click.get("country", "FR"),
            browser=click.get("browser"),
            device=click.get("device"),
        )
        for place, click in enumerate(example["clicks"])
    )
    touches = tuple(tuple(map(_time, click["touches"])) for click in example["clicks"])
    rows = {}
    for group, measures in example["rows"].items():
        page, country = group.split()
        rows[NOON, _page(number, page), country] = OracleRow(**measures)
    return HourVector(clicks, touches, rows)


def _page(number: int, name: str) -> str:
    return f"https://a.example/{number}/{name}"


def _time(text: str) -> int:
    return round(datetime.fromisoformat(f"2026-03-15T{text}").replace(tzinfo=UTC).timestamp() * 1000)
