"""Identify the instance in a DICOM file, and check that the file is complete.

pydicom reads files with an unusual layout.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from dcmweb.dicom import json_model
from dcmweb.dicom.by_pydicom import ignoring_errors, read_with_pydicom, text_of
from dcmweb.dicom.byte_ranges import FileRange, LocalFile, is_in_state
from dcmweb.dicom.element_walk import (
    DEFLATED,
    META_SOP_CLASS,
    META_SOP_INSTANCE,
    META_SYNTAX,
    CutShort,
    TooDeep,
    elements,
    encoding,
    guess_syntax,
    read_meta,
    skip_preamble,
    text,
    texts,
)
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.known_layouts import KnownLayouts
from dcmweb.dicom.resources import Resource, are_plain_uids, is_usable_uid
from dcmweb.dicom.tags import (
    FLOAT_PIXEL_DATA,
    SERIES_INSTANCE_UID,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    SPECIFIC_CHARACTER_SET,
    STUDY_INSTANCE_UID,
)
from dcmweb.errors import BrokenDicom, LocalError, MissingUid, NotDicom
from dcmweb.sources import Content, Keeper, Source, SourceFile
from dcmweb.values import quickly_made

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_SOP_CLASS, _SOP_INSTANCE = int(SOP_CLASS_UID, 16), int(SOP_INSTANCE_UID, 16)
_STUDY, _SERIES = int(STUDY_INSTANCE_UID, 16), int(SERIES_INSTANCE_UID, 16)
_WANTED = frozenset([_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES])
_PIXELS = int(FLOAT_PIXEL_DATA, 16)  # the first of the kinds of pixel data
_LAST_TAG = 0xFFFFFFFF
HEAD = 16 * 1024  # bytes in which the UIDs nearly always are
_HEAD_OF_DEFLATED = 256 * 1024
_LONGEST_VALUE = 16 * 1024
_PIECE = 256 * 1024


@quickly_made
@dataclass(frozen=True)
class Identity:
    """The UIDs of an instance. File meta information may have another UID than the data set."""

    sop_class: str
    resource: Resource
    meta_sop_instance: str = ""
    transfer_syntax: str = ""
    bare: bool = False  # a data set without preamble and file meta information

    @property
    def names(self) -> tuple[str, ...]:
        """The SOP Instance UIDs by which a server may call it."""
        own, other = self.resource.instance, self.meta_sop_instance
        if other in ("", own):
            return (own,) if own else ()
        return (own, other) if own else (other,)


# Header fields of a part of a request, and its body.
MetadataPart = tuple[dict[str, str], Source]


@quickly_made
@dataclass(frozen=True)
class LocalInstance:
    """A DICOM file on the user's side; size in bytes, time of modification in nanoseconds.

    `content` is all that is in a small file, as it was when it was identified. `file` is what the
    bytes are read from, if that is not simply the file at `path` on this machine.
    """

    path: str
    size: int
    mtime_ns: int
    identity: Identity
    content: bytes | None = None
    file: Content | None = None

    def as_metadata(self) -> tuple[Dataset, list[MetadataPart]] | None:
        """Return a data set and parts with its bulk data; None if it is sent as a file only."""
        return None

    def as_source(self) -> Source:
        """Return what its DICOM file is read from, anew at each attempt."""
        return self

    def is_made_of(self, path: str) -> bool:
        """Return True if it is read from this file."""
        return path == self.path

    def what_is_wrong(self) -> str:
        """Look for what may be wrong with a file that was refused without a reason."""
        try:
            with self._whole.open() as file:
                damage = find_damage(file)
        except (OSError, LocalError):
            damage = ""
        uids = {
            "SOP Class UID": self.identity.sop_class,
            "Study Instance UID": self.identity.resource.study,
            "Series Instance UID": self.identity.resource.series,
        }
        lacking = " and no ".join(name for name, uid in uids.items() if not uid)
        return "; ".join(filter(None, [damage, f"it has no {lacking}" if lacking else ""]))

    def pieces(self) -> Iterator[bytes]:
        """Yield the file. Raises LocalError if it cannot be read, or changed since."""
        if self.content is None:
            return self._whole.pieces()
        if self.file is not None or not is_in_state(self.path, self.size, self.mtime_ns):
            self._whole.check()
        return iter((self.content,))

    @property
    def _whole(self) -> Content:
        fingerprint = self.size, self.mtime_ns
        return self.file or FileRange(self.path, 0, self.size, fingerprint)


def identify_file(
    file: str | SourceFile, held: int = 0, keeper: Keeper | None = None
) -> LocalInstance:
    """Identify the DICOM instance in a file; hold the content of one of up to `held` bytes.

    Raises NotDicom if it is not an instance, BrokenDicom if it cannot be identified, LocalError
    if it cannot be read.
    """
    file = LocalFile(file) if isinstance(file, str) else file
    path = file.path
    if isinstance(file, LocalFile) and (known := _identify_known(file, held)):
        return known
    with file.open(keeper) as (stream, content):
        if content.size == 0:
            raise NotDicom("the file is empty", path=path)
        head = stream.read(HEAD)
        identity = _identify(stream, head, path)
    held_content = head if len(head) == content.size <= held else None
    return LocalInstance(path, *content.stamp, identity, held_content, content)


def _identify_known(file: LocalFile, held: int) -> LocalInstance | None:
    """Identify the instance in a file that is laid out like others before; None for another one."""
    read = file.head(HEAD) if _layouts.are_known else None
    if read is None:
        return None
    head, (size, mtime_ns) = read
    identity = _known(head, file.path)
    if identity is None:
        return None
    content = head if len(head) == size <= held else None
    return LocalInstance(file.path, size, mtime_ns, identity, content)


def may_be_dicom(head: bytes) -> bool:
    """Return True unless the first bytes of a file show that it is not a DICOM instance."""
    start = io.BytesIO(head)
    return skip_preamble(start) or _may_be_bare(start)


def identify(file: BinaryIO, path: str = "", head: bytes = b"") -> Identity:
    """Identify the DICOM instance in a seekable stream; errors as for `identify_file`.

    `head` is what it begins with, if that is known: HEAD bytes, or all of it.
    """
    if not head:
        file.seek(0)
        head = file.read(HEAD)
    return _identify(file, head, path)


def _identify(file: BinaryIO, head: bytes, path: str) -> Identity:
    """Identify an instance by the head of a file, or by the whole file if that is not enough."""
    if known := _known(head, path):
        return known
    start = io.BytesIO(head)
    preamble = skip_preamble(start)
    if not preamble and not _may_be_bare(start):
        raise NotDicom("not a DICOM file", path=path)
    meta, found, damage = _uids(start)
    if preamble and found.keys() >= _WANTED:
        _layouts.learn(head)
    if not found.keys() >= _WANTED and len(head) == HEAD:
        skip_preamble(file)
        meta, found, damage = _uids(file)
    if meta.get(META_SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
        raise NotDicom("a DICOMDIR, which is not an instance", path=path)
    if preamble and not found.keys() >= _WANTED:
        try:
            found = {**_ask_pydicom(file), **found}
        except BrokenDicom as error:
            damage = error.message
    if damage and _SOP_INSTANCE not in found:
        raise BrokenDicom(damage, path=path)
    if not preamble and not found.keys() >= {_SOP_CLASS, _SOP_INSTANCE}:
        raise NotDicom("not a DICOM file", path=path)
    return _identity(found, meta, path, bare=not preamble)


def _known(head: bytes, path: str) -> Identity | None:
    """Identify an instance by the head of a file, if it is laid out like others before."""
    values = _layouts.values(head)
    if not values or not values.keys() >= _WANTED:
        return None
    if values.get(META_SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
        return None
    return _identity(values, values, path, bare=False)


def _uids(file: BinaryIO) -> tuple[dict[int, str], dict[int, str], str]:
    """Read the UIDs of the file meta information and of the data set, as far as they can be read.

    The third value says what keeps anyone from reading on, as far as that is known.
    """
    meta: dict[int, str] = {}
    damage = ""
    try:
        meta = read_meta(file)
        values = _wanted_elements(file, meta.get(META_SYNTAX) or guess_syntax(file))
    except (struct.error, ValueError, zlib.error) as error:
        damage = str(error) if isinstance(error, TooDeep) else ""
        return meta, {}, damage  # pydicom may still read it
    return meta, {tag: text(value) for tag, value in values.items()}, damage


_layouts = KnownLayouts(_uids, _WANTED | {META_SOP_CLASS, META_SOP_INSTANCE}, META_SYNTAX, texts)


def _identity(found: dict[int, str], meta: dict[int, str], path: str, *, bare: bool) -> Identity:
    instance = found.get(_SOP_INSTANCE, "")
    if not instance:
        raise MissingUid("it has no SOP Instance UID (0008,0018)", path=path)
    uids = (found.get(_STUDY, ""), found.get(_SERIES, ""), instance)
    if not are_plain_uids(*uids) and not all(is_usable_uid(uid) or not uid for uid in uids):
        raise BrokenDicom("its UIDs are malformed", path=path)
    return Identity(
        found.get(_SOP_CLASS, ""),
        Resource(*uids),
        meta.get(META_SOP_INSTANCE, ""),
        meta.get(META_SYNTAX, ""),
        bare,
    )


def read_values(file: BinaryIO, wanted: Collection[int]) -> dict[int, bytes]:
    """Read the raw values of short top-level elements of a file.

    Raises BrokenDicom if the file is malformed before the last of them.
    """
    skip_preamble(file)
    try:
        syntax = read_meta(file).get(META_SYNTAX) or guess_syntax(file)
        return _wanted_elements(file, syntax, wanted)
    except (struct.error, ValueError, zlib.error) as error:
        raise BrokenDicom(f"it is malformed: {error}") from None


def _wanted_elements(
    file: BinaryIO, syntax: str, wanted: Collection[int] = _WANTED
) -> dict[int, bytes]:
    if syntax == DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
            file.read(_HEAD_OF_DEFLATED), _HEAD_OF_DEFLATED
        )
        file = io.BytesIO(data)
    last = max(wanted)
    found: dict[int, bytes] = {}
    try:
        for tag, length in elements(file, *encoding(syntax), depth=0):
            if tag in wanted and length < _LONGEST_VALUE:
                found[tag] = file.read(length)
                file.seek(-length, os.SEEK_CUR)
            if tag >= last:
                break
    except CutShort:
        if syntax != DEFLATED:  # only its head was read
            raise
    return found


def find_damage(file: BinaryIO) -> str:
    """Describe what is wrong with the structure of a DICOM file; "" if nothing is."""
    try:
        if not skip_preamble(file):
            return "it has no preamble and no file meta information"
        meta = read_meta(file)
        if META_SYNTAX not in meta:
            return "its file meta information has no Transfer Syntax UID (0002,0010)"
        _walk_to_the_end(file, meta[META_SYNTAX])
    except CutShort as error:
        return str(error)
    except (struct.error, ValueError, zlib.error) as error:
        return f"it is malformed: {error}"
    return ""


def find_missing_end(file: BinaryIO, *, doubted: bool = False) -> str:
    """Describe where a DICOM file breaks off; "" if it is complete, or if that is unknown.

    A file that was cut between two elements looks complete. If the end is `doubted`, only a file
    that ends with pixel data, or is deflated, counts as complete.
    """
    try:
        skip_preamble(file)
        meta = read_meta(file)
        last = _walk_to_the_end(file, meta.get(META_SYNTAX) or guess_syntax(file))
    except CutShort as error:
        return str(error)
    except (struct.error, ValueError, zlib.error):
        last = 0
    return "nothing shows that it is whole" if doubted and last < _PIXELS else ""


def _walk_to_the_end(file: BinaryIO, syntax: str) -> int:
    """Walk through a data set and return its last tag; a deflated one marks its end."""
    if syntax == DEFLATED:
        _inflate_to_the_end(file)
        return _LAST_TAG
    return max((tag for tag, _ in elements(file, *encoding(syntax), depth=0)), default=0)


def _inflate_to_the_end(file: BinaryIO) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        piece = inflater.unconsumed_tail or file.read(_PIECE)
        # Without new input, output may still be pending.
        if not inflater.decompress(piece, _PIECE) and not piece and not inflater.eof:
            raise CutShort("its deflated data set breaks off")


def _may_be_bare(file: BinaryIO) -> bool:
    """Return True if the stream may be a data set that begins without a preamble.

    It begins with group 0002 or 0008, in either byte order. Anything else is not read further.
    """
    start = file.read(4)
    file.seek(0)
    return start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(start) == 4


def _ask_pydicom(file: BinaryIO) -> dict[int, str]:
    """Let pydicom find the UIDs if the layout is unusual; none if it cannot read the file."""
    with ignoring_errors():
        dataset = read_with_pydicom(file, sorted(_WANTED))
        return {tag: text_of(dataset, tag) for tag in _WANTED if tag in dataset}
    return {}


def attributes(file: BinaryIO, tags: Collection[str]) -> json_model.Dataset:
    """Read elements, by tags, into the DICOM JSON model; those that cannot be read are left out."""
    found: json_model.Dataset = {}
    if not tags:
        return found
    with suppress(BrokenDicom), ignoring_errors():
        dataset = read_with_pydicom(file, [int(tag, 16) for tag in (*tags, SPECIFIC_CHARACTER_SET)])
        for tag in tags:
            with suppress(Exception):
                found[tag] = dataset[int(tag, 16)].to_json_dict(None, 0)
    return found
