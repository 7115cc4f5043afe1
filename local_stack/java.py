"""Finds the Java tools that a stack needs, and checks their version before anything starts."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from local_stack.errors import StackError

OLDEST, NEWEST = 17, 21  # Kafka 4 needs 17 or later; Hadoop 3.4 no longer starts on 24

_INSTALL = {
    "java": "On Debian or Ubuntu: apt-get install openjdk-17-jdk-headless",
    "javac": "On Debian or Ubuntu: apt-get install openjdk-17-jdk-headless (a JRE alone is not enough)",
    "mvn": "On Debian or Ubuntu: apt-get install maven",
}
_VERSION = re.compile(r'version "(?:1\.)?(\d+)')


def tool(name: str) -> Path:
    """Path of `java`, `javac` or `mvn`: under JAVA_HOME when it has one there, otherwise on the PATH.

    Raises:
        StackError: it is not installed; the message says what to install.
    """
    home = os.environ.get("JAVA_HOME", "")
    if home and (candidate := Path(home) / "bin" / name).is_file():
        return candidate
    found = shutil.which(name)
    if found is None:
        raise StackError(f"{name} is not installed (not on the PATH, nor under JAVA_HOME). {_INSTALL[name]}")
    return Path(found)


def version_of(output: str) -> int | None:
    """The major version in the output of `java -version`."""
    match = _VERSION.search(output)
    return int(match[1]) if match else None


def checked_java() -> Path:
    """Path of a `java` on which the servers are known to run.

    Raises:
        StackError: there is none, or its version is not between `OLDEST` and `NEWEST`.
    """
    path = tool("java")
    try:
        printed = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StackError(f"{path} does not run: {error}. {_INSTALL['java']}") from error
    major = version_of(printed.stderr + printed.stdout)
    if major is None or not OLDEST <= major <= NEWEST:
        found = "an unknown version" if major is None else f"Java {major}"
        raise StackError(
            f"{path} is {found}; the servers need Java {OLDEST} to {NEWEST}. {_INSTALL['java']}; "
            "then set JAVA_HOME if several are installed."
        )
    return path
