"""WADO-RS: instances, frames, metadata, bulk data and renderings (PS3.18 section 10.4)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

from werkzeug.exceptions import BadRequest, NotAcceptable, NotFound
from werkzeug.wrappers import Request, Response

from dcmweb.archive.negotiation import (
    ANY_TYPE,
    JSON_TYPES,
    MediaRange,
    accepted,
    choose_type,
    not_acceptable,
)
from dcmweb.archive.representations.bulkdata import choose_form, find_bulkdata
from dcmweb.archive.representations.frames import Frames
from dcmweb.archive.representations.metadata import file_metadata
from dcmweb.archive.representations.rendering import (
    RENDERED,
    parse_rendered_query,
    render,
    thumbnail,
)
from dcmweb.archive.representations.transcode import TARGETS, transcoded
from dcmweb.archive.responses import (
    as_parts,
    as_single,
    as_xml_parts,
    file_pieces,
    json_response,
    spooled,
)
from dcmweb.archive.search import indexed_metadata
from dcmweb.archive.storage.folder import Storage
from dcmweb.archive.storage.header import is_syntax
from dcmweb.archive.storage.index import Entry
from dcmweb.dicom.element_walk import EXPLICIT_VR_LITTLE_ENDIAN
from dcmweb.dicom.json_model import Dataset
from dcmweb.dicom.resources import Level, Resource
from dcmweb.errors import BrokenDicom
from dcmweb.http import media_types
from dcmweb.http.media_types import MediaType, frame_media_type

_ANY_SYNTAX = "*"
_FRAMES = re.compile("0*[1-9][0-9]{0,8}(,0*[1-9][0-9]{0,8})*")

Headers = Mapping[str, str]


@dataclass(frozen=True)
class Retrieve:
    """Answers retrieve requests for one resource of a storage."""

    storage: Storage
    request: Request
    resource: Resource
    base_url: str
    with_file_meta: bool = False  # whether metadata has elements of group 0002
    rendered_types: Sequence[str] = RENDERED

    def instances(self) -> Response:
        """Send the instances of a study or series, or one, as files."""
        entries = self._entries()
        ranges = [r for r in accepted(self.request) if r.covers(media_types.DICOM)]
        may_be_single = self.resource.level is Level.INSTANCES
        for wanted in ranges:
            syntaxes = [_syntax(entry, wanted.transfer_syntax) for entry in entries]
            if None in syntaxes:
                continue
            if wanted.is_multipart:
                parts = self._parts(zip(entries, syntaxes, strict=True))
                return as_parts(parts, MediaType(media_types.DICOM))
            if may_be_single:
                return self._single(entries[0], str(syntaxes[0]))
        if may_be_single:
            raise not_acceptable([media_types.DICOM, _multipart(media_types.DICOM)])
        raise not_acceptable([_multipart(media_types.DICOM)])

    def _single(self, entry: Entry, syntax: str) -> Response:
        path = self.storage.path(entry)
        if syntax == entry.transfer_syntax:
            return as_single(_dicom(syntax), file_pieces(path), os.path.getsize(path))
        return as_single(_dicom(syntax), transcoded(path, syntax), None)

    def _parts(
        self, wanted: Iterable[tuple[Entry, str | None]]
    ) -> Iterator[tuple[Headers, Iterable[bytes]]]:
        for entry, syntax in wanted:
            try:
                pieces, sent = self._one(entry, str(syntax))
            except FileNotFoundError:
                continue  # it was deleted meanwhile
            yield {"Content-Type": str(_dicom(sent)), **self._location(entry)}, pieces

    def _one(self, entry: Entry, syntax: str) -> tuple[Iterable[bytes], str]:
        """Return the pieces of an instance, and the transfer syntax that they are in."""
        path = self.storage.path(entry)
        if syntax != entry.transfer_syntax:
            try:
                return transcoded(path, syntax), syntax
            except (NotAcceptable, BrokenDicom):
                if self.resource.level is Level.INSTANCES:
                    raise
                # Send it as stored: the part names its transfer syntax.
        return file_pieces(path), entry.transfer_syntax

    def _location(self, entry: Entry) -> dict[str, str]:
        return {"Content-Location": f"{self.base_url}/{entry.resource}"}

    def metadata(self) -> Response:
        """Send the metadata of all instances, as JSON or XML."""
        entries = self._entries()
        datasets = self._metadata_of(entries)
        for wanted in accepted(self.request):
            if wanted.is_single and any(map(wanted.covers, JSON_TYPES)):
                return json_response(datasets)
            if wanted.is_multipart and wanted.covers(media_types.DICOM_XML):
                return as_xml_parts(datasets)
        raise not_acceptable([media_types.DICOM_JSON, _multipart(media_types.DICOM_XML)])

    def _metadata_of(self, entries: Iterable[Entry]) -> Iterator[Dataset]:
        for entry in entries:
            with suppress(FileNotFoundError):  # of what was deleted meanwhile
                yield self._one_metadata(entry)

    def _one_metadata(self, entry: Entry) -> Dataset:
        """Read the metadata of a file; among others, what the index has has to do if need be."""
        url = f"{self.base_url}/{entry.resource}"
        try:
            return file_metadata(self.storage.path(entry), url, with_meta=self.with_file_meta)
        except BrokenDicom:
            if self.resource.level is Level.INSTANCES:
                raise
            return indexed_metadata(entry)

    def frames(self, numbers: Sequence[int]) -> Response:
        """Send frames: uncompressed, as stored, or rendered."""
        entry = self._entries()[0]
        frames = Frames(self.storage.path(entry))
        for number in numbers:
            frames.stored(number)  # raises NotFound if one is missing
        ranges = accepted(self.request)
        for wanted in ranges:
            if not (wanted.is_multipart or len(numbers) == 1):
                continue
            choice = self._frame_choice(wanted, frames)
            if choice:
                return self._send_frames(wanted, choice, numbers, frames, entry)
        stored = frame_media_type(frames.transfer_syntax)
        raise not_acceptable(
            [_multipart(media_types.OCTET_STREAM), _multipart(stored), *self.rendered_types]
        )

    def _frame_choice(self, wanted: MediaRange, frames: Frames) -> MediaType | None:
        """Choose the media type of frames; None if the media range does not match."""
        syntax = wanted.transfer_syntax
        stored = {"transfer-syntax": frames.transfer_syntax}
        stored_type = frame_media_type(frames.transfer_syntax)
        as_stored = syntax in (_ANY_SYNTAX, frames.transfer_syntax)
        if wanted.name == ANY_TYPE and syntax == _ANY_SYNTAX:
            return MediaType(stored_type, stored)
        if wanted.covers(media_types.OCTET_STREAM):
            if as_stored:
                return MediaType(media_types.OCTET_STREAM, stored)
            if syntax in ("", *TARGETS):
                return MediaType(
                    media_types.OCTET_STREAM, {"transfer-syntax": EXPLICIT_VR_LITTLE_ENDIAN}
                )
        if wanted.covers(stored_type) and (as_stored or not syntax):
            return MediaType(stored_type, stored)
        rendered = [name for name in self.rendered_types if wanted.covers(name)]
        return MediaType(rendered[0]) if rendered and syntax in ("", _ANY_SYNTAX) else None

    def _send_frames(
        self,
        wanted: MediaRange,
        media_type: MediaType,
        numbers: Sequence[int],
        frames: Frames,
        entry: Entry,
    ) -> Response:
        syntax = media_type.parameters.get("transfer-syntax")

        first: Iterator[bytes]

        def pieces(number: int) -> Iterator[bytes]:
            if syntax is None:
                yield self._rendered(entry, number, media_type.name)
            elif syntax == frames.transfer_syntax:
                yield from frames.stored(number).pieces()
            else:
                yield from spooled(frames.native(number))

        first = pieces(numbers[0])
        if syntax != frames.transfer_syntax:
            first = chain([next(first, b"")], first)  # so that an error has a status
        if not wanted.is_multipart:
            return as_single(media_type, first, None)
        return as_parts(
            (
                (
                    {
                        "Content-Type": str(media_type),
                        "Content-Location": f"{self.base_url}/{entry.resource}/frames/{number}",
                    },
                    pieces(number) if at else first,
                )
                for at, number in enumerate(numbers)
            ),
            media_type,
        )

    def _rendered(self, entry: Entry, number: int, name: str) -> bytes:
        asked = parse_rendered_query(self.request.args)
        return render(self.storage.path(entry), number, name, asked)

    def rendered(self, numbers: Sequence[int] = ()) -> Response:
        """Send rendered images: one for an instance or frame, several as parts."""
        entries = self._entries()
        wanted = [(entry, number) for entry in entries for number in numbers or (1,)]
        ranges = accepted(self.request)
        if len(wanted) == 1 and any(r.is_single for r in ranges):
            name = choose_type(ranges, self.rendered_types)
            picture = self._rendered(*wanted[0], name)
            return as_single(MediaType(name), [picture], len(picture))
        name = next(
            (n for r in ranges for n in self.rendered_types if r.is_multipart and r.covers(n)), ""
        )
        if not name:
            raise not_acceptable([_multipart(n) for n in self.rendered_types])
        return as_parts(self._pictures(wanted, name), MediaType(name))

    def _pictures(
        self, wanted: Iterable[tuple[Entry, int]], name: str
    ) -> Iterator[tuple[Headers, list[bytes]]]:
        for entry, number in wanted:
            try:
                picture = self._rendered(entry, number, name)
            except (NotFound, NotAcceptable, BrokenDicom):
                if self.resource.level is Level.INSTANCES:
                    raise
                continue  # documents cannot be rendered
            yield {"Content-Type": name, **self._location(entry)}, [picture]

    def thumbnail(self, numbers: Sequence[int] = ()) -> Response:
        """Send a small image of the first instance that can be rendered."""
        asked = parse_rendered_query(self.request.args)
        name = choose_type(accepted(self.request), self.rendered_types)
        for entry in self._entries():
            try:
                picture = thumbnail(
                    self.storage.path(entry), (*numbers, 1)[0], name, viewport=asked.viewport
                )
            except (NotFound, NotAcceptable, BrokenDicom):
                if self.resource.level is Level.INSTANCES:
                    raise
                continue
            return as_single(MediaType(name), [picture], len(picture))
        raise NotFound("no instance can be rendered")

    def bulkdata(self, location: str) -> Response:
        """Send the value of one element."""
        path = self.storage.path(self._entries()[0])
        stored = find_bulkdata(path, location)
        for wanted in accepted(self.request):
            bulk = choose_form(path, stored, wanted)
            if bulk and wanted.is_single and len(bulk) == 1:
                return as_single(bulk[0].media_type, bulk[0].source.pieces(), bulk[0].source.size)
            if bulk and wanted.is_multipart:
                parts = (
                    ({"Content-Type": str(one.media_type)}, one.source.pieces()) for one in bulk
                )
                return as_parts(parts, bulk[0].media_type)
        names = dict.fromkeys([media_types.OCTET_STREAM, *(one.media_type.name for one in stored)])
        raise not_acceptable([*names, *map(_multipart, names)])

    def _entries(self) -> list[Entry]:
        """Find the files of the resource; raises NotFound if there are none."""
        entries = self.storage.present(self.storage.index.entries(self.resource))
        if not entries:
            raise NotFound(f"there is no {self.resource}")
        return entries


def _syntax(entry: Entry, wanted: str) -> str | None:
    """Choose the transfer syntax to send an instance in, None if it is not available.

    The default is Explicit VR Little Endian (PS3.18 section 8.7.3.5.2).
    """
    if wanted in (_ANY_SYNTAX, entry.transfer_syntax):
        return entry.transfer_syntax
    wanted = wanted or EXPLICIT_VR_LITTLE_ENDIAN
    return wanted if wanted in TARGETS else None


def _dicom(syntax: str) -> MediaType:
    """Make the media type of a file; a malformed transfer syntax would split the header field."""
    return MediaType(media_types.DICOM, {"transfer-syntax": syntax} if is_syntax(syntax) else {})


def _multipart(name: str) -> str:
    return media_types.multipart(name)


def parse_frames(text: str) -> list[int]:
    """Read a frame list (PS3.18 section 10.1.1.4); raises BadRequest if it is malformed."""
    if not _FRAMES.fullmatch(text):
        raise BadRequest(f"{text[:100]!r} is not a list of frame numbers, which count from 1")
    numbers = [int(number) for number in text.split(",")]
    return list(dict.fromkeys(numbers))  # the standard has each once
