"""Draws docs/dashboard.png and docs/dashboard-dark.png: `dataco dashboard` on made-up clicks of eight weeks.

Run it while an Elasticsearch is up, such as the demo's. It writes to aliases of its own, which it removes:

    eval "$(.venv/bin/dataco stack env)"
    .venv/bin/python docs/draw_dashboard.py
"""

import io
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image
from waitress.server import create_server

from dataco_assets.clicks.page import page_of, referring_host
from dataco_assets.dashboard.app import application
from dataco_assets.dashboard.reading import Reader
from dataco_assets.settings import settings
from dataco_assets.sources.generator import GeneratorSpec, generate
from dataco_assets_tests import oracle
from dataco_assets_tests.browsers import browser
from dataco_assets_tests.site_traffic import NOW, site

DOCS = Path(__file__).parent
PICTURES = (
    ("dashboard.png", "?range=7d", "light", {"width": 1180, "height": 1010}),
    ("dashboard-dark.png", "?range=28d&country=DE&show=visits", "dark", {"width": 1180, "height": 1010}),
)

_COLOURS = 160  # keeps the files small


def clicks(count: int, days: int) -> Iterator[oracle.OracleClick]:
    """Made-up clicks of some days before `NOW`."""
    spec = GeneratorSpec(count=count, hours=days * 24.0, until_ms=NOW, iso_timestamps=0)
    for number, sent in enumerate(generate(spec)):
        click = json.loads(sent.value or b"{}")
        page = page_of(click["url"])
        yield oracle.OracleClick(
            row_key=f"{click['timestamp']}-{number}",
            user_id=click["user_id"],
            timestamp=click["timestamp"],
            page=page,
            country=click.get("country"),
            city=click.get("city"),
            browser=click.get("browser"),
            operating_system=click.get("operating_system"),
            device=click.get("device"),
            referrer_host=referring_host(click.get("referrer", ""), page),
        )


def main() -> None:
    """Draws both pictures."""
    with site(settings().elasticsearch_url, list(clicks(90_000, days=56))) as made, browser() as chromium:
        server: Any = create_server(application(Reader(made.settings), lambda: NOW), host="127.0.0.1", port=0)
        threading.Thread(target=server.run, daemon=True).start()
        for name, query, scheme, size in PICTURES:
            page = chromium.new_page(viewport=size, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
            page.goto(f"http://127.0.0.1:{server.effective_port}/{query}")
            page.wait_for_selector("#map .choroplethlayer path")
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)
        server.close()
    sys.stdout.write("Drawn.\n")


if __name__ == "__main__":
    main()
