"""The real logs that `dataco demo` sends are what its text says."""

import pytest

from dataco_assets.cli.demo import LARGE_LOG, SMALL_LOG, RealLog
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
