"""Metadata of DICOM files in the DICOM JSON model (PS3.18 section 10.4.1.1.2 and annex F)."""

from __future__ import annotations

import base64
import math
import os
import struct
import threading
import warnings
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset as Elements
from pydicom.filereader import read_dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName

from dcmweb.archive.representations.byte_ranges import open_plain, walk_items
from dcmweb.archive.representations.frames import TAGS
from dcmweb.dicom.byte_ranges import open_regular
from dcmweb.dicom.element_walk import META_SYNTAX, read_meta, skip_preamble
from dcmweb.dicom.inflation import InPieces
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.json_to_part10 import BINARY, swapped
from dcmweb.dicom.person_names import GROUPS
from dcmweb.dicom.tags import (
    AVAILABLE_TRANSFER_SYNTAX_UID,
    PIXEL_REPRESENTATION,
    SPECIFIC_CHARACTER_SET,
    TRANSFER_SYNTAX_UID,
)
from dcmweb.errors import BrokenDicom

LARGEST_INLINE = 1024  # bytes of binary data that are sent within the metadata
_DEFERRED = 64 * 1024  # bytes of values that are not read with the header
_LARGE = 4 * 1024 * 1024  # bytes
_PLACES = threading.BoundedSemaphore(2)  # large files whose header is read at a time

PIXEL_DATA_TAGS = tuple(f"{tag:08X}" for tag in TAGS.values())
_PIXEL_DATA = dict(zip(TAGS.values(), ("OF", "OD", "OW"), strict=True))
_PIXEL_REPRESENTATION = int(PIXEL_REPRESENTATION, 16)  # determines the VR of other elements
_INTEGERS = ("IS", "SL", "SS", "SV", "UL", "US", "UV")
_NUMBERS = ("DS", "FL", "FD")
UNDEFINED = 0xFFFFFFFF


def file_metadata(path: str, instance_url: str, *, with_meta: bool = False) -> Dataset:
    """Read the metadata of a file; BulkDataURIs are below the URL of the instance.

    Pixel data, and other binary values of more than 1 KiB, become a BulkDataURI that ends in
    `bulkdata/TAG`, or `bulkdata/TAG/ITEM/TAG` within the items of a sequence, counted from 1. An
    element whose value cannot be read is empty. Raises BrokenDicom if the file cannot be read.
    """
    return dict(sorted(_read(path, (), instance_url, with_meta=with_meta).items()))


def read_elements(
    path: str, tags: Collection[str], instance_url: str = "", *, with_meta: bool = False
) -> Dataset:
    """Read some elements of the top level, by their tags in hexadecimal digits.

    Raises BrokenDicom if the file cannot be read.
    """
    dataset = _read(path, tags, instance_url, with_meta=with_meta)
    return {tag: dataset[tag] for tag in tags if tag in dataset}


def _read(path: str, tags: Collection[str], instance_url: str, *, with_meta: bool) -> Dataset:
    with opened(path, tags) as content:
        dataset = _Writer(f"{instance_url}/bulkdata", content).dataset(content.elements)
        if with_meta:
            dataset |= _file_meta(content)
    if content.transfer_syntax:
        syntax = {"vr": "UI", "Value": [content.transfer_syntax]}
        dataset[AVAILABLE_TRANSFER_SYNTAX_UID] = syntax
    return dataset


def _file_meta(content: OpenDataset) -> Dataset:
    """Write the UIDs and texts of the file meta information, group 0002."""
    meta = content.elements.file_meta
    written = {
        f"{tag:08X}": {"vr": str(meta[tag].VR), "Value": [str(meta[tag].value)]}
        for tag in sorted(meta.keys())
        if tag.group == 2 and meta[tag].VR in ("UI", "SH", "AE") and meta[tag].value
    }
    if content.transfer_syntax:
        written[TRANSFER_SYNTAX_UID] = {"vr": "UI", "Value": [content.transfer_syntax]}
    return written


