"""The receiving end of a webhook: a real HTTP server with configurable answers."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

SECRET = "T0/B0/s3cr3t"  # noqa: S105  # a made-up one


@dataclass
class Receiver:
    """The requests that a webhook received, and its answers: the given statuses in turn, then 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    delay_seconds: float = 0.0

    @property
    def url(self) -> str:
        """Its address; the path is the secret."""
        return f"http://127.0.0.1:{self.port}/{SECRET}"


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, until the block ends."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(made.delay_seconds)
            status = made.statuses.pop(0) if made.statuses else 200
            if status == 200:
                made.got.append(json.loads(body))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.port = server.server_port
        Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()
