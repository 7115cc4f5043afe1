"""What a codec makes of a record, as the Java harnesses write it."""

import re
import struct
from typing import BinaryIO

from dataco_assets.clicks.event import Click, Rejection
from dataco_assets.clicks.row import cells, row_key

_DETAIL = re.compile(rb"[ -~]{1,200}")


def written(parsed: Click | Rejection) -> bytes:
    """A verdict of the Python codec as `CodecHarness` writes it, without the detail of a rejection."""
    if not isinstance(parsed, Click):
        return b"R" + parsed.reason.encode()
    row = (struct.pack(">i", len(value)) + value for _, value in cells(parsed))
    return b"C" + row_key(parsed.user_id, parsed.timestamp, parsed.event_id) + b"".join(row)


def read(answers: BinaryIO) -> bytes | None:
    """The next verdict of the Java codec, without its detail, which is checked to be printable; None at the end."""
    size = answers.read(4)
    if not size:
        return None
    answer = answers.read(int.from_bytes(size, "big"))
    if answer.startswith(b"R"):
        answer, _, detail = answer.partition(b"\0")
        assert _DETAIL.fullmatch(detail), detail
    return answer


def kind(verdict: bytes) -> str:
    """`click`, or the reason of a rejection."""
    return "click" if verdict[:1] == b"C" else verdict[1:].decode()
