"""Tests that the real servers recover from `kill -9` with everything they had acknowledged.

It uses other clients than the platform's.
"""

import json
import signal
import urllib.error
import urllib.request
import uuid
from typing import Any

import happybase
import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from kazoo.client import KazooClient

from local_stack import stack as stack_module
from local_stack.servers import ALL
from local_stack.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.faults]

MESSAGES, ROWS = 500, 2_000


class Notebook:
    """Writes numbered pages to Kafka, HBase and Elasticsearch, and counts them."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._pages = 0
        self._name = f"pages-{uuid.uuid4().hex[:8]}"
        topic = NewTopic(self._name, num_partitions=1, replication_factor=1)
        admin = AdminClient({"bootstrap.servers": self._brokers})
        admin.create_topics([topic])[self._name].result(timeout=60)
        connection = self._hbase()
        connection.create_table(self._name, {"f": {}})
        connection.close()
        self._elasticsearch(f"/{self._name}", "PUT", {"settings": {"number_of_replicas": 0}})

    @property
    def _brokers(self) -> str:
        return self._env["DATACO_KAFKA_BOOTSTRAP_SERVERS"]

    def _hbase(self) -> happybase.Connection:
        host, port = self._env["DATACO_HBASE_THRIFT_HOST"], int(self._env["DATACO_HBASE_THRIFT_PORT"])
        return happybase.Connection(host, port, timeout=60_000)

    def _elasticsearch(self, path: str, method: str = "GET", body: object = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 -- always http, on loopback
            self._env["DATACO_ELASTICSEARCH_URL"] + path,
            data=None if body is None else json.dumps(body).encode(),
            method=method,
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)

    def write(self) -> None:
        page = self._pages
        producer = Producer({"bootstrap.servers": self._brokers, "acks": "all"})
        for _ in range(MESSAGES):
            producer.produce(self._name, str(page).encode())
        assert producer.flush(60) == 0
        connection = self._hbase()
        batch = connection.table(self._name).batch()
        for number in range(ROWS):
            batch.put(f"{page:03}-{number:05}".encode(), {b"f:page": str(page).encode()})
        batch.send()
        connection.close()
        self._elasticsearch(f"/{self._name}/_doc/{page}", "PUT", {"page": page})
        self._pages += 1

    def counted(self) -> tuple[int, int, int]:
        consumer = Consumer({"bootstrap.servers": self._brokers, "group.id": "reader"})
        messages = consumer.get_watermark_offsets(TopicPartition(self._name, 0), timeout=60)[1]
        consumer.close()
        connection = self._hbase()
        rows = sum(1 for _ in connection.table(self._name).scan(batch_size=1_000))
        connection.close()
        self._elasticsearch(f"/{self._name}/_refresh", "POST")
        return messages, rows, self._elasticsearch(f"/{self._name}/_count")["count"]

    def written(self) -> tuple[int, int, int]:
        return MESSAGES * self._pages, ROWS * self._pages, self._pages


@pytest.fixture(scope="module")
def notebook(searchable: Stack) -> Notebook:
    return Notebook(searchable.env())


def test_everything_listens_on_loopback_only(searchable: Stack) -> None:
    listening: set[tuple[str, int]] = set()
    for server in ALL:
        process = psutil.Process(searchable.pid(server.name))
        found = [c.laddr for c in process.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN]
        assert {address[1] for address in found} >= {searchable.port(name) for name in server.ports}, server.name
        listening |= {(address[0].removeprefix("::ffff:"), address[1]) for address in found}
    assert {host for host, _port in listening} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "victims",
    [
        ["kafka", "elasticsearch", "thrift"],
        ["hbase"],
        ["namenode", "datanode"],
    ],
    ids="+".join,
)
def test_a_killed_server_comes_back_with_its_data(searchable: Stack, notebook: Notebook, victims: list[str]) -> None:
    notebook.write()
    survivors = {server.name: searchable.pid(server.name) for server in ALL if server.name not in victims}
    before = {name: searchable.pid(name) for name in victims}
    for name in victims:
        searchable.kill(name, signal.SIGKILL)
    down = {status.name for status in searchable.status() if not status.running}
    assert down >= set(victims)

    searchable.up()

    assert notebook.counted() == notebook.written()
    notebook.write()
    assert notebook.counted() == notebook.written()
    assert all(searchable.pid(name) != pid for name, pid in before.items())
    if victims == ["kafka", "elasticsearch", "thrift"]:  # nothing depends on these, so nothing else may restart
        assert {name: searchable.pid(name) for name in survivors} == survivors


def test_hbase_without_its_region_server_is_reported_and_restarted(
    searchable: Stack, notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.write()
    monkeypatch.setattr(stack_module, "_RECOVERY_SECONDS", 10.0)
    process = searchable.pid("hbase")
    zookeeper = KazooClient(f"127.0.0.1:{searchable.port('hbase.zookeeper')}")
    zookeeper.start(timeout=30)
    try:
        region_servers = zookeeper.get_children("/hbase/rs")
        assert region_servers is not None
        for region_server in region_servers:  # one that crashed before may still be listed
            zookeeper.delete(f"/hbase/rs/{region_server}")  # what ZooKeeper does when its session expires
    finally:
        zookeeper.stop()
        zookeeper.close()
    hbase = next(server for server in searchable.status() if server.name == "hbase")
    assert hbase.running
    assert "no region server is online" in hbase.problem
    searchable.up()
    assert searchable.pid("hbase") != process
    assert notebook.counted() == notebook.written()


def test_a_stopped_stack_keeps_its_data_and_ports(searchable: Stack, notebook: Notebook) -> None:
    notebook.write()
    before = searchable.env()
    pids = [searchable.pid(server.name) for server in ALL]
    searchable.down()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    searchable.up()
    assert searchable.env() == before
    assert notebook.counted() == notebook.written()


def test_a_missing_index_of_the_platform_is_not_made_by_a_write(searchable: Stack) -> None:
    url = searchable.env()["DATACO_ELASTICSEARCH_URL"]
    request = urllib.request.Request(  # noqa: S310 -- always http, on loopback
        f"{url}/dataco-url-country/_doc/1", data=b"{}", method="PUT", headers={"Content-Type": "application/json"}
    )
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request, timeout=60)  # noqa: S310
