"""The jars of live (spark_resources/java): found in a folder, or built by Maven into the user's cache.

They go to Spark as `spark.jars`, not on the class path of the connectors, for which there is a class archive.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dataco_assets.errors import DatacoError
from spark_resources.maven_jars import MavenJars, cache_folder

PROJECT: Final = Path(__file__).parents[1] / "java"
SINK: Final = PROJECT.parents[1] / "kafka_connect"
"""The project with the decoding of clicks, of which a part is compiled into live's jar."""
_WITHOUT_CHECKS = ("-Dmaven.test.skip", "-Dcheckstyle.skip", "-Dspotless.check.skip")


class LiveJarsError(DatacoError):
    """The jars of live are missing and cannot be built; the message says what to install or set."""


def live_jars(folder: str | None = None) -> list[Path]:
    """The jars of live, sorted by name; built by Maven, when no folder is named, for each state of their sources once.

    Args:
        folder: The folder that holds them; None: `live/<hash of the sources>` in the user's cache folder.

    Raises:
        LiveJarsError: the folder holds no jar, the sources are not there, or Maven is missing or fails.
    """
    if folder:
        return _JARS.in_folder(folder)
    if not (PROJECT / "pom.xml").is_file() or not SINK.is_dir():
        raise LiveJarsError(
            "The jars of live are built from the sources of the platform, which this installation does not have. Set "
            "DATACO_LIVE_JARS to a folder that holds them; the Docker image does."
        )
    return _JARS.cached(cache_folder("live", _digest()))


def _digest() -> str:
    """A name for the sources as they are."""
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(f"{source.relative_to(PROJECT.parents[1])}\0".encode() + source.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Path]:
    yield PROJECT / "pom.xml"
    for folder in (PROJECT, SINK):
        yield from sorted((folder / "src" / "main").rglob("*.java"))


_JARS = MavenJars(
    what="the jars of live",
    doing="build",
    needs="Maven and a JDK 17",
    variable="DATACO_LIVE_JARS",
    where_from="Copy those there that `mvn package` leaves in spark_resources/java/target/jars",
    error=LiveJarsError,
    arguments=lambda scratch: ["-f", str(PROJECT / "pom.xml"), "package", f"-Dbuilt={scratch}", *_WITHOUT_CHECKS],
    hint="; it needs a JDK 17",
)
