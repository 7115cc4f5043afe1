"""What runs, in which version."""

import platform
from importlib.metadata import version

from dataco_assets.clicks import contract
from dataco_assets.clicks.row import KEY_VERSION
from dataco_assets.clients.elasticsearch import connect_at_once
from dataco_assets.settings import Settings


def versions(config: Settings) -> dict[str, str]:
    """Versions of the platform, of what it is made with, and of the server that tells its own.

    Args:
        config: Address of Elasticsearch.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    return {
        "dataco": version("dataco-clickstream"),
        "contract of the click": str(contract.VERSION),
        "row key": str(KEY_VERSION),
        "Elasticsearch": str(connect_at_once(config).info()["version"]["number"]),
        "Dagster": version("dagster"),
        "Python": platform.python_version(),
    }
