"""Tests the buckets of the time spent with hand-written vectors, and their percentiles with exact ones."""

import json
import random
from collections import Counter
from math import ceil
from pathlib import Path
from typing import Any

import pytest

from dataco_assets.clicks.time_spent import BUCKETS, LOWER_LIMITS_MS, bucket_of, percentile

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "time_spent.json").read_text(encoding="utf-8")
)
LONGEST_MS = 1_800_000


@pytest.mark.parametrize("vector", VECTORS["buckets"], ids=lambda vector: vector["ms"])
def test_the_bucket_of_a_time(vector: dict[str, Any]) -> None:
    assert bucket_of(vector["ms"]) == vector["bucket"]


def test_the_vectors_name_every_bucket() -> None:
    assert {vector["bucket"] for vector in VECTORS["buckets"]} == set(BUCKETS)


@pytest.mark.parametrize("spent_ms", [-1, LONGEST_MS + 1])
def test_what_is_no_time_spent_has_no_bucket(spent_ms: int) -> None:
    with pytest.raises(ValueError, match=f"{spent_ms} ms"):
        bucket_of(spent_ms)


@pytest.mark.parametrize("vector", VECTORS["percentiles"], ids=lambda vector: vector["name"])
def test_the_percentiles_of_counts(vector: dict[str, Any]) -> None:
    for percent in (50, 90):
        expected = vector[f"p{percent}"]
        assert percentile(vector["counts"], percent) == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(("counts", "percent"), [({"from_1_ms": 1}, 50), ({}, 0), ({}, 100.1)])
def test_a_wrong_question_is_refused(counts: dict[str, int], percent: float) -> None:
    with pytest.raises(ValueError, match=r"bucket|percentage"):
        percentile(counts, percent)


@pytest.mark.parametrize("seed", range(20))
def test_a_percentile_is_in_the_bucket_of_the_exact_one(seed: int) -> None:
    """However the times are distributed, and in however many parts they were counted."""
    chance = random.Random(seed)
    middle = chance.uniform(0, 12)
    times = [
        min(LONGEST_MS, round(1000 * chance.lognormvariate(middle, 1.5) / 50)) for _ in range(chance.randint(1, 999))
    ]
    whole = Counter(map(bucket_of, times))
    part = chance.randrange(len(times))
    assert Counter(map(bucket_of, times[:part])) + Counter(map(bucket_of, times[part:])) == whole
    for percent in (1, 10, 50, 90, 99, 100):
        exact = sorted(times)[ceil(len(times) * percent / 100) - 1] / 1000
        found = percentile(whole, percent)
        assert found is not None
        limits = [limit / 1000 for limit in (*LOWER_LIMITS_MS, LONGEST_MS)]
        place = BUCKETS.index(bucket_of(round(exact * 1000)))
        assert limits[place] <= found <= limits[place + 1]
