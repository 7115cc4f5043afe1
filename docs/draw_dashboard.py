"""Draws docs/dashboard*.png: `dataco dashboard` on made-up clicks of eight weeks.

Run it while the servers are up, such as those of the demo. What it writes has names of its own, and is removed:

    eval "$(.venv/bin/dataco stack env)"
    .venv/bin/python docs/draw_dashboard.py
"""

import io
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from waitress.server import create_server

from dataco_assets.cli.dashboard import other_servers
from dataco_assets.clicks.finality import Cause
from dataco_assets.clicks.page import page_of, referring_host
from dataco_assets.dashboard.app import application
from dataco_assets.dashboard.reading import Reader
from dataco_assets.ledgers.parked import Parked, ParkedWork
from dataco_assets.ledgers.verified import LastVerification, Verification
from dataco_assets.settings import settings
from dataco_assets.sources.generator import GeneratorSpec, generate
from dataco_assets_tests import oracle
from dataco_assets_tests.browsers import browser
from dataco_assets_tests.platforms import NOON, Platform, click, make_platform
from dataco_assets_tests.site_traffic import HOUR, NOW, Site, restatement, site

DOCS = Path(__file__).parent
PICTURES = (
    # file, address, colours, size, and what is there once the page is
    ("dashboard.png", "?range=7d", "light", {"width": 1180, "height": 1010}, "#map .choroplethlayer path"),
    (
        *("dashboard-dark.png", "?range=28d&country=DE&show=visits", "dark"),
        *({"width": 1180, "height": 1010}, "#map .choroplethlayer path"),
    ),
    (
        *("dashboard-trust.png", "trust", "light", {"width": 1180, "height": 1340}),
        "[data-panel='Rejected clicks'] tbody",
    ),
    (
        *("dashboard-operations.png", "operations", "dark", {"width": 1180, "height": 860}),
        "[data-panel='Every part of the platform'] tbody",
    ),
)
_RESTATED = (
    # hours ago, cause, clicks and users before and since
    (4, Cause.LATE_CLICKS, (88, 91), (31, 32)),
    (19, Cause.LATE_CLICKS, (61, 62), (24, 24)),
    (22, Cause.REPLAY, (83, 87), (30, 31)),
    (31, Cause.ERASURE, (97, 85), (36, 35)),
    (50, Cause.LATE_CLICKS, (102, 109), (38, 40)),
    (75, Cause.RECOMPUTED, (74, 74), (29, 29)),
)
_REFUSED = (
    b'{"user_id": "u-17", "url"',
    click("ftp", url="ftp://shop.example/list"),
    click("space", url="https://shop.example/a b"),
    b"{}",
)

_VERIFIED = Verification(
    (NOW - HOUR // 6) / 1000, NOW // HOUR * HOUR - 56 * 24 * HOUR, NOW // HOUR * HOUR, 1_343, 0, 2, 0
)

_COLOURS = 160  # keeps the files small


def clicks(count: int, days: int) -> Iterator[oracle.OracleClick]:
    """Made-up clicks of some days before `NOW`."""
    spec = GeneratorSpec(count=count, hours=days * 24.0, until_ms=NOW, iso_timestamps=0)
    for number, sent in enumerate(generate(spec)):
        made = json.loads(sent.value or b"{}")
        page = page_of(made["url"])
        yield oracle.OracleClick(
            row_key=f"{made['timestamp']}-{number}",
            user_id=made["user_id"],
            timestamp=made["timestamp"],
            page=page,
            country=made.get("country"),
            city=made.get("city"),
            browser=made.get("browser"),
            operating_system=made.get("operating_system"),
            device=made.get("device"),
            referrer_host=referring_host(made.get("referrer", ""), page),
        )


@contextmanager
def platform(made: Site) -> Iterator[Platform]:
    """A platform with clicks that wait, rejected ones and a parked hour, whose index is the site's."""
    alias, folder = made.settings.index_alias, "file:///var/lib/dataco/aggregates"
    found = make_platform(os.environ, index_alias=alias, aggregates_uri=folder).create()
    try:
        found.produce([*(click(str(number), at=NOON + number) for number in range(500)), *_REFUSED])
        found.drain()
        found.produce((click(f"waiting {number}") for number in range(37)), record_time_ms=_epoch_ms() - 20_000)
        why = "The rules of the aggregates are broken: entries (7) are fewer than exits (9) of one user."
        entry = Parked("2020-06-01-12:00", "AggregatesUnsound", why, "5f2c81d0", time.time() - 4_000, "circumstances")
        ParkedWork(found.hbase, found.settings.hours_table).write([entry])
        LastVerification(found.hbase, found.settings.hours_table).note(_VERIFIED)
        yield found
    finally:
        found.drop()


def _epoch_ms() -> int:
    return int(time.time() * 1000)


def main() -> None:
    """Draws all pictures."""
    with (
        site(settings().elasticsearch_url, list(clicks(90_000, days=56))) as made,
        platform(made) as others,
        browser() as chromium,
    ):
        made.restate(
            [
                restatement(NOW // HOUR * HOUR - ago * HOUR, NOW - (ago - 3) * HOUR, cause, counts, users)
                for ago, cause, counts, users in _RESTATED
            ]
        )
        pages = application(Reader(made.settings), lambda: NOW, other_servers(others.settings, 15.0))
        server: Any = create_server(pages, host="127.0.0.1", port=0)
        threading.Thread(target=server.run, daemon=True).start()
        for name, query, scheme, size, wanted in PICTURES:
            page = chromium.new_page(viewport=size, color_scheme=scheme)  # pyright: ignore[reportArgumentType]
            page.set_default_timeout(180_000)
            page.goto(f"http://127.0.0.1:{server.effective_port}/{query}")
            page.wait_for_selector(wanted)
            picture = Image.open(io.BytesIO(page.screenshot()))
            picture.quantize(_COLOURS, dither=Image.Dither.NONE).save(DOCS / name, optimize=True)
        server.close()
    sys.stdout.write("Drawn.\n")


if __name__ == "__main__":
    main()
