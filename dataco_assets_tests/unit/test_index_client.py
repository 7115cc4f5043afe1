"""Tests the Elasticsearch client against failing servers: what is retried, and which errors are raised."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from dataco_assets.clients.elasticsearch import (
    RETRY_SECONDS,
    SearchClient,
    bulk,
    connect_at_once,
    count,
    open_client,
    refresh,
)
from dataco_assets.elasticsearch_errors import (
    AlreadyThere,
    CertificateRefused,
    ElasticsearchError,
    ElasticsearchRefused,
    ElasticsearchUnavailable,
    IndexBlocked,
    IndexClosed,
    IndexMissing,
    VersionConflict,
    failure,
    handshake_failure,
    shortened,
)
from dataco_assets.errors import ErrorKind
from dataco_assets.settings import Settings

Reply = tuple[int, dict[str, Any]]
FOUND: Reply = (
    200,
    {
        "took": 1,
        "timed_out": False,
        "_shards": {"total": 1, "successful": 1, "failed": 0},
        "hits": {"total": {"value": 7, "relation": "eq"}, "hits": []},
    },
)
BUSY: Reply = (429, {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}, "status": 429})
Serve = Callable[..., AbstractContextManager[tuple[str, list[str]]]]


@contextmanager
def serving(*replies: Reply) -> Iterator[tuple[str, list[str]]]:
    """A server that sends the replies in turn (the last one for ever), and the requests that it received."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = replies[min(len(asked), len(replies) - 1)]
            asked.append(f"{self.command} {self.path.partition('?')[0]}")
            payload = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("X-Elastic-Product", "Elasticsearch")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(payload)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = answer  # noqa: N815  # the names the base class asks for

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_search_is_repeated_while_the_server_is_busy() -> None:
    with serving(BUSY, (503, {"error": {"type": "unavailable", "reason": "no master"}}), FOUND) as (url, asked):
        assert count(open_client(url, retry_seconds=30), ["i"]) == 7
    assert asked == ["POST /i/_search"] * 3


def test_repeating_ends_at_its_deadline() -> None:
    with serving(BUSY) as (url, asked), pytest.raises(ElasticsearchUnavailable, match="queue is full") as caught:
        count(open_client(url, retry_seconds=0.5), ["i"])
    assert len(asked) >= 2
    assert caught.value.kind is ErrorKind.PASSING


def test_what_must_not_be_repeated_is_asked_once() -> None:
    with serving(BUSY) as (url, asked), pytest.raises(ElasticsearchUnavailable):
        open_client(url, retry_seconds=30).indices.update_aliases(actions=[])
    assert asked == ["POST /_aliases"]


def test_items_refused_for_overload_are_written_again() -> None:
    def item(status: int) -> Reply:
        error = (
            {"error": {"type": "es_rejected_execution_exception", "reason": "queue is full"}} if status > 299 else {}
        )
        return 200, {"errors": status > 299, "items": [{"index": {"_id": "x", "status": status, **error}}]}

    operation = {"_op_type": "index", "_index": "i", "_id": "x", "_source": {}}
    with serving(item(429), item(429), item(201)) as (url, asked):
        assert bulk(open_client(url), [operation]).done == 1
    assert asked == ["PUT /_bulk"] * 3


def test_a_search_that_misses_a_shard_is_no_result() -> None:
    status, body = FOUND
    partial = (status, {**body, "_shards": {"total": 2, "successful": 1, "failed": 1}})
    late = (status, {**body, "timed_out": True})
    for reply in (partial, late):
        with serving(reply) as (url, _), pytest.raises(ElasticsearchUnavailable, match="only 1 of"):
            count(open_client(url), ["i"])
    failed = (200, {"_shards": {"total": 2, "successful": 1, "failed": 1}})
    with serving(failed) as (url, _), pytest.raises(ElasticsearchUnavailable):
        refresh(open_client(url), ["i"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_nobody_there_names_the_url_and_no_password() -> None:
    port = _free_port()
    url = f"http://someone:s3cret@127.0.0.1:{port}"
    for client in (
        open_client(url, retry_seconds=0),
        open_client(url, username="u", password="s3cret", retry_seconds=0),  # noqa: S106
    ):
        with pytest.raises(ElasticsearchUnavailable) as caught:
            client.info()
        assert f"http://127.0.0.1:{port}" in str(caught.value)
        assert "DATACO_ELASTICSEARCH_URL" in str(caught.value)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("host", "why"), [("127.0.0.1", "refused"), ("nohost.invalid", "resolve|not known")])
def test_a_person_is_told_within_seconds_that_a_port_refuses_or_a_name_does_not_resolve(host: str, why: str) -> None:
    url = f"http://{host}:{_free_port()}"
    settings = Settings(elasticsearch_url=url)  # pyright: ignore[reportCallIssue]
    started = time.monotonic()
    with pytest.raises(ElasticsearchUnavailable, match=rf"{url}.*({why}).*DATACO_ELASTICSEARCH_URL"):
        connect_at_once(settings)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("why", "kind"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired", CertificateRefused),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", CertificateRefused),
        ("PKIX path building failed: unable to find valid certification path", CertificateRefused),
        ("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol", ElasticsearchUnavailable),
        ("Remote host terminated the handshake", ElasticsearchUnavailable),
        ("Connection reset", ElasticsearchUnavailable),
    ],
)
def test_a_certificate_needs_a_person_and_a_server_that_goes_away_does_not(
    why: str, kind: type[ElasticsearchError]
) -> None:
    found = handshake_failure("https://es:9200", why)
    assert type(found) is kind
    assert found.kind is (ErrorKind.PERMANENT if kind is CertificateRefused else ErrorKind.PASSING)
    assert why in str(found)


