"""Writing what a server sends: safe names, and files that are complete or absent."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from dcmweb.dicom.paths import Resource
from dcmweb.errors import LocalError

LONGEST_NAME = 100
OWN_FOLDER = ".dcmweb"
PARTIAL_PREFIX, PARTIAL_SUFFIX = ".dcmweb-", ".part"

_DIGEST = re.compile(r"-[0-9a-f]{12}$")
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_FULL = (errno.ENOSPC, errno.EDQUOT)
_HOPELESS = (*_FULL, errno.EROFS, errno.EIO)


def is_of_our_own(name: str) -> bool:
    """Tell whether a file or folder is a tool of ours: a partial file, an archive's index."""
    return name == OWN_FOLDER or (name.startswith(PARTIAL_PREFIX) and name.endswith(PARTIAL_SUFFIX))


def safe_name(text: str) -> str:
    """Make a UID into the name of a file or folder; UIDs as they should be stay as they are.

    What has to be changed gets a digest of the original, so that two never share a name.
    """
    name = _UNSAFE.sub("_", text)[:LONGEST_NAME] or "_"
    if name.startswith("."):
        name = "_" + name[1:]
    if name != text or _DIGEST.search(name):
        name += "-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return name


def instance_path(resource: Resource, extension: str) -> str:
    """Place an instance, or its one frame, in the tree: study, series, instance, relative."""
    name = safe_name(resource.instance)
    if resource.frames:
        name += f"_frame_{resource.frames[0]}"
    return os.path.join(safe_name(resource.study), safe_name(resource.series), name + extension)


class PartialFile:
    """A file being written beside its final place; only `move_to` gives it a name of its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        name = PARTIAL_PREFIX + secrets.token_hex(8) + PARTIAL_SUFFIX
        self.path = os.path.join(folder, name)
        self.file = open(self.path, "x+b", buffering=0)  # noqa: SIM115 - closed by discard
        self.size = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append data."""
        view = memoryview(data)
        while view:
            written = self.file.write(view)
            view = view[written:]
        self.size += len(data)

    @contextmanager
    def reader(self) -> Iterator[BinaryIO]:
        """Read what has been written so far."""
        buffered = io.BufferedReader(self.file)
        try:
            yield buffered
        finally:
            buffered.detach()

    def move_to(self, path: str) -> str:
        """Close the file and give it its final path, relative to the folder; return that whole."""
        final = os.path.join(self._folder, path)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        self.file.close()
        os.replace(self.path, final)
        return final

    def discard(self) -> None:
        """Close and remove the file; harmless after `move_to`."""
        self.file.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)


@contextmanager
def partial_file(folder: str) -> Iterator[PartialFile]:
    """Open a partial file that is gone at the end unless it was moved.

    Raises LocalError when it cannot be written; a full disk ends the run.
    """
    with writing_into(folder):
        partial = PartialFile(folder)
        try:
            yield partial
        finally:
            partial.discard()


@contextmanager
def writing_into(folder: str) -> Iterator[None]:
    """Translate errors of writing below a folder into LocalError."""
    try:
        yield
    except OSError as error:
        words = error.strerror or str(error)
        hint = "free some space and start again" if error.errno in _FULL else ""
        raise LocalError(
            f"cannot write into {folder}: {words}",
            hint,
            path=folder,
            fatal=error.errno in _HOPELESS,
        ) from error


def make_folder(folder: str) -> None:
    """Make the output folder if it is missing, and check that it can be written into.

    Raises LocalError when it cannot.
    """
    with writing_into(folder):
        os.makedirs(folder, exist_ok=True)
        with partial_file(folder):
            pass
