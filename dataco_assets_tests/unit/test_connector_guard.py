"""Tests what the Kafka lag sensor does while Kafka Connect stores the clicks."""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dataco_assets.clients.connect import Connect, Connector, ConnectorMissing, ConnectUnavailable, Task
from dataco_assets.ingest.log import Watch
from dataco_assets.sensors.connector import (
    Look,
    Memory,
    after,
    is_due,
    memory_of,
    metadata,
    summary,
    tasks_to_restart,
    with_memory,
)

NOW = 1_000_000.0
RUNNING = Task(0, "RUNNING", "w:1")
AWAY = Task(1, "FAILED", "w:1", "HBase does not serve the table clicks.", passing=True)
LOST = Task(2, "FAILED", "w:2", "Clicks of topic clicks were lost.")


def look(*tasks: Task, now: float = NOW, problem: str = "", passed: int = 0, rejected: int = 0) -> Look:
    return Look(Connector("sink", "RUNNING", tasks), problem, 7, 3.04, passed, rejected, now)


def test_only_what_a_restart_may_help_is_restarted() -> None:
    assert tasks_to_restart(look(RUNNING, AWAY, LOST), Memory()) == [AWAY]
    assert tasks_to_restart(look(RUNNING), Memory()) == []
    assert tasks_to_restart(Look(None, "away", 7, 0.0, 0, 0, NOW), Memory()) == []


def test_restarts_in_a_row_wait_longer_and_longer() -> None:
    memory = Memory()
    waits = []
    now = NOW
    for _ in range(7):
        start = now
        while not tasks_to_restart(look(AWAY, now=now), memory):
            now += 5
        waits.append(now - start)
        memory = after(look(AWAY, now=now), memory, restarted=True, observed=False)
    assert waits == [0, 30, 60, 120, 240, 480, 900]
    assert tasks_to_restart(look(AWAY, now=now + 1_800), memory) == [AWAY]
    assert after(look(AWAY, now=now + 1_800), memory, restarted=True, observed=False).restarts == 1


def test_an_observation_is_due_once_a_minute_and_counts_since_the_last() -> None:
    first = look(RUNNING, LOST, passed=1_000, rejected=10)
    assert is_due(first, Memory())
    assert "clicks stored" not in metadata(first, Memory())
    memory = after(first, Memory(), restarted=False, observed=True)
    assert not is_due(look(now=NOW + 59), memory)
    later = look(RUNNING, LOST, now=NOW + 60, passed=1_500, rejected=12)
    assert is_due(later, memory)
    assert metadata(later, memory) == {
        "lag": 7,
        "seconds behind": 3.0,
        "ingested by": "Kafka Connect",
        "clicks rejected": 2,
        "clicks stored": 498,
        "tasks running": 1,
        "tasks failed": 1,
    }


def test_the_memory_is_kept_beside_the_watch() -> None:
    memory = Memory(observed_at=NOW, passed=5, rejected=2, restarts=1, restarted_at=NOW)
    cursor = with_memory(Watch("id", {0: (7, NOW)}).to_json(), memory)
    assert memory_of(cursor) == memory
    assert Watch.from_json(cursor) == Watch("id", {0: (7, NOW)})
    assert memory_of(None) == memory_of("{}") == memory_of("no JSON") == Memory()


def test_what_a_person_must_do_is_said() -> None:
    text = summary(look(RUNNING, AWAY, LOST), [AWAY])
    assert "7 wait" in text
    assert "Task 1 failed and is restarted: HBase does not serve the table clicks." in text
    assert "Task 2 failed and waits for a person: Clicks of topic clicks were lost." in text
    assert "`dataco ingest use connect`" in text
    assert "restarted later" in summary(look(AWAY), [])


@contextmanager
def worker(status: int, document: object) -> Iterator[str]:
    """A server that answers every request in the same way; `test_connect.py` asks a real worker."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the name of the base class
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_failed_tasks_own_message_is_taken_out_of_its_trace() -> None:
    trace = (
        "org.apache.kafka.connect.errors.ConnectException: Exiting WorkerSinkTask due to unrecoverable exception.\n"
        "\tat org.apache.kafka.connect.runtime.WorkerSinkTask.deliverMessages(WorkerSinkTask.java:1)\n"
        "Caused by: dataco.connect.PassingFailureException: HBase does not serve: yes.\n"
        "Caused by: dataco.hbase.StoreException: HBase does not serve: yes.\n"
    )
    tasks = [{"id": 3, "state": "FAILED", "worker_id": "w:1", "trace": trace}]
    with worker(200, {"connector": {"state": "RUNNING"}, "tasks": tasks}) as url:
        assert Connect(url, "sink").status() == Connector(
            "sink", "RUNNING", (Task(3, "FAILED", "w:1", "HBase does not serve: yes.", passing=True),)
        )


def test_answers_that_are_none() -> None:
    with worker(404, {"message": "No status found"}) as url, pytest.raises(ConnectorMissing, match="DATACO_CONNECT"):
        Connect(url, "sink").status()
    with worker(500, {"message": "broken"}) as url, pytest.raises(ConnectUnavailable, match="answered 500: broken"):
        Connect(url, "sink").status()
    with pytest.raises(ConnectUnavailable, match="does not answer"):
        Connect("http://127.0.0.1:9", "sink").status()
