"""Archives made for tests, good and broken."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dcmweb.dicom.byte_ranges import LocalFile
from dcmweb.errors import LocalError
from dcmweb.local.archive_members import files_in
from dcmweb.sources import Found
from dcmweb.temporary import Spool

MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def failing(*_: object) -> Iterator[bytes]:
    """Read from a disk that fails."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))
    yield b""


def make_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write a ZIP archive of files."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 2, 29, 12, 30, 2)), data, method)
    return path


def make_tar(
    path: Path, files: Mapping[str, bytes | tarfile.TarInfo], form: int = tarfile.PAX_FORMAT
) -> Path:
    """Write a tar archive, compressed as its name says, of files and entries of other kinds."""
    mode = MODES["".join(path.suffixes[-2:]) if ".tar" in path.suffixes[:-1] else path.suffix]
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(data, bytes):
                entry.size, entry.mtime = len(data), 1_700_000_000
            archive.addfile(entry, io.BytesIO(data) if isinstance(data, bytes) else None)
    return path


def find_in(path: Path, only: Iterable[str] = ()) -> list[Found]:
    """Find the members of an archive without reading them."""
    return list(files_in(Found(str(path), named=True, file=LocalFile(str(path))), list(only)))


def read_all(path: Path, in_memory: int = 1 << 20) -> dict[str, bytes | str]:
    """Read the members of an archive as they are found: the bytes, or the words of the error.

    Each is read twice, as if it had to be sent again. Names are those within the archive.
    """
    contents: dict[str, bytes | str] = {}
    spool = Spool(in_memory)
    for found in files_in(Found(str(path), named=True, file=LocalFile(str(path)))):
        name = found.path.removeprefix(f"{path}!/")
        contents[name] = _read(found, spool)
    return contents


def _read(found: Found, spool: Spool) -> bytes | str:
    if found.file is None:
        return str(found.error and found.error.strerror)
    try:
        with found.file.open(spool) as (stream, content):
            seen = stream.read()
        once, again = (b"".join(content.pieces()) for _ in range(2))
    except LocalError as error:
        return f"{type(error).__name__}: {error}"
    assert once == again == seen
    assert content.stamp == found.file.stamp()
    return once
