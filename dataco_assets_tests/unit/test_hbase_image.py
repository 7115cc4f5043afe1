"""Tests the entry point of the HBase image: what it waits for and starts; a script stands in for Java."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dataco_assets_tests.waiting import wait_until

SCRIPT = Path(__file__).parents[2] / "docker" / "hbase" / "entrypoint.sh"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text('#!/bin/sh\necho "java $*"\n')
    java.chmod(0o755)
    (tmp_path / "classpath").write_text("jars")
    return {"PATH": f"{java.parent}:/usr/bin:/bin", "HBASE_CLASSPATH": str(tmp_path / "classpath")}


@pytest.fixture
def closed_port() -> Iterator[socket.socket]:
    """A port that refuses connections until something listens on it."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held


@pytest.mark.parametrize("part", ["master", "regionserver"])
def test_a_part_that_needs_hdfs_waits_for_the_name_node(
    part: str, environment: dict[str, str], closed_port: socket.socket, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{closed_port.getsockname()[1]}"
    log = tmp_path / "log"
    with log.open("w") as output:
        started = subprocess.Popen([SCRIPT, part], env={**environment, "NAMENODE": address}, stdout=output)
    try:
        wait_until(lambda: f"Waiting for the NameNode at {address}" in log.read_text(), seconds=20, what="it waits")
        assert "java" not in log.read_text()
        closed_port.listen()
        assert started.wait(20) == 0
    finally:
        started.kill()
        started.wait()
    assert log.read_text().splitlines()[-1].endswith("start")


def test_other_parts_start_at_once(environment: dict[str, str]) -> None:
    done = subprocess.run([SCRIPT, "datanode"], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("java ")
    assert done.stdout.rstrip().endswith("DataNode")


def test_an_unknown_part_is_named(environment: dict[str, str]) -> None:
    done = subprocess.run([SCRIPT, "nameserver"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'nameserver'" in done.stderr
