"""Which bytes of the server are those of a file: preambles that it zeroed make no difference."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from dcmweb.dicom import part10
from dcmweb.errors import LocalError
from dcmweb.transactions.store.old_copy import OldCopy, _is_same
from tests.conftest import make_instance

FILE = make_instance(size=600_000)
TIFF = b"II*\0" + bytes(range(124)) + FILE[128:]


@pytest.mark.parametrize(
    ("kept", "sent", "same"),
    [
        (FILE, FILE, True),
        (TIFF, TIFF, True),
        (FILE, TIFF, True),  # the server zeroed it
        (TIFF, FILE, False),  # the server has another one
        (FILE[:-1] + b"x", FILE, FILE.endswith(b"x")),
        (FILE[:300_000] + b"abc" + FILE[300_003:], FILE, False),
        (FILE + b"\0\0", FILE, False),
    ],
)
def test_bytes_are_compared(tmp_path: Path, kept: bytes, sent: bytes, same: bool) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(kept)
    new.write_bytes(sent)
    assert _is_same(str(old), part10.identify_file(str(new))) is same
    held = part10.identify_file(str(new), len(sent))
    assert _is_same(str(old), held) is same


def test_a_copy_is_on_the_disk_before_the_old_one_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "copy"
    path.write_bytes(FILE)
    context: Any = None
    copy = OldCopy(context, part10.identify_file(str(path)))
    copy.path = str(path)
    synced: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda number: synced.append(os.fstat(number).st_ino))
        copy.make_sure()
    assert synced == [path.stat().st_ino]
    path.unlink()
    with pytest.raises(LocalError):
        copy.make_sure()


@pytest.mark.parametrize("is_kept", [False, True])
def test_a_copy_stays_only_where_it_is_needed(tmp_path: Path, is_kept: bool) -> None:
    path = tmp_path / "new"
    path.write_bytes(FILE)
    context: Any = None
    with OldCopy(context, part10.identify_file(str(path))) as copy:
        folder = Path(copy._folder)
        if is_kept:
            copy.keep()
    assert folder.exists() is is_kept
    shutil.rmtree(folder, ignore_errors=True)
