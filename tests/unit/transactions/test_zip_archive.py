"""ZIP archives that a server sends: whole, or an error in words, whatever is wrong with them."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dcmweb.errors import IncompletePayload, ProtocolError
from dcmweb.local.partial_files import partial_file
from dcmweb.transactions.retrieve import zip_archive

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def archive(method: int = zipfile.ZIP_DEFLATED, *names: str) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as written:
        for name in names or ("a/1.dcm", "ü.dcm"):
            written.writestr(name, name.encode() * 30)
    return data.getvalue()


def check(folder: Path, data: bytes, count: int = 2) -> None:
    with partial_file(str(folder)) as file:
        file.write(data)
        zip_archive._check(file, count)


def test_files_are_counted(tmp_path: Path) -> None:
    check(tmp_path, archive())
    with pytest.raises(ProtocolError, match="has 2 files, the server counts 3"):
        check(tmp_path, archive(zipfile.ZIP_STORED, "1.dcm", "2.dcm", "d/", "DICOMDIR"), 3)


def test_a_wrong_checksum_is_damage(tmp_path: Path) -> None:
    data = bytearray(archive(zipfile.ZIP_STORED))
    data[40] ^= 1
    with pytest.raises(IncompletePayload, match=r"broken: a/1\.dcm"):
        check(tmp_path, bytes(data))


@pytest.mark.parametrize("method", METHODS)
def test_no_noise_ends_in_another_error(tmp_path: Path, method: int) -> None:
    good = archive(method)
    for seed in range(300):
        data = bytearray(good)
        for byte in range(3):
            data[(seed * 7919 + byte * 104_729) % len(data)] ^= 1 << (seed + byte) % 8
        with suppress(IncompletePayload):
            check(tmp_path, bytes(data), 0)


def test_a_disk_that_fails_is_not_damage() -> None:
    class Failing:
        @contextmanager
        def reader(self) -> Iterator[io.BytesIO]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
            yield io.BytesIO()

    file: Any = Failing()
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        zip_archive._check(file, 1)