def test_a_refusal_at_first_contact_is_contact_and_then_a_run_s_patience_applies() -> None:
    with serving((403, {"error": {"type": "security_exception"}}), BUSY, FOUND) as (url, asked):
        client = connect_at_once(Settings(elasticsearch_url=url))  # pyright: ignore[reportCallIssue]
        assert client.retry_seconds == RETRY_SECONDS
        assert count(client, ["i"]) == 7
    assert asked == ["HEAD /", "POST /i/_search", "POST /i/_search"]


def test_a_server_that_does_not_answer_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        client = open_client(f"http://127.0.0.1:{silent.getsockname()[1]}", request_seconds=0.2, retry_seconds=0)
        with pytest.raises(ElasticsearchUnavailable, match="no answer in time"):
            client.info()


def test_something_else_that_answers_is_told_apart() -> None:
    class Other(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"hi")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Other)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(ElasticsearchRefused, match="is not Elasticsearch"):
            open_client(f"http://127.0.0.1:{server.server_port}").info()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


BLOCKED = "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has "
BLOCKED += "read-only-allow-delete block];"


@pytest.mark.parametrize(
    ("status", "cause", "kind", "told"),
    [
        (429, {"type": "cluster_block_exception", "reason": BLOCKED}, IndexBlocked, "disk is full"),
        (
            403,
            {"type": "cluster_block_exception", "reason": "index [x] blocked by: [FORBIDDEN/8/index write (api)];"},
            IndexBlocked,
            "writes are blocked",
        ),
        (
            503,
            {"type": "cluster_block_exception", "reason": "blocked by: [SERVICE_UNAVAILABLE/1/state not recovered];"},
            ElasticsearchUnavailable,
            "not recovered",
        ),
        (
            409,
            {"type": "version_conflict_engine_exception", "reason": "[x]: version conflict, current version [6] is"},
            VersionConflict,
            "newer version",
        ),
        (400, {"type": "index_closed_exception", "reason": "closed", "index": "i-2026.01"}, IndexClosed, "i-2026.01"),
        # Spark's connector reports types without a status, and reasons that quote numbers.
        (0, {"type": "cluster_block_exception", "reason": BLOCKED}, IndexBlocked, "disk is full"),
        (0, {"type": "es_rejected_execution_exception", "reason": "queue [403]"}, ElasticsearchUnavailable, "[403]"),
        (0, {"type": "document_parsing_exception", "reason": "[1:401] failed"}, ElasticsearchRefused, "index rebuild"),
        (0, {"type": "security_exception", "reason": "unauthorized"}, ElasticsearchRefused, "PASSWORD"),
        (401, {"type": "security_exception", "reason": "missing credentials"}, ElasticsearchRefused, "USERNAME"),
        (404, {"type": "index_not_found_exception", "reason": "no such index [x]"}, IndexMissing, "dataco setup"),
        (400, {"type": "resource_already_exists_exception", "reason": "x"}, AlreadyThere, "has it already"),
        (
            503,
            {
                "type": "search_phase_execution_exception",
                "reason": "all shards failed",
                "root_cause": [{"type": "no_shard_available_action_exception", "reason": "shard [0] is gone"}],
            },
            ElasticsearchUnavailable,
            "shard [0] is gone",
        ),
        (
            400,
            {"type": "document_parsing_exception", "reason": "outer", "caused_by": {"type": "t", "reason": "inner"}},
            ElasticsearchRefused,
            "inner",
        ),
    ],
)
def test_each_failure_has_its_kind(
    status: int, cause: dict[str, Any], kind: type[ElasticsearchError], told: str
) -> None:
    error = failure("http://es:9200", status, cause)
    assert type(error) is kind
    assert told in str(error)
    assert "http://es:9200" in str(error)
    passing = (ElasticsearchUnavailable, IndexBlocked, VersionConflict)
    assert error.kind is (ErrorKind.PASSING if kind in passing else ErrorKind.PERMANENT)


def test_quoted_text_is_bounded_and_printable() -> None:
    assert shortened("a\nb\x1b[31m\x9b") == r"a b\x1b[31m\x9b"
    assert len(shortened("x" * 10_000)) == 301


def test_options_keep_the_client() -> None:
    client = open_client("http://127.0.0.1:1", retry_seconds=3)
    changed = client.options(request_timeout=1)
    assert isinstance(changed, SearchClient)
    assert changed.retry_seconds == 3
