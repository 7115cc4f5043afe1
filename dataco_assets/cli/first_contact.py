"""HBase for a person at a terminal: whether it answers is known at once, and only then requests are retried."""

from dataco_assets.clients.hbase import HBase, connect
from dataco_assets.settings import Settings

_FIRST_SECONDS = 10.0


def connect_at_once(config: Settings, *, retry_seconds: float | None = None) -> HBase:
    """A client of a gateway that answers now.

    Args:
        config: Its address.
        retry_seconds: For how long later requests are retried at most; None: as the settings have it.

    Raises:
        HBaseUnavailable: It does not answer.
    """
    with connect(config, timeout_seconds=_FIRST_SECONDS, retry_seconds=0) as first:
        first.tables()
    return connect(config, retry_seconds=retry_seconds)
