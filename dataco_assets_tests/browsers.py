"""A real browser for tests: Debian's Chromium, driven without a window."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="no Chromium here (Debian: apt-get install chromium; .ci/run does)"
)


expect.set_options(timeout=30_000)  # a machine that runs the whole suite is slow


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, which ends with the context."""
    options: dict[str, Any] = {"executable_path": CHROMIUM, "args": ["--disable-gpu", "--no-first-run"]}
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(**options)
        yield started
        started.close()
