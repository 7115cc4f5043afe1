"""An Elasticsearch that wants TLS and a user: publication and readers know its authority, and refusals are permanent.

A server of its own, because that of the shared stack asks nobody.
"""

import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.clients.elasticsearch import SearchClient, connect, connect_at_once
from dataco_assets.elasticsearch_errors import (
    CertificateRefused,
    ElasticsearchError,
    ElasticsearchRefused,
    ElasticsearchUnavailable,
)
from dataco_assets.errors import ErrorKind
from dataco_assets.index.indices import Index
from dataco_assets.index.reading import span
from dataco_assets.index.setup import ensure_index
from dataco_assets.settings import Settings
from dataco_assets_tests.certificates import Authority
from dataco_assets_tests.integration.test_publication import HOURS, LAST_OF_JANUARY, aggregates
from dataco_assets_tests.waiting import wait_until
from local_stack import java, ports
from local_stack.ports import LOOPBACK
from local_stack.servers import elasticsearch as server
from local_stack.servers.base import Context
from local_stack.servers.elasticsearch import account
from spark_resources.publication import ExecutorsElsewhere, Server, publish

pytestmark = pytest.mark.stack

USER, PASSWORD, ALIAS = "dataco", "right-horse", "secured"  # made-up ones
ROLES = {
    # Nothing but what docs/operations.md lists.
    "dataco": {
        "cluster": ["monitor", "manage_index_templates"],
        "indices": [{"names": [ALIAS, f"{ALIAS}-*"], "privileges": ["all"]}],
    }
}


@dataclass(frozen=True)
class Secured:
    """A server with TLS and users.

    Attributes:
        port: Where it listens, on loopback.
        authority: PEM file of the authority that signed its certificate.
        stranger: PEM file of one that did not.
        signing: That authority itself.
    """

    port: int
    authority: Path
    stranger: Path
    signing: Authority

    def settings(self, **changed: Any) -> Settings:
        given = {
            "elasticsearch_url": f"https://{LOOPBACK}:{self.port}",
            "elasticsearch_username": USER,
            "elasticsearch_password": PASSWORD,
            "elasticsearch_ca_file": str(self.authority),
            "index_alias": ALIAS,
            "index_replicas": 0,
        }
        return Settings(**(given | changed))


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    context = Context(folder, ports.choose(list(server.ELASTICSEARCH.ports)), java.tool("java"), short_lived=True)
    launch = server.ELASTICSEARCH.prepare(context)
    conf, authority = context.conf("elasticsearch"), Authority.make("authority")
    key, certificate = authority.issue(LOOPBACK)
    security = {
        "xpack.security.enabled": True,
        "xpack.security.http.ssl.enabled": True,
        "xpack.security.http.ssl.key": "server.key",
        "xpack.security.http.ssl.certificate": "server.crt",
    }
    settings = [line for line in (conf / "elasticsearch.yml").read_text().splitlines() if "xpack" not in line]
    settings += [f"{name}: {json.dumps(value)}" for name, value in security.items()]
    files = {
        "elasticsearch.yml": "\n".join(settings),
        "server.key": key.decode(),
        "server.crt": certificate.decode(),
        "roles.yml": json.dumps(ROLES),  # JSON is YAML
        "users": "",
        "users_roles": "",
    }
    for name, text in files.items():
        (conf / name).write_text(text + "\n")
    environment = os.environ | launch.environment | {"ES_JAVA_HOME": str(context.java.parents[1])}
    added = ["bash", "bin/elasticsearch-users", "useradd", USER, "-p", PASSWORD, "-r", "dataco"]
    subprocess.run(
        added, cwd=launch.directory, env=environment | {"ES_PATH_CONF": str(conf)}, check=True, capture_output=True
    )
    # Whom the server runs as must own what was added to its configuration.
    account.give_folders_to(server._account(server.home()), [conf])
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            launch.command, cwd=launch.directory, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        made = Secured(
            context.ports["elasticsearch.http"],
            authority.write(folder),
            Authority.make("stranger").write(folder),
            authority,
        )
        wait_until(lambda: answers(made), seconds=120, what="Elasticsearch answers")
        yield made
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()


def answers(secured: Secured) -> bool:
    try:
        with closing(connect_at_once(secured.settings(), patience_seconds=0)) as client:
            return client.cluster.health()["status"] in ("green", "yellow")
    except ElasticsearchUnavailable:
        return False


@pytest.fixture(scope="module")
def client(secured: Secured) -> Iterator[SearchClient]:
    with closing(connect(secured.settings())) as made:
        ensure_index(Index.of(made, secured.settings(), PAGES), secured.settings(), now_ms=LAST_OF_JANUARY)
        made.indices.create(index=f"{ALIAS}-2026.02")
        yield made


