"""Tests the class archive of Spark's driver: a JVM uses it, and if it cannot be made, nothing else fails."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dataco_assets.cli import app
from dataco_assets.provisioning import Finding
from spark_resources import class_archive as archives
from spark_resources.class_archive import ClassArchiveFailed, class_archive, make_class_archive
from spark_resources.connectors import connector_jars
from spark_resources.session import spark_conf, spark_home

_JOB = """
import json, sys
from spark_resources.session import create_session
conf = json.loads(sys.argv[1])
create_session(conf, "test").range(3).collect()
"""
_EMPTY_JAR = b"PK\x05\x06" + bytes(18)
_FROM_ARCHIVE = "org.apache.spark.sql.SparkSession source: shared objects file (top)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache folder, with characters in its name that a command line must quote."""
    folder = tmp_path / "its cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "dataco" / "class-archives"


@pytest.fixture(scope="module")
def connectors() -> Sequence[Path]:
    """The connectors, in the cache that all tests share."""
    return connector_jars()


@pytest.fixture
def jars(connectors: Sequence[Path], tmp_path: Path) -> Sequence[Path]:
    """A jar of the test's own that may be changed, and the connectors, without which no archive can be made."""
    jar = tmp_path / "connector.jar"
    jar.write_bytes(_EMPTY_JAR)
    links = [tmp_path / each.name for each in connectors]
    for link, each in zip(links, connectors, strict=True):
        link.symlink_to(each)
    return [jar, *links]


def _replace_java(folder: Path, instead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces Java, for a driver that writes an archive, with a line of shell; `$java "$@"` runs the real one."""
    script = folder / "some-java" / "bin" / "java"
    script.parent.mkdir(parents=True)
    writes_archive = 'for a in "$@"; do case "$a" in -XX:ArchiveClassesAtExit=*) ' + instead + "; esac; done"
    script.write_text(f'#!/bin/sh\njava={shutil.which("java")}\n{writes_archive}\nexec "$java" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(folder / "some-java"))


def test_a_driver_takes_spark_from_the_archive(connectors: Sequence[Path], tmp_path: Path) -> None:
    """With the machine's archive, which takes minutes to make: `make test` has it made by `dataco setup`."""
    make_class_archive(connectors)

    archive = class_archive(connectors)
    assert archive is not None
    assert _FROM_ARCHIVE in _loaded(connectors, archive, tmp_path)
    other = tmp_path / "other.jar"
    other.write_bytes(_EMPTY_JAR)
    assert _FROM_ARCHIVE not in _loaded([other], archive, tmp_path), "a driver with other jars goes on without"
    broken = tmp_path / archive.name
    broken.write_bytes(b"junk")
    assert _FROM_ARCHIVE not in _loaded(connectors, broken, tmp_path), "and one with a broken archive"


def test_an_archive_is_for_the_jars_as_they_are(
    cache: Path, jars: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_run_training", lambda archive, _: archive.write_text("classes"))
    java = Path(shutil.which("java") or "").resolve()
    monkeypatch.delenv("JAVA_HOME", raising=False)
    made_for = {
        "earlier": (java, spark_home(), jars[0].parent),
        "gone": (java, "/no/such/spark", jars[0].parent),
        "elsewhere": (java, cache, jars[0].parent),
        ".making-lately": (),
        ".making-long-ago": (),
    }
    for name, places in made_for.items():
        (cache / name).mkdir(parents=True)
        (cache / name / "made-for.txt").write_text("\n".join(map(str, places)))
    os.utime(cache / ".making-long-ago", (1, 1))

    assert make_class_archive(jars)

    archive = class_archive(jars)
    assert archive is not None
    assert archive.is_relative_to(cache)
    assert not make_class_archive(jars), "it is there"
    left = {folder.name for folder in cache.iterdir()} - {archive.parent.name}
    assert left == {"elsewhere", ".making-lately"}
    archive.unlink()
    assert class_archive(jars) is None, "a cleaner of caches has been there"
    assert make_class_archive(jars)
    assert class_archive(jars) == archive
    os.utime(jars[0], (1, 1))
    assert class_archive(jars) is None, "the JVM would refuse it"


def test_only_a_driver_that_runs_its_own_tasks_gets_it(tmp_path: Path) -> None:
    archive = tmp_path / "classes.jsa"
    for master, has in (("local[*]", True), ("spark://host:7077", False)):
        conf = spark_conf(master=master, jars=[], hbase_zookeeper_quorum="", class_archive=archive)
        assert (f'"-XX:SharedArchiveFile={archive}"' in conf["spark.driver.extraJavaOptions"]) == has


def _loaded(jars: Sequence[Path], archive: Path, folder: Path) -> str:
    """Where a driver loaded its classes from, as the JVM logs it."""
    conf = spark_conf(master="local[1]", jars=jars, hbase_zookeeper_quorum="", class_archive=archive)
    log = folder / "classes.log"
    conf["spark.driver.extraJavaOptions"] += f" -Xlog:class+load:file={log}"
    subprocess.run([sys.executable, "-c", _JOB, json.dumps(conf)], check=True, timeout=300, capture_output=True)
    return log.read_text()


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (
            "echo \"Unrecognized VM option 'ArchiveClassesAtExit'\" >&2; exit 1",
            r"takes Java 13 or later\. It said: .*Unrecognized VM option",
        ),
        pytest.param('"$java" "$@"; exit 137', "ended with 137 while it wrote", marks=pytest.mark.soak),
    ],
)
def test_a_java_that_does_not_make_one_is_said(
    cache: Path, jars: Sequence[Path], tmp_path: Path, instead: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _replace_java(tmp_path, instead, monkeypatch)
    with pytest.raises(ClassArchiveFailed, match=said):
        make_class_archive(jars)
    assert list(cache.iterdir()) == [], "nothing half-made is left"


def test_a_machine_too_slow_is_said(cache: Path, jars: Sequence[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_MAKING_SECONDS", 0.01)
    with pytest.raises(ClassArchiveFailed, match="Run `dataco setup` again"):
        make_class_archive(jars)
    assert list(cache.iterdir()) == []


def test_setup_of_a_machine_fails_without_and_setup_of_all_goes_on(
    cache: Path, jars: Sequence[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.parent.mkdir(parents=True)
    cache.write_text("a file where the folder should be")
    monkeypatch.setenv("DATACO_CONNECTOR_JARS", str(jars[0].parent))
    machine = CliRunner().invoke(app, ["setup", "--this-machine"])
    assert isinstance(machine.exception, ClassArchiveFailed)
    assert "File exists" in str(machine.exception)

    monkeypatch.setattr("dataco_assets.cli.setup.provision", lambda *_, **__: [Finding("all servers", created=False)])
    everything = CliRunner().invoke(app, ["setup"])
    assert everything.exit_code == 0, everything.output
    assert "without" in everything.output
    assert "File exists" in everything.output
