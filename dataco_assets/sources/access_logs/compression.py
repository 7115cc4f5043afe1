"""Log files as they lie on disk: compressed or not, with or without a byte order mark.

The first bytes decide, not the name: rotated logs are renamed, and standard input has none.
"""

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from typing import BinaryIO, cast

from backports import zstd

from dataco_assets.errors import DatacoError

_OPENERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open, b"\x28\xb5\x2f\xfd": zstd.open}
_REFUSED = {
    b"PK\x03\x04": "a ZIP archive: unpack it first",
    b"\x1f\x9d": "compressed by compress(1): decompress it with uncompress first",
    b"\xff\xfe": "UTF-16 text: convert it first, with iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text: convert it first, with iconv -f UTF-16 -t UTF-8",
}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LONGEST_MAGIC = 6


class LogFileError(DatacoError):
    """A log file cannot be read as it is; the message names the file and what to do."""


def decompressed(stream: BinaryIO, name: str) -> BinaryIO:
    """The bytes of a log file, decompressed if they are compressed, without a byte order mark.

    Args:
        stream: the file; gzip, bzip2, xz and Zstandard are decompressed.
        name: of the file, for the message of an error.

    Raises:
        LogFileError: the file is in a form that is not read here.
        OSError: the operating system cannot read the file.
    """
    raw = stream if isinstance(stream, BufferedReader) else BufferedReader(cast("RawIOBase", stream))
    start = raw.peek(_LONGEST_MAGIC)
    for magic, what in _REFUSED.items():
        if start.startswith(magic):
            raise LogFileError(f"The file {name} is {what}.")
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    # A buffer of its own: the decompressors' `peek` may return less than asked for.
    plain = BufferedReader(cast("RawIOBase", opener(raw))) if opener else raw
    with _damage_named(name):
        if plain.peek(len(_BYTE_ORDER_MARK)).startswith(_BYTE_ORDER_MARK):
            plain.read(len(_BYTE_ORDER_MARK))
    return cast("BinaryIO", plain)


def undamaged(lines: Iterable[bytes], name: str) -> Iterator[bytes]:
    """The lines of a decompressed file.

    Raises:
        LogFileError: the compressed data is damaged or cut off; the lines before that have been yielded.
        OSError: the operating system cannot read the file.
    """
    with _damage_named(name):
        yield from lines


@contextmanager
def _damage_named(name: str) -> Iterator[None]:
    """Turns what the decompressors raise for broken data into an error that names the file."""
    try:
        yield
    except EOFError as error:
        raise LogFileError(f"The compressed file {name} is cut off: copy it here again.") from error
    except (zlib.error, lzma.LZMAError, zstd.ZstdError) as error:
        raise LogFileError(f"The compressed file {name} is damaged: {error}.") from error
    except OSError as error:
        if error.errno is not None:
            raise
        # gzip and bz2 raise errors of the operating system's type, without a number, for damaged data
        raise LogFileError(f"The compressed file {name} is damaged: {error}.") from error