def write(spark: SparkSession, settings: Settings, **changed: Any) -> None:
    options: dict[str, Any] = {
        "url": settings.elasticsearch_url,
        "username": settings.elasticsearch_username,
        "password": settings.elasticsearch_password.get_secret_value(),
        "ca_file": settings.elasticsearch_ca_file,
    }
    indices = {month: f"{ALIAS}-{month}" for month in ("2026.01", "2026.02")}
    publish(PAGES, aggregates(spark, 1), HOURS, indices, server=Server(**(options | changed)))


def test_setup_publication_and_readers_need_the_authority_s_file_and_no_more(
    spark: SparkSession, secured: Secured, client: SearchClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write(spark, secured.settings())

    index = Index(client, ALIAS)
    client.indices.refresh(index=f"{ALIAS}-*")
    held = span(index)
    assert held is not None
    assert (held.first_hour, held.last_hour) == (HOURS[0], HOURS[-1])
    assert client.count(index=ALIAS)["count"] == 6
    assert not list(tmp_path.iterdir()), "a truststore was left behind"


def refused(use: Any, kind: type[ElasticsearchError] = CertificateRefused) -> str:
    """The message of a permanent error that comes soon."""
    began = time.monotonic()
    with pytest.raises(ElasticsearchError) as caught:
        use()
    assert time.monotonic() - began < 20
    assert type(caught.value) is kind
    assert caught.value.kind is ErrorKind.PERMANENT
    return str(caught.value)


def ask(settings: Settings) -> None:
    with closing(connect(settings)) as client:
        client.indices.get(index=f"{ALIAS}-*")


@pytest.mark.parametrize("authority", ["stranger", "none"])
def test_an_authority_that_is_not_known_is_permanent_and_names_the_setting(
    authority: str, spark: SparkSession, secured: Secured
) -> None:
    file = str(secured.stranger) if authority == "stranger" else ""
    changed = secured.settings(elasticsearch_ca_file=file)
    for use in (lambda: ask(changed), lambda: connect_at_once(changed).info(), lambda: write(spark, changed)):
        message = refused(use)
        assert f"https://{LOOPBACK}:{secured.port} and this machine do not trust each other" in message
        assert "DATACO_ELASTICSEARCH_CA_FILE" in message


def test_a_certificate_for_another_host_is_permanent(secured: Secured) -> None:
    """Readers and the steps around the publication refuse it; Spark's connector does not compare the names."""
    message = refused(lambda: ask(secured.settings(elasticsearch_url=f"https://localhost:{secured.port}")))
    assert "ostname mismatch" in message
    assert "for the host in DATACO_ELASTICSEARCH_URL" in message


@contextmanager
def listening_with_tls(pair: tuple[bytes, bytes], folder: Path) -> Iterator[int]:
    """A port where a TLS handshake is made, and nothing else."""
    for name, content in zip(("key", "crt"), pair, strict=True):
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "crt", folder / "key")

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            try:
                context.wrap_socket(accepted, server_side=True).close()
            except OSError:
                accepted.close()

    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def test_an_expired_certificate_is_permanent(spark: SparkSession, secured: Secured, tmp_path: Path) -> None:
    with listening_with_tls(secured.signing.issue(LOOPBACK, expired=True), tmp_path) as port:
        settings = replace(secured, port=port).settings()
        assert "expired" in refused(lambda: ask(settings))
        assert "valid now" in refused(lambda: write(spark, settings))


def test_a_wrong_password_is_permanent(spark: SparkSession, secured: Secured) -> None:
    wrong = secured.settings(elasticsearch_password="wr0ng-horse")  # noqa: S106
    for use in (lambda: ask(wrong), lambda: write(spark, wrong)):
        message = refused(use, ElasticsearchRefused)
        assert "DATACO_ELASTICSEARCH_PASSWORD" in message
        assert "wr0ng-horse" not in message


def test_what_the_role_does_not_allow_is_permanent(client: SearchClient) -> None:
    assert "403" in refused(lambda: client.indices.create(index="of-others"), ElasticsearchRefused)


def test_executors_elsewhere_need_a_truststore_of_their_own(
    spark: SparkSession, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spark.sparkContext, "master", "spark://elsewhere:7077")
    with pytest.raises(ExecutorsElsewhere, match=r"DATACO_SPARK_CONF.*spark\.es\.net\.ssl\.truststore\.location"):
        write(spark, secured.settings())
