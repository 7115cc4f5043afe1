"""The distribution of the time spent: counts in fixed buckets, which add up over any rows, and percentiles of them.

Pure arithmetic on milliseconds. The buckets are logarithmic, two to a doubling: their limits are 1 s and 1.5 s, and
those two doubled again and again. They must never change: counts of different limits cannot be added up.
"""

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from dataco_assets.clicks.hour import VISIT_GAP_MS

LOWER_LIMITS_MS: Final[tuple[int, ...]] = (
    *(0, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000, 48_000, 64_000, 96_000),
    *(128_000, 192_000, 256_000, 384_000, 512_000, 768_000, 1_024_000, 1_536_000),
)
"""Least time of each bucket, ms. Each ends where the next begins; the last one includes its end, `VISIT_GAP_MS`."""

BUCKETS: Final[tuple[str, ...]] = tuple(f"from_{lower}_ms" for lower in LOWER_LIMITS_MS)
"""Names of the buckets, shortest time first."""

_UPPER_LIMITS_MS = (*LOWER_LIMITS_MS[1:], VISIT_GAP_MS)


def bucket_of(spent_ms: int) -> str:
    """The bucket of a known time spent.

    Raises:
        ValueError: it is below 0 or above `VISIT_GAP_MS`.
    """
    if not 0 <= spent_ms <= VISIT_GAP_MS:
        raise ValueError(f"{spent_ms} ms is no time spent between two clicks of a visit")
    return BUCKETS[bisect_right(LOWER_LIMITS_MS, spent_ms) - 1]


def percentile(counts: Mapping[str, float], percent: float) -> float | None:
    """The time that a share of the clicks do not exceed, in seconds; None without any click.

    It lies in the bucket of the exact percentile (the least time that at least so many clicks do not exceed), at the
    place it has if the bucket's clicks are spread evenly. So it is at most half too long or a third too short, and
    below 1 s at most 1 s off.

    Args:
        counts: Clicks by bucket; a bucket that is missing has none.
        percent: Above 0, and at most 100.

    Raises:
        ValueError: the percentage is out of range, or there is no such bucket.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} is no percentage above 0")
    if unknown := counts.keys() - set(BUCKETS):
        raise ValueError(f"there is no bucket {min(unknown)[:40]!r}")
    rank = sum(counts.values()) * percent / 100
    below = 0.0
    for name, lower, upper in zip(BUCKETS, LOWER_LIMITS_MS, _UPPER_LIMITS_MS, strict=True):
        here = counts.get(name, 0)
        if here and below + here >= rank:
            return (lower + (upper - lower) * (rank - below) / here) / 1000
        below += here
    return None
