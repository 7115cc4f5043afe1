"""Resolves the servers' jars with Maven, from the pom beside each server; class paths are cached in the user's folder.

Jars are not copied: class paths point into Maven's own repository. Only Elasticsearch, which comes as a zip, is
unpacked (`local_stack.servers.elasticsearch`).
"""

import hashlib
import os
import tempfile
from pathlib import Path

from platformdirs import user_cache_path

from local_stack import java
from local_stack.errors import StackError
from local_stack.programs import run

MAVEN_SECONDS = 1_800  # a first resolution downloads some 300 MB


def cache_folder() -> Path:
    """Where class paths and unpacked servers are kept, shared by all stacks of this user."""
    folder = user_cache_path("dataco") / "stack"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def digest(*files: Path) -> str:
    """A short name for the contents of some files."""
    total = hashlib.blake2b(digest_size=8)
    for file in files:
        total.update(file.read_bytes())
    return total.hexdigest()


def remembered(pom: Path) -> list[Path] | None:
    """The artifacts of a pom if they were resolved before and still exist; otherwise None."""
    try:
        paths = [Path(entry) for entry in _memory(pom).read_text().split(os.pathsep) if entry]
    except FileNotFoundError:
        return None
    return paths if paths and all(path.is_file() for path in paths) else None


def resolve(pom: Path) -> list[Path]:
    """The artifacts of a pom, in class path order, fetched by Maven where necessary.

    Raises:
        StackError: Maven is missing, or could not fetch them.
    """
    known = remembered(pom)
    if known is not None:
        return known
    memory = _memory(pom)
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        answer = Path(folder) / "classpath"
        _maven(pom, answer)
        answer.replace(memory)  # atomic, because other processes may resolve the same pom
    known = remembered(pom)
    if known is None:
        raise StackError(
            f"Maven resolved {pom}, but jars named in {memory} are missing; delete that file and try again."
        )
    return known


def _memory(pom: Path) -> Path:
    return cache_folder() / f"{pom.parent.name}-{digest(pom)}.classpath"


def _maven(pom: Path, answer: Path) -> None:
    command = [
        str(java.tool("mvn")),
        "--batch-mode",
        "--quiet",
        "--file",
        str(pom),
        "dependency:build-classpath",
        f"-Dmdep.outputFile={answer}",
    ]
    run(f"Maven: fetching the jars of {pom}", command, seconds=MAVEN_SECONDS)
