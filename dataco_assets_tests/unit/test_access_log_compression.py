"""Tests compressed logs, byte order marks, and file formats that are refused."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
from backports import zstd

from dataco_assets.sources.access_logs.compression import LogFileError, decompressed, undamaged

LINES = [b"line %d\n" % number for number in range(5_000)]
PLAIN = b"".join(LINES)
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMPRESSORS: list[Callable[[bytes], bytes]] = [gzip.compress, bz2.compress, lzma.compress, zstd.compress]


def lines_of(data: bytes) -> list[bytes]:
    return list(undamaged(decompressed(io.BytesIO(data), "a.log"), "a.log"))


@pytest.mark.parametrize("compress", [bytes, *COMPRESSORS])
def test_compressed_or_not_the_lines_are_the_same(compress: Callable[[bytes], bytes]) -> None:
    assert lines_of(compress(PLAIN)) == LINES
    assert lines_of(compress(BYTE_ORDER_MARK + PLAIN)) == LINES
    assert lines_of(compress(b"")) == []
    assert lines_of(compress(b"x")) == [b"x"]


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_files_put_together_are_read_to_the_end(compress: Callable[[bytes], bytes]) -> None:
    assert lines_of(compress(PLAIN) + compress(PLAIN)) == LINES * 2


@pytest.mark.parametrize("compress", COMPRESSORS)
def test_a_file_cut_off_or_damaged_is_named(compress: Callable[[bytes], bytes]) -> None:
    whole = compress(PLAIN)
    for cut in (8, len(whole) // 2, len(whole) - 1):
        with pytest.raises(LogFileError, match=r"compressed file a\.log is (cut off|damaged)"):
            lines_of(whole[:cut])
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 40]) + whole[middle + 40 :]
    with pytest.raises(LogFileError, match=r"compressed file a\.log is (cut off|damaged)"):
        lines_of(damaged)


@pytest.mark.parametrize(
    ("data", "way_out"),
    [
        ("line\n".encode("utf-16"), "iconv -f UTF-16"),
        (b"\xfe\xff" + "line\n".encode("utf-16-be"), "iconv -f UTF-16"),
        (b"PK\x03\x04....", "ZIP archive: unpack it"),
        (b"\x1f\x9d\x90....", "uncompress"),
    ],
)
def test_other_forms_are_refused_with_what_to_do(data: bytes, way_out: str) -> None:
    with pytest.raises(LogFileError, match=way_out):
        lines_of(data)


def test_an_error_of_the_disk_is_not_called_damage() -> None:
    class Failing(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, _: object) -> int:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        decompressed(io.BufferedReader(Failing()), "a.log")
