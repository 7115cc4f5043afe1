"""Tests the checks before anything starts (Java, Maven, jars), and the reading of logs."""

import os
from pathlib import Path

import pytest

from local_stack import jars, java
from local_stack.errors import StackError
from local_stack.servers.elasticsearch import account
from local_stack.servers.hdfs import fetch
from local_stack.text import last_error_line, shown


def _script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, and an empty cache."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.mark.parametrize(
    ("told", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "21" 2023-09-19', 21),
        ('java version "1.8.0_292"', 8),
        ("no such thing", None),
    ],
)
def test_java_versions_old_and_new_are_understood(told: str, major: int | None) -> None:
    assert java.version_of(told) == major


@pytest.mark.parametrize("name", ["java", "javac", "mvn"])
@pytest.mark.usefixtures("only_these")
def test_a_missing_tool_is_said_with_what_to_install(name: str) -> None:
    with pytest.raises(StackError, match=rf"^{name} is not installed.*apt-get install"):
        java.tool(name)


@pytest.mark.parametrize("version", ["1.8.0_292", "11.0.2", "24.0.1"])
def test_a_wrong_java_is_said_with_its_version(only_these: Path, version: str) -> None:
    _script(only_these / "java", f"echo 'openjdk version \"{version}\"' >&2")
    with pytest.raises(StackError, match="need Java 17 to 21"):
        java.checked_java()


def test_java_home_comes_first(only_these: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(only_these / "java", "echo 'version \"11\"' >&2")
    good = _script(tmp_path / "jdk" / "bin" / "java", "echo 'version \"17.0.1\"' >&2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert java.checked_java() == good


def _pom(tmp_path: Path) -> Path:
    pom = tmp_path / "toy" / "pom.xml"
    pom.parent.mkdir()
    pom.write_text("<project/>")
    return pom


def test_jars_are_resolved_once_and_again_when_one_is_gone_or_the_pom_changes(only_these: Path, tmp_path: Path) -> None:
    pom, calls = _pom(tmp_path), tmp_path / "calls"
    one, two = tmp_path / "one.jar", tmp_path / "two.jar"
    writes = f'for a in "$@"; do case "$a" in -Dmdep.outputFile=*) printf %s "{one}:{two}" > "${{a#*=}}";; esac; done'
    _script(only_these / "mvn", f': > "{one}"; : > "{two}"; echo x >> "{calls}"; {writes}')
    assert jars.resolve(pom) == [one, two]
    assert jars.resolve(pom) == [one, two]
    assert calls.read_text().count("x") == 1
    two.unlink()
    assert jars.resolve(pom) == [one, two]
    assert calls.read_text().count("x") == 2
    pom.write_text("<project></project>")
    jars.resolve(pom)
    assert calls.read_text().count("x") == 3


def test_a_failing_maven_is_told_by_its_error(only_these: Path, tmp_path: Path) -> None:
    _script(only_these / "mvn", "echo '[INFO] x'; echo '[ERROR] Could not transfer artifact a:b'; exit 1")
    with pytest.raises(StackError, match=r"Could not transfer artifact a:b"):
        jars.resolve(_pom(tmp_path))


@pytest.mark.usefixtures("only_these")
def test_a_missing_maven_is_said_when_jars_are_wanted(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="mvn is not installed"):
        jars.resolve(_pom(tmp_path))


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("a\n2026 ERROR [x] the first\n2026 INFO fine\nERROR the last\nafter\n\n", "ERROR the last"),
        ("java.net.BindException: in use\n\tat x.y(Z.java:1)\n", "java.net.BindException: in use"),
        ("WARN x\nCaused by: a.B: why\n\tat q\n", "Caused by: a.B: why"),
        ("one\nTERRORS are no error\n", "TERRORS are no error"),
        ("", "(the log is empty)"),
        ("ERROR \x1b[31mred\x07 é\n", "ERROR ?[31mred? ?"),
    ],
)
def test_the_line_of_a_log_that_explains(tmp_path: Path, log: str, line: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(log)
    assert last_error_line(path) == line


def test_errors_of_an_earlier_run_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text("ERROR old\n")
    since = path.stat().st_size
    path.write_text("ERROR old\nstarting\n")
    assert last_error_line(path, since) == "starting"
    path.write_text("ERROR\n")  # rotated: shorter than before
    assert last_error_line(path, since) == "ERROR"
    assert last_error_line(tmp_path / "none.log").startswith("(no log")


@pytest.mark.parametrize("name", ["a stack", "100%", "a,b", "a:b", "a;b"])
def test_a_folder_that_hadoop_stumbles_over_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StackError, match="--dir"):
        fetch(tmp_path / name)


def test_text_is_cut_to_its_limit() -> None:
    assert shown("x" * 500, 20) == "x" * 17 + "..."


def test_an_ordinary_user_stays_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert account.unprivileged(Path("/nowhere")) == account.CURRENT_USER


def test_root_takes_the_first_way_that_can_read_and_says_when_none_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    missing, working = account.Account(("no-such-command",), 1), account.Account(("env",), 2)
    monkeypatch.setattr(account, "CANDIDATES_FOR_ROOT", (missing, working))
    (tmp_path / "file").write_text("")
    assert account.unprivileged(tmp_path / "file") == working
    with pytest.raises(StackError, match="refuses to run as root"):
        account.unprivileged(tmp_path / "none")
