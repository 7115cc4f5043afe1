"""Tests that the real logs which `dataco demo` sends match its text."""

from datetime import UTC, datetime

import pytest

from dataco_assets.cli.demo import LARGE_LOG, SMALL_LOG, RealLog, hours_to_fill
from dataco_assets.sources.access_logs.clicks import requests
from dataco_assets.sources.access_logs.formats import Format
from dataco_assets.sources.access_logs.request import Request

HOUR_MS = 3_600_000


@pytest.mark.parametrize("log", [SMALL_LOG, LARGE_LOG], ids=["small", "large"])
def test_a_real_log_is_as_described(log: RealLog) -> None:
    if not log.file.exists():
        assert log is LARGE_LOG, "the small log is part of the package"
        pytest.skip(f"{log.file} is not part of the repository")
    found = [request for _, _, request in requests(log.file.read_bytes().splitlines(), Format.COMBINED)]
    times = [request.timestamp for request in found if isinstance(request, Request)]
    assert f"{len(times):,} requests" in log.what
    assert len(times) == len(found)
    assert log.hours - 1 < (max(times) - min(times)) / HOUR_MS <= log.hours


@pytest.mark.parametrize(
    ("partitions_start", "first"),
    [
        ("2026-01-27-00:00", "2026-01-27-00:00"),  # a stack created today: all partitions
        ("2026-01-01-00:00", "2026-01-31-03:00"),  # an old one: the hours of the demo's clicks
        ("", "2026-01-31-03:00"),
    ],
)
def test_the_demo_fills_all_partitions_of_a_young_stack(partitions_start: str, first: str) -> None:
    now = datetime(2026, 1, 31, 12, 34, 56, tzinfo=UTC)
    assert hours_to_fill({"DATACO_PARTITIONS_START": partitions_start}, 9, now) == (first, "2026-01-31-12:00")
