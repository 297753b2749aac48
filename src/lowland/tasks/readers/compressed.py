"""Compressions of files: functions that decompress, by the ending of a file's name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Mapping
from typing import Any


def _unzip(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        if len(names) != 1:  # which one is not said
            raise ValueError(f"it holds {len(names)} files; expected one")
        return archive.read(names[0])


def _decompress_zstandard(content: bytes) -> bytes:
    import zstandard

    return _decompress(content, lambda: zstandard.ZstdDecompressor().decompressobj())


def _decompress_bz2(content: bytes) -> bytes:
    return _decompress(content, bz2.BZ2Decompressor)


def _decompress_xz(content: bytes) -> bytes:
    return _decompress(content, lzma.LZMADecompressor)


def _decompress(content: bytes, start: Callable[[], Any]) -> bytes:
    """Return the content of all streams of a file; only zeros may follow the last one.

    The functions of `bz2` and `lzma` leave out, in silence, what follows a damaged start of a stream.
    """
    parts = []
    while content.strip(b"\0"):
        stream = start()
        parts.append(stream.decompress(content))
        if not stream.eof:
            raise EOFError("the file ends in the middle")
        content = stream.unused_data
    return b"".join(parts)


COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": _decompress_bz2,
    ".xz": _decompress_xz,
    ".zst": _decompress_zstandard,
    ".zip": _unzip,
}
"""Functions that decompress a file, by its ending."""
