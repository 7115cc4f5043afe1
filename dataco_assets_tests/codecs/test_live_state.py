"""Tests that live's Java code and the plain-Python oracle take the same steps, over random clicks of a user."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from dataco_assets.aggregates.live_sums import MEASURES
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS
from dataco_assets_tests.java_harness import LIVE, answered_bytes, compiled
from dataco_assets_tests.live_oracle import answer

MONTH_END = 1_769_900_400_000
"""2026-01-31 23:00 UTC: the hours around the end of an hour, a day and a month."""
CASES = 4_000
# Gaps at the limit of a visit and the ends of hours are what goes wrong: most times are near one of them.
EDGES = [MONTH_END + step * VISIT_GAP_MS for step in range(-3, 9)]
SHIFTS = [-1_000, -1, 0, 1, 999, 1_500, 61_000]


def case(chance: random.Random) -> dict[str, Any]:
    """Some micro-batches of a user: early, late, twice, overwritten, erased, with a watermark that moves at times."""
    watermark, offset, steps = 0, 0, []
    for _ in range(chance.randint(1, 6)):
        arrivals = []
        for _ in range(chance.choice([0, 1, 1, 2, 5, 12])):
            offset += 1
            at = chance.choice(EDGES) + chance.choice([*SHIFTS, chance.randrange(VISIT_GAP_MS)])
            key = f"{chance.choice([0, 1, 2, 1 << 63, 1 << 127]):032x}"
            arrived = at + chance.choice([-MAX_AHEAD_MS, 0, HOUR_MS])
            page, country = chance.choice(["https://a.example/", "https://b.example/ü"]), chance.choice(["DE", "ZZ"])
            by_bot = chance.random() < 0.2
            arrivals.append([chance.randrange(2), offset, at, key, arrived, page, country, by_bot])
        chance.shuffle(arrivals)
        erased = {"erased": chance.choice(EDGES) + chance.choice(SHIFTS)} if chance.random() < 0.15 else {}
        steps.append({"watermark": watermark, "arrivals": arrivals, **erased})
        if chance.random() < 0.3:
            watermark = max(watermark, chance.choice(EDGES) - HOUR_MS + chance.choice(SHIFTS))
    first_hour = chance.choice([0, MONTH_END, MONTH_END + HOUR_MS])
    return {"first_hour": first_hour, "clicks_per_minute": chance.choice([0, 1, 2, 3]), "steps": steps}


@pytest.mark.timeout(900)  # a first build downloads Maven's plugins
def test_java_takes_the_oracles_steps(tmp_path: Path) -> None:
    chance = random.Random(20_260_131)
    cases = [case(chance) for _ in range(CASES)]
    lines = "\n".join(json.dumps(each) for each in [list(MEASURES), *cases])
    answers = answered_bytes(
        compiled(LIVE, tmp_path), ["dataco.live.StateHarness"], lines.encode(), tmp_path, seconds=120
    )
    found = [json.loads(line) for line in answers.read_text().splitlines()]
    assert len(found) == CASES
    for number, (each, steps) in enumerate(zip(cases, found, strict=True)):
        assert steps == answer(each), f"case {number}: {json.dumps(each)}"
    seen = [step for steps in found for step in steps]
    bots = [numbers for step in seen for *_, numbers in step["differences"] if "bot_clicks" in numbers]
    assert len(bots) > CASES // 10
    assert sum(bool(step["differences"]) for step in seen) > CASES, "cases that change nothing prove nothing"
