"""Jars that Maven puts into the user's cache folder when they are needed, or that a named folder holds."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from dataco_assets.errors import DatacoError

_MAVEN_SECONDS = 900
_SHOWN_OUTPUT = 600


@dataclass(frozen=True)
class MavenJars:
    """Some jars, how Maven makes them, and the words of the errors when it cannot.

    Attributes:
        what: The jars, such as `the jars of live`.
        doing: What Maven does: `fetch` or `build`.
        needs: What has to be installed for that.
        variable: The setting that names a folder with the jars.
        where_from: Where a person finds jars to copy into that folder, a sentence.
        error: What is raised.
        arguments: Arguments of Maven, for an existing folder to work in; it leaves the jars in its folder `jars`.
        hint: What follows the exit code of a Maven that failed.
    """

    what: str
    doing: str
    needs: str
    variable: str
    where_from: str
    error: type[DatacoError]
    arguments: Callable[[Path], Sequence[str]]
    hint: str = ""

    def in_folder(self, folder: str) -> list[Path]:
        """The jars in a folder, sorted by name.

        Raises:
            DatacoError: of the class `error`: it holds none.
        """
        jars = sorted(Path(folder).glob("*.jar"))
        if not jars:
            raise self.error(
                f"{self.variable}={folder[:200]!r} is not a folder with *.jar files. {self.where_from}, or leave it "
                f"empty to have Maven {self.doing} them."
            )
        return jars

    def cached(self, folder: Path) -> list[Path]:
        """The jars in a cache folder, sorted by name; Maven fills it once.

        It is filled atomically: an attempt that is broken off or interrupted leaves nothing that looks complete.

        Raises:
            DatacoError: of the class `error`: Maven is missing or fails.
        """
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{self.doing}-") as scratch:
                made = self._run_maven(Path(scratch))
                try:
                    made.rename(folder)
                except OSError:
                    if not folder.is_dir():  # another process was faster and made the same jars
                        raise
        return sorted(folder.glob("*.jar"))

    def _run_maven(self, scratch: Path) -> Path:
        maven = shutil.which("mvn")
        if maven is None:
            raise self.error(
                f"{self.what[0].upper()}{self.what[1:]} are missing and Maven (`mvn`) is not installed to "
                f"{self.doing} them. Install {self.needs}, or set {self.variable} to a folder that holds them."
            )
        command = [maven, "-q", "-B", *self.arguments(scratch)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_MAVEN_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise self.error(
                f"Maven did not {self.doing} {self.what} within {_MAVEN_SECONDS} s. Try again: what it has fetched so "
                "far is kept."
            ) from None
        jars = scratch / "jars"
        if done.returncode or not list(jars.glob("*.jar")):
            said = (done.stdout + done.stderr).strip()[-_SHOWN_OUTPUT:]
            raise self.error(
                f"Maven could not {self.doing} {self.what} (exit code {done.returncode}){self.hint}. Its output "
                f"ended:\n{said}"
            )
        return jars


def cache_folder(kind: str, digest: str) -> Path:
    """The folder in the user's cache of jars of a kind, made from what has this digest."""
    return Path(platformdirs.user_cache_dir("dataco")) / kind / digest[:16]
