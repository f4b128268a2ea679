"""Sources of bytes: ranges of files that must not change, and chunks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmweb.dicom.byte_ranges import PIECE, Chunks, FileRange, fingerprint
from dcmweb.errors import LocalError

CONTENT = os.urandom(2 * PIECE + 100)


@pytest.fixture
def path(tmp_path: Path) -> str:
    found = tmp_path / "file"
    found.write_bytes(CONTENT)
    return str(found)


def file_range(path: str, start: int, size: int) -> FileRange:
    return FileRange(path, start, size, fingerprint(path))


@pytest.mark.parametrize(("start", "size"), [(0, len(CONTENT)), (7, PIECE), (50, 1), (9, 0)])
def test_a_range_is_read_anew_each_time(path: str, start: int, size: int) -> None:
    source = file_range(path, start, size)
    source.check()
    for _ in range(2):
        assert b"".join(source.pieces()) == CONTENT[start : start + size]


def test_chunks_are_put_together(path: str) -> None:
    chunks = Chunks((b"ab", file_range(path, 1, 3), b"", file_range(path, 0, 2)))
    assert b"".join(chunks.pieces()) == b"ab" + CONTENT[1:4] + CONTENT[:2]
    assert chunks.size == 7


def test_the_last_piece_of_a_file_that_changed_does_not_come(path: str) -> None:
    source = file_range(path, 0, len(CONTENT))
    os.utime(path, (0, 0))
    came: list[bytes] = []
    with pytest.raises(LocalError, match="changed while it was being sent") as caught:
        came.extend(source.pieces())
    assert sum(map(len, came)) < source.size
    assert caught.value.path == path
    with pytest.raises(LocalError, match="changed"):
        source.check()


def test_a_file_that_became_shorter_is_an_error(path: str) -> None:
    source = file_range(path, 0, len(CONTENT))
    os.truncate(path, 10)
    with pytest.raises(LocalError, match="changed"):
        list(source.pieces())


def test_a_file_that_is_gone_is_an_error(path: str) -> None:
    source = file_range(path, 0, 5)
    os.unlink(path)
    for read in (lambda: list(source.pieces()), source.check):
        with pytest.raises(LocalError, match=r"No such file|[Nn]ot found|cannot find") as caught:
            read()
        assert caught.value.path == path
