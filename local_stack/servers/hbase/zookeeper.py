"""Reads the names of the nodes below one ZooKeeper node."""

import logging

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException
from kazoo.handlers.threading import KazooTimeoutError

from local_stack.errors import NotReady

_logger = logging.getLogger(__name__)
_logger.addHandler(logging.NullHandler())
_logger.propagate = False  # while ZooKeeper starts, every attempt would log a warning


def children(address: tuple[str, int], path: str, seconds: int) -> list[str]:
    """Names of the nodes directly below a node.

    Args:
        address: ZooKeeper's host and port.
        path: The node, like `/hbase/rs`.
        seconds: How many seconds to wait for a session.

    Raises:
        NotReady: ZooKeeper did not answer, or has no such node.
    """
    host, port = address
    client = KazooClient(f"{host}:{port}", timeout=seconds, read_only=True, logger=_logger)
    try:
        client.start(timeout=seconds)
        return list(client.get_children(path) or ())
    except (KazooTimeoutError, KazooException) as error:
        raise NotReady(f"ZooKeeper at {host}:{port}, {path}: {error!r}") from error
    finally:
        client.stop()
        client.close()
