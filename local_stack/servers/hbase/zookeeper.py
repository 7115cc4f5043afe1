"""One read-only question to ZooKeeper: the names below a node. Forty lines instead of a client library.

Does not belong here: what HBase keeps in those nodes (`local_stack.servers.hbase`).
"""

import socket
import struct

from local_stack.errors import NotReady

_GET_CHILDREN = 8
_CLOSE = -11
_SESSION_MS = 4_000
_LARGEST_ANSWER = 1024 * 1024


def children(address: tuple[str, int], path: str, seconds: float) -> list[str]:
    """Names of the nodes directly below a node.

    Args:
        address: ZooKeeper's host and port.
        path: the node, like `/hbase/rs`.
        seconds: how long each answer may take.

    Raises:
        NotReady: ZooKeeper did not answer, or has no such node.
    """
    try:
        with socket.create_connection(address, timeout=seconds) as connection:
            _send(connection, struct.pack(">iqiqi16s", 0, 0, _SESSION_MS, 0, 16, bytes(16)))
            _receive(connection)
            name = path.encode()
            _send(connection, struct.pack(f">iii{len(name)}s?", 1, _GET_CHILDREN, len(name), name, False))
            answer = _receive(connection)
            _send(connection, struct.pack(">ii", 2, _CLOSE))
            return _names(answer, path)
    except (OSError, struct.error) as error:
        raise NotReady(f"ZooKeeper: {error}") from error


def _send(connection: socket.socket, body: bytes) -> None:
    connection.sendall(struct.pack(">i", len(body)) + body)


def _receive(connection: socket.socket) -> bytes:
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    if not 0 <= length <= _LARGEST_ANSWER:
        raise NotReady(f"ZooKeeper: an answer of {length} bytes")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes:
    parts = b""
    while len(parts) < length:
        part = connection.recv(length - len(parts))
        if not part:
            raise NotReady("ZooKeeper closed the connection")
        parts += part
    return parts


def _names(answer: bytes, path: str) -> list[str]:
    _xid, _zxid, code = struct.unpack_from(">iqi", answer)
    if code:
        raise NotReady(f"ZooKeeper: no {path} (code {code})")
    (count,) = struct.unpack_from(">i", answer, 16)
    names, offset = [], 20
    for _ in range(count):
        (length,) = struct.unpack_from(">i", answer, offset)
        names.append(answer[offset + 4 : offset + 4 + length].decode())
        offset += 4 + length
    return names
