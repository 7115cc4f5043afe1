"""What to try next, when a server does not answer."""

import os
from pathlib import Path

from dataco_assets.errors import ErrorKind
from dataco_assets.settings import variable

_ADDRESSES = tuple(
    variable(field)
    for field in ("kafka_bootstrap_servers", "hbase_thrift_host", "hbase_thrift_port", "elasticsearch_url")
)


def local_stack_hint(kind: ErrorKind) -> str:
    """The line that points a shell to the local servers, for one who forgot it; else nothing.

    Args:
        kind: Kind of the error; a server that is away is a passing one.
    """
    folder = os.environ.get("DATACO_STACK_DIR", ".stack")
    if kind is not ErrorKind.PASSING or any(name in os.environ for name in _ADDRESSES) or not Path(folder).is_dir():
        return ""
    return f'There is a local stack in {folder}. To use its servers: eval "$(dataco stack env)"'
