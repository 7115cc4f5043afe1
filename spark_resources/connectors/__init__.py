"""The connector jars that Spark needs (pom.xml): found in a folder, or fetched by Maven into the user's cache."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

import platformdirs

from dataco_assets.errors import DatacoError

POM = Path(__file__).with_name("pom.xml")
_FETCH_TIMEOUT_SECONDS = 900
_SHOWN_OUTPUT = 600


class ConnectorJarsError(DatacoError):
    """The connector jars are missing and cannot be fetched; the message says what to install or set."""


def connector_jars(folder: str | None = None) -> list[Path]:
    """The connector jars, sorted by name; fetched by Maven once when no folder is named.

    Args:
        folder: The folder that holds them; None: `connectors/<hash of the pom>` in the user's cache folder.

    Raises:
        ConnectorJarsError: the folder holds no jar, or Maven is missing or fails.
    """
    if folder:
        jars = sorted(Path(folder).glob("*.jar"))
        if not jars:
            raise ConnectorJarsError(
                f"DATACO_CONNECTOR_JARS={folder[:200]!r} is not a folder with *.jar files. Copy the jars of "
                f"{POM.parent.name}/{POM.name} there, or leave it empty to have Maven fetch them."
            )
        return jars
    cached = cache_folder()
    if not cached.is_dir():
        _fetch(cached)
    return sorted(cached.glob("*.jar"))


def cache_folder() -> Path:
    """The folder of the jars of this version of the pom."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("dataco")) / "connectors" / digest


def _fetch(target: Path) -> None:
    """Fills `target` atomically: a broken or interrupted fetch leaves nothing that looks complete."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ConnectorJarsError(
            "The Spark connector jars are missing and Maven (`mvn`) is not installed to fetch them. Install Maven, or "
            "set DATACO_CONNECTOR_JARS to a folder that holds them."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        jars = Path(scratch) / "jars"
        _run_maven(maven, jars)
        try:
            jars.rename(target)
        except OSError:
            if not target.is_dir():  # another process was faster and fetched the same jars
                raise


def _run_maven(maven: str, jars: Path) -> None:
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={jars}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ConnectorJarsError(
            f"Maven did not fetch the Spark connector jars within {_FETCH_TIMEOUT_SECONDS} s. Try again: what it has "
            "fetched so far is kept."
        ) from None
    if done.returncode or not list(jars.glob("*.jar")):
        said = (done.stdout + done.stderr).strip()[-_SHOWN_OUTPUT:]
        raise ConnectorJarsError(
            f"Maven could not fetch the Spark connector jars (exit code {done.returncode}). Its output ended:\n{said}"
        )
