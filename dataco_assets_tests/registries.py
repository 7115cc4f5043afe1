"""A schema registry for tests: a real HTTP server that speaks the part of Confluent's REST API that clients use.

No registry server can be had from the package registries, so this one stands for it. What it answers is held against
Confluent's own client, which registers with it and writes records by it (`unit/test_schema_registry.py`).
"""

import base64
import json
import re
import ssl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

Answer = tuple[int, Any]


@dataclass
class Registry:
    """What the server holds, and how it behaves.

    Attributes:
        url: Its address.
        schemas: The schemas by id: members `schema`, `schemaType`, `references`, `guid`.
        subjects: Ids by subject, in the order of the versions.
        asked: The paths of the requests, in their order.
        answers: Statuses to answer with first, in turn, whatever is asked.
        authorization: The header that a request must have; empty: any.
    """

    url: str = ""
    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[str, list[int]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    authorization: str = ""

    def add(self, schema: Any, subject: str = "clicks-value", **more: Any) -> int:
        """Registers a schema; returns its id."""
        text = schema if isinstance(schema, str) else json.dumps(schema)
        number = len(self.schemas) + 1
        guid = str(uuid.uuid5(uuid.NAMESPACE_OID, text))
        self.schemas[number] = {"schema": text, "guid": guid, **more}
        self.subjects.setdefault(subject, []).append(number)
        return number

    def basic(self, user: str, password: str) -> None:
        """Demands a user name and a password."""
        self.authorization = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(self, path: str, authorization: str) -> Answer:
        """The answer to a GET."""
        self.asked.append(path)
        if self.answers:
            return self.answers.pop(0), {"error_code": 50001, "message": "as the test wants"}
        if self.authorization and authorization != self.authorization:
            return 401, {"error_code": 401, "message": "Unauthorized"}
        if found := re.fullmatch(r"/schemas/ids/([0-9]+)", path):
            return self._schema(self.schemas.get(int(found[1])))
        if found := re.fullmatch(r"/schemas/guids/([0-9a-f-]{36})", path):
            return self._schema(next((each for each in self.schemas.values() if each["guid"] == found[1]), None))
        if found := re.fullmatch(r"/subjects/([^/]+)/versions/([0-9]+)", path):
            ids = self.subjects.get(found[1], [])
            known = len(ids) >= int(found[2])
            return self._schema(self.schemas[ids[int(found[2]) - 1]]) if known else (404, _error(40402))
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def _schema(self, found: dict[str, Any] | None) -> Answer:
        return (404, _error(40403)) if found is None else (200, found)


def _error(code: int) -> dict[str, Any]:
    return {"error_code": code, "message": f"not found (made up, {code})"}


@contextmanager
def registry(certificate: tuple[Path, Path] | None = None) -> Iterator[Registry]:
    """A registry, until the block ends.

    Args:
        certificate: Files of its certificate and key, for HTTPS.
    """
    made = Registry()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(*made.answer(self.path, self.headers.get("Authorization", "")))

        def do_POST(self) -> None:
            schema = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            subject = self.path.split("/")[2]
            number = made.add(schema["schema"], subject)
            self._send(200, {"id": number, "version": len(made.subjects[subject]), **made.schemas[number]})

        def _send(self, status: int, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name it has there
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        made.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()
