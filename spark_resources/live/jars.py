"""The jars of live (spark_resources/java): found in a folder, or built by Maven into the user's cache.

They go to Spark as `spark.jars`, not on the class path of the connectors, for which there is a class archive.
"""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import platformdirs

from dataco_assets.errors import DatacoError

PROJECT: Final = Path(__file__).parents[1] / "java"
SINK: Final = PROJECT.parents[1] / "kafka_connect"
"""The project with the decoding of clicks, of which a part is compiled into live's jar."""
_BUILD_TIMEOUT_SECONDS = 900
_SHOWN_OUTPUT = 600
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
        jars = sorted(Path(folder).glob("*.jar"))
        if not jars:
            raise LiveJarsError(
                f"DATACO_LIVE_JARS={folder[:200]!r} is not a folder with *.jar files. Copy those there that "
                "`mvn package` leaves in spark_resources/java/target/jars, or leave it empty to have Maven build them."
            )
        return jars
    if not (PROJECT / "pom.xml").is_file() or not SINK.is_dir():
        raise LiveJarsError(
            "The jars of live are built from the sources of the platform, which this installation does not have. Set "
            "DATACO_LIVE_JARS to a folder that holds them; the Docker image does."
        )
    cached = cache_folder()
    if not cached.is_dir():
        _build(cached)
    return sorted(cached.glob("*.jar"))


def cache_folder() -> Path:
    """The folder of the jars of the sources as they are."""
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(f"{source.relative_to(PROJECT.parents[1])}\0".encode() + source.read_bytes())
    return Path(platformdirs.user_cache_dir("dataco")) / "live" / digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield PROJECT / "pom.xml"
    for folder in (PROJECT, SINK):
        yield from sorted((folder / "src" / "main").rglob("*.java"))


def _build(target: Path) -> None:
    """Fills `target` atomically: a broken or interrupted build leaves nothing that looks complete."""
    maven = shutil.which("mvn")
    if maven is None:
        raise LiveJarsError(
            "The jars of live are not built yet and Maven (`mvn`) is not installed to build them. Install Maven and a "
            "JDK 17, or set DATACO_LIVE_JARS to a folder that holds them."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        _run_maven(maven, Path(scratch))
        try:
            (Path(scratch) / "jars").rename(target)
        except OSError:
            if not target.is_dir():  # another process was faster and built the same jars
                raise


def _run_maven(maven: str, built: Path) -> None:
    command = [maven, "-q", "-B", "-f", str(PROJECT / "pom.xml"), "package", f"-Dbuilt={built}", *_WITHOUT_CHECKS]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise LiveJarsError(
            f"Maven did not build the jars of live within {_BUILD_TIMEOUT_SECONDS} s. Try again: what it has fetched "
            "so far is kept."
        ) from None
    if done.returncode or not list((built / "jars").glob("*.jar")):
        said = (done.stdout + done.stderr).strip()[-_SHOWN_OUTPUT:]
        raise LiveJarsError(
            f"Maven could not build the jars of live (exit code {done.returncode}); it needs a JDK 17. Its output "
            f"ended:\n{said}"
        )
