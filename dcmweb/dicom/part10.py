"""A look into DICOM files: which instance it is, and whether the file is whole.

Files are walked element by element (PS3.5 section 7, PS3.10 section 7) without reading values, so
that a look costs less than sending a small file; pydicom is asked about what is laid out oddly.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from dcmweb.dicom.paths import Resource, is_usable_uid
from dcmweb.errors import BrokenDicom, LocalError, Nameless, NotDicom

if TYPE_CHECKING:
    import pydicom

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
EXPLICIT_VR_BIG_ENDIAN = "1.2.840.10008.1.2.2"
IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"

_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
_LONG_VRS = frozenset(
    [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"]
)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES = 0x00080016, 0x00080018, 0x0020000D, 0x0020000E
_FLOAT_PIXEL_DATA, _LAST_TAG = 0x7FE00008, 0xFFFFFFFF  # the first of the kinds of pixel data
_WANTED = frozenset([_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES])
_META_GROUP_LENGTH = 0x00020000
_META_SOP_CLASS, _META_SOP_INSTANCE, _META_SYNTAX = 0x00020002, 0x00020003, 0x00020010
_HEAD_OF_DEFLATED = 256 * 1024
_DEEPEST = 64  # levels of nested sequences; more is an attack or noise
_PIECE = 256 * 1024


@dataclass(frozen=True)
class Identity:
    """The UIDs of an instance. File meta information may name another than the data set does."""

    sop_class: str
    resource: Resource
    meta_sop_instance: str = ""
    transfer_syntax: str = ""
    bare: bool = False  # a data set without preamble and file meta information

    @property
    def names(self) -> tuple[str, ...]:
        """The SOP Instance UIDs by which a server may call it."""
        uids = (self.resource.instance, self.meta_sop_instance)
        return tuple(dict.fromkeys(uid for uid in uids if uid))


@dataclass(frozen=True)
class LocalInstance:
    """A DICOM file on this machine; size in bytes, time of modification in nanoseconds."""

    path: str
    size: int
    mtime_ns: int
    identity: Identity


def look(path: str) -> LocalInstance:
    """Identify the DICOM instance in a file.

    Raises NotDicom for what is none, BrokenDicom for one that cannot be identified, LocalError
    for what cannot be read.
    """
    try:
        with open(path, "rb", buffering=16 * 1024, opener=_open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise NotDicom("not a regular file", path=path)
            if status.st_size == 0:
                raise NotDicom("the file is empty", path=path)
            identity = identify(file, path)
    except OSError as error:
        raise LocalError(error.strerror or str(error), path=path) from error
    return LocalInstance(path, status.st_size, status.st_mtime_ns, identity)


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; a named pipe would otherwise wait for a writer for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def fingerprint(file: BinaryIO) -> tuple[int, int]:
    """Return size and time of modification of an open file, to see whether it has changed."""
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


def identify(file: BinaryIO, path: str = "") -> Identity:
    """Identify the DICOM instance in a seekable stream; errors as for `look`."""
    preamble = _skip_preamble(file)
    if not preamble and not _may_be_bare(file):
        raise NotDicom("not a DICOM file", path=path)
    meta: dict[int, str] = {}
    found: dict[int, str] = {}
    try:
        meta = _read_meta(file)
        found = _wanted_elements(file, meta.get(_META_SYNTAX) or _guess_syntax(file))
    except (struct.error, ValueError, zlib.error):
        pass  # pydicom may know better
    if meta.get(_META_SOP_CLASS) == MEDIA_STORAGE_DIRECTORY:
        raise NotDicom("a DICOMDIR, which is no instance", path=path)
    if preamble and not found.keys() >= _WANTED:
        found = {**_ask_pydicom(file), **found}
    if not preamble and not found.keys() >= {_SOP_CLASS, _SOP_INSTANCE}:
        raise NotDicom("not a DICOM file", path=path)
    return _identity(found, meta, path, bare=not preamble)


def _identity(found: dict[int, str], meta: dict[int, str], path: str, *, bare: bool) -> Identity:
    instance = found.get(_SOP_INSTANCE, "")
    if not instance:
        raise Nameless("it has no SOP Instance UID (0008,0018)", path=path)
    uids = (found.get(_STUDY, ""), found.get(_SERIES, ""), instance)
    if not all(is_usable_uid(uid) or not uid for uid in uids):
        raise BrokenDicom("its UIDs are malformed", path=path)
    return Identity(
        sop_class=found.get(_SOP_CLASS, ""),
        resource=Resource(*uids),
        meta_sop_instance=meta.get(_META_SOP_INSTANCE, ""),
        transfer_syntax=meta.get(_META_SYNTAX, ""),
        bare=bare,
    )


def find_damage(file: BinaryIO) -> str:
    """Say in words what is wrong with the structure of a DICOM file; "" when nothing is."""
    try:
        if not _skip_preamble(file):
            return "it has no preamble and no file meta information"
        meta = _read_meta(file)
        if _META_SYNTAX not in meta:
            return "its file meta information has no Transfer Syntax UID (0002,0010)"
        _walk_to_the_end(file, meta[_META_SYNTAX])
    except _CutShortError as error:
        return str(error)
    except (struct.error, ValueError, zlib.error) as error:
        return f"it is malformed: {error}"
    return ""


def find_missing_end(file: BinaryIO, *, doubted: bool = False) -> str:
    """Say where a DICOM file breaks off; "" when it is whole, or when that cannot be told.

    A file cut between two elements looks whole. Where the end is `doubted`, only one that ends
    with pixel data, or deflated, is taken for that.
    """
    try:
        _skip_preamble(file)
        meta = _read_meta(file)
        last = _walk_to_the_end(file, meta.get(_META_SYNTAX) or _guess_syntax(file))
    except _CutShortError as error:
        return str(error)
    except (struct.error, ValueError, zlib.error):
        last = 0
    return "nothing shows that it is whole" if doubted and last < _FLOAT_PIXEL_DATA else ""


class _CutShortError(ValueError):
    """The stream ended inside an element."""

    @classmethod
    def inside(cls, tag: int) -> _CutShortError:
        return cls(f"it ends inside element ({tag >> 16:04X},{tag & 0xFFFF:04X})")


def _walk_to_the_end(file: BinaryIO, syntax: str) -> int:
    """Walk through a data set and return its last tag; a deflated one has an end of its own."""
    if syntax == DEFLATED:
        _inflate_to_the_end(file)
        return _LAST_TAG
    return max((tag for tag, _ in _elements(file, *_encoding(syntax), depth=0)), default=0)


def _skip_preamble(file: BinaryIO) -> bool:
    """Go to what follows preamble and `DICM`, or to the beginning where there are none."""
    file.seek(0)
    if file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM":
        return True
    file.seek(0)
    return False


def _may_be_bare(file: BinaryIO) -> bool:
    """Tell whether the stream may be a data set that begins without a preamble.

    Such begin with group 0002 or 0008, in either byte order; junk should not be read further.
    """
    start = file.read(4)
    file.seek(0)
    return start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(start) == 4


def _guess_syntax(file: BinaryIO) -> str:
    """Guess the transfer syntax of a data set from its first element, as nothing tells it."""
    start = file.tell()
    header = file.read(6)
    file.seek(start)
    if header[:2] == b"\x00\x08":
        return EXPLICIT_VR_BIG_ENDIAN
    is_explicit = header[4:6].isalpha() and header[4:6].isupper()
    return EXPLICIT_VR_LITTLE_ENDIAN if is_explicit else IMPLICIT_VR_LITTLE_ENDIAN


def _read_meta(file: BinaryIO) -> dict[int, str]:
    """Read the file meta information, as far as there is any, up to the data set."""
    meta: dict[int, str] = {}
    size, end = _size(file), 0
    while True:
        start = file.tell()
        header = file.read(8)
        # The group length is often wrong: it only tells that something is lacking.
        if header[:2] not in (b"\x02\x00", b"\x02") and (header or start >= end):
            file.seek(start)
            return meta
        if len(header) < 8:
            raise _CutShortError("it ends inside its file meta information")
        group, element = struct.unpack("<HH", header[:4])
        tag = group << 16 | element
        length = _explicit_length(file, header, "<", tag)
        after = file.tell() + length
        if after > size:
            raise _CutShortError.inside(tag)
        if tag in (_META_SOP_CLASS, _META_SOP_INSTANCE, _META_SYNTAX):
            meta[tag] = _text(file.read(min(length, 1024)))
        elif tag == _META_GROUP_LENGTH and length == 4:
            end = after + int.from_bytes(file.read(4), "little")
        file.seek(after)


def _wanted_elements(file: BinaryIO, syntax: str) -> dict[int, str]:
    if syntax == DEFLATED:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(
            file.read(_HEAD_OF_DEFLATED), _HEAD_OF_DEFLATED
        )
        file = io.BytesIO(data)
    found: dict[int, str] = {}
    for tag, length in _elements(file, *_encoding(syntax), depth=0):
        if tag in _WANTED and length < 1024:
            found[tag] = _text(file.read(length))
            file.seek(-length, os.SEEK_CUR)
        if tag >= _SERIES:
            break
    return found


def _encoding(syntax: str) -> tuple[bool, str]:
    """Whether VRs are explicit, and the byte order, as `struct` writes it."""
    return syntax != IMPLICIT_VR_LITTLE_ENDIAN, ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"


def _elements(file: BinaryIO, explicit: bool, order: str, depth: int) -> Iterator[tuple[int, int]]:
    """Yield tag and length of each element, the stream standing at its value.

    The values of elements of undefined length have been walked through by then. Raises
    _CutShortError if the stream ends within an element.
    """
    read_tag = struct.Struct(order + "HH").unpack_from
    read_long = struct.Struct(order + "L").unpack_from
    end = _size(file)
    while header := file.read(8):
        if len(header) < 8:
            if any(header):
                raise _CutShortError("it ends inside the header of an element")
            return  # padding
        group, element = read_tag(header)
        tag = group << 16 | element
        if tag in (_ITEM_END, _SEQUENCE_END):
            return
        if explicit and group != 0xFFFE:
            length = _explicit_length(file, header, order, tag)
        else:
            (length,) = read_long(header, 4)
        if length == _UNDEFINED:
            if explicit and header[4:6] == b"UN":
                _skip_undefined(file, False, "<", tag, depth + 1)
            else:
                _skip_undefined(file, explicit, order, tag, depth + 1)
            yield tag, 0
            continue
        after = file.tell() + length
        if after > end:
            raise _CutShortError.inside(tag)
        yield tag, length
        file.seek(after)


def _explicit_length(file: BinaryIO, header: bytes, order: str, tag: int) -> int:
    if header[4:6] in _LONG_VRS:
        long = file.read(4)
        if len(long) < 4:
            raise _CutShortError.inside(tag)
        return int(struct.unpack(order + "L", long)[0])
    if not (header[4:6].isalpha() and header[4:6].isupper()):
        raise ValueError(f"no value representation at {header[:4].hex()}")
    return int(struct.unpack(order + "H", header[6:8])[0])


def _skip_undefined(file: BinaryIO, explicit: bool, order: str, tag: int, depth: int) -> None:
    """Walk through the items of a sequence, or the fragments of pixel data, to their end.

    Items of an element of VR UN are in Implicit VR Little Endian (PS3.5 section 6.2.2).
    """
    if depth > _DEEPEST:
        raise ValueError("sequences nested too deep")
    read = struct.Struct(order + "HHL").unpack
    end = _size(file)
    while True:
        header = file.read(8)
        if len(header) < 8:
            raise _CutShortError.inside(tag)
        group, element, length = read(header)
        item = group << 16 | element
        if item == _SEQUENCE_END:
            return
        if item != _ITEM:
            raise ValueError(f"element {item:08X} where an item should be")
        if length == _UNDEFINED:
            for _ in _elements(file, explicit, order, depth):
                pass
        elif file.tell() + length > end:
            raise _CutShortError.inside(tag)
        else:
            file.seek(length, os.SEEK_CUR)


def _inflate_to_the_end(file: BinaryIO) -> None:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while not inflater.eof:
        piece = inflater.unconsumed_tail or file.read(_PIECE)
        # Without input, what came may still wait for its turn to come out.
        if not inflater.decompress(piece, _PIECE) and not piece and not inflater.eof:
            raise _CutShortError("its deflated data set breaks off")


def _size(file: BinaryIO) -> int:
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace").strip("\0 ")


def _ask_pydicom(file: BinaryIO) -> dict[int, str]:
    """Let pydicom find the UIDs where the layout is unusual; what it cannot read has none."""
    import warnings

    import pydicom

    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = pydicom.dcmread(
                file, force=True, stop_before_pixels=True, specific_tags=sorted(_WANTED)
            )
            return {tag: _text_of(dataset, tag) for tag in _WANTED if tag in dataset}
        except Exception:  # on noise, pydicom raises whatever it meets
            return {}


def _text_of(dataset: pydicom.Dataset, tag: int) -> str:
    return str(dataset[tag].value or "").strip("\0 ")
