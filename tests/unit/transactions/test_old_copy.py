"""Which bytes of the server are those of a file: preambles that it zeroed make no difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmweb.dicom import part10
from dcmweb.transactions.store.old_copy import _is_same
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
