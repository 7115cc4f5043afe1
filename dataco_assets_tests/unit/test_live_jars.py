"""Tests how the jars of live are found and built, with a Maven that is a script."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyspark.sql import SparkSession

from spark_resources.live import jars
from spark_resources.live.application import live_java
from spark_resources.live.jars import LiveJarsError, live_jars
from spark_resources.session import spark_conf, with_jars

BUILDS = 'for a in "$@"; do case "$a" in -Dbuilt=*) mkdir "${a#*=}/jars"; : > "${a#*=}/jars/live.jar";; esac; done'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small sources, a cache of their own, and a PATH on which `mvn` is what a test puts there."""
    monkeypatch.setattr(jars, "PROJECT", tmp_path / "spark_resources" / "java")
    monkeypatch.setattr(jars, "SINK", tmp_path / "kafka_connect")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    (tmp_path / "bin").mkdir()
    for folder in (jars.PROJECT, jars.SINK):
        (folder / "src" / "main").mkdir(parents=True)
        (folder / "src" / "main" / "A.java").write_text("class A {}")
    (jars.PROJECT / "pom.xml").write_text("<project/>")
    return tmp_path


def maven(sources: Path, script: str) -> None:
    file = sources / "bin" / "mvn"
    file.write_text(f"#!/bin/sh\necho x >> {sources}/calls\n{script}\n")
    file.chmod(0o755)


def test_the_jars_are_built_once_for_each_state_of_the_sources(sources: Path) -> None:
    maven(sources, BUILDS)
    (built,) = live_jars()
    assert built.name == "live.jar"
    assert live_jars() == [built]
    assert (sources / "calls").read_text() == "x\n"
    (jars.SINK / "src" / "main" / "A.java").write_text("class A { int b; }")
    (other,) = live_jars()
    assert other.parent != built.parent
    assert (sources / "calls").read_text() == "x\nx\n"


def test_a_build_that_fails_is_told_by_mavens_words_and_leaves_nothing(sources: Path) -> None:
    maven(sources, f"{BUILDS}\necho '[ERROR] No compiler is provided'; exit 1")
    with pytest.raises(LiveJarsError, match=r"JDK 17.*\n.*No compiler is provided"):
        live_jars()
    maven(sources, BUILDS)
    assert len(live_jars()) == 1


def test_without_maven_the_error_says_what_to_do(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(sources / "bin"))
    with pytest.raises(LiveJarsError, match="Install Maven and a JDK 17, or set DATACO_LIVE_JARS"):
        live_jars()


@pytest.mark.usefixtures("sources")
def test_without_sources_a_folder_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jars, "SINK", tmp_path / "no-such")
    with pytest.raises(LiveJarsError, match="Set DATACO_LIVE_JARS to a folder"):
        live_jars()
    (tmp_path / "a.jar").touch()
    assert live_jars(str(tmp_path)) == [tmp_path / "a.jar"]
    with pytest.raises(LiveJarsError, match="is not a folder with"):
        live_jars(str(tmp_path / "bin"))


def test_the_jars_come_behind_those_that_a_person_sets() -> None:
    conf = spark_conf(master="local[1]", jars=[Path("/c.jar")], hbase_zookeeper_quorum="")
    assert with_jars(conf, [Path("/a.jar"), Path("/b.jar")])["spark.jars"] == "/a.jar,/b.jar"
    own = with_jars({**conf, "spark.jars": "/mine.jar"}, [Path("/a.jar")])
    assert own["spark.jars"] == "/mine.jar,/a.jar"
    assert own["spark.driver.extraClassPath"] == conf["spark.driver.extraClassPath"], "the class archive still fits"


def test_a_session_that_began_without_the_jars_says_so(spark: SparkSession) -> None:
    """What py4j answers for a class that is not there is no error by itself."""
    jvm: Any = spark._jvm
    without: Any = SimpleNamespace(_jvm=SimpleNamespace(dataco=SimpleNamespace(live=jvm.dataco.absent)))
    with pytest.raises(LiveJarsError, match=r"without the jars of live.*`dataco live`"):
        live_java(without)
