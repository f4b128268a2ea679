"""Reads files with an unusual layout by pydicom, whatever it makes of them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from dcmweb.dicom.inflation import for_pydicom
from dcmweb.errors import BrokenDicom

if TYPE_CHECKING:
    import pydicom


def read_with_pydicom(file: BinaryIO, tags: list[int]) -> pydicom.Dataset:
    """Read elements of a file."""
    import pydicom

    with for_pydicom(file) as plain:
        return pydicom.dcmread(plain, force=True, stop_before_pixels=True, specific_tags=tags)


@contextmanager
def ignoring_errors() -> Iterator[None]:
    """Ignore the warnings and errors of pydicom: on noise, it can raise anything.

    Errors of the file system pass: a file that cannot be read may well be DICOM.
    """
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except OSError as error:
            # EINVAL: pydicom sought a place before the file.
            if error.errno not in (None, errno.EINVAL):
                raise
        except BrokenDicom:  # which is what inflating it came to
            raise
        except Exception:
            return  # the caller names what is then missing


def text_of(dataset: pydicom.Dataset, tag: int) -> str:
    """Return the value of an element without its padding."""
    return str(dataset[tag].value or "").strip("\0 ")
