"""Runs the harnesses of the Java projects, which read records on standard input."""

import fcntl
import os
import struct
import subprocess
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from dataco_assets_tests.codecs.payloads import Record
from local_stack import java

SINK = Path(__file__).parents[1] / "kafka_connect"
LIVE = Path(__file__).parents[1] / "spark_resources" / "java"
_BUILD_SECONDS = 900  # a first build downloads Maven's plugins


def compiled(project: Path, folder: Path) -> str:
    """Compiles a project and its tests; returns their class path with the jars they need.

    Args:
        project: `SINK` or `LIVE`.
        folder: Where a temporary file can be written.
    """
    answer = folder / "classpath"
    skipped = ["-Dcheckstyle.skip", "-Dspotless.check.skip"]
    _maven(project, "test-compile", "dependency:build-classpath", f"-Dmdep.outputFile={answer}", *skipped)
    return os.pathsep.join([str(project / "target/classes"), str(project / "target/test-classes"), answer.read_text()])


def verify(project: Path) -> None:
    """Compiles a project, checks its style and format, and runs its unit tests.

    Raises:
        AssertionError: something fails; with what Maven said.
    """
    _maven(project, "verify")


def packaged(folder: Path) -> Path:
    """Builds the sink's archive as `make connect` does, and returns the folder in which it was unpacked."""
    _maven(SINK, "package", "-Pplugin", "-DskipTests")
    with zipfile.ZipFile(SINK / "target" / "plugins.zip") as archive:
        archive.extractall(folder)
    return folder


def _maven(project: Path, *arguments: str) -> None:
    command = [java.tool("mvn"), "--batch-mode", "--quiet", "--file", project / "pom.xml", *arguments]
    with (project / "pom.xml").open() as pom:
        fcntl.flock(pom, fcntl.LOCK_EX)  # tests that run side by side share the folder of compiled classes
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
    assert done.returncode == 0, f"mvn {arguments[0]} failed:\n{done.stdout}{done.stderr}"


def answered(
    class_path: str, harness: Sequence[str], records: Iterable[Record], folder: Path, *, seconds: float
) -> Path:
    """Gives records to a harness and returns the file with what it wrote to standard output.

    Args:
        class_path: See `compiled`.
        harness: Name of its class, and its arguments.
        records: What it reads.
        folder: Where both files are written; those of an earlier call are overwritten.
        seconds: How long it may take.
    """
    return answered_bytes(class_path, harness, b"".join(map(_frame, records)), folder, seconds=seconds)


def answered_bytes(class_path: str, harness: Sequence[str], content: bytes, folder: Path, *, seconds: float) -> Path:
    """The same for any bytes on standard input."""
    asked, answers = folder / "records", folder / "answers"
    asked.write_bytes(content)
    command = [java.checked_java(), "-cp", class_path, *harness]
    with asked.open("rb") as source, answers.open("wb") as target:
        subprocess.run(command, stdin=source, stdout=target, check=True, timeout=seconds)
    return answers


def _frame(record: Record) -> bytes:
    length = -1 if record.payload is None else len(record.payload)
    return struct.pack(">qqi", record.record_time_ms, record.earliest_ms, length) + (record.payload or b"")
