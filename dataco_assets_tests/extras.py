"""Skips tests where an optional extra of the package is not installed."""

from importlib.util import find_spec

import pytest


def require_access_log() -> None:
    """Skips the calling test, or what uses the calling fixture, without the extra `access-log`.

    Looks for the packages without importing them, as `pytest.importorskip` would: geoip2fast sets variables of the
    environment when it is imported, which the processes of later tests would inherit.
    """
    if find_spec("geoip2fast") is None or find_spec("ua_parser") is None:
        pytest.skip("needs the extra access-log")