@dataclass(frozen=True)
class OpenDataset:
    """The elements of an open file; long values are read on demand."""

    file: IO[bytes]
    elements: Elements
    transfer_syntax: str
    is_big_endian: bool

    def raw(self, elements: Elements, tag: BaseTag) -> RawDataElement | DataElement:
        """Return an unconverted element; read its value from the file if necessary."""
        raw = as_read(elements, tag)
        if isinstance(raw, RawDataElement) and is_deferred(raw):
            self.file.seek(raw.value_tell)
            raw = raw._replace(value=self.file.read(raw.length))
            elements[tag] = raw
        return raw


def as_read(elements: Elements, tag: BaseTag) -> RawDataElement | DataElement:
    """Return an unconverted element, with or without its value."""
    return elements.get_item(tag, keep_deferred=True)


def is_deferred(raw: RawDataElement | DataElement) -> bool:
    """Return True if the value of an element has not been read from the file."""
    return isinstance(raw, RawDataElement) and raw.value is None and raw.length > 0


@contextmanager
def opened(path: str, tags: Collection[str] = ()) -> Iterator[OpenDataset]:
    """Open a file and read its elements, all or some; errors as of `file_metadata`.

    A deflated file is inflated; offsets are those in the inflated file.
    """
    wanted: list[Any] = [int(tag, 16) for tag in tags]
    with warnings.catch_warnings(), open_plain(path) as file, _place_for(file):
        warnings.simplefilter("ignore")  # files have values that PS3.5 does not allow
        try:
            found = pydicom.dcmread(
                InPieces(file),
                stop_before_pixels=True,
                specific_tags=[*wanted, _PIXEL_REPRESENTATION] if wanted else None,
                defer_size=_DEFERRED,
                force=True,
            )
            if not wanted or max(wanted) >= min(_PIXEL_DATA):
                _read_rest(file, found)
        except OSError:
            raise
        except Exception as error:  # pydicom raises errors of any kind on malformed values
            kind = type(error).__name__  # the text of the error may be of a patient
            raise BrokenDicom(f"its header is malformed ({kind})", path=path) from None
        is_big_endian = found.original_encoding[1] is False
        yield OpenDataset(file, found, _transfer_syntax(path), is_big_endian)


def _place_for(file: IO[bytes]) -> AbstractContextManager[object]:
    """Let large files wait for each other: many small items take 100 times their size in memory."""
    is_large = file.seek(0, os.SEEK_END) > _LARGE
    file.seek(0)
    return _PLACES if is_large else nullcontext()


def _transfer_syntax(path: str) -> str:
    with open_regular(path) as file:
        return read_meta(file).get(META_SYNTAX, "") if skip_preamble(file) else ""


def _read_rest(file: IO[bytes], found: pydicom.FileDataset) -> None:
    """Read the elements after the pixel data, without the pixel data itself."""
    implicit, little = found.original_encoding
    order = "<" if little else ">"
    while len(header := file.read(8)) == 8:
        group, number = struct.unpack(order + "HH", header[:4])
        tag = BaseTag(group << 16 | number)
        if tag not in _PIXEL_DATA:
            file.seek(-8, 1)
            rest = read_dataset(file, bool(implicit), bool(little), defer_size=_DEFERRED)  # type: ignore[arg-type]
            found.update({t: as_read(rest, t) for t in rest.keys()})  # noqa: SIM118 - as they are
            return
        vr = _PIXEL_DATA[tag] if implicit else header[4:6].decode("latin-1")
        length = header[4:] if implicit else file.read(4)
        (size,) = struct.unpack(order + "L", length)
        start = file.tell()
        found[tag] = RawDataElement(tag, vr, size, None, start, bool(implicit), bool(little))
        if size == UNDEFINED:
            for _ in walk_items(file):
                pass  # the delimiter has been read by then
        else:
            file.seek(start + size)


