"""The connector jars that Spark needs (pom.xml): found in a folder, or fetched by Maven into the user's cache."""

import hashlib
from pathlib import Path

from dataco_assets.errors import DatacoError
from spark_resources.maven_jars import MavenJars, cache_folder

POM = Path(__file__).with_name("pom.xml")


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
        return _JARS.in_folder(folder)
    return _JARS.cached(cache_folder("connectors", hashlib.sha256(POM.read_bytes()).hexdigest()))


_JARS = MavenJars(
    what="the Spark connector jars",
    doing="fetch",
    needs="Maven",
    variable="DATACO_CONNECTOR_JARS",
    where_from=f"Copy the jars of {POM.parent.name}/{POM.name} there",
    error=ConnectorJarsError,
    arguments=lambda scratch: ["-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={scratch}/jars"],
)
