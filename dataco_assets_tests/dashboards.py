"""The dashboard's pages, served and opened in a browser, and what is written on them."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

from flask import Flask
from playwright.sync_api import BrowserContext, Page, ViewportSize
from waitress.server import create_server

from local_stack.ports import LOOPBACK

WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
_PATIENCE_MS = 60_000


@contextmanager
def served(pages: Flask) -> Iterator[str]:
    """The pages at an address."""
    server: Any = create_server(pages, host=LOOPBACK, port=0, threads=8)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.effective_port}"
    finally:
        server.close()
        thread.join(1)  # it goes on while a browser keeps a connection


@contextmanager
def opened(
    chromium: BrowserContext,
    address: str,
    wanted: str = ".tiles, .message",
    *,
    scheme: Literal["light", "dark"] = "light",
    size: ViewportSize = WIDE,
) -> Iterator[Page]:
    """A page in a window of its own, which must ask no other host for anything and report no error.

    Args:
        chromium: The browser.
        address: Of the page.
        wanted: The element that is there once the page is.
        scheme: What the browser asks for.
        size: Of the window.
    """
    page = chromium.new_page()
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    page.set_default_timeout(_PATIENCE_MS)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_selector(wanted)
    yield page
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(address))
    assert [url for url in asked if not url.startswith((origin, "data:", "blob:"))] == []
    assert said == []
    page.close()


def figure(page: Page, name: str) -> str:
    return page.locator(f"[data-figure={name}]").inner_text()


def number(text: str) -> float:
    return float(re.sub(r"[^0-9.]", "", text))


def panel(page: Page, title: str) -> dict[str, list[str]]:
    """The rows of a panel: what is written first, and the numbers."""
    rows = page.locator(f"[data-panel='{title}'] tbody tr")
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    return {first.strip(): rest for first, *rest in cells}