class _Writer:
    """Writes data sets of pydicom in the JSON model."""

    def __init__(self, bulkdata_url: str, content: OpenDataset) -> None:
        self._bulkdata_url = bulkdata_url
        self._content = content

    def dataset(self, elements: Elements, location: str = "") -> Dataset:
        """Write all elements; their location is that of the item they are in."""
        written: Dataset = {}
        for tag in sorted(elements.keys()):
            if tag.element != 0 and tag.group > 2:  # no group lengths
                written[f"{tag:08X}"] = self._element(elements, tag, location)
        if SPECIFIC_CHARACTER_SET in written or not location:
            # JSON is in UTF-8, whatever the file is in.
            written[SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
        return written

    def _element(self, elements: Elements, tag: BaseTag, location: str) -> dict[str, Any]:
        raw = as_read(elements, tag)
        vr = vr_of(raw)
        place = f"{location}/{tag:08X}"
        is_bulk = is_deferred(raw) and vr in BINARY
        if is_bulk or (tag in _PIXEL_DATA and not is_empty(raw)):
            return {"vr": vr, "BulkDataURI": self._bulkdata_url + place}
        try:
            raw = self._content.raw(elements, tag)
            return self._converted(elements[tag], place)
        except OSError:
            raise
        except Exception:  # pydicom raises errors of any kind on malformed values
            return {"vr": vr, **_as_text(raw, vr)}

    def _converted(self, element: DataElement, place: str) -> dict[str, Any]:
        vr = vr_of(element)
        if vr == "SQ":
            items = enumerate(element.value or (), start=1)
            return _with_values(vr, [self.dataset(item, f"{place}/{n}") for n, item in items])
        if vr in BINARY:
            return {"vr": vr, **self._binary(element.value, vr, place)}
        if isinstance(element.value, bytes):  # its VR is ambiguous
            order = ">" if self._content.is_big_endian else "<"
            values = np.frombuffer(element.value, order + "u2").tolist()
            return _with_values(vr, values)
        if element.is_empty:
            return {"vr": vr}
        is_list = isinstance(element.value, (MultiValue, list))
        values = element.value if is_list else [element.value]
        return _with_values(vr, [_value(vr, value) for value in values])

    def _binary(self, value: object, vr: str, place: str) -> dict[str, Any]:
        data = value if isinstance(value, bytes) else b""
        if len(data) > LARGEST_INLINE:
            return {"BulkDataURI": self._bulkdata_url + place}
        if self._content.is_big_endian:
            data = swapped(data, vr)
        return {"InlineBinary": base64.b64encode(data).decode("ascii")} if data else {}


def is_empty(raw: RawDataElement | DataElement) -> bool:
    """Return True if an element has no value."""
    return not is_deferred(raw) and not raw.value


def vr_of(element: RawDataElement | DataElement) -> str:
    """Return the VR of an element, from the dictionary if the file does not contain it."""
    vr = str(element.VR or "")
    if not vr:
        try:
            vr = dictionary_VR(element.tag)
        except KeyError:
            vr = "UN"
    return "OW" if vr.endswith("OW") else vr[:2]


def _with_values(vr: str, values: list[Any]) -> dict[str, Any]:
    return {"vr": vr, "Value": values} if values not in ([], [None]) else {"vr": vr}


def _as_text(raw: RawDataElement | DataElement, vr: str) -> dict[str, Any]:
    """Return the text of an invalid number."""
    if vr not in ("DS", "IS") or not isinstance(raw.value, bytes):
        return {}
    texts = raw.value.decode("ascii", "replace").split("\\")
    values = [_value(vr, text.strip("\0 ")) for text in texts]
    return {"Value": values} if any(value is not None for value in values) else {}


def _value(vr: str, value: Any) -> Any:
    """Write one value (PS3.18 section F.2.3), or None if it is empty."""
    if value is None or value == "":
        return None
    if isinstance(value, PersonName):
        return _person_name(value)
    if vr == "AT":
        return f"{int(value):08X}"
    if vr in _INTEGERS:
        return _number(value, int)
    if vr in _NUMBERS:
        return _number(value, float)
    return str(value).rstrip("\0 ") or None


def _number(value: Any, kind: Callable[[Any], int | float]) -> int | float | str:
    """Write a number; invalid numbers, NaN and infinity become text."""
    try:
        number = kind(value)
    except (ValueError, TypeError, OverflowError):
        return str(value)
    if kind is int and isinstance(value, float) and number != value:
        return str(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return number


def _person_name(name: PersonName) -> dict[str, str] | None:
    groups = zip(GROUPS, (name.alphabetic, name.ideographic, name.phonetic), strict=True)
    return {key: text for key, text in groups if text} or None
