"""A copy of an instance of the server, kept on this machine while it is replaced."""

from __future__ import annotations

import copy
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType

from dcmweb.dicom import part10
from dcmweb.dicom.byte_ranges import open_file
from dcmweb.dicom.part10 import LocalInstance
from dcmweb.errors import DcmwebError, Interrupted, LocalError, NothingMatched
from dcmweb.http.media_types import DICOM_AS_STORED
from dcmweb.sources import Source
from dcmweb.temporary import using_temporary_files
from dcmweb.transactions.accept import forms_of_instances
from dcmweb.transactions.context import RunContext
from dcmweb.transactions.retrieve.instance_parts import FolderReceiver
from dcmweb.transactions.retrieve.options import RetrieveOptions
from dcmweb.transactions.retrieve.output import Destination
from dcmweb.transfer.meter import Meter

_PIECE = 256 * 1024
_PREAMBLE = 128  # bytes before "DICM" that mean nothing to DICOM (PS3.10 section 7.1)


class Found(Enum):
    """Which instance the server has."""

    OLD = auto()
    NEW = auto()
    OTHER = auto()  # neither: servers exist that change what they store
    NOTHING = auto()
    UNCLEAR = auto()


class OldCopy:
    """The instance that the server has, in a folder that is gone once it was replaced."""

    def __init__(self, context: RunContext, new: LocalInstance) -> None:
        self._context = context
        self._new = new
        self._resource = new.identity.resource
        self._is_kept = False
        self._number = 0
        self.path = ""
        self.is_same = False  # as the new one

    def __enter__(self) -> OldCopy:
        with using_temporary_files():
            self._folder = tempfile.mkdtemp(prefix="dcmweb-replaced-")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._is_kept:
            shutil.rmtree(self._folder, ignore_errors=True)

    def keep(self) -> None:
        """Leave the copy where it is, in `path`."""
        self._is_kept = True

    def fetch(self) -> None:
        """Retrieve the instance, and check that it is whole. Raises what went wrong."""
        self.path = self._retrieve(self._context)
        self.is_same = _is_same(self.path, self._new.as_source())

    @property
    def is_as_stored(self) -> bool:
        """Whether the server sends instances in the transfer syntax that they are stored in."""
        forms = forms_of_instances(DICOM_AS_STORED, self._context.server)
        return "transfer-syntax=*" in self._context.accepted.get(forms, forms[0])

    def make_sure(self) -> None:
        """Write the copy to the disk, so that a machine that fails does not lose it."""
        try:
            with open(self.path, "rb+") as file:
                os.fsync(file.fileno())
        except OSError as error:
            raise LocalError(error.strerror or str(error), path=self.path) from error

    def as_instance(self) -> LocalInstance:
        """Return the copy as an instance that can be stored."""
        return part10.identify_file(self.path)

    def look(self, context: RunContext) -> Found:
        """Find out which instance the server has now."""
        try:
            return self._compare(self._retrieve(context))
        except Interrupted:
            raise
        except NothingMatched:
            return Found.NOTHING
        except DcmwebError:
            return Found.UNCLEAR

    def _compare(self, path: str) -> Found:
        try:
            if _is_same(path, self._new.as_source()):
                return Found.NEW
            return Found.OLD if _is_same(path, self.as_instance()) else Found.OTHER
        finally:
            with suppress(OSError):
                os.unlink(path)

    def _retrieve(self, context: RunContext) -> str:
        """Retrieve the instance into a file of its own; its bytes do not count as transferred."""
        self._number += 1
        beside = copy.copy(context)
        beside.engine = copy.copy(context.engine)
        beside.engine.meter = Meter()
        folder = os.path.join(self._folder, str(self._number))
        with using_temporary_files():
            os.mkdir(folder)
        options = RetrieveOptions(layout="{SOPInstanceUID}")
        receiver = FolderReceiver(beside, Destination.of(folder, options, None), DICOM_AS_STORED)
        return context.engine.attempt(lambda: receiver.one(self._resource)).place


def _is_same(path: str, other: Source) -> bool:
    """Compare a file of the server with a source.

    Preambles that the server filled with zeros, as Azure does, make no difference.
    """
    if os.path.getsize(path) != other.size:
        return False
    with open_file(path) as file:
        start = file.read(_PREAMBLE)
        file.seek(0)
        skipped = 0 if start.strip(b"\0") else _PREAMBLE
        for piece in _from(other.pieces(), skipped):
            if skipped:
                file.seek(skipped)
                skipped = 0
            if file.read(len(piece)) != piece:
                return False
    return True


def _from(pieces: Iterator[bytes], start: int) -> Iterator[bytes]:
    """Yield pieces from a position on."""
    for piece in pieces:
        if start < len(piece):
            yield piece[start:]
        start = max(0, start - len(piece))
